"""How good versions proved to be: which loans count, that estimates meet what happens, when a version has degraded."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.loading import load_contract
from loan_default.risk.loan_order import draw_of
from loan_default.risk.metrics import Bootstrap
from loan_default.risk.monitoring.early_performance import Course
from loan_default.risk.monitoring.performance import Performance, estimate, judge_performance, measure_performance
from loan_default.risk.policy import PerformancePolicy, load_policy
from loan_default_tests.risk.small_books import FINAL, TIMELESS

CONTRACT = load_contract()
POLICY = PerformancePolicy(
    least_loans=500,
    least_defaults=50,
    size=0.05,
    auc_at_least=0.55,
    auc_shortfall_at_most=0.05,
    calibration_tolerance=0.15,
)
AT = datetime(2015, 1, 1, tzinfo=UTC)


def prediction(loan: str | None, issued: date = date(2014, 5, 1), **values: Any) -> dict[str, Any]:
    defaults = {"term": 36.0, "pd": 0.2, "decision": "review", "model_version": 1, "scored_at": AT}
    return {"id": loan, "issue_d": issued, **defaults, **values}


def measured(
    predictions: Sequence[Mapping[str, Any]],
    outcomes: Mapping[str, int | None],
    *,
    until: date | None = date(2018, 6, 1),
    production: int | None = 1,
    policy: PerformancePolicy = POLICY,
    developed_until: date = date(2013, 12, 1),
) -> Performance:
    return measure_performance(
        pl.LazyFrame(predictions, schema_overrides={"id": pl.String}),
        pl.LazyFrame({"id": list(outcomes), "outcome": list(outcomes.values())}, schema_overrides={"outcome": pl.Int8}),
        CONTRACT,
        policy,
        production=production,
        seen_until=until,
        learned=dict.fromkeys((1, 2, 3), developed_until),
        cutoff=0.3,
        bootstrap=Bootstrap(7, 10),
    )


def many(rows: int, seed: int, *, slope: float = 1.0, lift: float = 0.0) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Make predictions, and outcomes drawn by log-odds of `slope` times the predicted ones, and `lift` more."""
    rng = np.random.default_rng(seed)
    odds = rng.normal(-1.6, 0.9, rows)
    months = [date(2014, 1 + number % 12, 1) for number in range(rows)]
    predictions = [
        prediction(str(number), month, pd=float(1 / (1 + np.exp(-odds[number]))), decision="approve")
        for number, month in enumerate(months)
    ]
    chance = 1 / (1 + np.exp(-(slope * (odds + 1.6) - 1.6 + lift)))
    return predictions, {str(number): int(bad) for number, bad in enumerate(rng.random(rows) < chance)}


# --- which loans count


def test_a_loan_counts_once_term_and_grace_are_over_and_its_outcome_is_known() -> None:
    predictions = [
        prediction("known"),
        prediction("unresolved"),
        prediction("untold"),
        prediction("young", date(2015, 2, 1)),
        prediction("long", term=60.0),
    ]
    outcomes = {"known": 1, "unresolved": None, "young": 1, "long": 0}
    (version,) = measured(predictions, outcomes, until=date(2017, 10, 1)).versions
    assert (version.loans, version.matured, version.known, version.defaults) == (5, 3, 1, 1)
    (version,) = measured(predictions, outcomes, until=date(2017, 9, 1)).versions
    assert (version.matured, version.known) == (0, 0)
    (version,) = measured(predictions, outcomes, until=None).versions
    assert (version.matured, version.known, version.real) == (0, 0, None)


def test_loans_of_the_months_that_a_version_was_developed_on_do_not_count_for_it() -> None:
    predictions = [prediction("old", date(2013, 12, 1)), prediction("new", date(2014, 1, 1))]
    (version,) = measured(predictions, {"old": 1, "new": 0}).versions
    assert (version.loans, version.learned, version.defaults) == (1, 1, 0)


def test_of_several_predictions_of_a_loan_by_a_version_the_last_counts_and_loans_without_id_stay_apart() -> None:
    later = AT + timedelta(days=1)
    predictions = [
        prediction("a", decision="approve", scored_at=later),
        prediction("a", decision="decline"),
        prediction("a", decision="review", model_version=2),
        prediction(None),
        prediction(None),
    ]
    performance = measured(predictions, {"a": 0})
    assert [(v.version, v.loans) for v in performance.versions] == [(1, 3), (2, 1)]
    assert performance.decisions.select("model_version", "decision", "known").rows() == [
        (1, "approve", 1),
        (1, "review", 0),
        (2, "review", 1),
    ]


