"""What is sold now, counted among the newest loans whatever their outcome, and in the test window."""

import json
from dataclasses import asdict, replace
from datetime import date

import polars as pl
import pytest

from loan_default.risk.contract.book import Contract
from loan_default.risk.evaluation import Coverage, LevelCoverage
from loan_default.risk.policy import Policy
from loan_default.risk.validation.coverage import measure_coverage, segment_fields
from loan_default.risk.validation.promotion import decide_promotion
from loan_default_tests.risk.small_books import BY_WAVE, TIMELESS, make_file
from loan_default_tests.risk.validation.test_promotion import EVIDENCE, POLICY


def sold(months: int = 24, long_from: int = 12) -> pl.DataFrame:
    """Ten loans of each month, seven short ones; before `long_from` all are short."""
    rows = [(month, 60.0 if month >= long_from and row > 6 else 36.0) for month in range(months) for row in range(10)]
    return pl.DataFrame(rows, schema=["month", "term"], orient="row").select(
        pl.date(2010 + pl.col("month") // 12, pl.col("month") % 12 + 1, 1).alias("issue_d"),
        "term",
        pl.Series("grade", ["A", None] * (5 * months), dtype=pl.Enum(["A", "B"])),
        pl.int_range(pl.len()).cast(pl.String).alias("zip_code"),
        pl.lit("CA").alias("addr_state"),
    )


def test_the_newest_twelve_months_are_counted_and_what_of_them_is_in_test(contract: Contract, policy: Policy) -> None:
    loans = sold()
    test = loans.filter(pl.col("issue_d") < date(2010, 3, 1))
    coverage = measure_coverage(loans.lazy(), test, contract, policy.promotion)
    assert coverage is not None
    assert (coverage.first_month, coverage.last_month) == ("2011-01", "2011-12")
    by_field: dict[str, list[LevelCoverage]] = {}
    for level in coverage.levels:
        by_field.setdefault(level.field, []).append(level)
    assert by_field["term"] == [LevelCoverage("term", "36", 0.7, 20), LevelCoverage("term", "60", 0.3, 0)]
    assert by_field["grade"] == [LevelCoverage("grade", "A", 0.5, 10), LevelCoverage("grade", "missing", 0.5, 10)]
    assert by_field["addr_state"] == [LevelCoverage("addr_state", "CA", 1.0, 20)]
    assert len(by_field["zip_code"]) == 60
    fields = segment_fields(contract, policy.promotion)
    assert list(by_field) == [name for name in fields if name in loans.columns]
    assert coverage.empty == tuple(name for name in fields if name not in loans.columns)


def test_a_term_of_weeks_is_the_level_that_its_windows_are_called_by(contract: Contract, policy: Policy) -> None:
    loans = sold().with_columns(term=pl.lit(16 * 7 * 48 / 1461))  # sixteen weeks end in the fourth month
    coverage = measure_coverage(loans.lazy(), loans, contract, policy.promotion)
    assert coverage is not None
    assert [level.level for level in coverage.levels if level.field == "term"] == ["4"]


def test_a_segment_of_which_no_loan_has_a_value_is_named_and_no_level(contract: Contract, policy: Policy) -> None:
    loans = sold().with_columns(home_ownership=pl.lit(None, pl.String))
    coverage = measure_coverage(loans.lazy(), loans, contract, policy.promotion)
    assert coverage is not None
    assert "home_ownership" in coverage.empty
    assert "home_ownership" not in {level.field for level in coverage.levels}
    some = loans.with_columns(home_ownership=pl.when(pl.int_range(pl.len()) == 0).then(pl.lit("RENT")))
    coverage = measure_coverage(some.lazy(), some, contract, policy.promotion)
    assert coverage is not None
    assert LevelCoverage("home_ownership", "missing", 1.0, 239) in coverage.levels


def test_one_mistyped_month_does_not_make_the_newest_year(contract: Contract, policy: Policy) -> None:
    loans = sold().with_columns(
        issue_d=pl.when(pl.int_range(pl.len()) == 0).then(date(2030, 1, 1)).otherwise("issue_d")
    )
    coverage = measure_coverage(loans.lazy(), loans, contract, policy.promotion)
    assert coverage is not None
    assert coverage.last_month == "2011-12"
    assert measure_coverage(loans.lazy().head(0), loans, contract, policy.promotion) is None


@pytest.mark.parametrize(("tested", "verdict"), [(False, "hold"), (True, "promote")])
def test_a_product_that_no_window_holds_is_held_though_all_else_is_well(
    contract: Contract, policy: Policy, tested: bool, verdict: str
) -> None:
    """As on LendingClub's loans as of December 2014: not one of 60 months had matured, and the gate passed."""
    loans = sold()
    test = loans.filter(pl.col("issue_d").dt.year() == (2011 if tested else 2010))
    coverage = measure_coverage(loans.lazy(), test, contract, policy.promotion)
    decision = decide_promotion(1, None, replace(EVIDENCE, coverage=coverage), None, POLICY)
    assert decision.verdict == verdict
    if not tested:
        assert decision.reasons == (
            "Of the loans issued 2011-01 to 2011-12 30.0% are of term 60, of which the test window holds 0; 30 of each "
            "are needed. Left out, as no loan has a value: purpose.",
        )


def test_without_a_date_the_newest_cohorts_count_or_all_loans(policy: Policy) -> None:
    loans = make_file(1_000).with_columns(pl.col("wave").sort())
    promotion = policy.promotion.model_copy(update={"segments": ("home",)})
    by_wave = measure_coverage(loans.lazy(), loans, BY_WAVE, promotion)
    assert by_wave is not None
    assert by_wave.recent_loans == "the loans of the cohort h"
    newest = loans.filter(pl.col("wave") == "h")
    assert {level.level: level.recent_share for level in by_wave.levels} == {
        level: (newest["home"] == level).mean() for level in ("rent", "own")
    }
    assert measure_coverage(loans.lazy().head(0), loans, BY_WAVE, promotion) is None
    drawn = measure_coverage(loans.lazy(), loans, TIMELESS, promotion)
    assert drawn is not None
    assert drawn.recent_loans == "the loans of the files"
    assert sum(level.recent_share for level in drawn.levels) == pytest.approx(1)
    assert Coverage.from_dict(json.loads(json.dumps(asdict(by_wave)))) == by_wave
