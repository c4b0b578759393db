"""Loans of any contract are made from its ranges, levels and units, written as its files are, and cleaned by it."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.columns import OUTCOME
from loan_default.risk.data.cleaning import clean_application_file, clean_loans
from loan_default.risk.data.synthetic_book import make_book, write_book

_FIELDS: list[dict[str, Any]] = [
    {"name": "id", "kind": "text", "role": "id", "description": "d"},
    {"name": "issued", "kind": "month", "role": "time", "format": "%d.%m.%Y", "description": "d"},
    {"name": "first_line", "kind": "month", "role": "support", "description": "d"},
    {"name": "term", "kind": "number", "role": "support", "unit": "months", "range": [6, 48], "description": "d"},
    {
        **{"name": "rate", "kind": "number", "role": "feature", "unit": "percent a year", "range": [1, 40]},
        **{"scale": 100, "risk": "rising", "description": "d"},
    },
    {
        **{"name": "income", "kind": "number", "role": "feature", "unit": "dollars", "range": [100, 10_000_000]},
        **{"risk": "falling", "description": "d"},
    },
    {"name": "home", "kind": "nominal", "role": "feature", "levels": ["rent", "own; or so"], "description": "d"},
    {"name": "sex", "kind": "nominal", "role": "protected", "levels": ["f", "m"], "description": "d"},
]
CONTRACT = Contract.model_validate(
    {
        "name": "book",
        "title": "A book",
        "known_afterwards": [],
        "files": {"separator": ";", "decimal": ",", "encoding": "utf-16"},
        "outcome": {"column": "status", "defaulted": ["bäd"], "repaid": ["good"], "unresolved": ["open"]},
        "snapshot": {"column": "taken"},
        "expect": {"rejected_share_at_most": 0.0, "default_rate_between": [0.05, 0.9]},
        "fields": _FIELDS,
    }
)


@pytest.fixture(scope="module")
def cleaned(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    folder = tmp_path_factory.mktemp("book")
    write_book(folder / "loans.csv.gz", CONTRACT, 2_000, seed=3)
    cleaned, rejected = folder / "cleaned.parquet", folder / "rejected.parquet"
    report = clean_loans([folder / "loans.csv.gz"], CONTRACT, cleaned=cleaned, rejected=rejected)
    assert (report.kept, report.rejected) == (2_000, 0)
    assert 0 < report.matured <= report.resolved < report.kept
    return pl.read_parquet(cleaned)


def test_every_row_is_read_by_the_contract_that_it_was_made_of(cleaned: pl.DataFrame) -> None:
    assert cleaned["home"].drop_nulls().unique().sort().to_list() == ["rent", "own; or so"]
    assert cleaned["rate"].drop_nulls().is_between(1, 40).all()
    assert 0.01 < cleaned["income"].null_count() / len(cleaned) < 0.06


def test_fields_lean_on_the_outcome_as_the_contract_says(cleaned: pl.DataFrame) -> None:
    means = cleaned.drop_nulls(OUTCOME).group_by(OUTCOME).agg(pl.col("rate", "income").mean()).sort(OUTCOME)
    assert means["rate"][1] > means["rate"][0]
    assert means["income"][1] < means["income"][0]


def test_a_batch_has_no_outcome_and_nothing_that_is_protected(tmp_path: Path) -> None:
    write_book(tmp_path / "b.csv", CONTRACT, 50, seed=3, month=date(2018, 10, 1))
    cleaned, rejected = tmp_path / "cleaned.parquet", tmp_path / "rejected.parquet"
    assert clean_application_file(tmp_path / "b.csv", CONTRACT, cleaned=cleaned, rejected=rejected).kept == 50
    batch = make_book(CONTRACT, 50, seed=3, month=date(2018, 10, 1))
    assert not {"status", "taken", "sex"} & {*batch.columns}
    assert batch["issued"].unique().to_list() == ["01.10.2018"]


def test_the_same_seed_makes_the_same_loans_and_a_shift_others() -> None:
    assert make_book(CONTRACT, 30, seed=1).equals(make_book(CONTRACT, 30, seed=1))
    usual, shifted = (make_book(CONTRACT, 3_000, seed=1, shift=shift) for shift in (0.0, 1.0))
    rates = [book["rate"].str.replace(",", ".").cast(pl.Float64).mean() for book in (usual, shifted)]
    assert rates[1] > rates[0]  # type: ignore[operator]