def test_nothing_predicted_is_no_verdict_and_no_row() -> None:
    nothing = pl.DataFrame([prediction("a")]).clear().to_dicts()
    schema = pl.DataFrame([prediction("a")]).schema
    performance = measure_performance(
        pl.LazyFrame(nothing, schema=schema),
        pl.LazyFrame(schema={"id": pl.String, "outcome": pl.Int8}),
        CONTRACT,
        POLICY,
        production=None,
        seen_until=None,
        learned={},
        cutoff=0.3,
        bootstrap=Bootstrap(7, 10),
    )
    assert performance.to_dict()["verdict"] == "no version in production"
    assert performance.vintages.is_empty()


# --- real and estimated figures


def test_figures_of_known_loans_are_those_of_scikit_learn() -> None:
    predictions, outcomes = many(2_000, 1)
    performance = measured(predictions, outcomes)
    (version,) = performance.versions
    truth, pds = np.array(list(outcomes.values())), np.array([p["pd"] for p in predictions])
    assert version.real is not None
    assert version.real["auc"].value == pytest.approx(roc_auc_score(truth, pds))
    assert version.real["brier"].value == pytest.approx(np.mean((truth - pds) ** 2))
    assert version.estimate is None
    row = performance.vintages.row(0, named=True)
    first = np.array([p["issue_d"].month <= 3 for p in predictions])
    assert (row["vintage"], row["known"]) == ("2014-Q1", first.sum())
    assert row["auc"] == pytest.approx(roc_auc_score(truth[first], pds[first]))
    assert row["default_rate"] == pytest.approx(truth[first].mean())
    assert performance.groups["loans"].sum() == 2_000


def test_before_they_mature_loans_have_estimates_and_no_figures() -> None:
    predictions, outcomes = many(2_000, 1)
    performance = measured(predictions, outcomes, until=date(2016, 12, 1))
    (version,) = performance.versions
    assert version.real is None
    assert version.estimate is not None
    for row in performance.vintages.iter_rows(named=True):
        assert (row["known"], row["auc"], row["brier"]) == (0, None, None)
        assert 0.5 < row["estimated_auc"] < 1


@given(pds=st.lists(st.floats(0.001, 0.999), min_size=2, max_size=60))
def test_the_estimate_weighs_every_pair_of_loans(pds: list[float]) -> None:
    p = np.array(pds)
    bad, good = p[:, None], 1 - p[None, :]
    wins = (p[:, None] > p[None, :]) + 0.5 * (p[:, None] == p[None, :])
    expected = float(np.sum(bad * good * wins) / (p.sum() * (1 - p).sum()))
    estimated = estimate(p)
    assert estimated["auc"] == pytest.approx(expected)
    assert estimated["brier"] == pytest.approx(float(np.mean(p * (1 - p) ** 2 + (1 - p) * p**2)))


def test_where_pds_are_right_what_happens_is_what_was_estimated() -> None:
    predictions, outcomes = many(40_000, 2)
    (version,) = measured(predictions, outcomes).versions
    assert version.real is not None
    assert version.expected is not None
    for name, off in (("auc", 0.01), ("ks", 0.02), ("brier", 0.003)):
        assert version.real[name].value == pytest.approx(version.expected[name], abs=off)


# --- the verdict


@pytest.mark.parametrize(
    ("how", "verdict", "rules"),
    [
        ({}, "healthy", []),
        ({"slope": 0.3}, "degraded", ["ranks_as_expected", "calibrated"]),
        ({"lift": 0.6}, "degraded", ["calibrated"]),
        ({"slope": 0.0}, "degraded", ["auc_floor", "ranks_as_expected"]),
    ],
)
def test_each_way_to_degrade(how: dict[str, float], verdict: str, rules: list[str]) -> None:
    predictions, outcomes = many(6_000, 3, **how)
    judged = measured(predictions, outcomes).verdict
    assert judged is not None
    assert judged.verdict == verdict
    assert [finding.rule for finding in judged.findings if not finding.passed] == rules
    assert all(reason.endswith(".") for reason in judged.reasons)


