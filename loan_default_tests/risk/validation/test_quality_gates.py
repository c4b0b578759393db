"""Each gate, one failing signal at a time."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from loan_default.risk.contract.book import Contract
from loan_default.risk.data.cleaning import clean_loans
from loan_default.risk.data.cleaning_report import CleaningReport
from loan_default.risk.data.population import Population
from loan_default.risk.errors import BadInput
from loan_default.risk.metrics import Bootstrap, Interval, auc_of, measure
from loan_default.risk.model.calibration import fit_calibration
from loan_default.risk.model.development import LocalDevelopment
from loan_default.risk.model.features import FeatureSpace
from loan_default.risk.model.training import CalibrateWindow, Candidate
from loan_default.risk.policy import Finding, Policy
from loan_default.risk.validation.quality_gates import (
    CLEANING_RULES,
    NO_FIELD_LOST,
    PREDICTION_RULES,
    TRAINING_RULES,
    failures,
    judge_candidate,
    judge_cleaning,
    judge_fields,
    judge_predictions,
)
from loan_default_tests.conftest import Cleaned
from loan_default_tests.risk.small_books import BOOKS, make_file

Signal = tuple[CleaningReport, pl.LazyFrame]


def failed(findings: tuple[Finding, ...]) -> dict[str, str]:
    return {finding.rule: finding.sentence for finding in findings if not finding.passed}


def reported(**what: Any) -> Callable[[Signal], Signal]:
    return lambda signal: (replace(signal[0], **what), signal[1])


def changed(change: Callable[[pl.LazyFrame], pl.LazyFrame]) -> Callable[[Signal], Signal]:
    return lambda signal: (signal[0], change(signal[1]))


def test_sound_loans_pass_every_rule(cleaned: Cleaned, contract: Contract) -> None:
    findings = judge_cleaning(cleaned.report, pl.scan_parquet(cleaned.path), contract)
    assert tuple(finding.rule for finding in findings) == tuple(CLEANING_RULES)
    assert failed(findings) == {}
    assert failures(findings) == ""


@pytest.mark.parametrize(
    ("change", "rule", "sentence"),
    [
        (changed(lambda loans: loans.drop("dti")), "columns_match_contract", "not those of the contract"),
        (
            changed(lambda loans: loans.select(pl.all().reverse().name.keep(), x=1)),
            "columns_match_contract",
            "not those",
        ),
        (changed(lambda loans: loans.with_columns(pl.col("id").first())), "ids_unique", "4,000 loans have 1 ids."),
        (
            reported(rejected=211, problems={"dti: missing": 200, "term: missing": 11}),
            "rejected_share_within_limit",
            "5.01% of the rows were rejected (dti: missing 200, term: missing 11); 5% is allowed.",
        ),
        (reported(default_rate=0.601), "default_rate_in_band", "60.1% of the matured loans defaulted; 1% to 60%"),
        (reported(default_rate=0.009), "default_rate_in_band", "0.9% of the matured loans defaulted"),
        (
            reported(default_rate=None, snapshot=date(2019, 3, 1)),
            "default_rate_in_band",
            "No loan has matured by the snapshot month 2019-03, so there is no default rate; give older loans, or",
        ),
    ],
)
def test_one_signal_fails_one_rule_of_cleaning(
    cleaned: Cleaned, contract: Contract, change: Callable[[Signal], Signal], rule: str, sentence: str
) -> None:
    report, loans = change((cleaned.report, pl.scan_parquet(cleaned.path)))
    findings = judge_cleaning(report, loans, contract)
    assert list(failed(findings)) == [rule]
    assert sentence in failures(findings)


def test_limits_themselves_are_allowed(cleaned: Cleaned, contract: Contract) -> None:
    for what in ({"kept": 95, "rejected": 5}, {"default_rate": 0.01}, {"default_rate": 0.60}):
        failing = failed(judge_cleaning(replace(cleaned.report, **what), pl.scan_parquet(cleaned.path), contract))
        assert set(failing) <= {"ids_unique"}, what  # of a report that counts other loans


@pytest.mark.parametrize("name", ["total_pymnt", "last_fico_range_low", "debt_settlement_flag_Y", "loan_status"])
def test_columns_from_after_the_grant_are_named(cleaned: Cleaned, contract: Contract, name: str) -> None:
    loans = pl.scan_parquet(cleaned.path).with_columns(pl.lit(0).alias(name))
    failing = failed(judge_cleaning(cleaned.report, loans, contract))
    assert list(failing) == ["columns_match_contract", "nothing_from_after_the_loan_was_granted"]
    assert failing["nothing_from_after_the_loan_was_granted"].endswith(f"granted: {name}.")


def a_window(
    rows: int = 6_000, *, strength: float = 1.0, shift: float = 0.0, opinion: float | None = 0.5
) -> tuple[np.ndarray, CalibrateWindow]:
    """Margins that follow the outcomes, of which the later half of the months has log-odds higher by `shift`."""
    rng = np.random.default_rng(11)
    months = np.sort(rng.integers(0, 12, rows))
    margins = rng.normal(size=rows)
    log_odds = -1.7 + 0.8 * strength * margins + np.where(months >= 6, shift, 0)
    outcomes = (rng.random(rows) < 1 / (1 + np.exp(-log_odds))).astype(float)
    lenders = None if opinion is None else opinion * margins + rng.normal(size=rows)
    return margins, CalibrateWindow(outcomes, months, lenders)


def judged(fitted: Candidate, margins: np.ndarray, window: CalibrateWindow, policy: Policy, low: float = 0.65) -> Any:
    metrics = {"auc": Interval(auc_of(window.outcomes, margins), low, 1)}
    candidate = replace(fitted, metrics=metrics, margins=margins)
    return judge_candidate(candidate, window, policy.promotion, bootstrap=Bootstrap(7, 50))


@pytest.mark.parametrize(
    ("window", "low", "rules"),
    [
        ({}, 0.60, []),
        ({"opinion": None}, 0.60, []),
        ({}, 0.599, ["auc_floor"]),
        ({"opinion": 40.0}, 0.60, ["better_than_the_opinion"]),
        ({"strength": 2.5}, 0.60, ["not_too_good_to_be_true"]),
        ({"shift": 0.6}, 0.60, ["calibrated"]),
        ({"shift": -0.6}, 0.60, ["calibrated"]),
    ],
)
def test_candidates_are_held_to_the_policy(
    ranked: tuple[Candidate, ...], policy: Policy, window: dict[str, Any], low: float, rules: list[str]
) -> None:
    margins, loans = a_window(**window)
    findings = judged(ranked[0], margins, loans, policy, low)
    assert tuple(finding.rule for finding in findings) == tuple(TRAINING_RULES)
    assert list(failed(findings)) == rules
    opinion = (
        "No loan has an opinion of the lender"
        if window.get("opinion", 0) is None
        else "The lender's opinion alone reaches AUC"
    )
    assert findings[1].sentence.startswith(opinion)
    assert "AUC" in findings[2].sentence


def test_noise_does_not_pass_for_a_candidate(ranked: tuple[Candidate, ...], policy: Policy) -> None:
    """Platt's scaling makes calibrated PDs of noise, so it is told by its AUC and by the opinion that beats it."""
    _, window = a_window()
    rng = np.random.default_rng(3)
    for _ in range(5):
        margins = rng.normal(size=len(window.outcomes)) * 3 + 5
        metrics = measure(
            window.outcomes,
            fit_calibration(margins, window.outcomes).pds(margins),
            margins,
            cutoff=0.3,
            bootstrap=Bootstrap(3, 20),
        )
        noise = replace(ranked[0], metrics=metrics, margins=margins)
        findings = judge_candidate(noise, window, policy.promotion, bootstrap=Bootstrap(7, 20))
        assert {"auc_floor", "better_than_the_opinion"} <= failed(findings).keys()


