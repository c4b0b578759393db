"""Contracts of earlier releases: their packages compute what they did, and people are told what to write now."""

import json
from pathlib import Path

import polars as pl
import pytest
import yaml

from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.loading import load_contract, load_packaged_contract
from loan_default.risk.data.cleaning import clean_loans
from loan_default.risk.data.synthetic import make_loans
from loan_default.risk.errors import BadInput
from loan_default_tests.packages import EARLIER_DERIVATIONS as EARLIER


def cleaned_loans(folder: Path, contract: Contract) -> pl.DataFrame:
    """Clean `loans.parquet` of the folder by a contract, and return the loans."""
    path = folder / "cleaned.parquet"
    clean_loans([folder / "loans.parquet"], contract, cleaned=path, rejected=folder / "rejected.parquet")
    return pl.read_parquet(path)


def earlier(folder: Path, **units: str) -> Path:
    """Write the shipped contract as packages of format 2 had it, with other units of some fields."""
    data = load_contract().model_dump(mode="json")
    for field in data["fields"]:
        field["derived"] = EARLIER.get(field["name"])
        field["unit"] = units.get(field["name"], field["unit"])
    path = folder / "contract.json"
    path.write_text(json.dumps(data), encoding="utf-8")
    return path


@pytest.mark.parametrize("units", [{}, {"annual_inc": "dollars a month", "loan_amnt": "of its own"}])
def test_a_contract_of_before_computes_what_it_did_whatever_its_units(units: dict[str, str], tmp_path: Path) -> None:
    contract, shipped = load_packaged_contract(earlier(tmp_path, **units)), load_contract()
    (tmp_path / "again.json").write_text(contract.model_dump_json(), encoding="utf-8")
    again = load_packaged_contract(tmp_path / "again.json")
    make_loans(300, seed=4).write_parquet(tmp_path / "loans.parquet")
    results = []
    for each in (contract, again, shipped):
        results.append(cleaned_loans(tmp_path, each).select(*EARLIER))
    assert results[0].equals(results[1])
    assert results[0].equals(results[2])


@pytest.mark.parametrize("name", EARLIER)
@pytest.mark.slow
def test_a_contract_that_names_a_function_of_before_is_told_what_to_write(name: str, tmp_path: Path) -> None:
    data = load_contract().model_dump(mode="json")
    field = next(field for field in data["fields"] if field["name"] == name)
    expression, field["derived"] = field["derived"], EARLIER[name]
    path = tmp_path / "contract.yaml"
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    with pytest.raises(BadInput, match=rf"field {name}: derived: it is now an expression; write derived: ") as refused:
        load_contract(path)
    assert expression.replace("yearly(annual_inc)", "annual_inc") in str(refused.value)
