"""Measures what a version does to groups of people: by level, or band of numbers or months, of the protected fields.

No model sees these fields and no decision rests on them; what the differences mean is for people to judge. Segments on
which PDs are judged belong in `validation.champion_challenger`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from math import sqrt

import numpy as np
import polars as pl

from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.columns import OUTCOME
from loan_default.risk.contract.field import LoanField
from loan_default.risk.estimates import Estimate, mean_estimate
from loan_default.risk.metrics import Interval, Ranking
from loan_default.risk.model.scorer import DECISIONS
from loan_default.risk.validation.champion_challenger import scores_of

LEAST_GROUP = 30  # loans of a group that is shown: figures of fewer say little, and might tell of a person
_BANDS = 5  # of a number or a month
_NORMAL = 1.959963984540054  # quantile 0.975


@dataclass(frozen=True)
class PeopleGroup:
    """Test loans that share a level, or a band, of a protected field, with intervals of 95%.

    Of groups of fewer than 30 loans only `loans` is measured. `auc` is None where all loans ended alike.
    """

    field: str
    level: str
    loans: int
    approved: Interval | None = None
    mean_pd: Interval | None = None
    default_rate: Interval | None = None
    auc: Interval | None = None


def measure_fairness(test: pl.DataFrame, leader: str, contract: Contract) -> tuple[PeopleGroup, ...]:
    """Measure a version within groups of people.

    Args:
        test: loans as `champion_challenger.score_test` gives them (n rows), with scores of `leader`.
        leader: the name of the version.
        contract: says which fields are protected; without any there are no groups.
    """
    scored = test.with_columns(scores_of(test, leader))
    return tuple(
        _measure(field.name, level, loans)
        for field in contract.with_role("protected")
        if field.name in test.columns
        for level, loans in divide_loans(scored, field)
    )


def divide_loans(loans: pl.DataFrame, field: LoanField) -> Iterator[tuple[str, pl.DataFrame]]:
    """Divide loans by level, in the contract's order, or by bands of equally many, and those without a value last."""
    values = loans[field.name]
    present = values.drop_nulls()
    if field.kind in ("number", "month") and present.n_unique() > 2 * _BANDS:
        numbers = present.to_physical().cast(pl.Float64).to_numpy()
        edges = np.unique(np.quantile(numbers, np.linspace(0, 1, _BANDS + 1)[1:-1]))
        bands = pl.Series(np.searchsorted(edges, numbers, side="right"))
        for _, band in sorted(loans.filter(values.is_not_null()).group_by(bands), key=lambda group: group[0]):
            ordered = band[field.name].sort()
            yield f"{_text(ordered[0])} to {_text(ordered[-1])}", band
    else:
        for level in sorted(present.unique().to_list(), key=field.levels.index if field.levels else None):
            yield _text(level), loans.filter(values == level)
    if values.null_count():
        yield "missing", loans.filter(values.is_null())


def _text(value: str | float | date) -> str:
    if isinstance(value, date):
        return f"{value:%Y-%m}"
    return value if isinstance(value, str) else f"{value:z.10g}"


def _measure(field: str, level: str, loans: pl.DataFrame) -> PeopleGroup:
    if loans.height < LEAST_GROUP:
        return PeopleGroup(field, level, loans.height)
    outcomes, pds = loans[OUTCOME].to_numpy().astype(np.float64), loans["pd"].to_numpy()
    both = 0 < outcomes.sum() < len(outcomes)
    return PeopleGroup(
        field,
        level,
        loans.height,
        approved=_share(int((loans["decision"].cast(pl.String) == DECISIONS[0]).sum()), loans.height),
        mean_pd=_between_0_and_1(mean_estimate(pds)),
        default_rate=_share(int(outcomes.sum()), loans.height),
        auc=_between_0_and_1(Ranking.of(outcomes, loans["raw_score"].to_numpy()).auc_estimate()) if both else None,
    )


def _share(count: int, total: int) -> Interval:
    """Return a share with E. B. Wilson's interval, Probable Inference, 1927: it stays between 0 and 1."""
    share, z = count / total, _NORMAL
    middle = (share + z**2 / (2 * total)) / (1 + z**2 / total)
    half = z / (1 + z**2 / total) * sqrt(share * (1 - share) / total + z**2 / (4 * total**2))
    return Interval(share, max(min(middle - half, share), 0.0), min(max(middle + half, share), 1.0))


def _between_0_and_1(estimate: Estimate) -> Interval:
    return Interval(estimate.value, max(estimate.low, 0.0), min(estimate.high, 1.0))
