"""The schema of an application against what is taken: each value, by both."""

import re
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from loan_default.risk.contract.field import LoanField
from loan_default.risk.errors import BadInput
from loan_default.risk.model.online_features import check
from loan_default.risk.month_texts import MONTH_TEXTS
from loan_default.serving.application_schema import application_schema
from loan_default_tests.packages import applications, contract

SENT = applications()[0]
SCHEMA = application_schema(contract(), SENT[0])
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
USUAL = {name: value for name, value in SENT[0].items() if value is not None}


def sampled() -> Iterator[Any]:
    """Yield each field of the book; those that are like an earlier one wait for the long tests."""
    seen = set()
    for field in contract().application_fields:
        likeness = (field.kind, field.outside, bool(field.levels), bool(field.range), field.required)
        yield pytest.param(field, marks=[pytest.mark.long] if likeness in seen else [], id=field.name)
        seen.add(likeness)


def is_taken(application: dict[str, Any]) -> bool:
    try:
        check(tuple(application), [[*application.values()]], contract())
    except BadInput:
        return False
    return True


def values_of(field: LoanField) -> Iterator[Any]:
    """Yield values at and beyond the ends of what is allowed, and of other types."""
    yield from (None, True, [], {}, "no such level", "x" * 1_001, 2.0**53, -1e300)
    yield from field.levels
    if field.range:
        low, high = field.range
        yield from (low, high, low - 1, high + 1, (low + high) / 2)
    if field.kind == "month":
        yield from ("2018-10", "Oct-2018", "1919-12", "2080-01", "2018-13", "10/2018", 201810)


def test_an_application_as_a_client_sends_it_is_valid() -> None:
    for application in SENT:
        VALIDATOR.validate(application)


@pytest.mark.parametrize("field", [*sampled()])
@pytest.mark.slow
def test_the_schema_allows_what_is_taken_and_nothing_else(field: LoanField) -> None:
    validator = jsonschema.Draft202012Validator(SCHEMA["properties"][field.name])  # of the rest each is valid
    for value in values_of(field):
        assert validator.is_valid(value) == is_taken({**USUAL, field.name: value}), value


@pytest.mark.parametrize("field", contract().application_fields, ids=lambda field: field.name)
def test_a_field_that_has_to_be_sent_is_required(field: LoanField) -> None:
    without = {name: value for name, value in USUAL.items() if name != field.name}
    assert VALIDATOR.is_valid(without) == is_taken(without)


def test_each_spelling_of_a_month_is_valid() -> None:
    pattern = re.compile(SCHEMA["properties"]["issue_d"]["pattern"])
    assert all(map(pattern.search, MONTH_TEXTS))


def test_a_field_says_its_unit_and_what_becomes_of_other_values() -> None:
    fields = SCHEMA["properties"]
    assert fields["annual_inc"]["x-unit"] == "dollars a year"
    assert fields["annual_inc"]["description"].endswith("100 to 100,000,000 dollars a year; another value is refused.")
    assert "a value beyond counts as the nearer end" in fields["dti"]["description"]
    assert "Computed where it is left out: loan_amnt / revol_bal." in fields["loan_to_revolving"]["description"]
    assert fields["term"]["examples"] == [USUAL["term"]]
    assert not VALIDATOR.is_valid({**USUAL, "colour": "red"})
