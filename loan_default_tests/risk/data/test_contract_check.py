"""A contract is held against a file: shares read, what could not be read, levels unseen, and what would be rejected."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from loan_default.risk.contract.book import Contract
from loan_default.risk.data.contract_check import check_contract
from loan_default.risk.errors import BadInput

_FIELDS: list[dict[str, Any]] = [
    {"name": "id", "kind": "text", "role": "id", "description": "d"},
    {"name": "issued", "kind": "month", "role": "time", "description": "d"},
    {"name": "term", "kind": "number", "role": "support", "unit": "months", "range": [1, 60], "description": "d"},
    {"name": "amount", "kind": "number", "role": "feature", "unit": "dollars", "range": [0, 9999], "description": "d"},
    {"name": "home", "kind": "nominal", "role": "feature", "levels": ["rent", "own", "other"], "description": "d"},
    {"name": "age", "kind": "number", "role": "feature", "unit": "years", "range": [0, 99], "description": "d"},
]
CONTRACT = Contract.model_validate(
    {
        "name": "book",
        "title": "A book",
        "known_afterwards": [],
        "outcome": {"column": "status", "defaulted": ["bad"], "repaid": ["good"], "unresolved": ["open"]},
        "snapshot": {"column": "taken"},
        "expect": {"rejected_share_at_most": 0.2, "default_rate_between": [0.1, 0.9]},
        "fields": _FIELDS,
    }
)
HEADER = "id,issued,term,amount,home,status,taken,colour\n"


def write(folder: Path, *lines: str, header: str = HEADER) -> Path:
    path = folder / "loans.csv"
    path.write_text(header + "".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def sound(count: int) -> list[str]:
    return [f"{n},2012-01,12,{100 + n},rent,{('bad', 'good')[n % 2]},2015-01,red" for n in range(count)]


def test_each_field_is_described_by_what_the_file_has_of_it(tmp_path: Path) -> None:
    file = write(tmp_path, *sound(8), "x,2012-02,12,lots,own,good,2015-01,red", "y,2012-03,12,,tent,open,2015-01,red")
    check = check_contract(CONTRACT, file)
    by_field = {field.field: field for field in check.fields}
    amount, home = by_field["amount"], by_field["home"]
    assert (amount.filled, amount.unread) == (0.9, (("lots", 1),))
    assert amount.read == pytest.approx(8 / 9)
    assert amount.values == "100 to 107, median 103.5 dollars"
    assert (home.unread, home.unseen) == ((("tent", 1),), ("other",))
    assert by_field["age"].column is None
    assert by_field["age"].filled == 0
    assert by_field["issued"].values == "2012-01 to 2012-03"
    assert check.unused == ("colour",)
    assert check.statuses == (("good", "repaid", 5), ("bad", "defaulted", 4), ("open", "unresolved", 1))
    assert check.report is not None
    assert (check.report.kept, check.report.rejected, check.report.matured) == (8, 2, 8)
    assert check.refusal is None


def test_a_file_that_would_be_refused_says_why(tmp_path: Path) -> None:
    broken = [line.replace("rent", "tent") for line in sound(4)]
    refusal = check_contract(CONTRACT, write(tmp_path, *sound(8), *broken)).refusal
    assert refusal is not None
    assert refusal.startswith("33.3% of the rows would be rejected, more than rejected_share_at_most (20.0%) allows.")
    assert "home 'tent'" in refusal
    check = check_contract(CONTRACT, write(tmp_path, *broken))
    assert check.report is None
    assert "none of the 4 loans is usable" in (check.refusal or "")


def test_limits_of_the_outcome_are_told(tmp_path: Path) -> None:
    good = [line.replace("bad", "good") for line in sound(8)]
    refusal = check_contract(CONTRACT, write(tmp_path, *good)).refusal
    assert refusal == (
        "0.0% of the matured loans defaulted, outside of default_rate_between (10.0% to 90.0%): see which statuses "
        "mean default."
    )
    young = [line.replace("2012-01", "2015-01") for line in sound(8)]
    assert (check_contract(CONTRACT, write(tmp_path, *young)).refusal or "").startswith("No loan has an outcome")


def test_a_file_that_cannot_be_opened_by_the_contract_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="status"):
        check_contract(CONTRACT, write(tmp_path, "1,2012-01", header="id,issued\n"))
    path = tmp_path / "loans.parquet"
    pl.read_csv(write(tmp_path, *sound(100))).write_parquet(path)
    content = bytearray(path.read_bytes())
    content[20:60] = bytes(40)
    path.write_bytes(content)
    with pytest.raises(BadInput, match=r"loans\.parquet is damaged or cut off \(.*\); fetch or export it again\.$"):
        check_contract(CONTRACT, path)


def test_a_file_was_not_taken_before_the_last_payments_that_it_holds(tmp_path: Path) -> None:
    data = CONTRACT.model_dump(exclude={"snapshot"})
    data["outcome"] = {**data["outcome"], "known": {"last_payment": "taken"}}
    check = check_contract(
        Contract.model_validate(data), write(tmp_path, *sound(8), "x,2012-02,12,9,own,good,soon,red")
    )
    assert check.report is not None
    assert check.report.snapshot == date(2015, 1, 1)
    assert check.report.problems == {"last_payment: impossible date": 1}
    assert check.report.unreadable_snapshots == ()
    assert check.unused == ("colour",)
