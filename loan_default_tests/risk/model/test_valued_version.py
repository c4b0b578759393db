from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from loan_default.risk.compute import FrameTable, LocalEngine
from loan_default.risk.contract.loading import load_contract
from loan_default.risk.data.splits import WINDOWS, Splits
from loan_default.risk.data.splitting import SplitPlan, split_loans
from loan_default.risk.errors import BadInput
from loan_default.risk.model.scorer import SCORED, VALUED, Scorer
from loan_default.risk.model.valued_version import score_ended, with_value
from loan_default.risk.policy import DecisionPolicy, ValuePolicy
from loan_default.risk.validation.examination.reason_audit import audit_reasons, is_true

CONTRACT = load_contract()
POLICY = ValuePolicy(funding_rate=0.05)


@pytest.fixture(scope="module")
def book(windows: Mapping[str, pl.DataFrame]) -> tuple[FrameTable, Splits]:
    loans = pl.concat([windows[name] for name in WINDOWS]).lazy()
    splits = split_loans(loans, CONTRACT, SplitPlan(), snapshot=date(2019, 3, 1), data_fingerprint="d")
    return FrameTable(loans), splits


@pytest.fixture(scope="module")
def valued(scorer: Scorer, book: tuple[FrameTable, Splits]) -> Scorer:
    version, sentence = with_value(scorer, POLICY, LocalEngine(), *book)
    assert "loans of development, of which" in sentence
    return version


def test_a_version_without_costs_or_amounts_says_why_it_has_no_value(
    scorer: Scorer, book: tuple[FrameTable, Splits]
) -> None:
    assert with_value(scorer, None, LocalEngine(), *book) == (
        scorer,
        "The policy has no section value, so nothing is said of value.",
    )
    unpriced = replace(scorer, contract=CONTRACT.model_copy(update={"pricing": None}))
    version, sentence = with_value(unpriced, POLICY, LocalEngine(), *book)
    assert version is unpriced
    assert "pricing" in sentence
    assert dict(scorer.score(book[0].scan().head(2).collect()).schema) == SCORED


def test_few_defaults_are_no_ground(scorer: Scorer, book: tuple[FrameTable, Splits]) -> None:
    loans, splits = book
    defaulted = (pl.col("outcome") == 1) & (pl.int_range(pl.len()) % 100 > 0)
    paid = FrameTable(loans.scan().with_columns(months_paid=pl.when(~defaulted).then("months_paid")))
    version, sentence = with_value(scorer, POLICY, LocalEngine(), paid, splits)
    assert version.value is None
    assert "30 defaults and a repaid loan are needed" in sentence


def test_a_valued_version_predicts_values(valued: Scorer, windows: Mapping[str, pl.DataFrame], tmp_path: Path) -> None:
    loans = windows["test"].head(200)
    scored = valued.score(loans)
    assert dict(scored.schema) == SCORED | VALUED == valued.scored
    assert (scored["expected_loss"] > 0).all()
    assert scored["npv"].is_between(-loans["loan_amnt"], loans["loan_amnt"]).all()
    valued.save(tmp_path)
    assert Scorer.load(tmp_path).score(loans).equals(scored)


def test_values_are_the_same_alone_and_in_a_batch(valued: Scorer, windows: Mapping[str, pl.DataFrame]) -> None:
    loans = windows["test"].head(30)
    scored = valued.score(loans, with_reasons=False).select(*VALUED).rows()
    values, margins = valued.space.values(loans), valued.model.margins(valued.space.matrix(loans))
    assert valued.decide(values, margins).values == scored
    alone = [valued.decide(values[[row]].tolist(), margins[[row]]).values for row in range(30)]
    assert [value for (value,) in alone] == scored


def test_realised_loans_are_scored_with_what_was_asked_for(valued: Scorer, book: tuple[FrameTable, Splits]) -> None:
    scored = score_ended(valued, LocalEngine(), *book, ("test",), columns=("purpose",))
    assert len(scored.pds) == len(scored.ended.defaulted) == scored.rows.height > 100
    assert {"purpose", "decision"} <= {*scored.rows.columns}


def by_value(version: Scorer, by: str, **changes: Any) -> Scorer:
    policy = DecisionPolicy(**{**version.policy.model_dump(), "by": by, **changes})
    return replace(version, policy=policy)


