"""Reasons against brute force: the contract's sentences, strongest first, never the lender's own opinion."""

from collections.abc import Mapping

import numpy as np
import polars as pl
import pytest

from loan_default.risk.contract import load_contract
from loan_default.risk.model.features import FeatureSpace
from loan_default.risk.model.reason_codes import field_contributions, reasons_for
from loan_default.risk.model.scorer import Scorer

CONTRACT = load_contract()
SPACE = FeatureSpace(CONTRACT)
OPINIONS = ("grade", "sub_grade", "int_rate")


def contributions(**of: float) -> np.ndarray:
    """Make one row, zero but in the columns named (`purpose_car` is `purpose=car`)."""
    row = np.zeros(len(SPACE.columns))
    for name, value in of.items():
        row[SPACE.columns.index(name if name in SPACE.columns else "=".join(name.rsplit("_", 1)))] = value
    return row[None]


def sentences(*names: str) -> list[str]:
    return [str(CONTRACT.by_name[name].reason) for name in names]


def by_brute_force(row: np.ndarray, at_most: int) -> list[str]:
    """Add up by name, sort, cut."""
    added: dict[str, float] = {}
    for column, value in zip(SPACE.columns, row, strict=True):
        name = column.partition("=")[0]
        added[name] = added.get(name, 0.0) + value
    raised = [name for name, value in added.items() if value > 0 and CONTRACT.by_name[name].reason]
    return sentences(*sorted(raised, key=lambda name: -added[name])[:at_most])


def test_the_lenders_own_opinion_has_no_sentence() -> None:
    assert [CONTRACT.by_name[name].reason for name in OPINIONS] == [None] * 3


def test_strongest_first_and_at_most_as_many_as_asked() -> None:
    row = contributions(dti=0.3, fico_range_low=0.9, annual_inc=0.1, term=0.5)
    ordered = sentences("fico_range_low", "term", "dti", "annual_inc")
    for at_most in range(6):
        assert reasons_for(row, SPACE, at_most=at_most) == [ordered[:at_most]]


def test_grade_and_rate_are_never_given_however_strong() -> None:
    row = contributions(grade=9.0, sub_grade=9.0, int_rate=9.0, dti=0.01)
    assert reasons_for(row, SPACE, at_most=4) == [sentences("dti")]


def test_what_lowers_the_risk_is_no_reason() -> None:
    assert reasons_for(contributions(dti=-1.0, term=0.0), SPACE, at_most=4) == [[]]


def test_levels_of_a_field_speak_together() -> None:
    row = contributions(purpose_car=0.6, purpose_house=-0.5, dti=0.2)
    assert reasons_for(row, SPACE, at_most=2) == [sentences("dti", "purpose")]
    names = [field.name for field in CONTRACT.features]
    by_field = field_contributions(row, SPACE)
    assert by_field.shape == (1, len(names))
    assert by_field[0, names.index("purpose")] == pytest.approx(0.1)


def test_reasons_equal_brute_force_over_random_contributions() -> None:
    rows = np.random.default_rng(0).normal(-0.05, 0.2, (200, len(SPACE.columns)))
    assert reasons_for(rows, SPACE, at_most=4) == [by_brute_force(row, 4) for row in rows]


def test_only_declined_loans_get_reasons_and_those_of_their_contributions(
    scorer: Scorer, windows: Mapping[str, pl.DataFrame]
) -> None:
    loans = windows["test"]
    scored = scorer.score(loans)
    declined = (scored["decision"] == "decline").to_numpy()
    assert 20 < declined.sum() < len(declined) / 2
    assert scored.filter(~declined)["reasons"].list.len().sum() == 0
    rows = scorer.model.contributions(scorer.space.matrix(loans.filter(declined)))
    reasons_given = scored.filter(declined)["reasons"].to_list()
    assert reasons_given == [by_brute_force(row, scorer.policy.reasons_at_most) for row in rows]
    assert max(len(reasons) for reasons in reasons_given) == scorer.policy.reasons_at_most