def test_a_candidate_is_judged_by_the_margins_of_the_fit_that_had_not_seen_the_window(
    ranked: tuple[Candidate, ...], development: LocalDevelopment, policy: Policy
) -> None:
    for candidate in ranked:
        outcomes = development.calibrate.y.astype(float)
        assert candidate.metrics["auc"].value == auc_of(outcomes, candidate.margins)
        assert fit_calibration(candidate.margins, outcomes) == candidate.scorer.calibration


@pytest.mark.parametrize(
    ("pds", "applications", "rules"),
    [
        ([0.0, 0.5, 1.0], 3, []),
        ([0.5], 2, ["one_row_per_application"]),
        ([0.5, 0.5], 1, ["one_row_per_application"]),
        ([0.5, None], 2, ["every_pd_between_0_and_1"]),
        ([0.5, float("nan")], 2, ["every_pd_between_0_and_1"]),
        ([0.5, 1.0001], 2, ["every_pd_between_0_and_1"]),
        ([-0.1, None, 0.5], 2, ["one_row_per_application", "every_pd_between_0_and_1"]),
        ([], 0, []),
    ],
)
def test_predictions_are_complete_and_probabilities(
    pds: list[float | None], applications: int, rules: list[str]
) -> None:
    findings = judge_predictions(pl.LazyFrame({"pd": pds}, schema={"pd": pl.Float64}), applications)
    assert (NO_FIELD_LOST, *(finding.rule for finding in findings)) == tuple(PREDICTION_RULES)
    assert list(failed(findings)) == rules


