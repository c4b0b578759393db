"""Candidates: how they are fitted, what they may look at, and that they beat the lender's grade."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from loan_default.risk.arrays import Floats
from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.columns import OUTCOME
from loan_default.risk.contract.loading import load_contract
from loan_default.risk.data.splits import WINDOWS
from loan_default.risk.data.splitting import window_loans
from loan_default.risk.errors import BadInput
from loan_default.risk.metrics import Bootstrap, auc_of, measure
from loan_default.risk.model.candidates.registry import CANDIDATES
from loan_default.risk.model.candidates.xgboost_trees import XGBoostTrees
from loan_default.risk.model.development import LocalDevelopment
from loan_default.risk.model.features import FeatureSpace
from loan_default.risk.model.online_features import QuickReader
from loan_default.risk.model.scorer import Scorer
from loan_default.risk.model.search_space import SearchSpace, load_search_space
from loan_default.risk.model.training import Candidate, opinion_auc, rank_candidates, train_candidates
from loan_default.risk.policy import load_policy
from loan_default_tests.packages import full_search_space
from loan_default_tests.risk.conftest import SEED, published_loans

CONTRACT = load_contract()
DECISION = load_policy().decision
NAMES = [candidate.name for candidate in CANDIDATES]


def outcomes_of(loans: pl.DataFrame) -> Floats:
    return loans[OUTCOME].to_numpy().astype(np.float64)


def small(development: LocalDevelopment, rows: int = 600) -> LocalDevelopment:
    """Keep the first loans of both windows."""

    def head(name: str) -> object:
        sample = getattr(development, name)
        return replace(sample, X=sample.X[:rows], y=sample.y[:rows])

    return LocalDevelopment(development.space, head("train"), head("calibrate"))  # type: ignore[arg-type]


def test_the_chosen_candidate_comes_first_and_the_others_by_their_auc(ranked: tuple[Candidate, ...]) -> None:
    aucs = [candidate.metrics["auc"].value for candidate in ranked]
    assert sorted(candidate.kind for candidate in ranked) == sorted(NAMES)
    assert aucs[1:] == sorted(aucs[1:], reverse=True)
    assert len(set(aucs)) == len(NAMES)
    assert all(candidate.scorer.kind == candidate.kind for candidate in ranked)


def test_another_candidate_is_chosen_only_for_more_than_chance() -> None:
    outcomes = np.random.default_rng(1).integers(0, 2, 400).astype(np.float64)
    noise = np.random.default_rng(2).normal(size=(3, 400))
    alike = (outcomes + noise[0] + x for x in (0, noise[1] / 4))
    first, a_hair_better = sorted(alike, key=lambda margins: auc_of(outcomes, margins))
    better = 3 * outcomes + noise[2]
    assert auc_of(outcomes, first) < auc_of(outcomes, a_hair_better) < auc_of(outcomes, better)
    margins = {"random_forest": a_hair_better, "xgboost": first}
    assert rank_candidates(margins, outcomes) == ["xgboost", "random_forest"]
    margins["logistic_regression"] = better
    assert rank_candidates(margins, outcomes) == ["logistic_regression", "random_forest", "xgboost"]


@pytest.mark.slow
def test_the_same_seed_gives_the_same_models_and_another_seed_others(
    development: LocalDevelopment, quick_search: SearchSpace
) -> None:
    few = small(development)

    def margins(seed: int) -> dict[str, Floats]:
        candidates = train_candidates(few, quick_search, DECISION, seed=seed)
        return {candidate.kind: candidate.scorer.model.margins(few.calibrate.X) for candidate in candidates}

    first, second, other = margins(1), margins(1), margins(2)
    for kind in NAMES:
        assert np.array_equal(first[kind], second[kind]), kind
    assert not np.array_equal(first["xgboost"], other["xgboost"])
    assert not np.array_equal(first["random_forest"], other["random_forest"])


def test_only_the_kinds_asked_for_are_fitted_and_each_is_told(
    development: LocalDevelopment, quick_search: SearchSpace
) -> None:
    fitted_kinds: list[str] = []
    candidates = train_candidates(
        small(development),
        quick_search,
        DECISION,
        seed=SEED,
        kinds=["logistic_regression", "random_forest"],
        on_fitted=lambda candidate: fitted_kinds.append(candidate.kind),
    )
    assert fitted_kinds == ["random_forest", "logistic_regression"]
    assert {candidate.kind for candidate in candidates} == set(fitted_kinds)


def test_without_names_those_that_the_search_space_enables_are_fitted(
    development: LocalDevelopment, quick_search: SearchSpace
) -> None:
    search = quick_search
    for name in NAMES[:-1]:
        search = search.replace(name, enabled=name == "random_forest")
    search = SearchSpace({name: section for name, section in search.sections.items() if name != NAMES[-1]})
    fitted = train_candidates(small(development), search, DECISION, seed=SEED)
    assert [candidate.kind for candidate in fitted] == ["random_forest"]
    fitted = train_candidates(small(development), search, DECISION, seed=SEED, kinds=["logistic_regression"])
    assert [candidate.kind for candidate in fitted] == ["logistic_regression"]  # a name counts more than `enabled`


@pytest.mark.parametrize(
    ("kinds", "sentence"),
    [
        (["xgboost", "neural"], "neural is no candidate that this release knows; choose among xgboost, random_forest"),
        (["lightgbm"], "The search space has no section lightgbm; add one, as conf/search_space.yaml shows."),
        ([], "The search space enables no candidate; enable one, or name those to fit."),
    ],
)
def test_candidates_that_cannot_be_fitted_are_refused(
    development: LocalDevelopment, kinds: list[str], sentence: str
) -> None:
    search = load_search_space()
    for name in search.sections:
        search = search.replace(name, enabled=False)
    with pytest.raises(BadInput, match=sentence):
        train_candidates(development, search, DECISION, seed=SEED, kinds=kinds)


@pytest.mark.parametrize("kind", NAMES)
def test_every_candidate_beats_the_grade_on_later_loans_and_none_too_well(
    candidates: Mapping[str, Candidate], windows: Mapping[str, pl.DataFrame], kind: str
) -> None:
    test = windows["test"]
    outcomes = outcomes_of(test)
    scored = candidates[kind].scorer.score(test, with_reasons=False)
    by_grade = opinion_auc(test, outcomes, CONTRACT)
    assert by_grade is not None
    assert by_grade + 0.01 < auc_of(outcomes, scored["raw_score"]) < 0.80
    assert scored["pd"].mean() == pytest.approx(outcomes.mean(), abs=0.03)


# --- without the lender's opinion -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def blind(windows: Mapping[str, pl.DataFrame], development: LocalDevelopment, quick_search: SearchSpace) -> Scorer:
    """A scorer that was trained, and decides, without the lender's opinion."""
    space = replace(development.space, without_opinion=True)
    hidden = LocalDevelopment.of(windows["train"], windows["calibrate"], space)
    decision = DECISION.model_copy(update={"decide_without_opinion": True})
    (candidate,) = train_candidates(hidden, quick_search, decision, seed=SEED, kinds=["xgboost"])
    return candidate.scorer


