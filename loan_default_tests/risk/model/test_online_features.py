"""The quick reader and the careful one: the same numbers, and never a word of its own."""

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loan_default.risk.contract.field import LoanField
from loan_default.risk.data.population import measure_population
from loan_default.risk.errors import BadInput
from loan_default.risk.model.features import FeatureSpace
from loan_default.risk.model.online_features import QuickReader, check
from loan_default_tests.packages import applications, contract
from loan_default_tests.risk.data.loan_tables import small_book

SPACE = FeatureSpace(contract(), measure_population(applications()[1].lazy(), contract()))
READER = QuickReader(SPACE)
FIELDS = contract().by_name


def quick(*sent: dict[str, Any]) -> np.ndarray | None:
    """Return the values (n, features) that the quick reader makes of JSON; None where it gives up."""
    try:
        decoded = msgspec.json.decode(json.dumps(sent), type=list[READER.form])  # type: ignore[name-defined]
    except msgspec.ValidationError:
        return None
    read = READER.read(READER.form.__struct_fields__, [*map(msgspec.structs.astuple, decoded)])
    return None if read is None else np.array(read.values)


def by_columns(*sent: dict[str, Any]) -> np.ndarray | None:
    """Return the same of a list of values for each application."""
    names = list(dict.fromkeys(name for application in sent for name in application))
    form = READER.row_form(names)
    if form is None:
        return None
    rows = json.dumps([[application.get(name) for name in names] for application in sent])
    try:
        read = READER.read(names, msgspec.json.decode(rows, type=list[form]))  # type: ignore[valid-type]
    except msgspec.ValidationError:
        return None
    return None if read is None else np.array(read.values)


def careful(*sent: dict[str, Any]) -> np.ndarray:
    names = list(dict.fromkeys(name for application in sent for name in application))
    return np.array(check(names, [[*map(application.get, names)] for application in sent], contract()).values)


def alike(first: np.ndarray, second: np.ndarray) -> bool:
    return np.allclose(first, second, rtol=1e-12, atol=0, equal_nan=True)


def values_of(field: LoanField) -> st.SearchStrategy[Any]:
    """Draw mostly what is allowed, with what is not: beyond the range, another type, an unknown level, nothing."""
    odd: st.SearchStrategy[Any] = st.sampled_from(
        [None, "", "NA", "None", "x", True, -1, 10**12, 3.61, "36 months", [], {}]
    )
    if field.kind == "number" and field.range:
        return st.one_of(st.floats(*field.range), st.integers(0, 2000), odd)
    if field.levels:
        return st.one_of(st.sampled_from([*field.levels, *field.words]), odd)
    if field.kind == "month":
        return st.one_of(st.sampled_from(["Dec-2015", "2001-07", "2001-07-31"]), odd)
    return st.one_of(st.text("abc123", max_size=5), odd)


def test_what_is_plainly_right_is_read_as_a_file_is() -> None:
    sent, features = applications()
    expected = SPACE.matrix(features)
    many, singly = quick(*sent), [quick(application) for application in sent]
    assert many is not None
    assert np.array_equal(READER.matrix(many), expected, equal_nan=True)
    rows = [READER.matrix(matrix.tolist())[0] for matrix in singly if matrix is not None]
    assert np.array_equal(np.array(rows), expected, equal_nan=True)
    assert np.array_equal(READER.matrix(careful(*sent)), expected, equal_nan=True)


def test_what_is_missing_is_filled_in_as_for_a_file() -> None:
    names = ("dti", "fico_range_low", "purpose")
    sent = [{**application, **dict.fromkeys(names)} for application in applications()[0]]
    features = applications()[1]
    features = features.with_columns(pl.lit(None, features.schema[name]).alias(name) for name in names)
    expected = SPACE.matrix(features)
    many, singly = quick(*sent), [quick(application) for application in sent]
    assert many is not None
    assert np.array_equal(READER.matrix(many), expected, equal_nan=True)
    rows = [READER.matrix(matrix.tolist())[0] for matrix in singly if matrix is not None]
    assert np.array_equal(np.array(rows), expected, equal_nan=True)
    assert (expected[:, SPACE.columns.index("dti")] == np.float32(SPACE.population.typical["dti"])).all()
    assert np.isnan(expected[:, SPACE.columns.index("purpose=car")]).all()


@given(st.data())
def test_the_quick_reader_agrees_or_gives_up(data: st.DataObject) -> None:
    sent = [dict(application) for application in applications()[0][: data.draw(st.sampled_from([1, 3]), label="rows")]]
    for name in data.draw(st.lists(st.sampled_from(sorted(FIELDS)), max_size=4, unique=True)):
        sent[-1][name] = data.draw(values_of(FIELDS[name]), label=name)
    for read in (quick(*sent), by_columns(*sent)):
        if read is not None:
            assert alike(read, careful(*sent))


