"""Formats of months that read none are refused."""

# ruff: noqa: E501 - sentences stand as they are told

from pathlib import Path

import pytest

from loan_default_tests.risk.contract.drafts import CONTRACT, mistakes, mistakes_of_field

OF_FILE = {
    "snapshot: {column: c, format: '%m'}": [
        "12: snapshot: format %m says no year and month; write %Y-%m, %b-%y, … or days since 1899-12-30"
    ],
}


@pytest.mark.parametrize("lines", OF_FILE)
def test_mistakes_of_a_contract(tmp_path: Path, lines: str) -> None:
    assert mistakes(tmp_path, CONTRACT + lines) == OF_FILE[lines]


OF_FIELD = {
    "kind: month, role: support, format: ['%d/%m/%Y', '%m/%d/%Y'], description: d": [
        "field a: formats %d/%m/%Y and %m/%d/%Y read 02/01/2001 as 2001-01 and as 2001-02; write the one by which the files "
        "are written"
    ],
    "kind: month, role: support, format: ['%b-%y', '%m-%y', '%y-%m'], description: d": [
        "field a: formats %m-%y and %y-%m read 02-01 as 2001-02 and as 2002-01; write the one by which the files are written"
    ],
    "kind: month, role: support, format: [days since 1899-12-30, days since 1904-01-01], description: d": [
        "field a: formats days since 1899-12-30 and days since 1904-01-01 read 36892 as 2001-01 and as 2005-01; write the one by "
        "which the files are written"
    ],
    "kind: month, role: support, format: ['%Y%m', '%Y%m%d', days since 1899-12-30, '%d.%m.%y'], description: d": [],
    "kind: month, role: support, format: '%Y-%m', century: 1930, description: d": [
        "field a: century is of years in two digits, and no format holds %y; delete century"
    ],
    "kind: month, role: support, format: [YYYY-MM], description: d": [
        "field a: format YYYY-MM says no year and month; write %Y-%m, %b-%y, … or days since 1899-12-30"
    ],
    "kind: month, role: support, format: '%Y-%m %Q', description: d": [
        "field a: format %Y-%m %Q holds %Q, which is not read; write %Y, %y, %m, %b, %B, %d, %H, %M, %S"
    ],
    "kind: month, role: support, format: days since 1899-13-30, description: d": [
        "field a: format days since 1899-13-30 counts from a day that there is not; write days since 1899-12-30"
    ],
    "kind: month, role: support, format: ['%d-%m-%Y %H:%M', '%b-%y'], century: 1930, description: d": [],
}


@pytest.mark.parametrize("keys", OF_FIELD)
def test_mistakes_of_a_field(tmp_path: Path, keys: str) -> None:
    assert mistakes_of_field(tmp_path, keys) == sorted(OF_FIELD[keys])
