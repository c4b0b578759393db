"""The contract: which of its fields play which part, and that the shipped one agrees with what is known of the data."""

import re
from typing import Any

import pytest
from pydantic import ValidationError

from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.loading import load_contract
from loan_default.risk.data.synthetic_tables import PUBLISHED_COLUMNS
from loan_default_tests.risk.contract.drafts import Fields, LoadChanged

# All statuses of the published file.
STATUSES = {
    "Fully Paid": 0,
    "Charged Off": 1,
    "Default": 1,
    "Current": None,
    "Issued": None,
    "In Grace Period": None,
    "Late (16-30 days)": None,
    "Late (31-120 days)": None,
    "Does not meet the credit policy. Status:Fully Paid": 0,
    "Does not meet the credit policy. Status:Charged Off": 1,
}


def test_the_fingerprint_changes_with_what_a_contract_says_and_not_with_a_key_left_out(changed: LoadChanged) -> None:
    def define(data: dict[str, Any], field: Fields) -> None:
        data["outcome"]["definition"] = "Ninety days past due."

    def say_the_default(data: dict[str, Any], field: Fields) -> None:
        field["term"]["outside"] = "reject"

    assert re.fullmatch(r"[0-9a-f]{16}", load_contract().fingerprint)
    assert changed(define).fingerprint != load_contract().fingerprint
    assert changed(say_the_default).fingerprint == load_contract().fingerprint


def test_the_shipped_fields_are_published_columns_or_derived(contract: Contract) -> None:
    for field in contract.fields:
        assert field.column in PUBLISHED_COLUMNS or field.derived, field.name


def test_the_statuses_are_complete(contract: Contract) -> None:
    assert STATUSES.items() <= contract.outcome.label_of.items()


def test_what_is_required_is_what_the_platform_needs(contract: Contract) -> None:
    required = {field.name for field in contract.fields if field.required}
    assert required == {"loan_amnt", "term", "int_rate", "annual_inc", "dti", "issue_d"}
    assert {field.name for field in contract.fields if not field.nullable} == required - {"dti"}


def test_the_lenders_own_opinion_is_what_it_says_and_what_is_derived_from_it(contract: Contract) -> None:
    assert contract.opinions == {"grade", "sub_grade", "int_rate", "payment_to_income"}
    assert {field.name for field in contract.features if field.group == "assigned_terms"} == {
        "grade",
        "sub_grade",
        "int_rate",
    }
    assert contract.groups == {"assigned_terms": "The rate and grade assigned to this application."}


def test_people_and_places_are_no_features(contract: Contract) -> None:
    assert {field.name for field in contract.with_role("segment")} == {"addr_state", "zip_code"}
    assert not {"addr_state", "zip_code", "id", "issue_d"} & set(contract.feature_names)
    assert (contract.id_name, contract.time_name) == ("id", "issue_d")


def test_a_contract_does_not_change_after_loading(contract: Contract) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        contract.by_name["dti"].required = False  # type: ignore[misc]
