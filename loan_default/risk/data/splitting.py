"""Divides matured loans into those that train, calibrate and test a model: windows by issue month, newest last.

A loan is matured when its outcome had to be known by the snapshot month; younger vintages hold only early payers and
early defaulters. Long terms mature later, so each term is cut by its own months, and every window holds all of them.
Where the policy's label is `open` the younger loans are learned from too, and never judged by: see `OpenWindow`.
Where all outcomes are final every loan with an outcome counts. A book without a date is cut by its cohorts, or, where
it has none, by a draw of the loans' ids; neither is out of time.
What came of it is a record, `splits.Splits`. Reading loans belongs in `cleaning`, a matrix of them in `model.features`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import date
from typing import Any

import polars as pl

from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.columns import MATURES, MONTHS_PAID, OUTCOME
from loan_default.risk.contract.outcome import Horizon
from loan_default.risk.data.population import measure_population
from loan_default.risk.data.splits import (
    WINDOWS,
    Cut,
    OpenWindow,
    Splits,
    TermWindow,
    Window,
    WindowName,
    start_of,
    term_of,
)
from loan_default.risk.errors import BadInput
from loan_default.risk.loan_order import CutBy, cohort_level, draw_of, has_term, issue_order
from loan_default.risk.month_texts import months_after
from loan_default.risk.policy import TrainingLabel
from loan_default.risk.text import plural

_CYCLE = 5  # of loans of too few months, three in five train, one calibrates and one tests
_POSITION = ":position"  # of a loan in its file
_MEASURED_AT_MOST = 1_000_000  # loans, of which the population is measured
_SLIPS = 0.001  # of the loans, whose last payment may lie after their file was taken
_OWN_SHARE = 0.01  # of the matured loans that a term must hold to be cut by its own months


@dataclass(frozen=True)
class SplitPlan:
    """Says where to cut: by the shares of loans that test and, of the others, that calibrate, or by first months."""

    calibrate_share: float = 0.2
    test_share: float = 0.2
    calibrate_from: date | None = None
    test_from: date | None = None

    def __post_init__(self) -> None:
        for name in ("calibrate_share", "test_share"):
            if not 0 < getattr(self, name) < 1:
                raise BadInput(f"{name} is {getattr(self, name)}; it must lie between 0 and 1.")
        if self.calibrate_from and self.test_from and self.calibrate_from >= self.test_from:
            raise BadInput(
                f"calibrate_from ({self.calibrate_from:%Y-%m}) must be before test_from ({self.test_from:%Y-%m})."
            )


def split_loans(
    loans: pl.LazyFrame,
    contract: Contract,
    plan: SplitPlan,
    *,
    snapshot: date | None,
    data_fingerprint: str,
    without_id: int = 0,
    label: TrainingLabel = "matured",
) -> Splits:
    """Cut the matured loans of each term into windows by whole issue months.

    The newest months that together hold at least `plan.test_share` of a term's loans test; of those before them the
    newest that hold at least `plan.calibrate_share` calibrate, the rest trains. A first month that the plan names holds
    for every term; where it names that of test, terms calibrate on the same months if these suffice for each, as their
    loans are then in the shares in which they are sold. Terms of fewer than three months, or of fewer than a hundredth
    of the loans, are cut together. Loans of fewer than three months in all cannot be cut so: of every five in turn the
    first three then train, the fourth calibrates and the fifth tests, and `out_of_time` is false.

    A book without a date is cut by whole cohorts in the same way, or, where it has fewer than three, by a draw of the
    loans' ids; `out_of_time` is false then. Where outcomes are final loans of all terms are cut together.

    Args:
        loans: cleaned loans.
        contract: what a loan is.
        plan: where to cut.
        snapshot: month in which the files were taken; not needed where outcomes are final.
        data_fingerprint: of the files.
        without_id: how many loans have no id of their own.
        label: `open` where loans that have not matured are learned from too: the newest of them, which hold at least
            `plan.calibrate_share`, calibrate.

    Raises:
        BadInput: no loan is matured, a first month leaves a window without loans or is named in a book without a date,
            or a window holds no default or no repaid loan; or open loans are learned from, and some were paid later
            than their files are said to have been taken.
    """
    if not contract.has_time:
        return _split_without_time(loans, contract, plan, data_fingerprint, without_id)
    totals, months = _count_loans(loans, contract, snapshot)
    if months.is_empty():
        raise BadInput(nothing_matured(contract, snapshot))
    cuts = _cut_terms(months, plan) if months["month"].n_unique() >= len(WINDOWS) else ()
    windows, labels_known_by = _measure(_assign(loans, contract, snapshot, cuts), cuts, contract)
    splits = Splits(
        snapshot,
        windows,
        bool(cuts),
        data_fingerprint,
        totals["unresolved"],
        totals["rows"] - totals["unresolved"] - totals["matured"],
        cuts=cuts,
        overdue=totals.get("overdue"),
        labels_known_by=labels_known_by,
        open_loans=_count_open(loans, contract, snapshot, plan) if label == "open" and snapshot else None,
    )
    return _with_population(_with_ages(splits), loans, contract)


def _with_ages(splits: Splits) -> Splits:
    """Say how old the newest loan was that a model may be developed on, and its newest outcome."""
    snapshot, newest = splits.snapshot, splits.developed_until
    if not (snapshot and newest):
        return splits
    age_months = 12 * (snapshot.year - newest.year) + snapshot.month - newest.month
    known_by = snapshot if splits.open_loans else splits.labels_known_by
    return replace(splits, training_age_months=age_months, labels_known_by=known_by)


def _count_open(loans: pl.LazyFrame, contract: Contract, snapshot: date, plan: SplitPlan) -> OpenWindow | None:
    """Count the loans that have not matured, and find the month from which on they calibrate; None where all have."""
    months = (
        loans.filter(is_open(contract, snapshot))
        .group_by(pl.col(contract.time_name).alias("month"))
        .agg(pl.len(), pl.col(OUTCOME).count().alias("ended"))
        .sort("month")
        .collect()
    )
    if months.is_empty():
        return None
    _refuse_later_payments(loans, contract, snapshot)
    names, rows = months["month"].to_list(), months["len"].to_list()
    calibrate_from = names[_newest(rows, plan.calibrate_share, least=0)]
    return OpenWindow(sum(rows), int(months["ended"].sum()), names[0], names[-1], calibrate_from)


def _refuse_later_payments(loans: pl.LazyFrame, contract: Contract, snapshot: date) -> None:
    """Refuse files that were taken later than it is said, as how their open loans end is in them."""
    if contract.outcome.known is None or contract.outcome.is_told_by_files:
        return
    paid = months_after(pl.col(contract.time_name), pl.col(MONTHS_PAID).cast(pl.Float64))
    later = paid.filter(paid > snapshot)
    count, newest, rows = (
        loans.select(later.len(), later.max().alias("newest"), pl.len().alias("rows")).collect().row(0)
    )
    if count > max(1, _SLIPS * rows):
        raise BadInput(
            f"By the files {plural(count, 'loan was', 'loans were')} paid after {snapshot:%Y-%m}, up to "
            f"{newest:%Y-%m}: they were not taken then, and how loans ended later would be learned from (label: open). "
            "Name the month in which they were taken as the snapshot, or write label: matured in the policy."
        )


def is_open(contract: Contract, snapshot: date) -> pl.Expr:
    """Return true for loans that had not matured by the month in which their file was taken, whatever is known."""
    return (pl.col(MATURES) > snapshot) & (pl.col(contract.time_name) < snapshot) & has_term(contract)


def _count_loans(loans: pl.LazyFrame, contract: Contract, snapshot: date | None) -> tuple[dict[str, int], pl.DataFrame]:
    """Count the loans by what is known of their outcomes, and the matured ones by term and month."""
    usable, unresolved = _matured(contract, snapshot), pl.col(OUTCOME).is_null()
    overdue = unresolved & (pl.col(MATURES) <= snapshot) if snapshot and not contract.outcomes_are_final else None
    counts = loans.select(
        pl.len().alias("rows"),
        unresolved.sum().alias("unresolved"),
        usable.sum().alias("matured"),
        *([] if overdue is None else [overdue.sum().alias("overdue")]),
    ).collect()
    months = (
        loans.filter(usable)
        .group_by(term_of(contract).alias("term"), pl.col(contract.time_name).alias("month"))
        .len()
        .sort("term", "month")
        .collect()
    )
    return counts.row(0, named=True), months


def _split_without_time(
    loans: pl.LazyFrame, contract: Contract, plan: SplitPlan, data_fingerprint: str, without_id: int
) -> Splits:
    """Cut by whole cohorts, older first, or by a draw of the loans' ids."""
    for name in ("calibrate_from", "test_from"):
        if month := getattr(plan, name):
            raise BadInput(f"{name} is {month:%Y-%m}, and loans of this book have no date; leave it out.")
    usable = _matured(contract, None)
    rows, unresolved, matured = loans.select(
        pl.len().alias("rows"), pl.col(OUTCOME).is_null().sum(), usable.sum().alias("usable")
    ).collect().row(0)  # fmt: skip
    if not matured:
        raise BadInput(nothing_matured(contract, None))
    cuts: tuple[Cut, ...] = ()
    if contract.cohort_name:
        order = issue_order(contract).alias("month")
        cohorts = loans.filter(usable).group_by(order, pl.lit(None, pl.Int32).alias("term")).len().collect()
        cuts = _cut_terms(cohorts, plan) if cohorts["month"].n_unique() >= len(WINDOWS) else ()
    cut_by: CutBy = "cohort" if cuts else "draw"
    cuts = cuts or (Cut(None, (1 - plan.test_share) * (1 - plan.calibrate_share), 1 - plan.test_share),)
    windows, _ = _measure(_assign(loans, contract, None, cuts, cut_by=cut_by), cuts, contract, cut_by)
    splits = Splits(
        None,
        windows,
        False,
        data_fingerprint,
        unresolved,
        rows - unresolved - matured,
        cuts=cuts,
        cut_by=cut_by,
        cohort=contract.cohort_name,
        without_id=without_id or None if cut_by == "draw" else None,
    )
    return _with_population(splits, loans, contract)


