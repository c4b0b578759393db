from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
import pytest

from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.columns import EXPOSURE
from loan_default.risk.contract.loading import load_contract
from loan_default.risk.contract.outcome import Horizon, ProductTerm
from loan_default.risk.economics.loan_terms import ApplicationTerm, LoanTerms, columns_of_value, read_ended
from loan_default.risk.model.features import FeatureSpace

CONTRACT = load_contract()


def changed(**keys: Any) -> Contract:
    return Contract.model_validate({**CONTRACT.model_dump(exclude_unset=True), **keys})


def test_terms_of_an_application_are_read_from_its_values(windows: Mapping[str, pl.DataFrame]) -> None:
    loans = windows["test"].head(20)
    values, terms = FeatureSpace(CONTRACT).values(loans), LoanTerms.of(CONTRACT)
    priced = terms.read(values)
    assert priced.amounts.tolist() == loans["loan_amnt"].to_list()
    assert priced.rates == pytest.approx(loans["int_rate"].to_numpy() / 100)
    assert priced.terms.tolist() == loans["term"].to_list()
    for row in range(3):
        assert terms.read_one(values[row].tolist()) == tuple(column[row] for column in priced)


def test_ended_loans_are_what_cleaned_loans_say(windows: Mapping[str, pl.DataFrame]) -> None:
    loans = windows["test"].select(columns_of_value(CONTRACT))
    first = pl.int_range(pl.len()) == 0
    lacking = loans.with_columns(months_paid=pl.when(~first).then("months_paid"), amount_cost=pl.lit(None, pl.Float64))
    ended, complete = read_ended(lacking, CONTRACT)
    assert complete.tolist() == [False, *[True] * (loans.height - 1)]
    rest = loans.tail(-1)
    assert ended.realised.lent.tolist() == rest["amount_funded"].to_list()
    assert ended.defaulted.tolist() == (rest["outcome"] == 1).to_list()
    paid = rest.select(pl.col("amount_principal") + pl.col("amount_interest") + pl.col("amount_fees")).to_series()
    assert ended.realised.paid == pytest.approx(paid.to_numpy())
    assert ended.realised.recovered.tolist() == rest["amount_recovered"].to_list()
    assert ended.exposure == pytest.approx((rest["amount_funded"] - rest["amount_principal"]).to_numpy())
    assert np.unique(np.array(ended.issued)).size > 1


def test_what_was_owed_at_default_is_what_outcome_files_told(windows: Mapping[str, pl.DataFrame]) -> None:
    loans = windows["test"].select(columns_of_value(CONTRACT))
    even = pl.int_range(pl.len()) % 2 == 0
    with_exposures = loans.with_columns(pl.when(even).then(1_234.0).alias(EXPOSURE))
    ended, by_file = (read_ended(each, CONTRACT)[0] for each in (with_exposures, loans))
    assert ended.exposure[::2] == pytest.approx(1_234)
    assert ended.exposure[1::2] == pytest.approx(by_file.exposure[1::2])
    assert (ended.realised.paid == by_file.realised.paid).all()


def test_loans_that_cannot_be_valued_have_no_terms() -> None:
    with pytest.raises(ValueError, match="pricing"):
        LoanTerms.of(changed(pricing=None))


def test_a_term_of_all_loans_needs_no_field() -> None:
    terms = LoanTerms.of(CONTRACT.model_copy(update={"term": 48}))
    assert terms.read(np.zeros((2, len(CONTRACT.features)))).terms.tolist() == [48, 48]


PRODUCTS = ProductTerm(by="purpose", months={"car": 24, "house": 240})


@pytest.mark.parametrize(
    ("term", "expected"),
    [
        (None, {"term": 36.0}),
        (48, {"term": 48.0}),
        (Horizon(horizon=18), {"term": 18.0}),
        (PRODUCTS, {"purpose": 24.0}),
    ],
    ids=["a feature", "the same for all", "a horizon", "by product"],
)
def test_the_term_of_an_application_is_read_as_the_contract_says(
    term: ProductTerm | Horizon | int | None, expected: Mapping[str, float]
) -> None:
    book = CONTRACT.model_copy(update={"term": term})
    reader = ApplicationTerm.of(book)
    assert reader is not None
    values = np.full((2, len(book.features)), np.nan)
    ((name, months),) = expected.items()
    level = book.by_name["purpose"].levels.index("car") + 1
    values[0, book.feature_names.index(name)] = level if name == "purpose" else 36.0
    assert reader.read(values)[0] == reader.read_one(values[0].tolist()) == months
    missing = reader.read(values)[1]
    assert np.array_equal(missing, reader.read_one(values[1]), equal_nan=True)
    assert np.isnan(missing) == (reader.position is not None)