# --- fields of a batch ----------------------------------------------------------------------------------------

SHARES = {"dti": 0.001, "revol_bal": 0.0, "revolving_to_income": 0.0, "mths_since_last_record": 0.85, "bc_util": 1.0}
POPULATION = Population(missing_share=SHARES)


def batch(rows: int, *lost: str) -> pl.LazyFrame:
    """A batch whose first row has no value, and without any value of the fields that are lost."""
    values = {name: [None, *([None if name in lost else 1.0] * (rows - 1))] for name in SHARES}
    return pl.LazyFrame(values, schema=dict.fromkeys(SHARES, pl.Float64))


@pytest.mark.parametrize(
    ("rows", "lost", "accepted", "named"),
    [
        (400, [], [], []),
        (400, ["bc_util"], [], []),
        (400, ["dti"], [], ["dti"]),
        (400, ["dti", "revol_bal", "revolving_to_income"], [], ["dti", "revol_bal"]),
        (400, ["dti"], ["dti"], []),
        (400, ["revol_bal", "revolving_to_income"], ["revol_bal"], []),
        (400, ["dti", "revol_bal"], ["dti"], ["revol_bal"]),
        (400, ["revolving_to_income"], [], ["revolving_to_income"]),
        (400, ["mths_since_last_record"], [], ["mths_since_last_record"]),
        (43, ["mths_since_last_record"], [], ["mths_since_last_record"]),
        (42, ["mths_since_last_record"], [], []),
        (2, ["dti"], [], ["dti"]),
    ],
)
def test_a_batch_without_any_value_of_a_field_of_development_is_refused(
    contract: Contract, rows: int, lost: list[str], accepted: list[str], named: list[str]
) -> None:
    finding = judge_fields(batch(rows, *lost), FeatureSpace(contract, POPULATION), accepted)
    assert finding.passed is (named == [])
    for name in SHARES:
        assert (f"--accept-missing {name}" in finding.sentence) is (name in named)


def test_the_sentence_names_the_fields_and_what_to_do(contract: Contract) -> None:
    def sentence(*lost: str) -> str:
        return judge_fields(batch(400, *lost), FeatureSpace(contract, POPULATION)).sentence

    assert sentence("dti", "mths_since_last_record") == (
        "No application of the batch has dti or mths_since_last_record, which 15.0% to 99.9% of the loans of "
        "development had; correct the file, or have it scored without by --accept-missing dti --accept-missing "
        "mths_since_last_record (in Dagster: accept_missing of predictions)."
    )
    assert "has dti, which 99.9% of the loans" in sentence("dti")
    assert sentence("dti", "mths_since_last_record", "revol_bal", "revolving_to_income").endswith(
        "by --accept-missing FIELD for each of them (in Dagster: accept_missing of predictions)."
    )