def _with_population(splits: Splits, loans: pl.LazyFrame, contract: Contract) -> Splits:
    """Measure the population of the loans that a model may be developed on, or of a million of them."""
    share = splits.share_of(_MEASURED_AT_MOST)
    drawn = _assign(
        loans, contract, splits.snapshot, splits.cuts, share=share, cut_by=splits.cut_by, open_loans=splits.open_loans
    )
    return replace(splits, population=measure_population(drawn.filter(pl.col("window") != "test"), contract))


def nothing_matured(contract: Contract, snapshot: date | None) -> str:
    """Say why no loan counts, and what to give."""
    if contract.outcomes_are_final:
        without = f", or none that has one also has {contract.order_name}" if contract.order_name else ""
        return f"No loan has an outcome{without}; give loans that defaulted or were repaid."
    grace = contract.outcome.grace_months
    after = f", and the {grace} months of grace after it," if grace else ""
    end = "horizon" if isinstance(contract.term, Horizon) else "term"
    by = f" by the snapshot month {snapshot:%Y-%m}" if snapshot else ""
    return (
        f"No loan had reached the end of its {end}{after}{by}; give older loans, or the month in which the file was "
        "taken if that was later."
    )


def _matured(contract: Contract, snapshot: date | None) -> pl.Expr:
    """Return true for loans whose outcome counts; in a final book these need a month or cohort to be put in order."""
    resolved = pl.col(OUTCOME).is_not_null()
    if not contract.outcomes_are_final:
        return resolved & (pl.col(MATURES) <= pl.lit(snapshot, dtype=pl.Date)).fill_null(False)
    return resolved & pl.col(contract.order_name).is_not_null() if contract.order_name else resolved


