"""A hazard that is too high is found within months, and one that is right is hardly ever taken for it."""

from dataclasses import dataclass

import numpy as np
import polars as pl
import pytest

from loan_default.risk.arrays import Floats
from loan_default.risk.contract.columns import OUTCOME, TERM
from loan_default.risk.monitoring.early_performance import Course, YoungLoans, courses_of
from loan_default.risk.policy import load_policy
from loan_default_tests.packages import applications, scorer, timed_scorer

MONTHS = 36
POLICY = load_policy().performance
SIZE = POLICY.size / 4
REPAYMENT = 0.02  # of the loans that run, in a month
WATCHED = 12  # months


def incidences(hazard: Floats) -> tuple[Floats, Floats]:
    """Return cumulative incidences of default and of repayment (months + 1,) by the hazard of default in each month."""
    running = np.cumprod(np.concatenate([[1.0], 1 - hazard - REPAYMENT]))
    return tuple(np.concatenate([[0.0], np.cumsum(running[:-1] * each)]) for each in (hazard, REPAYMENT))  # type: ignore[return-value]


@dataclass(frozen=True)
class SimulatedBook:
    """Loans of so many a month for a year, each month told how they stand; hazards are `times` the version's."""

    a_month: int
    times: float
    seed: int

    def watch(self, tolerance: float = POLICY.calibration_tolerance) -> int | None:
        """Return the month in which the fall is found; None where it is not within a year."""
        rng = np.random.default_rng(self.seed)
        shape = np.minimum(np.arange(MONTHS) / 8, 1.0)
        expected, repaid = incidences(0.004 * shape)
        courses = {float(MONTHS): Course(expected / expected[-1], repaid / (1 - expected[-1]))}
        issued = np.repeat(np.arange(WATCHED), self.a_month)
        draws, rows = rng.random((MONTHS, 2, len(issued))), np.arange(len(issued))
        defaults = draws[:, 0] < (0.004 * self.times * shape)[:, None]
        ends = defaults | (draws[:, 1] < REPAYMENT)
        ended = np.where(ends.any(axis=0), ends.argmax(axis=0) + 1, MONTHS + 1).astype(float)
        outcomes = defaults[np.minimum(ended.astype(int), MONTHS) - 1, rows].astype(float)
        for month in range(2, WATCHED + 1):
            age = (month - issued).astype(float)
            is_over = ended <= age
            loans = pl.DataFrame(
                {
                    "vintage": np.full(len(issued), "2020-Q1"),
                    TERM: np.full(len(issued), float(MONTHS)),
                    "pd": np.full(len(issued), expected[-1]),
                    OUTCOME: np.where(is_over, outcomes, np.nan),
                    "first": np.zeros(len(issued)),
                    "observed": np.where(is_over & (outcomes == 1), ended, age),
                    "ended": np.where(is_over, ended, np.nan),
                    "before": np.where(is_over, ended - 1, np.nan),
                }
            ).with_columns(pl.col(OUTCOME, "ended", "before").fill_nan(None))
            young = YoungLoans.of(loans.filter(pl.col("observed") >= 1), courses)
            if young and not young.finding(tolerance, SIZE).passed:
                return month
        return None


def share_found(a_month: int, times: float, books: int) -> float:
    return float(np.mean([SimulatedBook(a_month, times, seed).watch() is not None for seed in range(books)]))


def test_a_hazard_half_as_high_again_is_found_within_a_year() -> None:
    assert share_found(4_000, 1.5, books=3) == 1


@pytest.mark.slow
def test_a_hazard_that_is_right_or_a_little_higher_is_not_taken_for_a_fall() -> None:
    assert share_found(2_000, 1.0, books=3) == share_found(2_000, 1.1, books=3) == 0


@pytest.mark.long
def test_over_many_books_a_fall_is_found_and_there_are_few_false_alarms() -> None:
    assert share_found(4_000, 1.5, books=60) >= 0.95
    assert share_found(4_000, float(np.exp(POLICY.calibration_tolerance)), books=60) <= 0.05


def followed_loans(*loans: tuple[float | None, float, float, float | None, float | None]) -> pl.DataFrame:
    """Loans by their outcome, and the months `first`, `observed`, `ended` and `before`."""
    columns = {OUTCOME: pl.Int8, **dict.fromkeys(("first", "observed", "ended", "before"), pl.Float64)}
    fixed = {"vintage": pl.lit("2020-Q1"), TERM: pl.lit(12.0), "pd": pl.lit(0.5)}
    return pl.DataFrame(loans, schema=columns, orient="row", strict=False).with_columns(**fixed)


COURSES = {12.0: Course(np.arange(13) / 12, np.arange(13) / 24)}


