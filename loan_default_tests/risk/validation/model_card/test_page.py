"""The card as a whole: its sections, and that it says nothing of a loan book that contract, policy and loans do not."""

import re
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml

from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.loading import load_contract
from loan_default.risk.data.population import measure_population
from loan_default.risk.data.splits import Splits, Window
from loan_default.risk.evaluation import Evaluation
from loan_default.risk.metrics import Bootstrap, measure, pd_groups
from loan_default.risk.model.development import LocalDevelopment
from loan_default.risk.model.features import FeatureSpace
from loan_default.risk.model.scorer import Scorer
from loan_default.risk.model.search_space import SearchSpace
from loan_default.risk.model.training import train_candidates
from loan_default.risk.validation.champion_challenger import decision_shares
from loan_default.risk.validation.examination.data_quality import measure_quality
from loan_default.risk.validation.examination.report import Examination, Parity, examine
from loan_default.risk.validation.missingness import blank_fields, blanked_fields
from loan_default.risk.validation.model_card.inputs import ModelCardInputs
from loan_default.risk.validation.model_card.page import model_card
from loan_default.risk.validation.model_card.performance import leaderboard
from loan_default.risk.validation.promotion import decide_promotion
from loan_default_tests.risk.validation.model_card.cards import POLICY, card_inputs, cleaned

# A book of other words: market stalls, paid in lats, without an opinion of the lender.
STALLS: dict[str, Any] = {
    "name": "stalls",
    "title": "Stalls of the Saturday market",
    "known_afterwards": ["ended"],
    "outcome": {"column": "ended", "defaulted": ["gone"], "repaid": ["settled"], "unresolved": ["running"]},
    "snapshot": {"column": "asked_on"},
    "expect": {"rejected_share_at_most": 0.05, "default_rate_between": [0.01, 0.6]},
    "fields": [
        {"name": "number", "kind": "text", "role": "id", "description": "Number of the stall's loan."},
        {"name": "begun", "kind": "month", "role": "time", "required": True, "description": "Month of the first day."},
        {
            **{"name": "term", "kind": "number", "role": "feature", "unit": "months", "range": [1, 48]},
            **{"required": True, "description": "Months until all is paid back."},
        },
        {
            **{"name": "takings", "kind": "number", "role": "feature", "unit": "lats a week", "range": [0, 100000]},
            **{
                "risk": "falling",
                "description": "What the stall takes in.",
                "reasons": {"low": "Takings are {value}."},
            },
        },
        {
            **{"name": "wares", "kind": "nominal", "role": "feature", "levels": ["fruit", "cloth", "tools"]},
            "description": "What the stall sells.",
        },
    ],
}
PEOPLE = [
    {
        **{"name": "sex", "kind": "nominal", "role": "feature", "levels": ["f", "m"]},
        "description": "Sex of the holder.",
    },
    {
        **{"name": "age", "kind": "number", "role": "feature", "unit": "years", "range": [16, 110]},
        "description": "Age of the holder.",
    },
]
# What another book's card may not say, unless its own contract or policy does.
FOREIGN = re.compile(
    r"grade|interest|instal|equal credit|ecoa|regulation|12 cfr|fico|lending|dollar|usd|race|religion|national origin"
    r"|marital|public assistance|state\b|mortgage|credit line|opinion|charged|unites? states|forbid|protected by",
    re.IGNORECASE,
)


def _contract(folder: Path, fields: list[dict[str, Any]]) -> Contract:
    path = folder / "stalls.yaml"
    path.write_text(yaml.safe_dump({**STALLS, "fields": [*STALLS["fields"], *fields]}), encoding="utf-8")
    return load_contract(path)


def _loans(rows: int, seed: int) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    takings, wares = rng.gamma(4, 100, rows), rng.integers(0, 3, rows)
    odds = -2.2 - 0.002 * (takings - 400) + 0.8 * (wares == 2)
    return pl.DataFrame(
        {
            "number": [f"{seed}-{number}" for number in range(rows)],
            "begun": [date(2020 + number % 3, 1 + number % 12, 1) for number in range(rows)],
            "term": rng.choice([12.0, 24.0], rows),
            "takings": np.where(rng.random(rows) < 0.1, np.nan, takings),
            "wares": np.array(["fruit", "cloth", "tools"])[wares],
            "sex": np.array(["f", "m"])[rng.integers(0, 2, rows)],
            "age": rng.integers(18, 80, rows).astype(float),
            "outcome": (rng.random(rows) < 1 / (1 + np.exp(-odds))).astype(int),
        }
    ).with_columns(pl.col("takings").fill_nan(None))


