import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from typing import Any

import polars as pl
import pytest

from loan_default.risk.compute import FrameTable, LocalEngine
from loan_default.risk.contract.loading import load_contract
from loan_default.risk.data.splits import WINDOWS
from loan_default.risk.data.splitting import SplitPlan, split_loans
from loan_default.risk.metrics import Bootstrap
from loan_default.risk.model.scorer import Scorer
from loan_default.risk.model.valued_version import ScoredLoans, score_ended, with_value
from loan_default.risk.policy import StrategyLimits, ValuePolicy
from loan_default.risk.validation.model_card.page import model_card
from loan_default.risk.validation.model_card.value import value
from loan_default.risk.value.strategy_report import measure_strategy, report_columns
from loan_default_tests.risk.validation.model_card.cards import card_inputs

CONTRACT = load_contract()


@pytest.fixture(scope="module")
def valued(scorer: Scorer, windows: Mapping[str, pl.DataFrame]) -> tuple[Scorer, ScoredLoans]:
    loans = FrameTable(pl.concat([windows[name] for name in WINDOWS]).lazy())
    splits = split_loans(loans.scan(), CONTRACT, SplitPlan(), snapshot=date(2019, 3, 1), data_fingerprint="d")
    version, _ = with_value(scorer, ValuePolicy(funding_rate=0.05), LocalEngine(), loans, splits)
    scored = score_ended(version, LocalEngine(), loans, splits, ("test",), columns=report_columns(CONTRACT))
    return version, scored


@pytest.fixture(scope="module")
def report(valued: tuple[Scorer, ScoredLoans]) -> dict[str, Any]:
    return measure_strategy(*valued, StrategyLimits(approve_at_least=0.3), bootstrap=Bootstrap(7, 20))


def test_a_report_adds_up_to_the_loan(valued: tuple[Scorer, ScoredLoans], report: Mapping[str, Any]) -> None:
    scored = valued[1]
    ended, totals = scored.ended, report["present"]["all"]
    lost = (ended.exposure - ended.realised.recovered)[ended.defaulted].sum()
    assert totals["loss"] == pytest.approx(lost)
    assert totals["volume"] == pytest.approx(ended.realised.lent.sum())
    for name in ("loans", "loss", "npv", "expected_loss", "expected_npv"):
        assert sum(vintage[name] for vintage in report["vintages"]) == pytest.approx(totals[name])
    assert sum(each["defaults"] for each in report["vintage_losses"]) <= ended.defaulted.sum()
    assert all(each["loss"]["low"] <= each["loss"]["value"] for each in report["vintage_losses"])
    terms = [group for group in report["groups"] if group["field"] == "term"]
    assert {group["group"] for group in terms} == {"36", "60"}
    assert sum(group["loans"] for group in terms) == report["loans"] == len(scored.pds)
    for rule in ("pd", "npv"):
        assert sum(group[rule]["npv"] for group in terms) == pytest.approx(report["equal_number"][rule]["npv"])
    assert report["equal_number"]["npv"]["loans"] == pytest.approx(report["equal_number"]["pd"]["loans"], abs=3)
    assert json.loads(json.dumps(report))["unit"] == "dollars"


def test_a_version_without_a_value_has_no_report(valued: tuple[Scorer, ScoredLoans]) -> None:
    version, scored = valued
    with pytest.raises(ValueError, match="no value"):
        measure_strategy(replace(version, value=None), scored, StrategyLimits(), bootstrap=Bootstrap(7, 2))


def test_the_card_says_what_both_rules_earn_and_how_many_default(report: Mapping[str, Any]) -> None:
    card = model_card(card_inputs(strategy=report))
    section = card.partition("## Value\n")[2].partition("\n## ")[0]
    assert "Values are in dollars" in section
    assert "| lowest PD |" in section
    assert "| highest net present value of a unit lent |" in section
    assert "| 36 months |" in section
    assert "As of past months" not in section
    point = {"month": "2013-01", "label": "open", "leads": True, "rules": report["equal_number"], "terms": ()}
    inputs = card_inputs(strategy=report)
    past = "".join(value(replace(inputs, backtest={"points": [point]})))
    assert "| 2013-01 | open | lowest PD |" in past
    with_tenths = {"points": [{**point, "deciles": report["deciles"]}]}
    inside = sum(group["is_inside"] for group in report["deciles"])
    assert f"| 2013-01 | open | {inside} of 10 |" in "".join(value(replace(inputs, backtest=with_tenths)))
    assert "## Value" not in model_card(card_inputs())
    sentence = "The policy has no section value, so nothing is said of value."
    assert sentence in model_card(card_inputs(strategy={"version": 1, "problem": sentence}))