def test_loans_count_from_the_month_in_which_they_were_told_to_run() -> None:
    """Of one that is first told of when it has ended, it is not known that it would have been told of otherwise."""
    young = YoungLoans.of(
        followed_loans(
            (None, 0, 6, None, None), (1, 2, 6, 6, 5), (1, 6, 6, 6, None), (None, 6, 6, None, None), (0, 0, 6, 4, 3)
        ),
        COURSES,
    )
    assert young.outcomes.tolist() == pytest.approx([np.nan, 1, 0], nan_ok=True)
    running = 1 - 1 / 12 - 1 / 24
    defaulted, repaid = young.expected_by(np.full(3, 6.0))
    assert defaulted == pytest.approx([0.25, (0.25 - 1 / 12) / running, 0.25])
    assert repaid == pytest.approx([0.125, (0.125 - 1 / 24) / running, 0.125])
    *by_month, to_date = young.rows(3).rows(named=True)
    assert [row["months_on_book"] for row in by_month] == [3, 6]
    assert to_date == {
        "model_version": 3,
        "vintage": "2020-Q1",
        "months_on_book": None,
        "loans": 3,
        "defaults": 1,
        "expected_defaults": pytest.approx(float(defaulted.sum())),
        "repaid": 1,
        "expected_repaid": pytest.approx(float(repaid.sum())),
    }
    assert [row["defaults"] for row in by_month] == [0, 1]


@pytest.mark.parametrize("pd", [0.01, 0.4, 0.9])
def test_a_loan_defaults_or_is_repaid_from_any_month_on_and_never_both(pd: float) -> None:
    """All that do not default are repaid: by the share of all loans that are, a risky one would do both."""
    courses = {12.0: Course(np.arange(13) / 12, np.arange(13) / 12)}
    loans = followed_loans(*[(None, month, 12, None, None) for month in range(12)]).with_columns(pd=pl.lit(pd))
    defaulted, repaid = YoungLoans.of(loans, courses).expected_by(np.full(12, 12.0))
    assert defaulted == pytest.approx(np.full(12, pd)) and repaid == pytest.approx(np.full(12, 1 - pd))


def test_a_finding_says_what_a_book_of_this_size_finds() -> None:
    """Of 20,000 loans so many have to default for a fall that by the hazards it names 19 draws of 20 have more."""
    running = [(None, 0, 6, None, None)] * 20_000
    young = YoungLoans.of(followed_loans(*running).with_columns(pd=pl.lit(0.01)), COURSES)
    expected = float(young.expected_by(young.observed)[0].sum())
    least = young.least_found(young.observed, 0.15, SIZE)
    draws = np.random.default_rng(1).poisson(least * expected, 2_000)
    rows = pl.int_range(pl.len())

    def is_found(defaults: int) -> bool:
        came = rows < defaults
        loans = followed_loans(*running).with_columns(
            pl.when(came).then(1).alias(OUTCOME),
            *(pl.when(came).then(month).alias(name) for name, month in (("ended", 6.0), ("before", 5.0))),
            pd=pl.lit(0.01),
        )
        return not YoungLoans.of(loans, COURSES).finding(0.15, SIZE).passed

    assert [is_found(int(np.quantile(draws, share))) for share in (0.02, 0.08)] == [False, True]
    sentence = young.finding(0.15, SIZE).sentence
    assert f"By now hazards {least - 1:.0%} higher would have been found 19 times of 20, with twelve months" in sentence


def test_what_comes_after_the_end_of_a_course_is_no_evidence() -> None:
    late = [(1, 0, 40, 20, 19)] * 30, [(None, 14, 20, None, None)] * 30, [(1, 14, 20, 20, 19)] * 30
    young = YoungLoans.of(followed_loans(*late[0], *late[1], *late[2], (1, 0, 40, 20, 6)), COURSES)
    assert len(young) == 31
    assert (young.outcomes == 1).sum() == young.rows(1)["defaults"][-1] == 1, "one may have defaulted before the end"
    assert young.finding(0.15, 0.01).passed


def test_a_month_is_left_out_where_it_is_not_known_who_had_ended() -> None:
    young = YoungLoans.of(followed_loans((None, 0, 6, None, None), (1, 0, 6, 6, 2)), COURSES)
    assert young.rows(1)["months_on_book"].to_list() == [6, None]


def test_the_finding_says_what_came_and_what_was_expected() -> None:
    young = YoungLoans.of(followed_loans(*[(1, 0, 3, 3, 2)] * 30, *[(None, 0, 3, None, None)] * 30), COURSES)
    finding = young.finding(0.15, 0.01)
    assert not finding.passed
    assert finding.sentence.startswith(
        "30 of 60 loans have defaulted so far where 8 were expected by their months on book; "
        "hazards 16% higher would be let pass"
    )


@pytest.mark.slow
def test_courses_are_those_of_the_version_and_there_are_none_without_hazards() -> None:
    sample = applications()[1]
    courses = courses_of(timed_scorer("xgboost"), sample, [36.0, 60.0, 0.0, float("nan")])
    assert [*courses] == [36, 60], "of a term that is nothing no month is known"
    for term, course in courses.items():
        assert len(course.defaulted) == len(course.repaid) > term
        assert (course.defaulted[0], course.defaulted[-1]) == (0, pytest.approx(1))
        assert (np.diff(course.defaulted) >= 0).all() and (np.diff(course.repaid) >= 0).all()
        assert 0.5 < course.repaid[-1] < 1
    assert courses_of(scorer("xgboost"), sample, [36.0]) == {}
