"""The quick reader and the careful one: the same numbers, and never a word of its own."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loan_default.risk.applications import QuickReader, from_pandas
from loan_default.risk.cleaning import clean_applications
from loan_default.risk.contract import LoanField
from loan_default.risk.errors import BadInput
from loan_default.risk.features import FeatureSpace
from loan_default_tests.packages import applications, contract

READER = QuickReader(contract())
FIELDS = contract().by_name


def careful(application: dict[str, Any]) -> tuple[Any, ...]:
    return clean_applications(from_pandas(pd.DataFrame([application])), contract()).row(0)


def alike(one: Sequence[Any], other: Sequence[Any]) -> bool:
    return all(
        a == (pytest.approx(b, rel=1e-12) if isinstance(b, float) else b) for a, b in zip(one, other, strict=True)
    )


def values_of(field: LoanField) -> st.SearchStrategy[Any]:
    """Mostly what is allowed, with what is not: beyond the range, another type, an unknown level, nothing."""
    odd = st.sampled_from([None, "", "NA", "None", "x", True, -1, 10**12, 3.61, "36 months", [], {}])
    if field.kind == "number" and field.range:
        return st.one_of(st.floats(*field.range), st.integers(0, 2000), odd)
    if field.levels:
        return st.one_of(st.sampled_from([*field.levels, *field.words]), odd)
    if field.kind == "month":
        return st.one_of(st.sampled_from(["Dec-2015", "2001-07", "2001-07-31"]), odd)
    return st.one_of(st.text("abc123", max_size=5), odd)


def test_what_is_plainly_right_is_read_as_a_file_is() -> None:
    sent, features = applications()
    read = [READER.read(application) for application in sent]
    assert None not in read
    matrix = np.array([READER.encode(values) for values in read if values], dtype=np.float32)
    assert np.array_equal(matrix, FeatureSpace(contract()).matrix(features), equal_nan=True)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_the_quick_reader_agrees_or_gives_up(data: st.DataObject) -> None:
    application = dict(applications()[0][0])
    for name in data.draw(st.lists(st.sampled_from(sorted(FIELDS)), max_size=4, unique=True)):
        application[name] = data.draw(values_of(FIELDS[name]), label=name)
    quick = READER.read(application)
    if quick is None:
        return
    assert alike(quick, careful(application))


@pytest.mark.parametrize(
    "change",
    [
        {"term": 3.61},  # a logarithm, as older clients sent it
        {"term": "36"},
        {"int_rate": True},
        {"grade": "H"},
        {"colour": "red"},
        {"annual_inc": None},
        {"issue_d": "yesterday"},
        {"id": [5]},
    ],
)
def test_what_is_odd_is_left_to_the_careful_reader(change: dict[str, Any]) -> None:
    assert READER.read({**applications()[0][0], **change}) is None


def test_an_income_of_nothing_is_no_arithmetic_error() -> None:
    assert READER.read({**applications()[0][0], "annual_inc": 0}) is None


def test_every_missing_value_of_pandas_is_null_and_everything_else_is_told() -> None:
    frame = pd.DataFrame(
        {
            "int_rate": [13.5, None],
            "term": [36, 60],
            "purpose": [np.nan, "car"],
            "grade": ["None", pd.NA],
            "dti": [True, 5],
            "fico_range_low": [[700], {"a": 1}],
        }
    )
    assert from_pandas(frame).to_dicts() == [
        {"int_rate": 13.5, "term": 36.0, "purpose": None, "grade": None, "dti": "True", "fico_range_low": "[700]"},
        {"int_rate": None, "term": 60.0, "purpose": "car", "grade": None, "dti": "5", "fico_range_low": "{'a': 1}"},
    ]
    assert from_pandas(pd.DataFrame({"dti": [True, False]}))["dti"].to_list() == ["True", "False"]


def test_a_boolean_is_no_number() -> None:
    with pytest.raises(BadInput, match="int_rate 'True' is no number"):
        careful({**applications()[0][0], "int_rate": True})


def test_months_may_be_sent_in_any_of_their_spellings() -> None:
    one = applications()[0][0]
    spelled = [READER.read({**one, "issue_d": text}) for text in ("Oct-2018", "2018-10")]
    assert spelled[0] is not None
    assert spelled[0] == spelled[1]
    assert alike(spelled[0], careful({**one, "issue_d": "2018-10"}))