def test_without_opinion_no_model_sees_it_and_no_decision_moves_with_it(
    blind: Scorer, development: LocalDevelopment, windows: Mapping[str, pl.DataFrame], tmp_path: Path
) -> None:
    fields = {name.partition("=")[0] for name in blind.space.columns}
    assert set(CONTRACT.feature_names) - fields == CONTRACT.opinions
    assert blind.space.fingerprint != development.space.fingerprint
    loans = windows["test"].head(200)
    changed = loans.with_columns(grade=pl.lit("G"), sub_grade=pl.lit(None, pl.String), int_rate=pl.lit(29.0))
    scored = blind.score(loans)
    assert scored.equals(blind.score(changed))
    codes = scored["reason_codes"].explode().struct.unnest().drop_nulls()
    assert codes.height > 100
    assert not set(codes["field"]) & CONTRACT.opinions
    blind.save(tmp_path)
    again = Scorer.load(tmp_path)
    assert again.policy.decide_without_opinion
    assert again.score(loans).equals(scored)


def test_without_opinion_an_application_alone_is_scored_like_many(
    blind: Scorer, windows: Mapping[str, pl.DataFrame]
) -> None:
    loans = windows["test"].head(30)
    values, X = blind.space.values(loans), blind.space.matrix(loans)
    reader = QuickReader(blind.space)
    np.testing.assert_array_equal(reader.matrix(values), X)
    np.testing.assert_array_equal(np.vstack([reader.matrix([row]) for row in values.tolist()]), X)


def test_windows_and_policy_must_agree_on_what_is_seen(
    development: LocalDevelopment, quick_search: SearchSpace
) -> None:
    decision = DECISION.model_copy(update={"decide_without_opinion": True})
    with pytest.raises(ValueError, match="differ in whether the lender's opinion is seen"):
        train_candidates(development, quick_search, decision, seed=SEED, kinds=["xgboost"])


# --- the lender's opinion alone -------------------------------------------------------------------------------

OUTCOMES = np.array([0.0, 1.0, 0.0, 1.0])


def opinions(grades: list[str | None], sub_grades: list[str | None], rates: list[float | None]) -> pl.DataFrame:
    columns = {"grade": grades, "sub_grade": sub_grades, "int_rate": rates}
    return pl.DataFrame(columns, schema={"grade": pl.String, "sub_grade": pl.String, "int_rate": pl.Float64})


NONE: list[Any] = [None] * 4


