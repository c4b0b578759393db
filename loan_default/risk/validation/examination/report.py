"""Holds what the examination of a version found, as the record of its evaluation stores it.

Each part is measured by a module of its own. What moved from development to test is measured by `monitoring`, and
whether the server answers alike by a step that knows the server.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import polars as pl

from loan_default.risk.evaluation import Segment
from loan_default.risk.model.scorer import Scorer
from loan_default.risk.validation.alternatives import Alternative
from loan_default.risk.validation.examination.data_quality import FieldQuality
from loan_default.risk.validation.examination.fairness import PeopleGroup
from loan_default.risk.validation.examination.reason_audit import ReasonAudit, audit_reasons
from loan_default.risk.validation.examination.repeated_fields import CorrelatedPair, correlated_pairs
from loan_default.risk.validation.examination.sensitivity import Sensitivity, measure_sensitivity
from loan_default.risk.validation.plots import field_importance

EXAMINED_AT_MOST = 20_000  # test loans, drawn by a hash of their id
_MOVED_AT_MOST = 2_000  # of them


@dataclass(frozen=True)
class FieldShift:
    """Measure a field's shift from development to test: the largest PSI of its bins, its deciles and its missing share.

    None where development holds no value. `drifted` is what the policy's limits make of it. `against` says which scores
    the score is held against; records of before do not.
    """

    field: str
    psi: float | None
    drifted: bool
    against: str = ""


@dataclass(frozen=True)
class Parity:
    """The scoring server against the version's own model on the same `rows` applications.

    `form` is what the server computes few of them by. `difference` is the greatest between two PDs, `decisions` how
    many decisions differ, and `reasons` how many lists of reasons.
    """

    rows: int
    form: str
    difference: float
    decisions: int
    reasons: int


@dataclass(frozen=True)
class Examination:
    """Record findings on a version's data and behaviour; `rows` test loans were drawn for all but data and shifts."""

    rows: int
    quality: tuple[FieldQuality, ...]
    shifts: tuple[FieldShift, ...]
    repeated: tuple[CorrelatedPair, ...]
    importance: Mapping[str, float]
    sensitivity: Sensitivity
    reasons: ReasonAudit
    parity: Parity | None
    alternatives: tuple[Alternative, ...]
    by_decision: tuple[Segment, ...]
    fairness: tuple[PeopleGroup, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return it as a JSON record holds it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Examination:
        """Read what `to_dict` returned."""
        examination: Examination = _reader().validate_python(data)
        return examination


@lru_cache
def _reader() -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(Examination)


def _some(loans: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Draw loans to move: those that stand first in a file may be the newest."""
    return loans.sample(min(_MOVED_AT_MOST, loans.height), seed=seed)


def draw_loans(contract_id: str, share: float, loans: pl.DataFrame) -> pl.DataFrame:
    """Draw about this share of loans (n rows) by a hash of their id: the same however they are cut into parts."""
    return loans if share >= 1 else loans.filter(pl.col(contract_id).hash(seed=1) / 2.0**64 < share)


def examine(
    scorer: Scorer,
    loans: pl.DataFrame,
    *,
    quality: tuple[FieldQuality, ...],
    shifts: tuple[FieldShift, ...],
    parity: Parity | None,
    alternatives: tuple[Alternative, ...],
    by_decision: tuple[Segment, ...],
    fairness: tuple[PeopleGroup, ...] = (),
    seed: int,
) -> Examination:
    """Examine a version by loans of the test window (n rows with every feature); the other parts are handed in."""
    importance = field_importance(scorer.model, scorer.space)
    return Examination(
        rows=loans.height,
        quality=quality,
        shifts=shifts,
        repeated=correlated_pairs(loans, scorer.space),
        importance=importance,
        sensitivity=measure_sensitivity(scorer, _some(loans, seed), importance),
        reasons=audit_reasons(scorer, loans, seed),
        parity=parity,
        alternatives=alternatives,
        by_decision=by_decision,
        fairness=fairness,
    )
