"""Audits the reasons of declined and reviewed loans: how often each is told, whether it is true, whether it lasts.

Finding reasons is `model.reason_codes`'s. Here each code is held against the loan's own value and the typical one once
more, by the loans and not by the code that chose it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.field import LoanField
from loan_default.risk.data.population import Population
from loan_default.risk.model.scorer import Scorer
from loan_default.risk.validation.examination.sensitivity import within

JITTER, LEAST_VALUES = 0.01, 20  # of each number of more different values than these: a term is one of few


@dataclass(frozen=True)
class GroupFrequency:
    """Count the loans with reasons that name a group of fields at all, and as the first; `opinion`: it is one."""

    group: str
    opinion: bool
    loans: int
    first: int


@dataclass(frozen=True)
class ReasonAudit:
    """The reasons of a sample of `loans` that were declined or sent to a person.

    Attributes:
        loans: how many.
        without_reason: those of them that are told none.
        codes: all reasons together.
        untrue: those whose side is not that of the loan's value, as `GROUP: FIELD SIDE` → how many.
        led_by_opinion: loans whose first reason is the lender's own opinion.
        first_lasts: share of the loans whose first reason stays the same group where each number moves by `JITTER` at
            most, whole ones to whole ones, unless it has few values; of those that still have reasons then.
        decision_lasts: share of the loans whose decision stays the same then.
        groups: told most often first.
    """

    loans: int
    without_reason: int
    codes: int
    untrue: Mapping[str, int]
    led_by_opinion: int
    first_lasts: float | None
    decision_lasts: float | None
    groups: tuple[GroupFrequency, ...]


def audit_reasons(scorer: Scorer, loans: pl.DataFrame, seed: int) -> ReasonAudit:
    """Score loans (n rows), and look at each reason that is told to those that are not approved."""
    scored = loans.hstack(scorer.score(loans).select("decision", "reason_codes"))
    explained = scored.filter(pl.col("decision") != "approve")
    codes = explained["reason_codes"].to_list()
    firsts = [row[0]["group"] if row else None for row in codes]
    opinions = opinion_groups(scorer.contract)
    first_lasts, decision_lasts = _lasting(scorer, explained, firsts, seed)
    return ReasonAudit(
        loans=len(codes),
        without_reason=firsts.count(None),
        codes=sum(map(len, codes)),
        untrue=_untrue(explained, codes, scorer.contract, scorer.population),
        led_by_opinion=sum(group in opinions for group in firsts),
        first_lasts=first_lasts,
        decision_lasts=decision_lasts,
        groups=_frequencies(codes, firsts, opinions),
    )


def opinion_groups(contract: Contract) -> frozenset[str]:
    """Name the groups whose fields are the lender's own opinion."""
    return frozenset(contract.by_name[name].group for name in contract.opinions)


def _frequencies(codes: list[list[Any]], firsts: list[Any], opinions: frozenset[str]) -> tuple[GroupFrequency, ...]:
    counts = Counter(code["group"] for row in codes for code in row)
    first = Counter(firsts)
    most_often = sorted(counts, key=lambda group: (-counts[group], group))
    return tuple(GroupFrequency(group, group in opinions, counts[group], first[group]) for group in most_often)


def _untrue(
    loans: pl.DataFrame, codes: Iterable[list[Any]], contract: Contract, population: Population
) -> dict[str, int]:
    untrue = Counter(
        f"{code['group']}: {code['field']} {code['side']}"
        for loan, row in zip(loans.iter_rows(named=True), codes, strict=True)
        for code in row
        if not is_true(code["side"], loan[name := code["field"]], population.typical.get(name), contract.by_name[name])
    )
    return dict(untrue.most_common())


def is_true(side: str, value: Any, typical: float | str | None, field: LoanField) -> bool:
    """Tell whether a value lies on the side of the typical one that a reason says."""
    if side == "missing" or value is None:
        return side == "missing" and value is None
    if typical is None or field.kind == "nominal":
        return side == "level"  # the sentence says the value itself
    number, middle = (field.levels.index(item) if isinstance(item, str) else item for item in (value, typical))
    return side == ("high" if number > middle else "low" if number < middle else "level")


def _lasting(scorer: Scorer, loans: pl.DataFrame, firsts: list[Any], seed: int) -> tuple[float | None, float | None]:
    """Move each number a little, each on its own, and compare first reasons and decisions."""
    if loans.is_empty():
        return None, None
    rng = np.random.default_rng(seed)
    numbers = [
        field
        for field in scorer.contract.features
        if field.kind == "number" and loans[field.name].n_unique() > LEAST_VALUES
    ]
    moved = loans.with_columns(
        within(
            field, pl.col(field.name) * pl.Series(rng.uniform(1 - JITTER, 1 + JITTER, loans.height)), loans[field.name]
        )
        for field in numbers
    )
    scored = scorer.score(moved)
    now = [row[0]["group"] if row else None for row in scored["reason_codes"].to_list()]
    pairs = [(before, after) for before, after in zip(firsts, now, strict=True) if before and after]
    stable = (scored["decision"] == loans["decision"]).mean()
    return (sum(a == b for a, b in pairs) / len(pairs) if pairs else None), float(stable)  # type: ignore[arg-type]