def test_a_version_without_a_population_accepts_every_batch(contract: Contract) -> None:
    assert judge_fields(batch(400, *SHARES), FeatureSpace(contract)).passed


def test_a_field_that_the_model_does_not_see_may_be_lost(contract: Contract) -> None:
    population = Population(missing_share={"dti": 0.0, "grade": 0.0})
    applications = pl.LazyFrame({"dti": [1.0] * 9, "grade": pl.Series([None] * 9, dtype=pl.String)})
    assert not judge_fields(applications, FeatureSpace(contract, population)).passed
    assert judge_fields(applications, FeatureSpace(contract, population, without_opinion=True)).passed


def test_only_a_field_can_be_accepted_as_missing(contract: Contract) -> None:
    with pytest.raises(BadInput, match=r"^dit, which may be missing, is no field; the fields are loan_amnt, "):
        judge_fields(batch(400), FeatureSpace(contract, POPULATION), ["dit"])


def test_failures_are_one_text() -> None:
    findings = (
        Finding("a", False, "One is wrong."),
        Finding("b", True, "Two is right."),
        Finding("c", False, "So is 3."),
    )
    assert failures(findings) == "One is wrong. So is 3."


# --- books of other shapes


def clean_small(folder: Path, contract: Contract, file: pl.DataFrame) -> tuple[CleaningReport, pl.LazyFrame]:
    file.write_csv(folder / "loans.csv")
    report = clean_loans([folder / "loans.csv"], contract, cleaned=folder / "c.parquet", rejected=folder / "r.parquet")
    return report, pl.scan_parquet(folder / "c.parquet")


@pytest.mark.parametrize("name", BOOKS)
def test_cleaned_loans_of_every_kind_of_book_pass(tmp_path: Path, name: str) -> None:
    contract = BOOKS[name]
    report, loans = clean_small(tmp_path, contract, make_file(300))
    assert failures(judge_cleaning(report, loans, contract)) == ""
    columns = loans.collect_schema().names()
    assert {"sex", "age"} <= set(columns), "protected fields are kept for the fairness report"
    assert ("matures" in columns) == (report.snapshot is not None) == (not contract.outcomes_are_final)
    if contract.outcomes_are_final:
        assert report.matured == report.resolved == 300


@pytest.mark.parametrize(
    ("book", "change", "sentence"),
    [
        (
            "constant",
            {"issued": ""},
            "No date was read: no loan has issued, so none is known to have matured, so there",
        ),
        ("term_as_support", {"term": ""}, "No term was read: no loan has term, so none is known to have matured, so"),
        ("by_product", {"product": ""}, "No term was read: no loan has product, so none is known to have matured, so"),
        (
            "constant",
            {"issued": "2016-12"},
            "No loan has matured by the snapshot month 2016-12, so there is no default",
        ),
        ("constant", {"status": "open"}, "No loan has an outcome: status is never bad, good, so there is no default"),
        ("constant", {"status": "good"}, "None of the {matured} matured loans defaulted; 1% to 90% is expected."),
        (
            "timeless",
            {"status": "good"},
            "None of the {matured} loans with an outcome defaulted; 1% to 90%",
        ),
    ],
)
def test_why_there_is_no_default_rate_is_said_as_it_is(
    tmp_path: Path, book: str, change: dict[str, str], sentence: str
) -> None:
    file = make_file(2_000).with_columns(pl.lit(value).alias(name) for name, value in change.items())
    report, loans = clean_small(tmp_path, BOOKS[book], file)
    failing = failed(judge_cleaning(report, loans, BOOKS[book]))
    assert list(failing) == ["default_rate_in_band"]
    assert failing["default_rate_in_band"].startswith(sentence.format(matured=f"{report.matured:,}"))
    assert ("None of the" in failing["default_rate_in_band"]) == (change == {"status": "good"})
