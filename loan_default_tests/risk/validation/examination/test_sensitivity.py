"""Fields are moved one at a time and all at once, and what the version answers is reported as it is."""

from collections.abc import Mapping

import polars as pl
import pytest

from loan_default.risk.model.scorer import Scorer
from loan_default.risk.validation.examination.sensitivity import measure_sensitivity, within


@pytest.fixture(scope="module")
def loans(windows: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    return windows["test"].head(300)


def test_moving_a_field_scores_all_loans_with_its_value(scorer: Scorer, loans: pl.DataFrame) -> None:
    measured = measure_sensitivity(scorer, loans, {"dti": 0.6, "purpose": 0.4})
    scores = scorer.score(loans, with_reasons=False)
    assert measured.base.mean_pd == pytest.approx(scores["pd"].mean())
    assert measured.base.approved == pytest.approx((scores["decision"] == "approve").mean())
    dti = [line for line in measured.fields if line.field == "dti"]
    pds = [line.response.mean_pd for line in dti]
    assert pds == sorted(pds), "PD may only rise with it"
    assert pds[0] < pds[-1]
    median = loans["dti"].quantile(0.5, "nearest")
    again = scorer.score(loans.with_columns(dti=pl.lit(median)), with_reasons=False)
    assert again["pd"].mean() in [pytest.approx(value) for value in pds]
    assert {line.field for line in measured.fields} == {"dti", "purpose"}
    assert {line.value for line in measured.fields if line.field == "purpose"} <= set(loans["purpose"].unique())


def test_ends_that_no_loan_reaches_are_marked(scorer: Scorer, loans: pl.DataFrame) -> None:
    income = measure_sensitivity(scorer, loans, {"annual_inc": 1.0}).fields
    assert (income[0].value, income[-1].value) == ("100", "100,000,000")
    assert [line.beyond for line in income] == [True, *[False] * (len(income) - 2), True]


def test_all_fields_made_worse_at_once_raise_pds(scorer: Scorer, loans: pl.DataFrame) -> None:
    measured = measure_sensitivity(scorer, loans, {})
    assert [stress.worse_by for stress in measured.stresses] == [0.1, 0.25]
    little, much = (stress.response for stress in measured.stresses)
    assert measured.base.mean_pd < little.mean_pd < much.mean_pd
    assert measured.base.approved > much.approved


def test_levels_in_order_are_moved_to_their_quantiles_and_ends(scorer: Scorer, loans: pl.DataFrame) -> None:
    grades = measure_sensitivity(scorer, loans, {"grade": 1.0}).fields
    levels = [line.value for line in grades]
    assert levels == sorted(levels)
    assert (levels[0], levels[-1]) == ("A", "G")
    assert [line.beyond for line in grades] == [line.value not in loans["grade"].to_list() for line in grades]


def test_whole_numbers_stay_whole_and_within_what_is_allowed(scorer: Scorer) -> None:
    term, dti = (scorer.contract.by_name[name] for name in ("term", "dti"))
    numbers = pl.DataFrame({"term": [36.0, 60.0, 120.0], "dti": [1.5, 95.0, None]})
    moved = numbers.select(
        within(term, pl.col("term") * 1.01, numbers["term"]), within(dti, pl.col("dti") * 1.1, numbers["dti"])
    )
    assert moved["term"].to_list() == [36.0, 61.0, 120.0]
    assert moved["dti"].to_list() == [pytest.approx(1.65), 100.0, None]
