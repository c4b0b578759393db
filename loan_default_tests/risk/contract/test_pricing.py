from typing import Any

import pytest
from pydantic import ValidationError

from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.loading import load_contract
from loan_default.risk.contract.pricing import yearly_rate

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
