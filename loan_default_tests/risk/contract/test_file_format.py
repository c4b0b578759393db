"""Signs that no file can be read by, and layouts that cannot be recognised, are refused."""

# ruff: noqa: E501 - sentences stand as they are told

from pathlib import Path

import pytest

from loan_default.risk.errors import BadInput
from loan_default_tests.risk.contract.drafts import CONTRACT, Change, LoadChanged, mistakes

OF_FILE = {
    'files: {separator: "\\t", quote: none, encoding: cp1252, decimal: ",", thousands: "."}': [],
    "files: {separator: ;;, quote: ';', encoding: utf9, decimal: ',', thousands: ',', currency: [''], negative: true}": [
        "12: files.negative: there is no such key; write negative_in_brackets",
        "12: files: separator ';;' is not one sign; write one, in quotes",
        "12: files: decimal and thousands are both ,; write two signs",
        "12: files: currency holds an empty text; delete it",
        "12: files: encoding utf9 is none that Python knows; write utf-8, cp1252, latin-1 or utf-16",
    ],
    "files: {quote: ','}": ["12: files: quote and another sign are both ,; write the sign that the files have"],
    "files: {encoding: idna, decimal: '-', currency: ['1', '-', kr.]}": [
        "12: files: decimal - is the sign before a number; write the one within it",
        "12: files: currency 1 may be a part of a number; delete it",
        "12: files: currency - may be a part of a number; delete it",
        "12: files: encoding idna is none that Python knows; write utf-8, cp1252, latin-1 or utf-16",
    ],
    "files: {encoding: undefined}": [
        "12: files: encoding undefined is none that Python knows; write utf-8, cp1252, latin-1 or utf-16"
    ],
    "files: {separator: é, decimal: '5'}": [
        "12: files: separator 'é' is a part of values or of lines; write another sign, in quotes",
        "12: files: decimal '5' is a part of values or of lines; write another sign, in quotes",
    ],
    "layouts:\n  - {name: l, recognised_by: [a], snapshot_month: 2019-13}": [
        "13: layout l: snapshot_month: 2019-13 is no month; write it as 2018-12"
    ],
    "layouts:\n  - {name: l, recognised_by: []}": [
        "13: layout l: recognised_by names no column; write those of its header that others lack"
    ],
}


@pytest.mark.parametrize("lines", OF_FILE)
def test_mistakes_of_a_contract(tmp_path: Path, lines: str) -> None:
    assert mistakes(tmp_path, CONTRACT + lines) == OF_FILE[lines]


WRONG: dict[str, tuple[Change, str]] = {
    "month": (
        lambda data, field: data["layouts"][0]["year"].update(month=13),
        "layout selected_features: year.month: 13 is",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_contract_that_contradicts_itself_is_refused(changed: LoadChanged, name: str) -> None:
    change, sentence = WRONG[name]
    with pytest.raises(BadInput, match=sentence):
        changed(change)
