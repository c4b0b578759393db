"""Groups of people are measured by level or band of the protected fields, with intervals, and small ones are not."""

from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from loan_default.risk.contract.loading import load_contract
from loan_default.risk.validation.champion_challenger import SCORES
from loan_default.risk.validation.examination.fairness import PeopleGroup, measure_fairness
from loan_default_tests.risk.contract.drafts import CONTRACT
from loan_default_tests.risk.small_books import TIMELESS

ROWS = 2_000


@pytest.fixture(scope="module")
def groups() -> dict[tuple[str, str], PeopleGroup]:
    """Measure a version that approves 1 of 2 women and 3 of 4 men, and ranks both alike."""
    rng = np.random.default_rng(1)
    pds = rng.random(ROWS)
    sexes = np.where(np.arange(ROWS) % 2, "f", "m")
    limits = np.where(sexes == "f", 0.5, 0.75)
    test = pl.DataFrame(
        {
            "outcome": (rng.random(ROWS) < pds).astype(int),
            "sex": [None if row < 10 else sex for row, sex in enumerate(sexes)],
            "age": rng.integers(18, 80, ROWS).astype(float),
            SCORES + "xgboost": pl.DataFrame(
                {"pd": pds, "raw_score": pds, "decision": np.where(pds < limits, "approve", "decline")}
            ).to_struct(),
        }
    )
    return {(group.field, group.level): group for group in measure_fairness(test, "xgboost", TIMELESS)}


def test_levels_stand_in_the_contracts_order_and_numbers_in_fifths(
    groups: dict[tuple[str, str], PeopleGroup],
) -> None:
    names = list(groups)
    assert names[:3] == [("sex", "f"), ("sex", "m"), ("sex", "missing")]
    ages = [group for (field, _), group in groups.items() if field == "age"]
    assert len(ages) == 5
    assert ages[0].level.startswith("18 to ")
    assert ages[-1].level.endswith(" to 79")
    assert sum(group.loans for group in ages) == ROWS
    assert min(group.loans for group in ages) > ROWS / 7


def test_each_group_has_its_approvals_pds_defaults_and_ranking_with_intervals(
    groups: dict[tuple[str, str], PeopleGroup],
) -> None:
    women, men = groups["sex", "f"], groups["sex", "m"]
    for group, approved in ((women, 0.5), (men, 0.75)):
        for figure in (group.approved, group.mean_pd, group.default_rate, group.auc):
            assert figure is not None
            assert 0 <= figure.low < figure.value < figure.high <= 1
            assert figure.high - figure.low < 0.1
        assert group.approved is not None
        assert group.approved.low < approved < group.approved.high
    assert women.approved is not None
    assert men.approved is not None
    assert women.approved.high < men.approved.low


def test_a_group_of_few_loans_is_counted_and_not_measured(groups: dict[tuple[str, str], PeopleGroup]) -> None:
    assert groups["sex", "missing"] == PeopleGroup("sex", "missing", 10)


def test_a_group_that_ended_alike_has_no_ranking() -> None:
    scores = pl.DataFrame({"pd": [0.1] * 40, "raw_score": [0.1] * 40, "decision": ["approve"] * 40}).to_struct()
    test = pl.DataFrame({"outcome": [0] * 40, "sex": ["f"] * 40, "age": [30.0] * 40, SCORES + "xgboost": scores})
    woman, age = measure_fairness(test, "xgboost", TIMELESS)
    assert woman.auc is None
    assert woman.default_rate is not None
    assert woman.default_rate.low == 0 < woman.default_rate.high < 0.1
    assert age.level == "30"


def test_months_stand_in_fifths_and_few_of_them_alone(tmp_path: Path) -> None:
    job = "name: job, kind: nominal, role: feature, levels: [A, B]"
    text = CONTRACT.replace(job, "name: born, kind: month, role: protected")
    path = tmp_path / "contract.yaml"
    path.write_text(text, encoding="utf-8")
    contract, rows = load_contract(path), 240
    pds = np.linspace(0.01, 0.99, rows)
    scores = pl.DataFrame({"pd": pds, "raw_score": pds, "decision": ["approve"] * rows}).to_struct()
    months = [None if row < 40 else date(1960 + row % 40, 1, 1) for row in range(rows)]
    test = pl.DataFrame({"outcome": [0, 1] * (rows // 2), "born": months, SCORES + "xgboost": scores})
    levels = {group.level: group.loans for group in measure_fairness(test, "xgboost", contract)}
    assert levels == {
        "1960-01 to 1967-01": 40,
        "1968-01 to 1975-01": 40,
        "1976-01 to 1983-01": 40,
        "1984-01 to 1991-01": 40,
        "1992-01 to 1999-01": 40,
        "missing": 40,
    }
    few = test.with_columns(born=pl.Series([date(1960 + row % 2, 1, 1) for row in range(rows)]))
    assert [group.level for group in measure_fairness(few, "xgboost", contract)] == ["1960-01", "1961-01"]