def test_the_newest_vintages_that_suffice_are_judged() -> None:
    good, fell = many(4_000, 4), many(4_000, 5, slope=0.0)
    first = [{**p, "id": f"a{p['id']}"} for p in good[0]]
    second = [{**p, "id": f"b{p['id']}", "issue_d": p["issue_d"].replace(year=2015)} for p in fell[0]]
    outcomes = {f"a{k}": v for k, v in good[1].items()} | {f"b{k}": v for k, v in fell[1].items()}
    judged = measured([*first, *second], outcomes, until=date(2019, 6, 1)).verdict
    assert judged is not None
    assert judged.verdict == "degraded"
    assert "loans of 2015-Q4" in judged.reasons[0]


@pytest.mark.parametrize(("loans", "defaults"), [(499, 100), (1_000, 49), (1_000, 1_000)])
def test_too_few_outcomes_are_no_verdict(loans: int, defaults: int) -> None:
    vintage = pl.DataFrame(
        {
            "vintage": "2014-Q1",
            "issued": date(2014, 1, 1),
            "pd": 0.2,
            "outcome": [1] * defaults + [0] * (loans - defaults),
        }
    )
    judged = judge_performance(1, vintage, POLICY, CONTRACT)
    assert judged.verdict == "not enough outcomes"
    assert f"{loans:,} matured loans with {defaults:,} defaults are known" in judged.reasons[0]


def test_only_the_version_in_production_is_judged() -> None:
    predictions, outcomes = many(2_000, 3, slope=0.0)
    judged = measured(predictions, outcomes, production=2).verdict
    assert judged is not None
    assert (judged.version, judged.verdict) == (2, "not enough outcomes")
    assert measured(predictions, outcomes, production=None).verdict is None


def test_the_shipped_policy_judges_a_good_version_healthy() -> None:
    predictions, outcomes = many(20_000, 6)
    judged = measured(predictions, outcomes, policy=load_policy().performance).verdict
    assert judged is not None
    assert judged.verdict == "healthy"


@pytest.mark.parametrize("rows", [500, 3_000])
@pytest.mark.parametrize("highest", [1.0, 0.15])
@pytest.mark.slow
def test_a_version_whose_pds_are_right_is_called_degraded_one_time_of_twenty_at_most(rows: int, highest: float) -> None:
    """Also where only the safest applicants were approved, whom no model tells apart well."""
    policy = load_policy().performance.model_copy(update={"least_defaults": 10})

    def degraded(seed: int) -> bool:
        rng = np.random.default_rng(seed)
        pds = 1 / (1 + np.exp(-rng.normal(-1.9, 0.65, 4 * rows)))
        pds = pds[pds < highest][:rows]
        loans = pl.DataFrame({"pd": pds, "outcome": (rng.random(rows) < pds).astype(int)}).with_columns(
            vintage=pl.lit("2014-Q1"), issued=pl.lit(date(2014, 1, 1))
        )
        return judge_performance(1, loans, policy, CONTRACT).verdict == "degraded"

    assert np.mean([degraded(seed) for seed in range(150)]) <= 0.05


def test_a_finding_says_how_large_an_error_it_would_have_seen() -> None:
    predictions, outcomes = many(6_000, 3)
    judged = measured(predictions, outcomes).verdict
    assert judged is not None
    assert all("would have been seen 19 times of 20" in finding.sentence for finding in judged.findings[1:])


# --- books of other shapes


def measured_small(
    contract: Contract,
    predictions: Sequence[Mapping[str, Any]],
    outcomes: Mapping[str, int | None],
    learned: Any = None,
) -> Performance:
    never = date(1990, 1, 1) if contract.has_time else pl.Series("draw", [], dtype=pl.Float64)
    return measure_performance(
        pl.LazyFrame(predictions, schema_overrides={"id": pl.String}),
        pl.LazyFrame({"id": list(outcomes), "outcome": list(outcomes.values())}, schema_overrides={"outcome": pl.Int8}),
        contract,
        POLICY,
        production=1,
        seen_until=date(2012, 1, 1),
        learned={1: never if learned is None else learned},
        cutoff=0.3,
        bootstrap=Bootstrap(7, 10),
    )


def scored(loan: str | None, **values: Any) -> dict[str, Any]:
    return {"id": loan, "pd": 0.2, "decision": "review", "model_version": 1, "scored_at": AT, **values}