@pytest.mark.parametrize("by", ["npv", "both"])
def test_a_version_decides_by_value_alone_as_in_a_batch(
    valued: Scorer, windows: Mapping[str, pl.DataFrame], by: str
) -> None:
    loans = windows["test"].head(200)
    version = by_value(valued, by, decline_npv_below=-0.05)
    scored = version.score(loans)
    margins = (scored["npv"] / loans["loan_amnt"]).round(9)
    expected = np.where(margins >= 0, 0, np.where(margins >= -0.05, 1, 2))
    if by == "both":
        expected = np.maximum(expected, np.searchsorted([0.15, 0.3], scored["pd"], side="right"))
    assert scored["decision"].to_physical().to_list() == expected.tolist()
    assert {0, 1, 2} == {*expected.tolist()}
    values, X = version.space.values(loans), version.space.matrix(loans)
    raw = version.model.margins(X)
    together = version.predict(values, X, raw)
    assert together.reasons == scored["reasons"].to_list()
    for row in range(40):
        alone = version.predict(values[[row]].tolist(), X[[row]], raw[[row]])
        assert (alone.decisions[0], alone.reasons[0]) == (together.decisions[row], together.reasons[row])
        assert alone.reason_codes[0] == together.reason_codes[row]


def test_who_is_turned_down_by_value_is_told_what_lowers_it(
    valued: Scorer, windows: Mapping[str, pl.DataFrame]
) -> None:
    loans = windows["test"].head(600)
    version = by_value(valued, "both", approve_below=0.5, decline_from=0.6)
    scored = loans.hstack(version.score(loans))
    turned_down = scored.filter((pl.col("pd") < 0.5) & (pl.col("decision") != "approve"))
    assert turned_down.height > 20
    for row in turned_down.iter_rows(named=True):
        assert row["reason_codes"], "somebody is declined without a reason"
        rate = next((code for code in row["reason_codes"] if code["field"] == "int_rate"), None)
        assert rate is None or is_true(
            rate["side"], row["int_rate"], version.population.typical["int_rate"], CONTRACT.by_name["int_rate"]
        )
    audit = audit_reasons(version, loans, seed=1)
    assert (audit.untrue, audit.without_reason) == ({}, 0)


def test_the_rate_is_the_reason_where_only_that_is_low(valued: Scorer, windows: Mapping[str, pl.DataFrame]) -> None:
    version = by_value(valued, "npv")
    loan = windows["test"].head(1)
    safe = loan.with_columns(int_rate=pl.lit(1.0), fico_range_low=pl.lit(800.0), grade=pl.lit("A", loan["grade"].dtype))
    (reasons,) = version.score(safe)["reason_codes"].to_list()
    assert version.score(safe)["decision"].to_list() == ["decline"]
    assert reasons[0]["group"] == CONTRACT.by_name["int_rate"].group
    assert reasons[0]["share"] > 0.5
    # by the PD of the same version the rate is no reason
    assert by_value(valued, "pd").score(safe)["decision"].to_list() == ["approve"]


def test_what_has_no_value_is_reviewed_and_told_why(valued: Scorer, windows: Mapping[str, pl.DataFrame]) -> None:
    version = by_value(valued, "npv")
    loan = windows["test"].head(1)
    unpriced, other_term = loan.with_columns(int_rate=pl.lit(None, pl.Float64)), loan.with_columns(term=pl.lit(48.0))
    for application, field, side in ((unpriced, "int_rate", "missing"), (other_term, "term", "high")):
        scored = version.score(application)
        assert scored["decision"].to_list() == ["review"]
        (codes,) = scored["reason_codes"].to_list()
        assert (codes[0]["field"], codes[0]["side"]) == (field, side)


def test_a_version_that_decides_by_value_needs_one(scorer: Scorer, book: tuple[FrameTable, Splits]) -> None:
    loans, splits = book
    unpaid = FrameTable(loans.scan().with_columns(months_paid=pl.lit(None, pl.Float64)))
    with pytest.raises(BadInput, match=r"are needed, so nothing is said of value. Write decision.by: pd"):
        with_value(by_value(scorer, "npv"), POLICY, LocalEngine(), unpaid, splits)
