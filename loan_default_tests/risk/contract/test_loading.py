"""Contracts are loaded by the rules of this release where people write them, and of their own where packages do."""

from pathlib import Path

import pytest

from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.loading import load_contract, load_packaged_contract
from loan_default.risk.errors import BadInput


def test_the_contract_of_a_package_is_read_by_the_rules_of_its_time(tmp_path: Path) -> None:
    path = tmp_path / "contract.json"
    path.write_text(
        load_contract().model_dump_json().replace('"levels":["A",', '"levels":["A","A",', 1), encoding="utf-8"
    )
    with pytest.raises(BadInput, match=r"line 1: field grade: level A is listed twice; delete one\.$"):
        load_contract(path)
    packaged = load_packaged_contract(path)
    assert packaged.by_name["grade"].levels[:2] == ("A", "A")
    assert load_packaged_contract(path) == Contract.model_validate(packaged, strict=True)


def test_only_packages_may_say_that_a_field_was_derived_whatever_its_units(tmp_path: Path) -> None:
    content = load_contract().model_dump_json()
    path = tmp_path / "contract.json"
    path.write_text(content.replace('"derived":"', '"derived_as_numbers":true,"derived":"', 1), encoding="utf-8")
    with pytest.raises(BadInput, match=r"field \w+: derived_as_numbers: there is no such key; those here are name, "):
        load_contract(path)
    (path.with_suffix(".yaml")).write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    with pytest.raises(BadInput, match=r"derived_as_numbers: there is no such key"):
        load_contract(path.with_suffix(".yaml"))
    assert [field.ignores_units for field in load_packaged_contract(path).fields].count(True) == 1