def test_a_final_outcome_counts_when_it_is_told() -> None:
    young = {"issued": date(2014, 12, 1)}
    predictions = [scored("bad", **young), scored("good", **young), scored("open", **young), scored("untold", **young)]
    performance = measured_small(FINAL, predictions, {"bad": 1, "good": 0, "open": None})
    (version,) = performance.versions
    assert (version.loans, version.matured, version.known, version.defaults) == (4, 2, 2, 1)
    assert performance.vintages["vintage"].to_list() == ["2014-Q4"]
    assert (performance.quarters_of, performance.outcomes_mature) == ("issue", False)
    assert performance.verdict is not None
    assert performance.verdict.reasons[0].startswith("Outcomes of 2 loans with 1 default are known; 500 and 50")


def test_without_a_date_quarters_are_those_of_scoring_and_called_so() -> None:
    predictions = [scored("a"), scored("b", scored_at=AT + timedelta(days=100))]
    performance = measured_small(TIMELESS, predictions, {"a": 1, "b": 0})
    assert performance.vintages["vintage"].to_list() == ["scored 2015-Q1", "scored 2015-Q2"]
    assert performance.to_dict()["quarters_of"] == "scoring"
    assert performance.versions[0].known == 2


def test_of_a_book_without_dates_and_numbers_it_is_said_that_its_loans_are_not_known_again() -> None:
    described = TIMELESS.model_dump(exclude_defaults=True)
    others = [field for field in described["fields"] if field["role"] != "id"]
    unnumbered = Contract.model_validate({**described, "fields": others})
    record = measured_small(unnumbered, [scored("loans-1")], {"loans-1": 1}).to_dict()
    assert record["remark"] == (
        "The contract describes no number of a loan. Where files have no column id either, a loan of development that "
        "is scored again counts as new here."
    )
    assert measured_small(TIMELESS, [scored("a")], {"a": 1}).to_dict()["remark"] is None
    assert measured_small(FINAL, [scored("a", issued=date(2014, 1, 1))], {"a": 1}).remark is None


def test_without_a_date_the_very_loans_that_a_version_was_developed_on_do_not_count_for_it() -> None:
    draws = pl.DataFrame({"id": ["a", "c"]}).select(draw_of("id")).to_series()
    (version,) = measured_small(TIMELESS, [scored(loan) for loan in "abc"], {"a": 1, "b": 0}, learned=draws).versions
    assert (version.loans, version.learned, version.known) == (1, 2, 1)


def test_without_a_date_an_applicant_without_id_counts_as_none_of_the_loans_of_development() -> None:
    draws = pl.DataFrame({"id": ["a"]}).select(draw_of("id")).to_series()
    (version,) = measured_small(TIMELESS, [scored("a"), scored(None), scored(None)], {"a": 1}, learned=draws).versions
    assert (version.loans, version.learned, version.known) == (2, 1, 0)


# --- before loans mature


def followed(defaulted: int) -> Performance:
    """Measure 400 loans of May 2014, told to run in June, of which so many have defaulted in July; none has matured."""
    ids = [str(number) for number in range(400)]
    came = [number < defaulted for number in range(400)]
    june, july = date(2014, 6, 1), date(2014, 7, 1)
    outcomes = pl.LazyFrame(
        {
            "id": ids,
            "outcome": [1 if bad else None for bad in came],
            "month": [july] * 400,
            "first": [june] * 400,
            "ended": [july if bad else None for bad in came],
            "before": [june if bad else None for bad in came],
        },
        schema_overrides={"outcome": pl.Int8, "ended": pl.Date, "before": pl.Date},
    )
    return measure_performance(
        pl.LazyFrame([prediction(name) for name in ids]),
        outcomes,
        CONTRACT,
        POLICY,
        production=1,
        seen_until=july,
        learned={1: date(2013, 12, 1)},
        cutoff=0.3,
        bootstrap=Bootstrap(7, 10),
        courses={36.0: Course(np.arange(43) / 42, np.arange(43) / 84)},
    )


def test_a_fall_is_seen_before_any_loan_has_matured() -> None:
    fallen, calm = followed(40), followed(2)
    assert fallen.verdict is not None and calm.verdict is not None
    assert fallen.verdict.verdict == "degraded"
    assert fallen.verdict.reasons[0].startswith("40 of 400 loans have defaulted so far where 2 were expected")
    assert calm.verdict.verdict == "not enough outcomes"
    assert [finding.rule for finding in calm.verdict.findings] == ["early_defaults", "enough_outcomes"]
    (row,) = fallen.to_dict()["early"]
    assert (row["vintage"], row["loans"], row["defaults"], row["months_on_book"]) == ("2014-Q2", 400, 40, None)
