"""Offers: the smallest changes that help, in the contract's directions only, with all that follows computed again."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.field import LoanField
from loan_default.risk.model.offers import Answer, Application, Offer, changed, find_offers, offers_or_why
from loan_default_tests.packages import contract as shipped_contract

APPLICATION = {"loan_amnt": 23_500.0, "term": 60.0, "annual_inc": 60_000.0, "int_rate": 18.0, "dti": 22.0}
APPLICATION |= {"revol_util": 80.0, "revol_bal": 9_000.0, "loan_to_income": 39.0}


def answer_below(limit: float, **weights: float) -> Any:
    """Return what decides by a PD that is the sum of values times weights: approve below a limit, then review."""
    calls: list[Sequence[Application]] = []

    def score(applications: Sequence[Application]) -> list[Answer]:
        calls.append(applications)
        pds = [sum(weight * each[name] for name, weight in weights.items()) for each in applications]
        return [Answer("approve" if pd < limit else "review" if pd < 2 * limit else "decline", pd) for pd in pds]

    score.calls = calls  # type: ignore[attr-defined]
    return score


def with_fields(contract: Contract, fields: Sequence[LoanField]) -> Contract:
    values = {name: getattr(contract, name) for name in Contract.model_fields}
    return Contract.model_construct(**values | {"fields": tuple(fields)})


@pytest.fixture(scope="module")
def contract() -> Contract:
    return shipped_contract()


def test_the_smallest_change_of_each_field_that_leads_to_an_approval(contract: Contract) -> None:
    score = answer_below(0.15, loan_amnt=0.3 / 23_500)
    (offer,) = find_offers(contract, APPLICATION, "decline", score)
    assert offer == Offer({"loan_amnt": 10_000.0}, "approve", 10_000 * 0.3 / 23_500)
    assert len(score.calls) == 1, "single changes go in one request"


def test_fields_are_offered_in_the_contracts_order_and_only_what_is_sold(contract: Contract) -> None:
    score = answer_below(0.155, loan_amnt=0.05 / 23_500, term=0.1 / 60, dti=0.01 / 22)
    offers = find_offers(contract, APPLICATION, "review", score)
    assert [list(offer.changes) for offer in offers] == [["loan_amnt"], ["term"], ["dti"]]
    assert offers[1].changes == {"term": 36}


def test_two_fields_change_only_where_one_does_not_help(contract: Contract) -> None:
    score = answer_below(0.15, term=0.2 / 60, dti=0.1 / 22)
    (offer, *_) = find_offers(contract, APPLICATION, "decline", score)
    assert offer.changes.keys() == {"term", "dti"}
    assert offer.decision == "approve"
    assert len(score.calls) == 2


def test_no_second_field_changes_beside_one_that_is_enough(contract: Contract) -> None:
    score = answer_below(0.1, annual_inc=0.1 / 60_000, loan_amnt=0.11 / 23_500, dti=0.02 / 22)
    offers = find_offers(contract, APPLICATION, "decline", score)
    assert [offer.decision for offer in offers] == ["review", "review"]
    assert [offer.changes for offer in offers] == [{"loan_amnt": 16_000.0}, {"loan_amnt": 20_000.0, "dti": 6.0}]


def test_where_nothing_is_approved_a_review_is_offered_to_whom_was_declined_alone(contract: Contract) -> None:
    score = answer_below(0.15, annual_inc=0.25 / 60_000, term=0.06 / 60)
    offers = find_offers(contract, APPLICATION, "decline", score)
    assert {offer.decision for offer in offers} == {"review"}
    assert offers[0].changes == {"term": 36}
    assert find_offers(contract, APPLICATION, "review", score) == []
    assert find_offers(contract, APPLICATION, "approve", score) == []


def test_where_there_is_no_offer_a_sentence_says_why(contract: Contract) -> None:
    nobody = answer_below(-1)
    answer = offers_or_why(contract, APPLICATION, "decline", nobody, None)
    assert answer.offers == []
    assert answer.no_offer is not None
    assert answer.no_offer.startswith(
        "No change that was tried leads to a better decision (of one or two of these: Amount asked for; "
    )
    assert answer.no_offer.endswith("; numbers were lowered to a quarter at most, or raised to the double).")
    fixed = with_fields(contract, [field.model_copy(update={"applicant_can": None}) for field in contract.fields])
    assert offers_or_why(fixed, APPLICATION, "decline", nobody, None).no_offer == (
        "The application holds nothing that this applicant can change."
    )
    approved = "The application is approved as it is"
    assert offers_or_why(contract, APPLICATION, "approve", nobody, None).no_offer == f"{approved}."
    by_value = f"{approved}, and no other amount or term is known to earn the lender more."
    assert offers_or_why(contract, APPLICATION, "approve", nobody, 3.0).no_offer == by_value
    assert offers_or_why(contract, APPLICATION, "decline", answer_below(9), None).no_offer is None


def test_what_follows_from_a_change_is_left_to_be_computed_again(contract: Contract) -> None:
    application = changed(contract, APPLICATION, {"loan_amnt": 10_000.0})
    assert application["loan_amnt"] == 10_000.0
    assert "loan_to_income" not in application
    assert changed(contract, APPLICATION, {"revol_util": 30.0})["loan_to_income"] == 39.0


def test_a_field_is_not_offered_where_what_follows_from_it_cannot_be_computed(contract: Contract) -> None:
    without_income = {name: value for name, value in APPLICATION.items() if name != "annual_inc"}
    score = answer_below(0.15, term=0.1 / 60, loan_amnt=0.1 / 23_500)
    offers = find_offers(contract, without_income, "decline", score)
    assert all("loan_amnt" not in offer.changes for offer in offers)
    assert all("loan_amnt" in application for call in score.calls for application in call)


def test_without_a_field_that_can_be_changed_nobody_is_asked(contract: Contract) -> None:
    fields = tuple(field.model_copy(update={"applicant_can": None}) for field in contract.fields)
    fixed = with_fields(contract, fields)
    score = answer_below(0.15, loan_amnt=1.0)
    assert find_offers(fixed, APPLICATION, "decline", score) == []
    assert score.calls == []


@pytest.mark.parametrize(
    ("way", "risk", "values"), [("change", None, ["OWN", "RENT"]), (("OWN",), None, ["OWN"]), (None, None, [])]
)
def test_levels_change_to_those_that_are_allowed(contract: Contract, way: Any, risk: Any, values: list[str]) -> None:
    home = contract.by_name["home_ownership"].model_copy(
        update={"applicant_can": way, "levels": ("MORTGAGE", "RENT", "OWN")}
    )
    fields = (home, *(field.model_copy(update={"applicant_can": None}) for field in contract.with_role("id")))
    book = with_fields(contract, fields)
    score = answer_below(-1.0)
    find_offers(book, {"home_ownership": "MORTGAGE"}, "decline", score)
    assert sorted(each["home_ownership"] for call in score.calls for each in call) == values


@given(amount=st.floats(100, 1_000_000), util=st.floats(0, 200), term=st.sampled_from([36.0, 60.0, 48.0]))
@example(amount=100.0, util=5e-324, term=36.0)
def test_candidates_lie_in_the_range_and_never_where_the_risk_rises(amount: float, util: float, term: float) -> None:
    contract = shipped_contract()
    application = {**APPLICATION, "loan_amnt": amount, "revol_util": util, "term": term}
    score = answer_below(-1.0)
    find_offers(contract, application, "decline", score)
    tried = [{**each} for call in score.calls for each in call]
    assert len(tried) < 700
    for each in tried:
        assert 100 <= each["loan_amnt"] <= amount
        assert 0 <= each["revol_util"] <= util
        assert each["term"] in (36, term)
        assert each["annual_inc"] == APPLICATION["annual_inc"]


def earning(limit: float, npv: Any) -> Any:
    """Return what approves amounts below a limit, and values each application."""

    def score(applications: Sequence[Application]) -> list[Answer]:
        return [Answer("approve" if each["loan_amnt"] < limit else "decline", 0.1, npv(each)) for each in applications]

    return score


def test_the_amount_and_term_that_earn_most_come_first(contract: Contract) -> None:
    score = earning(16_000, lambda each: each["loan_amnt"] * (0.02 if each["term"] == 36 else 0.01))
    best, *others = find_offers(contract, APPLICATION, "decline", score, npv=-10.0)
    assert best == Offer({"loan_amnt": 14_000.0, "term": 36}, "approve", 0.1, 280.0, earns_most=True)
    assert others
    assert not any(offer.earns_most for offer in others)


def test_who_is_approved_is_offered_what_earns_more_alone(contract: Contract) -> None:
    score = earning(1e9, lambda each: 100.0 if each["term"] == 36 else 1.0)
    (offer,) = find_offers(contract, APPLICATION, "approve", score, npv=50.0)
    assert (offer.changes, offer.npv) == ({"term": 36}, 100.0)
    assert find_offers(contract, APPLICATION, "approve", score, npv=100.0) == []
