"""The books of `examples/`: each contract reads a file of the published layout, and is run, scored and told of rightly.

No published row is used: loans are made from the contract, in the columns that the file has.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from loan_default.homes import prepare_process
from loan_default.operations import contracts
from loan_default.risk.contract.loading import load_contract
from loan_default.risk.data.contract_check import check_contract
from loan_default.risk.data.synthetic_book import make_book
from loan_default.settings import load_settings
from loan_default_tests.homes import own_environment

EXAMPLES = Path(__file__).parent.parent / "examples"
# The headers as the books are published.
HEADERS = {
    "hmeq": "BAD,LOAN,MORTDUE,VALUE,REASON,JOB,YOJ,DEROG,DELINQ,CLAGE,NINQ,CLNO,DEBTINC",
    "credit_risk": (
        "person_age,person_income,person_home_ownership,person_emp_length,loan_intent,loan_grade,loan_amnt,"
        "loan_int_rate,loan_status,loan_percent_income,cb_person_default_on_file,cb_person_cred_hist_length"
    ),
    "taiwan": (
        "ID,LIMIT_BAL,SEX,EDUCATION,MARRIAGE,AGE,PAY_0,PAY_2,PAY_3,PAY_4,PAY_5,PAY_6,BILL_AMT1,BILL_AMT2,BILL_AMT3,"
        "BILL_AMT4,BILL_AMT5,BILL_AMT6,PAY_AMT1,PAY_AMT2,PAY_AMT3,PAY_AMT4,PAY_AMT5,PAY_AMT6,class"
    ),
    "south_german": (
        "account_status;credit_duration;history_of_compliance;credit_purpose;credit_amount;savings;employment_duration;"
        "installment_rate;personal_status_sex;other_debtors;present_residence;property;age;other_installment_plans;"
        "type_of_housing;number_credits;job;people_liable;telephone;foreign_worker;level_of_education;entry_payment;"
        "credit_risk"
    ),
}
BY_BOOK = pytest.mark.parametrize("book", HEADERS)


def write_published(book: str, folder: Path, rows: int) -> Path:
    """Make loans in the published layout: its columns, in its order, with what no field reads."""
    contract = load_contract(EXAMPLES / book / "contract.yaml")
    separator = contract.files.separator
    loans = make_book(contract, rows, seed=7)
    columns = [
        loans[name] if name in loans else pl.Series(name, ["0"] * rows) for name in HEADERS[book].split(separator)
    ]
    path = folder / f"{book}.csv"
    pl.DataFrame(columns).write_csv(path, separator=separator)
    return path


def test_every_example_has_a_page_and_a_contract_that_loads() -> None:
    folders = {folder.name for folder in EXAMPLES.iterdir() if folder.is_dir()}
    assert folders == {*HEADERS, "lendingclub"}
    for name in folders:
        page = (EXAMPLES / name / "README.md").read_text(encoding="utf-8")
        assert all(heading in page for heading in ("## Where to get it", "## What was decided", "## What was measured"))
        if name in HEADERS:
            assert contracts.check(EXAMPLES / name / "contract.yaml").contract.name == name


@BY_BOOK
def test_a_file_of_the_published_layout_is_read_field_by_field(book: str, tmp_path: Path) -> None:
    contract = load_contract(EXAMPLES / book / "contract.yaml")
    check = check_contract(contract, write_published(book, tmp_path, 400))
    assert check.refusal is None
    assert check.report is not None
    assert (check.report.kept, check.report.rejected) == (400, 0)
    absent = {field.field for field in check.fields if field.column is None}
    assert absent <= {"id", *(field.name for field in contract.fields if field.derived)}
    assert all(field.read in (None, 1) and field.filled > 0.9 for field in check.fields)


@pytest.mark.long
@BY_BOOK
def test_a_book_is_run_scored_and_told_of_as_it_is(book: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from loan_default.operations import batches, promotion, training

    monkeypatch.chdir(tmp_path)
    with own_environment():
        os.environ |= {
            "LOAN_DEFAULT_HOME": str(tmp_path / "home"),
            "LOAN_DEFAULT_CONTRACT": str(EXAMPLES / book / "contract.yaml"),
        }
        settings = replace(load_settings(), data=str(write_published(book, tmp_path, 3_000)))
        prepare_process(settings)
        records = training.run_pipeline(settings, training.TrainingRequest(trials=2))
        assert records.training is not None
        promotion.promote_by_hand(settings, records.training["version"], "A test.")
        applications = write_published(book, tmp_path, 300).rename(tmp_path / "2019-01.csv")
        scored = batches.score(settings, applications)
        assert (scored.applications, scored.rejected) == (300, 0)
        assert scored.parquet.startswith(f"{tmp_path}/home/storage/{book}/predictions/")
        assert settings.tracking.version_of("production") is not None
        card = Path(str(settings.layout.model_card)).read_text(encoding="utf-8")
    assert not re.search(r"LendingClub|None of the matured|\bnan\b|[:|=(] None\b", card)
    assert "the book has no date, and nothing was tested out of time" in card
