from typing import Any

import pytest
from pydantic import ValidationError

from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.loading import load_contract
from loan_default.risk.contract.pricing import value_problem, yearly_rate

DATA = load_contract().model_dump()


def contract(**pricing: str) -> Contract:
    return Contract.model_validate({**DATA, "pricing": pricing})


def test_the_fields_of_the_shipped_book_price_its_loans() -> None:
    assert load_contract().pricing == contract(amount="loan_amnt", rate="int_rate").pricing


@pytest.mark.parametrize(
    ("pricing", "problem"),
    [
        ({"amount": "sum", "rate": "int_rate"}, "pricing.amount names sum, which is no field; write a number"),
        ({"amount": "grade", "rate": "int_rate"}, "grade, which is of the kind ordered and the role feature"),
        ({"amount": "loan_amnt", "rate": "dti"}, "pricing.rate names dti, whose unit percent is no rate of interest"),
    ],
)
def test_what_cannot_price_a_loan_is_refused(pricing: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        contract(**pricing)


@pytest.mark.parametrize(
    ("unit", "factor"), [("percent a year", 0.01), ("percent a month", 0.12), ("basis points a year", 0.0001)]
)
def test_rates_become_shares_a_year(unit: str, factor: float) -> None:
    assert yearly_rate(unit) == pytest.approx(factor)


def test_a_book_says_why_it_has_no_value() -> None:
    outcome = load_contract().outcome.model_dump(exclude_unset=True)
    amounts = {"funded": "funded_amnt", "principal": "total_rec_prncp"}
    assert value_problem(load_contract()) is None
    for keys, says in (
        ({"pricing": None}, "no fields of amount and rate (pricing)"),
        ({"term": {"horizon": 12}}, "no term in months"),
        ({"outcome": {**outcome, "known": None}}, "does not say when an outcome was known (outcome.known)"),
        ({"outcome": {**outcome, "amounts": amounts}}, "no column of the interest paid (outcome.amounts)"),
    ):
        problem = value_problem(Contract.model_validate({**DATA, **keys}))
        assert problem is not None
        assert says in problem
        assert problem.endswith("so nothing is said of value.")
