"""Blanking: which fields an applicant can leave out, and sums that are those of scoring the loans without them."""

from collections.abc import Mapping
from dataclasses import replace

import polars as pl
import pytest

from loan_default.risk.contract.book import Contract
from loan_default.risk.model.scorer import Scorer
from loan_default.risk.model.training import Candidate
from loan_default.risk.policy import DecisionPolicy
from loan_default.risk.validation.missingness import blank_fields, blanked_fields, blanked_together


@pytest.fixture
def scorer(candidates: Mapping[str, Candidate]) -> Scorer:
    """A scorer that approves about half of the loans."""
    scorer = candidates["logistic_regression"].scorer
    generous = DecisionPolicy(**{**scorer.policy.model_dump(), "approve_below": 0.2, "decline_from": 0.4})
    return replace(scorer, policy=generous)


def test_what_is_derived_is_left_out_with_what_it_is_derived_from_and_only_then(contract: Contract) -> None:
    blanked = blanked_together(contract)
    assert blanked["revol_bal"] == ["revolving_to_income", "loan_to_revolving", "revol_bal"]
    assert blanked["earliest_cr_line"] == ["credit_history_months"]
    assert blanked["dti"] == ["dti"]
    assert not {"loan_amnt", "annual_inc", "loan_to_income", "credit_history_months", "addr_state"} & blanked.keys()


def test_what_a_required_field_is_derived_from_is_never_left_out(contract: Contract) -> None:
    data = contract.model_dump()
    history = next(field for field in data["fields"] if field["name"] == "credit_history_months")
    history |= {"required": True, "nullable": False}
    assert blanked_together(contract).keys() - blanked_together(Contract.model_validate(data)).keys() == {
        "earliest_cr_line"
    }


@pytest.mark.slow
def test_shares_and_means_are_those_of_the_loans_without_the_field(
    scorer: Scorer, windows: Mapping[str, pl.DataFrame]
) -> None:
    loans = windows["test"]
    blanked = {entry.field: entry for entry in blanked_fields([blank_fields(scorer, 1, loans)])}
    assert blanked.keys() == blanked_together(scorer.contract).keys()
    before = scorer.score(loans)
    for name in ("dti", "emp_length", "mths_since_last_delinq"):
        after = scorer.score(loans.with_columns(pl.lit(None, loans.schema[name]).alias(name)))
        entry = blanked[name]
        assert entry.rows == loans.height
        assert entry.missing_share == loans[name].null_count() / loans.height
        for scores, approved, mean_pd in (
            (before, entry.approved, entry.mean_pd),
            (after, entry.approved_without, entry.mean_pd_without),
        ):
            assert approved == (scores["decision"] == "approve").mean()
            assert mean_pd == pytest.approx(scores["pd"].mean())
    assert blanked["dti"].approved_without == 0 < blanked["dti"].approved
    assert blanked["emp_length"].approved_without > 0


@pytest.mark.slow
def test_it_does_not_matter_how_the_loans_are_cut_into_parts(
    scorer: Scorer, windows: Mapping[str, pl.DataFrame]
) -> None:
    loans = windows["test"]
    together = blanked_fields([blank_fields(scorer, 0.2, loans)])
    apart = blanked_fields(
        blank_fields(scorer, 0.2, part) for part in (loans.head(3), loans.slice(3, 500), loans[503:])
    )
    assert 0 < together[0].rows < 0.3 * loans.height
    for one_cut, another in zip(together, apart, strict=True):
        assert replace(one_cut, mean_pd=0, mean_pd_without=0) == replace(another, mean_pd=0, mean_pd_without=0)
        assert one_cut.mean_pd_without == pytest.approx(another.mean_pd_without)


def test_no_loan_at_all_is_no_field(scorer: Scorer, windows: Mapping[str, pl.DataFrame]) -> None:
    assert blanked_fields([blank_fields(scorer, 1, windows["test"].head(0))]) == ()
