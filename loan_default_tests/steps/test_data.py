"""A loan file is cleaned and stored whole or not at all, and cut into windows."""

from datetime import date
from pathlib import Path

import polars as pl
import pytest
from upath import UPath

from loan_default.adapters.parquet_table import ParquetTable
from loan_default.adapters.storage import read_json
from loan_default.risk.compute import LocalEngine
from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.outcome import OutcomeKnown
from loan_default.risk.data.splitting import SplitPlan
from loan_default.risk.data.synthetic import write_csv
from loan_default.risk.errors import BadInput
from loan_default.steps.data import (
    clean_loan_file,
    data_fingerprint,
    parse_month,
    parse_optional_month,
    read_windows,
    split_cleaned_loans,
)
from loan_default.steps.gates import GateFailed
from loan_default.steps.outcomes import read_outcome_files
from loan_default.steps.workspace import Workspace
from loan_default_tests.homes import write_outcomes
from loan_default_tests.steps.book import as_json

TODAY = date(2026, 11, 1)


def _files(workspace: Workspace) -> set[str]:
    root = Path(str(workspace.layout.root))
    return {path.name for path in [*root.rglob("*"), *workspace.staging.rglob("*")] if path.is_file()}


def test_table_rejected_rows_and_report_are_stored_of_one_file(
    loans_csv: Path, contract: Contract, workspace: Workspace
) -> None:
    cleaned = clean_loan_file(str(loans_csv), contract, workspace, LocalEngine(), today=TODAY)
    assert _files(workspace) == {"cleaned_loans.parquet", "rejected_loans.parquet", "cleaning_report.json"}
    report = read_json(workspace.layout.record("cleaning_report"))
    assert report == as_json(cleaned.report.to_dict())
    assert pl.read_parquet(str(workspace.layout.table("cleaned_loans"))).height == report["kept"] > 3_900
    assert all(finding.passed for finding in cleaned.findings)


def test_the_snapshot_may_be_named(loans_csv: Path, contract: Contract, workspace: Workspace) -> None:
    cleaned = clean_loan_file(
        str(loans_csv), contract, workspace, LocalEngine(), today=TODAY, snapshot=date(2016, 1, 1)
    )
    assert cleaned.report.snapshot == date(2016, 1, 1)


def test_of_a_file_that_is_refused_the_rejected_rows_are_stored(
    loans: pl.DataFrame, contract: Contract, workspace: Workspace, tmp_path: Path
) -> None:
    odd = pl.int_range(pl.len()) % 2 == 0
    amount = pl.when(odd).then(pl.lit("many")).otherwise("loan_amnt").alias("loan_amnt")
    write_csv(loans.with_columns(amount), tmp_path / "odd.csv")
    with pytest.raises(GateFailed, match=r"50\.00% of the rows were rejected") as raised:
        clean_loan_file(str(tmp_path / "odd.csv"), contract, workspace, LocalEngine(), today=TODAY)
    assert raised.value.asset == "cleaned_loans"
    assert len(raised.value.findings) == 5
    first = "The first: odd.csv, row 1: loan_amnt 'many' is no number; it must be 100 to 1,000,000 dollars."
    assert str(raised.value).endswith(first)
    assert _files(workspace) == {"rejected_loans.parquet"}
    write_csv(loans[:3].with_columns(grade=pl.lit("H")), tmp_path / "bad.csv")
    with pytest.raises(BadInput, match=r"The first: bad\.csv, row 1: grade 'H' is not one of"):
        clean_loan_file(str(tmp_path / "bad.csv"), contract, workspace, LocalEngine(), today=TODAY)
    assert pl.read_parquet(str(workspace.layout.table("rejected_loans"))).height == 3


def test_cleaned_loans_are_cut_as_of_the_snapshot_of_their_report(
    loans_csv: Path, contract: Contract, workspace: Workspace
) -> None:
    clean_loan_file(str(loans_csv), contract, workspace, LocalEngine(), today=TODAY)
    report = read_json(workspace.layout.record("cleaning_report"))
    loans = ParquetTable.of(workspace.layout.table("cleaned_loans"), workspace.staging)
    splits = split_cleaned_loans(loans, report, contract, SplitPlan(0.2, 0.2, None, None))
    assert [window.name for window in splits.windows] == ["train", "calibrate", "test"]
    assert splits.data_fingerprint == report["fingerprint"]
    assert f"{splits.snapshot:%Y-%m}" == report["snapshot"]
    assert read_windows(as_json(splits.to_dict()), report) == splits


