from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from loan_default.risk.compute import FrameTable, LocalEngine
from loan_default.risk.contract.loading import load_contract
from loan_default.risk.data.splitting import WINDOWS, SplitPlan, Splits, split_loans
from loan_default.risk.model.scorer import SCORED, VALUED, Scorer
from loan_default.risk.model.valued_version import score_ended, with_value
from loan_default.risk.policy import ValuePolicy

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