BOOK = small_book(
    files={"decimal": ",", "nothing": ["?"]},
    fields={
        "issued": {"format": "%d/%m/%Y"},
        "rate": {"scale": 100, "words": {"-1": None, "99": 12.5}},
        "note": {"nullable": False},
    },
)
BOOK_SPACE = FeatureSpace(BOOK, measure_population(pl.LazyFrame({"amount": [1.0]}), BOOK))
USUAL = {"term": 12, "amount": 5, "rate": 7.5, "sort": "1", "owner": "True", "note": "x", "issued": "2010-01"}
SENT: dict[str, list[Any]] = {
    "sort": [1, 2, 1.0, "1.0", "2", "A", 3, True, None],
    "owner": [True, False, "TRUE", "false", "NONE", "none", "?"],
    "rate": [-1, 99, 99.0, 0.07, None],
    "note": ["?", " ? ", "", "y", None],
    "issued": ["31/12/2010", "Dec-2010", "?"],
    "amount": ["1,5", 1.5],
}


@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in SENT.items() for value in values])
def test_the_readers_agree_on_another_book(name: str, value: Any, rows: int) -> None:
    names, reader = (*USUAL, "id"), QuickReader(BOOK_SPACE)
    sent = [[*{**USUAL, "id": 7}.values()]] * (rows - 1) + [[*{**USUAL, "id": 8, name: value}.values()]]
    try:
        decoded = msgspec.json.decode(json.dumps(sent), type=list[reader.row_form(names)])  # type: ignore[misc]
    except msgspec.ValidationError:
        decoded = None
    quick_answer = None if decoded is None else reader.read(names, decoded)
    plain = (name, type(value)) in (("sort", int), ("owner", bool)) and value != 3
    assert quick_answer is not None or not plain
    if quick_answer is not None:
        careful_answer = check(names, sent, BOOK)
        assert quick_answer.ids == careful_answer.ids
        assert alike(np.array(quick_answer.values), np.array(careful_answer.values))


@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize(
    "change",
    [
        {"term": 3.61},  # a logarithm, as older clients sent it
        {"term": "36"},
        {"int_rate": True},
        {"grade": "H"},
        {"colour": "red"},
        {"annual_inc": None},
        {"annual_inc": 0},
        {"issue_d": "yesterday"},
        {"loan_to_income": "high"},
        {"id": [5]},
        {"id": 2**64},
        {"id": "x" * 1_001},
    ],
)
def test_what_is_odd_is_left_to_the_careful_reader(change: dict[str, Any], rows: int) -> None:
    sent = applications()[0][:rows]
    assert quick(*sent) is not None
    assert quick(*sent[:-1], {**sent[-1], **change}) is None
    assert by_columns(*sent) is not None
    assert by_columns(*sent[:-1], {**sent[-1], **change}) is None


def test_columns_that_cannot_be_an_application_have_no_form() -> None:
    names = [name for name, value in applications()[0][0].items() if value is not None]
    assert READER.row_form(names[::-1]) is not None
    for wrong in ([*names, names[0]], [*names, "colour"], [name for name in names if name != "term"], []):
        assert READER.row_form(wrong) is None


def test_columns_of_long_names_are_not_remembered() -> None:
    reader = QuickReader(SPACE, ignore_unknown=True)
    names = [name for name, value in applications()[0][0].items() if value is not None]
    row = [applications()[0][0][name] for name in names]
    assert reader.read_values([*names, "x" * 100], [[*row, 1]]) is not None
    assert reader.read_values([*names, "x" * 20_000], [[*row, 1]]) is None


@pytest.mark.parametrize("rows", [1, 2])
def test_a_share_of_nothing_is_as_large_as_a_share_can_be(rows: int) -> None:
    sent = [{**application, "revol_bal": 0} for application in applications()[0][:rows]]
    read = quick(*sent)
    assert read is not None
    assert alike(read, careful(*sent))
    field = FIELDS["loan_to_revolving"]
    assert field.range
    assert read[0][contract().feature_names.index(field.name)] == field.range[1]


def test_a_boolean_is_no_number() -> None:
    with pytest.raises(BadInput, match="int_rate 'True' is no number"):
        careful({**applications()[0][0], "int_rate": True})


def test_months_may_be_sent_in_any_of_their_spellings() -> None:
    application = applications()[0][0]
    spelled = [quick({**application, "issue_d": text}) for text in ("Oct-2018", "2018-10")]
    assert spelled[0] is not None
    assert spelled[1] is not None
    assert alike(spelled[0], spelled[1])
    assert alike(spelled[0], careful({**application, "issue_d": "2018-10"}))


def test_threads_may_begin_to_read_tables_of_the_same_columns_at_once() -> None:
    """Where two of them began to read a struct's types, the process ended by a fault of its memory."""
    names = [field.name for field in contract().application_fields]
    often, at_once = sys.getswitchinterval(), Barrier(4)

    def read(reader: QuickReader) -> None:
        at_once.wait()
        reader.read_values(names, [[None] * len(names)])

    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as threads:
            for _ in range(50):
                reader = QuickReader(SPACE)
                reader._table_form(tuple(names))
                assert [*threads.map(read, [reader] * 4)] == [None] * 4
    finally:
        sys.setswitchinterval(often)