def _cut_terms(months: pl.DataFrame, plan: SplitPlan) -> tuple[Cut, ...]:
    """Find where to cut each term that has enough loans and months (rows: `term`, `month`, `len`), and all others."""
    rows, least_rows = pl.col("len").sum().over("term"), _OWN_SHARE * int(months["len"].sum())
    own = (pl.len().over("term") >= len(WINDOWS)) & (rows >= least_rows)
    together, others = _by_month(months), _by_month(months.filter(~own))
    groups = {term: _by_month(group) for (term,), group in months.filter(own).group_by("term", maintain_order=True)}
    groups[None] = others if others.height >= len(WINDOWS) else together
    tested_from = max(_tested_from(group, plan) for group in groups.values())
    _require_loans_around(together["month"].to_list(), plan, tested_from)
    common = _starts(together, plan)[0] if plan.test_from else None
    return tuple(Cut(term, *_starts(group, plan, common)) for term, group in groups.items())


def _by_month(months: pl.DataFrame) -> pl.DataFrame:
    return months.group_by("month").agg(pl.col("len").sum()).sort("month")


def _starts(months: pl.DataFrame, plan: SplitPlan, common: date | None = None) -> tuple[date, date]:
    """Find the first issue months of calibrate and test; where the plan names none, every window has a month.

    `common`, where all terms together begin to calibrate, is taken if it leaves enough loans to train and to calibrate.
    """
    names, rows, test = months["month"].to_list(), months["len"].to_list(), _tested_from(months, plan)
    if plan.calibrate_from:
        return plan.calibrate_from, max(test, _next_month(plan.calibrate_from))
    before = sum(name < test for name in names)
    if before < len(WINDOWS) - 1:
        return test, test
    if common:
        trained = sum(count for name, count in zip(names, rows, strict=True) if name < common) / sum(rows[:before])
        if plan.calibrate_share / 2 <= trained <= 1 - plan.calibrate_share / 2:
            return common, test
    return names[_newest(rows[:before], plan.calibrate_share, least=1)], test