def test_windows_of_an_earlier_file_are_refused() -> None:
    """They stay where a file is cleaned that cannot be cut into windows."""
    with pytest.raises(BadInput) as refused:
        read_windows({"data_fingerprint": "aa"}, {"fingerprint": "bb", "files": ["new.csv"]})
    assert str(refused.value) == (
        "The windows (loan_splits) are of another file, or of other outcomes, (fingerprint aa) than the loans that "
        "were cleaned last (bb: new.csv); run loan-default clean --data FILE, which cuts the loans that it cleans, or "
        "materialise loan_splits."
    )


def test_open_loans_are_not_learned_from_where_nobody_says_when_loans_ended(
    loans_csv: Path, contract: Contract, workspace: Workspace
) -> None:
    loans = ParquetTable.of(UPath(loans_csv), workspace.staging)
    unknown = contract.model_copy(update={"outcome": contract.outcome.model_copy(update={"known": None})})
    with pytest.raises(BadInput) as refused:
        split_cleaned_loans(loans, {}, unknown, SplitPlan(), "open")
    assert str(refused.value) == (
        "label: open needs to know when loans ended. The contract does not say when an outcome was known "
        "(outcome.known); write label: matured into the policy."
    )


def test_a_month_is_written_with_its_year() -> None:
    assert parse_month("2014-08", "test_from") == date(2014, 8, 1)
    assert parse_optional_month("2014-08", "test_from") == date(2014, 8, 1)
    assert parse_optional_month("", "test_from") is None
    assert parse_optional_month(None, "seen_until") is None


@pytest.mark.parametrize("text", ["2014-13", "August 2014", "2014"])
def test_another_way_to_write_a_month_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match=rf"^test_from is '{text}'; write a month as YYYY-MM\.$"):
        parse_month(text, "test_from")


def test_endings_are_known_since_outcome_files_told_them(
    loans_csv: Path, contract: Contract, workspace: Workspace
) -> None:
    before = clean_loan_file(str(loans_csv), contract, workspace, LocalEngine(), today=TODAY).report
    by_rule = pl.read_parquet(str(workspace.layout.table("cleaned_loans")))
    (number, month) = (
        by_rule.filter(pl.col("outcome") == 1, pl.col("outcome_known").is_not_null())
        .select("id", pl.col("outcome_known").dt.offset_by("-2mo"))
        .row(0)
    )
    lines = [f"{number},Current,{month:%Y-%m}", f"{number},Charged Off,{month.year + 1}-{month:%m}"]
    folder = Path(str(workspace.layout.outcomes))
    folder.mkdir(parents=True)
    (folder / "told.csv").write_text("id,loan_status,month\n" + "\n".join(lines), encoding="utf-8")
    read_outcome_files(contract, workspace, today=TODAY)
    cleaned = clean_loan_file(str(loans_csv), contract, workspace, LocalEngine(), today=TODAY)
    assert (before.fingerprint, before.outcomes_fingerprint) == (cleaned.report.fingerprint, None)
    record = cleaned.report.to_dict()
    assert cleaned.report.told_by_files == 1
    assert data_fingerprint(record) == f"{before.fingerprint}+{record['outcomes_fingerprint']}", "it is other data"
    dated = pl.read_parquet(str(workspace.layout.table("cleaned_loans")))
    is_told = pl.col("id") == number
    assert dated.filter(is_told)["outcome_known"].item() == month.replace(year=month.year + 1)
    assert dated.filter(~is_told).select(by_rule.columns).equals(by_rule.filter(~is_told))


def test_a_book_of_which_files_alone_say_when_loans_ended_is_learned_from_openly(
    loans_csv: Path, contract: Contract, workspace: Workspace
) -> None:
    outcome = contract.outcome.model_copy(update={"known": OutcomeKnown()})
    book = contract.model_copy(update={"outcome": outcome})
    clean_loan_file(str(loans_csv), book, workspace, LocalEngine(), today=TODAY)
    loans = ParquetTable.of(workspace.layout.table("cleaned_loans"), workspace.staging)
    report = read_json(workspace.layout.record("cleaning_report"))
    with pytest.raises(BadInput, match="no outcome file tells of these loans that they ran; put files of how"):
        split_cleaned_loans(loans, report, book, SplitPlan(), "open")
    status = pl.read_csv(loans_csv, infer_schema=False).select("id", "loan_status", "issue_d")
    write_outcomes(Path(str(workspace.layout.outcomes)), status.with_columns(loan_status=pl.lit("Current")), "2013-01")
    write_outcomes(Path(str(workspace.layout.outcomes)), status, "2019-03")
    read_outcome_files(book, workspace, today=TODAY)
    clean_loan_file(str(loans_csv), book, workspace, LocalEngine(), today=TODAY)
    loans = ParquetTable.of(workspace.layout.table("cleaned_loans"), workspace.staging)
    report = read_json(workspace.layout.record("cleaning_report"))
    assert report["told_by_files"] == report["kept"]
    assert split_cleaned_loans(loans, report, book, SplitPlan(), "open").open_loans is not None