@pytest.mark.parametrize(
    ("grades", "sub_grades", "rates", "auc"),
    [
        (["A", "A", "A", "A"], ["A1", "A4", "A2", "A3"], NONE, 1.0),  # the finer one counts
        (["A", "A", "A", "A"], ["A1", "A4", "A2", "A3"], [6.0, 8.0, 9.0, 9.5], 0.75),  # a number is the finest
        (["A", "B", "A", "A"], NONE, NONE, 0.75),  # or the grade, where there is no other
        (["A", "B", "A", "A"], [None, "A1", None, None], NONE, 0.75),  # or where most loans have only that
        (["A", "B", "A", "A"], NONE, [9.0, None, None, 6.0], 0.75),
        (NONE, ["A1", "A4", None, "A4"], NONE, 1.0),  # a loan without ranks in the middle
        (NONE, NONE, NONE, None),
    ],
)
def test_opinion_alone(
    grades: list[str | None], sub_grades: list[str | None], rates: list[float | None], auc: float | None
) -> None:
    assert opinion_auc(opinions(grades, sub_grades, rates), OUTCOMES, CONTRACT) == auc


Changes = dict[str, Mapping[str, Any]]  # keys of fields, by their names


def contract_with(**changes: Mapping[str, Any]) -> Contract:
    """The contract with changes to fields, by their names."""
    fields = [{**field.model_dump(), **changes.get(field.name, {})} for field in CONTRACT.fields]
    return Contract(**{**CONTRACT.model_dump(), "fields": fields, "groups": {}})


def test_only_what_the_contract_calls_an_opinion_counts() -> None:
    loans = opinions(["A", "B", "A", "A"], [None] * 4, [6.0, 8.0, 9.0, 9.5])
    none: Changes = {name: {"opinion": False} for name in ("grade", "sub_grade", "int_rate")}
    assert opinion_auc(loans, OUTCOMES, contract_with(**none)) is None
    graded: Changes = {**none, "grade": {"group": "grade"}}
    assert opinion_auc(loans, OUTCOMES, contract_with(**graded)) == 0.75
    falling: Changes = {**none, "int_rate": {"risk": "falling", "group": "int_rate"}}
    assert opinion_auc(loans, OUTCOMES, contract_with(**falling)) == 0.25


# --- on the published loans -----------------------------------------------------------------------------------


@pytest.mark.real_data
def test_quality_on_the_published_loans_of_2011(real_data: Path, tmp_path: Path) -> None:
    """Fitted on 2007 to 2010; XGBoost's own defaults reach 0.665 here."""
    loans, splits = published_loans(real_data, tmp_path)
    train, calibrate, test = (window_loans(loans, CONTRACT, splits, name) for name in WINDOWS)
    development, search = (
        LocalDevelopment.of(train, calibrate, FeatureSpace(CONTRACT, splits.population)),
        full_search_space(),
    )
    candidates = train_candidates(
        development, search, DECISION, seed=7, kinds=["xgboost", "logistic_regression", "lightgbm"]
    )
    outcomes = outcomes_of(test)
    reached = {}
    for candidate in candidates:
        scored = candidate.scorer.score(test, with_reasons=False)
        metrics = measure(outcomes, scored["pd"], scored["raw_score"], cutoff=0.3, bootstrap=Bootstrap(0, 2))
        reached[candidate.kind] = {name: metrics[name].value for name in ("auc", "brier", "ece")}
    assert reached["xgboost"]["auc"] >= 0.703
    assert reached["xgboost"]["brier"] <= 0.1201
    assert reached["xgboost"]["ece"] <= 0.02
    assert reached["logistic_regression"]["auc"] >= 0.699
    unfettered = {"monotone_constraints": "()"}  # XGBoost's defaults: six levels, fast learning, 100 rounds
    parameters = search.tunable("xgboost").model_copy(update={"start": unfettered, "rounds_at_most": 100})
    plain = XGBoostTrees.fit(development, "both", parameters, 7)
    assert auc_of(outcomes, plain.margins(development.space.matrix(test))) < 0.68


@pytest.mark.real_data
@pytest.mark.long
def test_quality_without_the_lenders_opinion(real_data: Path, tmp_path: Path) -> None:
    loans, splits = published_loans(real_data, tmp_path)
    train, calibrate, test = (window_loans(loans, CONTRACT, splits, name) for name in WINDOWS)
    decision = DECISION.model_copy(update={"decide_without_opinion": True})
    development = LocalDevelopment.of(train, calibrate, FeatureSpace(CONTRACT, splits.population, True))
    (candidate,) = train_candidates(development, load_search_space(), decision, seed=7, kinds=["xgboost"])
    scored = candidate.scorer.score(test, with_reasons=False)
    assert auc_of(outcomes_of(test), scored["raw_score"]) >= 0.69
