"""Judging on the test window: everyone on the same loans, against numbers measured one by one."""

import json
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from loan_default.risk.contract.book import Contract
from loan_default.risk.estimates import recalibrate
from loan_default.risk.evaluation import ComparableLoans, WindowDesign, compare
from loan_default.risk.loan_order import period_numbers
from loan_default.risk.metrics import Bootstrap, auc_gain, measure
from loan_default.risk.model.scorer import DECISIONS, Scorer
from loan_default.risk.model.training import Candidate, opinion_auc, opinion_scores
from loan_default.risk.policy import Policy, PromotionPolicy, load_policy
from loan_default.risk.validation.champion_challenger import (
    QUARTER,
    VINTAGE,
    Judgement,
    decision_shares,
    judge_on_test,
    score_test,
)

BOOTSTRAP = Bootstrap(seed=4, resamples=20)
ALL = pl.lit(True)


@pytest.fixture(scope="module")
def test_loans(windows: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    return windows["test"]


@pytest.fixture(scope="module")
def scorers(candidates: Mapping[str, Candidate]) -> dict[str, Scorer]:
    return {kind: candidates[kind].scorer for kind in ("xgboost", "logistic_regression")}


def judge(
    loans: pl.DataFrame,
    scorers: Mapping[str, Scorer],
    policy: PromotionPolicy,
    champion: Scorer | None = None,
    unseen: pl.Expr | None = ALL,
) -> tuple[Judgement, pl.DataFrame]:
    test = score_test(scorers, champion, policy, loans, unseen=unseen)
    return judge_on_test(
        test,
        scorers,
        "xgboost",
        champion,
        policy,
        design=WindowDesign(out_of_time=True),
        bootstrap=BOOTSTRAP,
    )


@pytest.fixture(scope="module")
def judged(
    test_loans: pl.DataFrame, scorers: dict[str, Scorer], candidates: Mapping[str, Candidate]
) -> tuple[Judgement, pl.DataFrame]:
    """Judge with the forest as champion."""
    return judge(test_loans, scorers, load_policy().promotion, candidates["random_forest"].scorer)


def outcomes_of(loans: pl.DataFrame) -> np.ndarray:
    return loans["outcome"].to_numpy().astype(float)


def arrays(scorer: Scorer, loans: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    scores = scorer.score(loans, with_reasons=False)
    return scores["pd"].to_numpy(), scores["raw_score"].to_numpy()


def test_everyone_is_measured_on_the_same_resamples(
    judged: tuple[Judgement, pl.DataFrame],
    test_loans: pl.DataFrame,
    scorers: dict[str, Scorer],
    candidates: Mapping[str, Candidate],
) -> None:
    judgement, _ = judged
    assert list(judgement.leaderboard) == list(scorers)
    everyone = {**judgement.leaderboard, "random_forest": judgement.champion}
    for kind, measured in everyone.items():
        scorer = candidates[kind].scorer
        cutoff = scorer.policy.decline_from
        alone = measure(outcomes_of(test_loans), *arrays(scorer, test_loans), cutoff=cutoff, bootstrap=BOOTSTRAP)
        assert measured == alone, kind
    decisions = scorers["xgboost"].score(test_loans, with_reasons=False)["decision"]
    assert 0 < (judgement.evaluation.approved or 0) == (decisions == "approve").mean()
    aucs = {kind: measured["auc"].value for kind, measured in everyone.items() if measured}
    assert len(set(aucs.values())) == 3


def test_the_leader_is_compared_with_the_champion(
    judged: tuple[Judgement, pl.DataFrame],
    test_loans: pl.DataFrame,
    scorers: dict[str, Scorer],
    candidates: Mapping[str, Candidate],
) -> None:
    judgement, _ = judged
    new, old = (arrays(scorer, test_loans) for scorer in (scorers["xgboost"], candidates["random_forest"].scorer))
    months = period_numbers(test_loans, scorers["xgboost"].contract)
    outcomes = outcomes_of(test_loans)
    assert judgement.comparison == compare(outcomes, new, old, months=months, bootstrap=BOOTSTRAP)


def test_candidate_and_champion_meet_only_on_loans_that_the_champion_was_not_developed_on(
    test_loans: pl.DataFrame, scorers: dict[str, Scorer], candidates: Mapping[str, Candidate], policy: Policy
) -> None:
    champion, late = candidates["random_forest"].scorer, pl.col("issue_d") >= test_loans["issue_d"].median()
    common = test_loans.filter(late)
    assert 500 <= common.height < test_loans.height
    judgement, _ = judge(test_loans, scorers, policy.promotion, champion, late)
    assert judgement.comparable == ComparableLoans(common.height, int(common["outcome"].sum()))
    alone, _ = judge(common, scorers, policy.promotion, champion)
    assert (judgement.comparison, judgement.champion) == (alone.comparison, alone.champion)
    assert judgement.evaluation.rows == test_loans.height  # the candidate alone is judged on all
    assert judgement.leaderboard["xgboost"] != alone.leaderboard["xgboost"]


def test_fields_may_be_named_as_models_are(
    test_loans: pl.DataFrame, scorers: dict[str, Scorer], candidates: Mapping[str, Candidate], policy: Policy
) -> None:
    names = {"addr_state": "xgboost", "zip_code": "champion"}
    described = scorers["xgboost"].contract.model_dump()
    for field in described["fields"]:
        field |= {key: names.get(field[key], field[key]) for key in ("name", "group")}
    contract = Contract.model_validate(described)
    renamed = {kind: replace(scorer, contract=contract) for kind, scorer in scorers.items()}
    forest = candidates["random_forest"].scorer
    judgement, scores = judge(test_loans, scorers, policy.promotion, forest)
    again, same_scores = judge(test_loans.rename(names), renamed, policy.promotion, replace(forest, contract=contract))
    assert same_scores.equals(scores)
    assert (again.leaderboard, again.comparison) == (judgement.leaderboard, judgement.comparison)
    segments = judgement.evaluation.segments
    assert "addr_state" in {segment.field for segment in segments}
    expected = [replace(segment, field=names.get(segment.field, segment.field)) for segment in segments]
    assert [*again.evaluation.segments] == expected


@pytest.mark.parametrize("unseen", [None, pl.int_range(pl.len()) < 499, pl.col("outcome") == 0])
def test_on_too_few_loans_or_where_it_is_not_known_which_they_are_nobody_meets(
    test_loans: pl.DataFrame, scorers: dict[str, Scorer], policy: Policy, unseen: pl.Expr | None
) -> None:
    judgement, _ = judge(test_loans, scorers, policy.promotion, scorers["logistic_regression"], unseen)
    assert (judgement.comparison, judgement.champion) == (None, None)
    rows = 0 if unseen is None else test_loans.filter(unseen).height
    assert judgement.comparable is not None
    assert judgement.comparable.rows == rows


def test_the_evaluation_is_the_leaders(
    judged: tuple[Judgement, pl.DataFrame], test_loans: pl.DataFrame, scorers: dict[str, Scorer], policy: Policy
) -> None:
    judgement, scores = judged
    evaluation = judgement.evaluation
    assert (evaluation.rows, evaluation.defaults) == (test_loans.height, test_loans["outcome"].sum())
    assert evaluation.out_of_time
    assert evaluation.cutoff == policy.decision.decline_from
    assert evaluation.metrics == judgement.leaderboard["xgboost"]
    contract = scorers["xgboost"].contract
    assert evaluation.opinion_auc == opinion_auc(test_loans, outcomes_of(test_loans), contract)
    pds, raw = arrays(scorers["xgboost"], test_loans)
    outcomes, months = outcomes_of(test_loans), period_numbers(test_loans, contract)
    assert evaluation.recalibration == recalibrate(outcomes, pds, months)
    opinion = opinion_scores(test_loans, contract)
    assert opinion is not None
    assert evaluation.opinion_gain == auc_gain(outcomes, raw, opinion, bootstrap=BOOTSTRAP)
    assert scores.equals(scorers["xgboost"].score(test_loans).select("pd", "raw_score", "decision"))
    assert judgement.groups["loans"].sum() == test_loans.height


def test_segments_are_the_policys_the_vintage_and_few_levels(
    judged: tuple[Judgement, pl.DataFrame], test_loans: pl.DataFrame, policy: Policy
) -> None:
    segments = judged[0].evaluation.segments
    fields = {segment.field for segment in segments}
    assert fields == {*policy.promotion.segments, VINTAGE, QUARTER, "addr_state"}  # zip_code has too many levels
    assert {segment.level for segment in segments if segment.field == "term"} == {"36", "60"} & {
        str(int(term)) for term in test_loans["term"].unique()
    }
    years = {str(year) for year in test_loans["issue_d"].dt.year().unique()}
    assert {segment.level for segment in segments if segment.field == VINTAGE} == years
    for field in fields - {"addr_state"}:
        assert sum(segment.rows for segment in segments if segment.field == field) <= test_loans.height


def test_a_field_of_more_levels_than_can_be_read_is_no_segment(
    test_loans: pl.DataFrame, scorers: dict[str, Scorer], policy: Policy
) -> None:
    for levels, reported in ((60, True), (61, False)):
        few = pl.when(pl.int_range(pl.len()) < 1_000).then(0).otherwise(pl.int_range(pl.len()) % levels)
        judgement, _ = judge(test_loans.with_columns(addr_state=few.cast(pl.String)), scorers, policy.promotion)
        assert ("addr_state" in {segment.field for segment in judgement.evaluation.segments}) is reported, levels


def test_a_segment_of_the_contract_may_be_one_of_the_policy_too(
    test_loans: pl.DataFrame, scorers: dict[str, Scorer], policy: Policy
) -> None:
    named = policy.promotion.model_copy(update={"segments": ("addr_state",)})
    judgement, _ = judge(test_loans, scorers, named)
    states = [segment.level for segment in judgement.evaluation.segments if segment.field == "addr_state"]
    assert len(states) == len({*states}) > 0


def test_a_field_of_which_no_loan_has_a_value_is_no_segment(
    test_loans: pl.DataFrame, scorers: dict[str, Scorer], policy: Policy
) -> None:
    empty = [pl.lit(None, test_loans.schema[name]).alias(name) for name in ("addr_state", "home_ownership")]
    judgement, _ = judge(test_loans.with_columns(empty), scorers, policy.promotion)
    assert not {"addr_state", "home_ownership"} & {segment.field for segment in judgement.evaluation.segments}


def test_without_a_champion_there_is_nothing_to_compare(
    test_loans: pl.DataFrame, scorers: dict[str, Scorer], policy: Policy
) -> None:
    judgement, _ = judge(test_loans, scorers, policy.promotion)
    assert judgement.comparison is None
    assert judgement.champion is None


def test_a_champion_that_needs_a_field_the_loans_lack_is_left_out(
    test_loans: pl.DataFrame, scorers: dict[str, Scorer], policy: Policy
) -> None:
    described = scorers["xgboost"].contract.model_dump()
    dti = next(field for field in described["fields"] if field["name"] == "dti")
    described["fields"] = [*described["fields"], {**dti, "name": "dti_of_old"}]
    champion = replace(scorers["xgboost"], contract=Contract.model_validate(described))
    judgement, _ = judge(test_loans, scorers, policy.promotion, champion)
    assert judgement.comparison is None
    assert judgement.champion is None


@pytest.mark.parametrize("with_champion", [True, False])
def test_a_judgement_survives_json(judged: tuple[Judgement, pl.DataFrame], with_champion: bool) -> None:
    judgement = judged[0] if with_champion else replace(judged[0], champion=None, comparison=None)
    record = json.loads(json.dumps(judgement.to_dict(), allow_nan=False))
    again = Judgement.from_dict(record)
    assert again.to_dict() == judgement.to_dict()
    assert again.decisions.equals(judgement.decisions)
    assert again.groups.equals(judgement.groups)
    assert again.evaluation == judgement.evaluation
    assert (again.comparison, again.comparable) == (judgement.comparison, judgement.comparable)


def test_a_judgement_of_before_is_read_without_what_was_not_measured(judged: tuple[Judgement, pl.DataFrame]) -> None:
    record = json.loads(json.dumps(judged[0].to_dict(), allow_nan=False))
    del record["comparable"], record["evaluation"]["coverage"]
    again = Judgement.from_dict(record)
    assert (again.comparable, again.evaluation.coverage) == (None, None)
    assert again.comparison == judged[0].comparison


def test_decision_shares_count_every_decision() -> None:
    tested = pl.DataFrame(
        {"decision": ["approve", "decline", "approve", "decline", "approve"], "outcome": [0, 1, 1, 1, 0]}
    )
    shares = decision_shares(tested)
    assert shares["decision"].to_list() == list(DECISIONS)
    assert shares["loans"].to_list() == [3, 0, 2]
    assert shares["share"].to_list() == [0.6, 0.0, 0.4]
    assert shares["default_rate"].to_list() == [pytest.approx(1 / 3), None, 1.0]
    assert decision_shares(tested.head(0))["share"].to_list() == [0.0, 0.0, 0.0]