def _window(name: Any, loans: pl.DataFrame) -> Window:
    return Window(name, date(2020, 1, 1), date(2022, 12, 1), loans.height, int(loans["outcome"].sum()))


def _examine(scorer: Scorer, test: pl.DataFrame, contract: Contract) -> Examination:
    quality = measure_quality(test.lazy(), contract)
    parity = Parity(10, "onnx", 0.0, 0, 0)
    return examine(scorer, test, quality=quality, shifts=(), parity=parity, alternatives=(), by_decision=(), seed=1)


def _card(contract: Contract, search: SearchSpace) -> str:
    """Train, measure and describe a small model of the book, as the steps do."""
    train, calibrate, test = (_loans(rows, seed) for rows, seed in ((1_500, 1), (600, 2), (600, 3)))
    space = FeatureSpace(contract, measure_population(pl.concat([train, calibrate]).lazy(), contract))
    decision = POLICY.decision
    (best,) = train_candidates(
        LocalDevelopment.of(train, calibrate, space), search, decision, seed=1, kinds=["logistic_regression"]
    )
    scores = best.scorer.score(test, with_reasons=False)
    pds, truth = scores["pd"], test["outcome"]
    metrics = measure(truth, pds, scores["raw_score"], cutoff=0.3, bootstrap=Bootstrap(0, 20))
    blanked = blanked_fields([blank_fields(best.scorer, 1.0, test)])
    evaluation = Evaluation(test.height, int(truth.sum()), True, 0.3, metrics, None, (), blanked=blanked)
    windows = (_window("train", train), _window("calibrate", calibrate), _window("test", test))
    examination = _examine(best.scorer, test, contract)
    return model_card(
        ModelCardInputs(
            scorer=best.scorer,
            policy=POLICY,
            parameters=best.parameters,
            cleaning=cleaned(missing_fields=(), problems={}),
            splits=Splits(date(2025, 1, 1), windows, True, "0123456789abcdef", 0, 0),
            leaderboard=leaderboard({best.kind: best.metrics}, {best.kind: metrics}),
            evaluation=evaluation,
            decisions=decision_shares(scores.with_columns(truth)),
            groups=pd_groups(truth, pds),
            importance=examination.importance,
            seed=1,
            trained_at=datetime(2026, 1, 1, tzinfo=UTC),
            libraries={},
            promotion=decide_promotion(1, None, evaluation, None, POLICY.promotion),
            examination=examination,
        )
    )


@pytest.mark.parametrize("fields", [[], PEOPLE], ids=["without-people", "with-sex-and-age"])
def test_another_book_is_described_in_its_own_words_alone(
    fields: list[dict[str, Any]], tmp_path: Path, quick_search: SearchSpace
) -> None:
    contract = _contract(tmp_path, fields)
    card = _card(contract, quick_search)
    foreign = {match.group() for match in FOREIGN.finditer(_own_words(card))}
    assert not foreign, foreign
    assert "Stalls of the Saturday market" in card
    assert "lats a week" in card
    assert "complete" not in card
    assert "The contract does not say who is in the files and who is not." in card
    assert "which fields are protected characteristics of people" in card
    assert ("`sex`" in card) == ("`age`" in card) == bool(fields)


def _own_words(card: str) -> str:
    """Leave out what no book can change: names of rules in the decision, and that of the shipped policy's segments."""
    without_decision = re.sub(r"^## Promotion\n.*?(?=^## )", "", card, flags=re.DOTALL | re.MULTILINE)
    return without_decision.replace("not stated", "").replace("nobody stated", "")


def test_sections_come_in_order_and_every_table_is_whole() -> None:
    card = model_card(card_inputs())
    headings = re.findall(r"^## (.*)$", card, re.MULTILINE)
    assert headings[:5] == ["In short", "Governance", "Model details", "What it predicts", "Intended use"]
    assert headings[-3:] == ["Limits", "Changes", "How to reproduce"]
    for table in re.findall(r"(?:^\|.*\n?)+", card, re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}) == 1, table
    assert not re.search(r"\b(None|nan)\b(?! of)", card)


def test_a_record_from_before_the_examination_makes_a_card_that_says_so() -> None:
    card = model_card(card_inputs(examination=None))
    assert card.count("Not measured for this version.") >= 6


def test_the_sentences_that_a_stated_opinion_adds_are_of_the_contract() -> None:
    inputs = card_inputs()
    described = inputs.scorer.contract.model_dump()
    fields = [{**field, "opinion": False} for field in described["fields"]]
    plain = replace(inputs.scorer, contract=Contract.model_validate({**described, "fields": fields}))
    assert "The lender's opinion is inside" not in model_card(replace(inputs, scorer=plain))
