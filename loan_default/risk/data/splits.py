"""The record of how a data set was divided: its windows, what they were cut by, and what a model of them may have seen.

Dividing belongs in `splitting`. A record of an earlier release lacks what was not kept then, and is read all the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from typing import Any, Literal

import polars as pl

from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.columns import MATURES
from loan_default.risk.data.population import Population
from loan_default.risk.loan_order import CutBy, Position, draw_of, issue_order
from loan_default.risk.month_texts import month_number
from loan_default.risk.text import plural

WindowName = Literal["train", "calibrate", "test"]
WINDOWS: tuple[WindowName, ...] = ("train", "calibrate", "test")


@dataclass(frozen=True)
class Cut:
    """Names where calibrate and test begin for loans of a term in months; None: of all other terms.

    Each is the first issue month, or the position of the first cohort, or the least draw.
    """

    term: int | None
    calibrate_from: Any
    test_from: Any


@dataclass(frozen=True)
class TermWindow:
    """Counts the loans of a window that have one term in months; None: those of all terms that are cut together."""

    term: int | None
    first_month: date
    last_month: date
    rows: int
    defaults: int

    @property
    def name(self) -> str:
        """Name the term."""
        return "other terms" if self.term is None else f"{self.term} months"

    @property
    def span(self) -> str:
        """Write the issue months, from the first to the last."""
        return f"{_text(self.first_month)} to {_text(self.last_month)}"

    @property
    def default_rate(self) -> float:
        """Divide the defaults by the loans."""
        return self.defaults / self.rows


@dataclass(frozen=True)
class Window:
    """Counts the loans of a window, and their span of issue months (both ends included, as the first of the month).

    The windows of each term follow each other; those of all terms together may overlap. Of a book without a date the
    months are None; of one with cohorts `cohorts` are the first and the last, and `positions` theirs in the order.
    """

    name: WindowName
    first_month: date | None
    last_month: date | None
    rows: int
    defaults: int
    terms: tuple[TermWindow, ...] = ()
    cohorts: tuple[str, ...] = ()
    positions: tuple[Position, ...] = ()

    @property
    def span(self) -> str:
        """Write the issue months, or the cohorts, from the first to the last; empty where there are neither."""
        if self.first_month and self.last_month:
            return f"{_text(self.first_month)} to {_text(self.last_month)}"
        return " to ".join(self.cohorts)

    @property
    def default_rate(self) -> float:
        """Divide the defaults by the loans."""
        return self.defaults / self.rows


@dataclass(frozen=True)
class OpenWindow:
    """Counts the loans that had not matured by the snapshot and are learned from all the same; none is judged by.

    Attributes:
        rows: how many.
        ended: of them those that have an outcome.
        first_month: in which the first was issued.
        last_month: in which the last was.
        calibrate_from: issue month from which on they calibrate; the others train.
    """

    rows: int
    ended: int
    first_month: date
    last_month: date
    calibrate_from: date

    @property
    def span(self) -> str:
        """Write the issue months, from the first to the last."""
        return f"{_text(self.first_month)} to {_text(self.last_month)}"


@dataclass(frozen=True)
class Splits:
    """Windows of one data set, and the population of those that a model may be developed on.

    `out_of_time` is false where the loans span too few months to be cut by month, and in a book without a date.

    Attributes:
        snapshot: month in which the files were taken; None where no loan has to mature.
        windows: train, calibrate and test.
        out_of_time: whether the test loans of each term came after its other loans.
        data_fingerprint: of the files.
        unresolved: loans without an outcome.
        immature: loans with an outcome that does not count yet.
        cuts: of each term that has its own, then of all others; of a record of before none: every term was cut alike.
        overdue: of the unresolved loans those whose outcome had to be known by the snapshot.
        labels_known_by: month by which all outcomes that a model is developed on were known.
        training_age_months: months from the issue of the newest loan that a model is developed on to the snapshot.
        population: of the loans that a model may be developed on.
        cut_by: what a book without a date was cut by: cohorts, or a draw of the loans' ids; else None.
        cohort: the field that names the cohort, where there is one.
        without_id: of a draw the loans that have no id of their own, but one by file and row.
        open_loans: the loans that are learned from although they have not matured; None where the label is `matured`,
            or all loans have.
    """

    snapshot: date | None
    windows: tuple[Window, Window, Window]
    out_of_time: bool
    data_fingerprint: str
    unresolved: int
    immature: int
    cuts: tuple[Cut, ...] = ()
    overdue: int | None = None
    labels_known_by: date | None = None
    training_age_months: int | None = None
    population: Population = field(default_factory=Population)
    cut_by: CutBy | None = None
    cohort: str | None = None
    without_id: int | None = None
    open_loans: OpenWindow | None = None

    def window(self, name: WindowName) -> Window:
        """Return the window of this name."""
        return self.windows[WINDOWS.index(name)]

    @property
    def parts(self) -> list[tuple[WindowName, str, Window | TermWindow]]:
        """Return each window as a whole ("all"), and behind it each of its terms where there are several, by name."""
        parts: list[tuple[WindowName, str, Window | TermWindow]] = []
        for window in self.windows:
            terms = window.terms if len(window.terms) > 1 else ()
            parts += [(window.name, "all", window), *((window.name, term.name, term) for term in terms)]
        return parts

    def share_of(self, at_most: int | None) -> float:
        """Divide `at_most` loans by those that a model may be developed on; 1 where there are fewer."""
        return 1 if at_most is None else min(at_most / self.development_rows, 1)

    @property
    def development_rows(self) -> int:
        """Count the loans that a model may be developed on."""
        matured = sum(window.rows for window in self.windows if window.name != "test")
        return matured + (self.open_loans.rows if self.open_loans else 0)

    @property
    def developed_from(self) -> date | None:
        """Return the issue month of the oldest loan that a model is developed on; None where loans have none."""
        return min(self._development_months("first_month"), default=None)

    @property
    def developed_until(self) -> date | None:
        """Return the issue month of the newest loan that a model is developed on; None where loans have none."""
        return max(self._development_months("last_month"), default=None)

    def _development_months(self, name: str) -> list[date]:
        windows = [*(window for window in self.windows if window.name != "test"), self.open_loans]
        return [month for window in windows if (month := getattr(window, name, None))]

    @property
    def tests_out_of_time(self) -> bool:
        """Tell whether the test loans came after all others of their term, those that have not matured among them."""
        return self.out_of_time and self.open_loans is None

    @property
    def order(self) -> str:
        """Say what the windows' spans are of: `issue months`, or the name of the cohort; empty where there are none."""
        return {None: "issue months", "cohort": self.cohort or "", "draw": ""}[self.cut_by]

    @property
    def remarks(self) -> tuple[str, ...]:
        """Say what the windows' figures rest on, a sentence or two each; nothing of a record of before."""
        if self.cut_by == "cohort":
            return (
                f"The book has no date of issue. Its loans were cut by {self.cohort}, older ones first: those of "
                f"{self.window('test').span} test. Figures on them are not called out of time, as no date says so.",
            )
        if self.cut_by == "draw":
            without = plural(
                self.without_id or 0, "loan has no id of its own and is", "loans have no id of their own and are"
            )
            made_up = f" {without} drawn by file and row." if self.without_id else ""
            few = f" and {self.cohort} has too few values to cut by" if self.cohort else ""
            return (
                f"The book has no date of issue{few}. Its loans were dealt out by a hash of their ids, the same loan "
                f"always into the same window: figures on them say nothing about loans that come later.{made_up}",
            )
        if self.labels_known_by is None:
            return ()
        loans = plural(self.overdue or 0, "loan has", "loans have")
        overdue = f"{loans} no outcome although it had to be known by {self.snapshot:%Y-%m}."
        if not self.overdue:
            overdue = f"Every loan whose outcome had to be known by {self.snapshot:%Y-%m} has one."
        return self._hindsight(self.labels_known_by), *self._open_remark(), overdue

    def _open_remark(self) -> Iterator[str]:
        """Say what was learned from loans that had not matured, and what that takes from the test."""
        if loans := self.open_loans:
            yield (
                f"{loans.rows:,} loans that had not matured by {self.snapshot:%Y-%m}, issued {loans.span}, are learned "
                f"from too: {loans.ended:,} by how they ended, {loans.rows - loans.ended:,} by the probability that "
                "two hazards of these and the other loans of development give them of ending in default. Those issued "
                f"from {_text(loans.calibrate_from)} on calibrate. No figure is measured on them. They are younger "
                "than the test loans of their term, so figures on these are of loans that the model has not seen, but "
                "not out of time."
            )

    def _hindsight(self, known_by: date) -> str:
        """Say what was known when: whether a model could have been developed before its test loans were issued."""
        months = plural(self.training_age_months or 0, "month")
        facts = (
            f"The newest outcome that the model learned from was known by {_text(known_by)}; the newest "
            f"loan that it was developed on was issued in {self.developed_until:%Y-%m}, {months} before the "
            f"snapshot of {self.snapshot:%Y-%m}."
        )
        tested_from = self.window("test").first_month
        if tested_from is None or known_by <= tested_from:
            return facts
        kind = "out of time, not point in time" if self.tests_out_of_time else "neither out of time nor point in time"
        return (
            f"{facts} The test loans were issued from {_text(tested_from)} on, before that was known: figures on them "
            f"are {kind}."
        )

    def may_have_learned(self, contract: Contract) -> pl.Expr:
        """Return true for cleaned loans that a model of these windows may have been developed on.

        Where the contract no longer has what they were cut by, that may be any loan.
        """
        if self.cut_by == "draw":
            drawn: pl.Expr = draw_of(contract.id_name) < self.cuts[0].test_from
            return drawn
        if contract.order_name is None or (self.cut_by == "cohort") == contract.has_time:
            return pl.lit(True)
        if self.cut_by == "cohort" and self.cohort != contract.cohort_name:
            return pl.lit(True)
        order = issue_order(contract)
        if self.cut_by is None and not self.out_of_time:
            return (order <= self.developed_until).fill_null(True)
        earlier: pl.Expr = (order < start_of(self.all_cuts, "test_from", contract)).fill_null(True)
        if contract.outcomes_are_final or self.snapshot is None:
            return earlier
        ends, snapshot = month_number(order) + term_of(contract), month_number(pl.lit(self.snapshot))
        learned = (ends <= snapshot) & earlier
        if self.open_loans is None:
            return learned
        young = (ends + contract.outcome.grace_months > snapshot) & (order <= self.open_loans.last_month)
        return learned | young.fill_null(True)

    def unseen_by(self, champion: Splits, contract: Contract) -> pl.Expr:
        """Return true for loans of this test window that a model of the champion's windows was not developed on."""
        identity = [
            (s.data_fingerprint, [w.rows for w in s.windows], s.out_of_time, s.cut_by, s.cuts) for s in (self, champion)
        ]
        if not self.out_of_time and identity[0] == identity[1]:  # dealt out alike
            return pl.lit(True)
        if champion.without_id and self.data_fingerprint != champion.data_fingerprint:
            return pl.lit(False)  # file and row may name another loan there
        return ~champion.may_have_learned(contract)

    @property
    def all_cuts(self) -> tuple[Cut, ...]:
        """Return `cuts`, or the one cut of a record from before they were kept; none where loans were dealt out."""
        if self.cuts or not self.out_of_time:
            return self.cuts
        return (Cut(None, self.window("calibrate").first_month, self.window("test").first_month),)

    @property
    def fingerprint(self) -> str:
        """Return 16 hexadecimal digits that change whenever the training data or its windows do.

        The population follows from both, and is left out: that of a record from before it was measured is empty.
        """
        windows = {name: value for name, value in self.to_dict().items() if name != "population"}
        return hashlib.sha256(json.dumps(windows, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def test_fingerprint(self) -> str:
        """Return 16 hexadecimal digits that change whenever other loans test, whatever a model is developed on."""
        window = {"snapshot": self.snapshot and _text(self.snapshot), **_as_json(asdict(self.window("test")))}
        if self.cut_by:  # without months equal counts do not tell one window from another
            window |= {"cut_by": self.cut_by, "data": self.data_fingerprint}
        return hashlib.sha256(json.dumps(window, sort_keys=True).encode()).hexdigest()[:16]

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON record, without what is not known of a record of before: so its fingerprint stays."""
        record = asdict(self).items()
        return {key: _as_json(value) for key, value in record if value is not None and value != ()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Splits:
        """Read what `to_dict` returned."""
        train, calibrate, test = (_window_from(entry) for entry in data["windows"])
        cuts = tuple(Cut(**(cut if data.get("cut_by") else _with_dates(cut))) for cut in data.get("cuts", ()))
        population = Population(**data.get("population", {}))
        windows = train, calibrate, test
        record = {"snapshot": None, **_with_dates(data)}
        if "open_loans" in data:
            record["open_loans"] = OpenWindow(**_with_dates(data["open_loans"]))
        return cls(**{**record, "windows": windows, "cuts": cuts, "population": population})


def _text(month: date) -> str:
    return f"{month:%Y-%m}"


def _as_json(value: Any) -> Any:
    """Write months as YYYY-MM, and leave out keys of empty tuples."""
    if isinstance(value, Mapping):
        return {key: _as_json(item) for key, item in value.items() if item != ()}
    if isinstance(value, tuple):
        return [_as_json(item) for item in value]
    return _text(value) if isinstance(value, date) else value


def _with_dates(data: Mapping[str, Any]) -> dict[str, Any]:
    """Read the months of a record."""
    months = {"snapshot", "first_month", "last_month", "calibrate_from", "test_from", "labels_known_by"}
    return {key: date.fromisoformat(f"{value}-01") if value and key in months else value for key, value in data.items()}


def _window_from(data: Mapping[str, Any]) -> Window:
    terms = tuple(TermWindow(**_with_dates(term)) for term in data.get("terms", ()))
    cohorts = {key: tuple(data.get(key, ())) for key in ("cohorts", "positions")}
    return Window(**{**_with_dates(data), "terms": terms, **cohorts})


def start_of(cuts: Sequence[Cut], name: Literal["calibrate_from", "test_from"], contract: Contract) -> pl.Expr:
    """Return for each loan the first month of a window of its term."""
    *own, others = cuts
    start = pl.lit(getattr(others, name))
    for cut in own:
        start = pl.when(term_of(contract) == cut.term).then(pl.lit(getattr(cut, name))).otherwise(start)
    return start


def term_of(contract: Contract) -> pl.Expr:
    """Count the months of a loan's term, begun ones as whole, by when it matures; null where nothing has to."""
    if contract.outcomes_are_final:
        return pl.lit(None, dtype=pl.Int32)
    months = month_number(pl.col(MATURES)) - month_number(pl.col(contract.time_name))
    return months - contract.outcome.grace_months
