"""Divides matured loans into those that train, calibrate and test a model: windows by issue month, newest last.

A loan is matured when its last payment was due by the snapshot month; younger vintages hold only early payers and
early defaulters. Reading loans belongs in `cleaning`, turning them into a matrix in `model.features`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from typing import Any, Literal

import polars as pl

from loan_default.risk.contract import MATURES, OUTCOME, Contract
from loan_default.risk.data.population import Population, measure_population
from loan_default.risk.errors import BadInput

WindowName = Literal["train", "calibrate", "test"]
WINDOWS: tuple[WindowName, ...] = ("train", "calibrate", "test")
_CYCLE = 5  # of loans of too few months, three in five train, one calibrates and one tests
_POSITION = ":position"  # of a loan in its file
_MEASURED_AT_MOST = 1_000_000  # loans, of which the population is measured


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


@dataclass(frozen=True)
class Window:
    """Counts the loans of a span of issue months (both ends included, as the first of the month)."""

    name: WindowName
    first_month: date
    last_month: date
    rows: int
    defaults: int

    @property
    def default_rate(self) -> float:
        """Divide the defaults by the loans."""
        return self.defaults / self.rows


@dataclass(frozen=True)
class Splits:
    """Windows of one data set, and the population of those that a model may be developed on.

    `out_of_time` is false where the loans span too few months to be cut by month.
    """

    snapshot: date
    windows: tuple[Window, Window, Window]
    out_of_time: bool
    data_fingerprint: str
    unresolved: int
    immature: int
    population: Population = field(default_factory=Population)

    def window(self, name: WindowName) -> Window:
        """Return the window of this name."""
        return self.windows[WINDOWS.index(name)]

    def share_of(self, at_most: int | None) -> float:
        """Divide `at_most` loans by those that a model may be developed on; 1 where there are fewer."""
        development_rows = sum(window.rows for window in self.windows if window.name != "test")
        return 1 if at_most is None else min(at_most / development_rows, 1)

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
        window = {"snapshot": _text(self.snapshot), **_window_dict(self.window("test"))}
        return hashlib.sha256(json.dumps(window, sort_keys=True).encode()).hexdigest()[:16]

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON record."""
        return {**asdict(self), "snapshot": _text(self.snapshot), "windows": [_window_dict(w) for w in self.windows]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Splits:
        """Read what `to_dict` returned."""
        train, calibrate, test = (_window_from(entry) for entry in data["windows"])
        snapshot = date.fromisoformat(f"{data['snapshot']}-01")
        population = Population(**data.get("population", {}))
        return cls(**{**data, "snapshot": snapshot, "windows": (train, calibrate, test), "population": population})


def _text(month: date) -> str:
    return f"{month:%Y-%m}"


def _window_dict(window: Window) -> dict[str, Any]:
    months = {"first_month": _text(window.first_month), "last_month": _text(window.last_month)}
    return {**asdict(window), **months}


def _window_from(data: Mapping[str, Any]) -> Window:
    months = {key: date.fromisoformat(f"{data[key]}-01") for key in ("first_month", "last_month")}
    return Window(**{**data, **months})


def split_loans(
    loans: pl.LazyFrame, contract: Contract, plan: SplitPlan, *, snapshot: date, data_fingerprint: str
) -> Splits:
    """Cut matured loans into windows by whole issue months.

    The newest months that together hold at least `plan.test_share` of the loans test; of those before them the newest
    that hold at least `plan.calibrate_share` calibrate, the rest trains. Loans of fewer than three months cannot
    be cut so: of every five in turn the first three then train, the fourth calibrates and the fifth tests, and
    `out_of_time` is false.

    Raises:
        BadInput: no loan is matured, a first month leaves a window without loans, or a window holds no default or
            no repaid loan.
    """
    counts = loans.select(
        pl.len(), pl.col(OUTCOME).is_null().sum().alias("unresolved"), _matured(snapshot).sum().alias("matured")
    ).collect()
    months = (
        loans.filter(_matured(snapshot))
        .group_by(pl.col(contract.time_name).alias("month"))
        .len()
        .sort("month")
        .collect()
    )
    if months.is_empty():
        raise BadInput(
            f"No loan had reached the end of its term by the snapshot month {snapshot:%Y-%m}; give older loans, or "
            "the month in which the file was taken if that was later."
        )
    out_of_time = months.height >= len(WINDOWS)
    starts = _starts(months, plan) if out_of_time else None
    assigned = _assign(loans, contract, snapshot, starts)
    windows = tuple(_measure(assigned, name, contract) for name in WINDOWS)
    rows, unresolved, matured = counts.row(0)
    splits = Splits(snapshot, windows, out_of_time, data_fingerprint, unresolved, rows - unresolved - matured)  # type: ignore[arg-type]
    drawn = _assign(loans, contract, snapshot, starts, share=splits.share_of(_MEASURED_AT_MOST))
    return replace(splits, population=measure_population(drawn.filter(pl.col("window") != "test"), contract))


def _matured(snapshot: date) -> pl.Expr:
    return pl.col(OUTCOME).is_not_null() & (pl.col(MATURES) <= snapshot)


def _starts(months: pl.DataFrame, plan: SplitPlan) -> tuple[date, date]:
    """Find the first issue months of the calibrate and of the test window; every window has at least one month."""
    month, rows = months["month"].to_list(), months["len"].to_list()
    test = _start(month, rows, plan.test_share, plan.test_from, least=2)
    calibrate = _start(month[:test], rows[:test], plan.calibrate_share, plan.calibrate_from, least=1)
    return month[calibrate], month[test]


def _start(months: list[date], rows: list[int], share: float, start: date | None, *, least: int) -> int:
    """Find the position of `start`, or where the newest months begin that together hold `share` of the rows.

    At least `least` months go before it.

    Raises:
        BadInput: fewer months go before `start`, or none follows.
    """
    if start is None:
        position, newer_rows = len(months), 0
        while position > least and (newer_rows < share * sum(rows) or position == len(months)):
            position -= 1
            newer_rows += rows[position]
        return position
    position = sum(month < start for month in months)
    if not least <= position < len(months):
        raise BadInput(
            f"A window cannot start in {_text(start)}: of the {len(months)} issue months from {_text(months[0])} to "
            f"{_text(months[-1])} at least {least} must come before it and one must follow."
        )
    return position


def _assign(
    loans: pl.LazyFrame,
    contract: Contract,
    snapshot: date,
    starts: tuple[date, date] | None,
    offset: int = 0,
    share: float = 1,
) -> pl.LazyFrame:
    """Give matured loans, or a share of them, a column `window`; `offset` loans of the file come before."""
    if starts is None or share < 1:
        loans = loans.with_row_index(_POSITION, offset)
    if share < 1:  # by no regular pattern, which the file's own order might follow
        loans = loans.filter(pl.col(_POSITION).hash(seed=0) / 2.0**64 < share)
    if starts is None:
        turn = pl.col(_POSITION) % _CYCLE
        early, middle = turn < _CYCLE - 2, turn == _CYCLE - 2
    else:
        month = pl.col(contract.time_name)
        early, middle = month < starts[0], month < starts[1]
    window = pl.when(early).then(pl.lit("train")).when(middle).then(pl.lit("calibrate")).otherwise(pl.lit("test"))
    return loans.filter(_matured(snapshot)).with_columns(window.alias("window"))


def _measure(assigned: pl.LazyFrame, name: WindowName, contract: Contract) -> Window:
    month = pl.col(contract.time_name)
    measures = assigned.filter(pl.col("window") == name).select(
        month.min().alias("first"),
        month.max().alias("last"),
        pl.len().alias("rows"),
        pl.col(OUTCOME).sum().alias("defaults"),
    )
    first, last, rows, defaults = measures.collect().row(0)
    if not 0 < defaults < rows:
        raise BadInput(
            f"The {name} window holds {rows:,} matured loans of which {defaults:,} defaulted; a model needs both kinds "
            "in every window: give more loans, or other months."
        )
    return Window(name, first, last, rows, defaults)


def window_loans(
    loans: pl.LazyFrame,
    contract: Contract,
    splits: Splits,
    *names: WindowName,
    offset: int = 0,
    columns: Sequence[str] | None = None,
    share: float = 1,
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
    """
    starts = (splits.window("calibrate").first_month, splits.window("test").first_month) if splits.out_of_time else None
    assigned = _assign(loans, contract, splits.snapshot, starts, offset, share).filter(pl.col("window").is_in(names))
    return assigned.select(loans.collect_schema().names() if columns is None else columns).collect()