def _tested_from(months: pl.DataFrame, plan: SplitPlan) -> date:
    return plan.test_from or months["month"][_newest(months["len"].to_list(), plan.test_share, least=2)]


def _next_month(month: date) -> date:
    return date(month.year + month.month // 12, month.month % 12 + 1, 1)


def _newest(rows: list[int], share: float, *, least: int) -> int:
    """Find the position from which the newest months hold `share` of the rows; at least `least` go before it."""
    position, newer_rows = len(rows), 0
    while position > least and (newer_rows < share * sum(rows) or position == len(rows)):
        position -= 1
        newer_rows += rows[position]
    return position


def _require_loans_around(months: list[date], plan: SplitPlan, tested_from: date) -> None:
    """Refuse a first month of the plan that leaves a window without loans of any term.

    Raises:
        BadInput: too few months go before it, or none follows.
    """
    earlier = [month for month in months if month < tested_from]
    for start, among, least in ((plan.test_from, months, 2), (plan.calibrate_from, earlier, 1)):
        if start and not least <= sum(month < start for month in among) < len(among):
            raise BadInput(
                f"A window cannot start in {start:%Y-%m}: of the {len(among)} issue months from {among[0]:%Y-%m} to "
                f"{among[-1]:%Y-%m} at least {least} must come before it and one must follow."
            )


def _assign(
    loans: pl.LazyFrame,
    contract: Contract,
    snapshot: date | None,
    cuts: Sequence[Cut],
    offset: int = 0,
    share: float = 1,
    cut_by: CutBy | None = None,
    open_loans: OpenWindow | None = None,
) -> pl.LazyFrame:
    """Give matured loans, or a share of them, a column `window`; `offset` loans of the file come before.

    Where `open_loans` is given those are among them, and never test.
    """
    if not cuts or share < 1:
        loans = loans.with_row_index(_POSITION, offset)
    if share < 1:  # by no regular pattern, which the file's own order might follow
        loans = loans.filter(pl.col(_POSITION).hash(seed=0) / 2.0**64 < share)
    if not cuts:
        turn = pl.col(_POSITION) % _CYCLE
        early, middle = turn < _CYCLE - 2, turn == _CYCLE - 2
    else:
        order = draw_of(contract.id_name) if cut_by == "draw" else issue_order(contract)
        early, middle = (order < start_of(cuts, name, contract) for name in ("calibrate_from", "test_from"))
    window = pl.when(early).then(pl.lit("train")).when(middle).then(pl.lit("calibrate")).otherwise(pl.lit("test"))
    chosen = _matured(contract, snapshot)
    if open_loans and snapshot:
        young, trains = is_open(contract, snapshot), pl.col(contract.time_name) < open_loans.calibrate_from
        of_young = pl.when(trains).then(pl.lit("train")).otherwise(pl.lit("calibrate"))
        window, chosen = pl.when(young).then(of_young).otherwise(window), chosen | young
    return loans.filter(chosen).with_columns(window.alias("window"))


def _measure(
    assigned: pl.LazyFrame, cuts: Sequence[Cut], contract: Contract, cut_by: CutBy | None = None
) -> tuple[tuple[Window, Window, Window], date | None]:
    """Count the loans of each window and term; also return the month by which all outcomes of the others than test
    were known, where that is known.
    """
    term, nothing = term_of(contract), pl.lit(None, dtype=pl.Date)
    order = nothing if cut_by == "draw" else issue_order(contract)
    counts = (
        assigned.group_by("window", pl.when(term.is_in([cut.term for cut in cuts[:-1]])).then(term).alias("term"))
        .agg(
            order.min().alias("first_month"),
            order.max().alias("last_month"),
            pl.len().alias("rows"),
            pl.col(OUTCOME).sum().cast(pl.Int64).alias("defaults"),
            (nothing if contract.outcomes_are_final else pl.col(MATURES)).max().alias("known_by"),
        )
        .sort("term", nulls_last=True)
        .collect()
    )
    train, calibrate, test = (_window(name, counts.filter(window=name), contract, cuts, cut_by) for name in WINDOWS)
    known_by: date | None = counts.filter(pl.col("window") != "test")["known_by"].max()  # type: ignore[assignment]
    return (train, calibrate, test), known_by


def _window(
    name: WindowName, counts: pl.DataFrame, contract: Contract, cuts: Sequence[Cut], cut_by: CutBy | None
) -> Window:
    rows, defaults = int(counts["rows"].sum()), int(counts["defaults"].sum())
    if not 0 < defaults < rows:
        loans = "loan" if rows == 1 else "loans"
        matured = f"{loans} with an outcome" if contract.outcomes_are_final else f"matured {loans}"
        raise BadInput(
            f"The {name} window holds {rows:,} {matured} of which {defaults:,} defaulted; a model needs both kinds "
            f"in every window: give more loans{'' if cut_by else ', or other months'}."
        )
    first: Any = counts["first_month"].min()
    last: Any = counts["last_month"].max()
    if cut_by == "cohort":
        levels = cohort_level(first, contract), cohort_level(last, contract)
        return Window(name, None, None, rows, defaults, cohorts=levels, positions=(first, last))
    terms = counts.select(field.name for field in fields(TermWindow))
    by_term = cuts and not cut_by and not contract.outcomes_are_final
    return Window(name, first, last, rows, defaults, tuple(TermWindow(*row) for row in terms.rows()) if by_term else ())


def window_loans(
    loans: pl.LazyFrame,
    contract: Contract,
    splits: Splits,
    *names: WindowName,
    offset: int = 0,
    columns: Sequence[str] | None = None,
    share: float = 1,
    with_open: bool = False,
) -> pl.DataFrame:
    """Return the loans of these windows, in the order in which they were cleaned.

    Args:
        loans: cleaned loans, or some of them, one behind the other.
        contract: what a loan is.
        splits: what `split_loans` returned.
        names: of the windows.
        offset: how many cleaned loans come before these.
        columns: of the loans; all by default.
        share: of them that is drawn if below 1, by a hash of their position in the file: the same wherever it is done.
        with_open: whether those that have not matured are among them, where they are learned from.
    """
    open_loans = splits.open_loans if with_open else None
    assigned = _assign(loans, contract, splits.snapshot, splits.all_cuts, offset, share, splits.cut_by, open_loans)
    assigned = assigned.filter(pl.col("window").is_in(names))
    return assigned.select(loans.collect_schema().names() if columns is None else columns).collect()
