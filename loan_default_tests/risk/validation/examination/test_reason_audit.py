"""Reasons are counted, held against each loan's own value, and asked for again after a small move."""

from collections.abc import Mapping
from dataclasses import replace

import polars as pl
import pytest

from loan_default.risk.contract.loading import load_contract
from loan_default.risk.model.scorer import Scorer
from loan_default.risk.validation.examination.reason_audit import audit_reasons, is_true, opinion_groups

CONTRACT = load_contract()


@pytest.mark.parametrize(
    ("name", "side", "value", "typical", "true"),
    [
        ("dti", "high", 20.0, 15.0, True),
        ("dti", "high", 10.0, 15.0, False),
        ("dti", "low", 10.0, 15.0, True),
        ("dti", "low", 15.0, 15.0, False),
        ("dti", "level", 15.0, 15.0, True),
        ("dti", "level", 16.0, 15.0, False),
        ("dti", "high", 20.0, None, False),
        ("dti", "missing", None, 15.0, True),
        ("dti", "missing", 15.0, 15.0, False),
        ("dti", "high", None, 15.0, False),
        ("sub_grade", "high", "D1", "B5", True),
        ("sub_grade", "low", "D1", "B5", False),
        ("purpose", "level", "car", "credit_card", True),
        ("purpose", "high", "car", "credit_card", False),
    ],
)
def test_a_side_is_true_of_a_value_or_not(
    name: str, side: str, value: float | str | None, typical: float | str | None, true: bool
) -> None:
    assert is_true(side, value, typical, CONTRACT.by_name[name]) == true


def test_every_reason_that_is_told_is_counted(scorer: Scorer, windows: Mapping[str, pl.DataFrame]) -> None:
    loans = windows["test"].head(400)
    audit, scores = audit_reasons(scorer, loans, seed=1), scorer.score(loans)
    explained = scores.filter(pl.col("decision") != "approve")
    assert audit.loans == explained.height
    assert audit.codes == explained["reason_codes"].list.len().sum()
    assert sum(group.loans for group in audit.groups) == audit.codes
    assert sum(group.first for group in audit.groups) == audit.loans - audit.without_reason
    opinions = opinion_groups(CONTRACT)
    assert opinions
    assert audit.led_by_opinion == sum(group.first for group in audit.groups if group.group in opinions)
    assert {group.group for group in audit.groups if group.opinion} <= opinions
    assert audit.untrue == {}
    assert audit.first_lasts is not None
    assert 0.9 < audit.first_lasts <= 1
    assert 0.9 < audit.decision_lasts <= 1  # type: ignore[operator]


def test_a_population_that_is_not_the_models_own_makes_reasons_untrue(
    scorer: Scorer, windows: Mapping[str, pl.DataFrame]
) -> None:
    class Liar:
        """Scores by the model's population, and says that another one is typical."""

        contract, score = scorer.contract, scorer.score
        population = replace(scorer.population, typical={**scorer.population.typical, "dti": 99.0})

    audit = audit_reasons(Liar(), windows["test"].head(400), seed=1)  # type: ignore[arg-type]
    assert any("dti high" in code for code in audit.untrue)


def test_without_a_decline_or_review_there_is_nothing_to_audit(
    scorer: Scorer, windows: Mapping[str, pl.DataFrame]
) -> None:
    audit = audit_reasons(scorer, windows["test"].clear(), seed=1)
    assert (audit.loans, audit.codes, audit.groups, audit.first_lasts) == (0, 0, (), None)
