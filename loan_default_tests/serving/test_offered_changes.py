"""Offers by REST are kept: who applies with what was offered gets what the offer says."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest

from loan_default.risk.data.applications import clean_applications
from loan_default.risk.model import canary
from loan_default.risk.model.offers import OFFERS_AT_MOST
from loan_default.risk.model.scored_offers import add_offers
from loan_default.risk.model.scorer import DECISIONS
from loan_default.serving.http import Request
from loan_default.serving.protocol import JSON, Refused
from loan_default.serving.scoring import Scoring
from loan_default.serving.served_model import ServedModel
from loan_default_tests.packages import applications, contract, valued_scorer

SENT = [{name: value for name, value in row.items() if value is not None} for row in applications()[0][:10]]
UNKNOWN = [{**SENT[1], "dti": None}, {**SENT[2], "revol_util": "n/a"}, {**SENT[3], "loan_to_income": None}]


class Following:
    def __init__(self, model: ServedModel) -> None:
        self.model = model
        self.trouble = None


class Queue:
    class limits:  # noqa: N801 - as a queue has them
        work_seconds = 60.0


@pytest.fixture(scope="module")
def scoring(tmp_path_factory: pytest.TempPathFactory) -> Scoring:
    folder: Path = tmp_path_factory.mktemp("package")
    scorer = valued_scorer("xgboost")
    cut_offs = {"by": "both", "approve_below": 0.25, "approve_npv_from": -0.1, "decline_npv_below": -0.1}
    policy = scorer.policy.model_copy(update=cut_offs)
    replace(scorer, policy=policy).save(folder)
    canary.write(folder, replace(scorer, policy=policy), SENT[0])
    following: Any = Following(ServedModel.load(folder, 1))
    queue: Any = Queue()
    return Scoring(following, following, 0.0, queue, rows=1_000, unpacked_bytes=10_000_000)


def ask(scoring: Scoring, *rows: Mapping[str, Any], output: str = "offers") -> list[Any]:
    body = orjson.dumps({"dataframe_records": rows, "params": {"output": output}})
    request = Request("POST", "/invocations", b"", {b"content-type": JSON.encode()}, "127.0.0.1")
    request.body = body
    answers: list[Any] = orjson.loads(scoring.answer_closely(scoring.model, request).body)["predictions"]
    return answers


@pytest.mark.slow
def test_each_offer_is_kept(scoring: Scoring) -> None:
    applied = [*SENT[3:], *UNKNOWN]
    answers, plain = ask(scoring, *applied), ask(scoring, *applied, output="full")
    ways = {field.name: field.applicant_can for field in contract().features}
    count = 0
    for sent, answer, full in zip(applied, answers, plain, strict=True):
        offers = answer.pop("offers")
        assert (answer.pop("no_offer") is None) == bool(offers)
        assert {**answer, "decision_id": ""} == {**full, "decision_id": ""}
        for offer in offers:
            count += 1
            assert all(ways[name] for name in offer["changes"]), "something that nobody can change"
            assert offer["changes"].get("loan_amnt", 0) <= sent["loan_amnt"]
            (again,) = ask(scoring, {**sent, **offer["changes"]}, output="full")
            assert [again[name] for name in ("decision", "pd", "npv")] == [
                offer[name] for name in ("decision", "pd", "npv")
            ]
            better = DECISIONS.index(offer["decision"]) < DECISIONS.index(answer["decision"])
            assert better or (offer["earns_most"] and offer["npv"] > answer["npv"])
    assert count > 2
    best = [offer for answer in ask(scoring, *SENT) for offer in answer["offers"] if offer["earns_most"]]
    assert best
    assert all({*offer["changes"]} <= {"loan_amnt", "term"} for offer in best)


@pytest.mark.slow
def test_a_version_alone_offers_the_same_as_the_server(scoring: Scoring) -> None:
    """What plain MLflow answers, of applications with what is derived, with something missing and of others."""
    scorer, with_derived = scoring.model.scorer, {**SENT[1], "loan_to_income": 0.2}
    assert "loan_to_income" in scorer.contract.sources
    for sent in (*SENT[:5], with_derived, *UNKNOWN):
        records = pl.DataFrame([sent])
        features = clean_applications(records, scorer.contract)
        (alone,) = add_offers(scorer, records, features, scorer.score(features))
        (answer,) = ask(scoring, sent)
        assert alone["no_offer"] == answer["no_offer"]
        for own, other in zip(alone["offers"], answer["offers"], strict=True):
            assert own == {**other, "pd": pytest.approx(other["pd"], abs=1e-9), "npv": pytest.approx(other["npv"])}


def test_who_gets_no_offer_is_told_why(scoring: Scoring) -> None:
    sentences = [(each["decision"], each["no_offer"]) for each in ask(scoring, *SENT) if not each["offers"]]
    assert {sentence for decision, sentence in sentences if decision == "approve"} == {
        "The application is approved as it is, and no other amount or term is known to earn the lender more."
    }


def test_offers_are_asked_for_few_at_once(scoring: Scoring) -> None:
    with pytest.raises(Refused, match="11 applications in a request for offers; at most 10 are taken"):
        ask(scoring, *(SENT * 2)[: OFFERS_AT_MOST + 1])


def test_nobody_waits_for_offers_where_answers_are_given_at_once(scoring: Scoring) -> None:
    request = Request("POST", "/invocations", b"", {b"content-type": JSON.encode()}, "127.0.0.1")
    request.body = orjson.dumps({"dataframe_records": SENT[:1], "params": {"output": "offers"}})
    assert scoring.answer_inline(scoring.model, request) is None
