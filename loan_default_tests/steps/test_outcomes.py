"""Outcome files are read each for itself."""

from datetime import date
from pathlib import Path

import polars as pl

from loan_default.adapters.storage import read_json
from loan_default.risk.contract.book import Contract
from loan_default.risk.data.synthetic import make_loans
from loan_default.steps.outcomes import read_outcome_files
from loan_default.steps.workspace import Workspace
from loan_default_tests.homes import write_outcomes
from loan_default_tests.steps.book import as_json

MONTH, TODAY = date(2014, 8, 1), date(2026, 3, 1)


def test_a_file_that_cannot_be_read_holds_up_no_other(contract: Contract, workspace: Workspace) -> None:
    loans = make_loans(400, seed=3, first_month=MONTH, last_month=MONTH)
    write_outcomes(Path(str(workspace.layout.outcomes)), loans)
    Path(str(workspace.layout.outcomes / "broken.csv")).write_text("nothing\n", encoding="utf-8")
    outcomes = read_outcome_files(contract, workspace, today=TODAY)
    assert outcomes.files == 2
    assert [*outcomes.report.unreadable] == ["broken.csv"]
    assert read_json(workspace.layout.record("outcomes_report")) == as_json(outcomes.report.to_dict())
    assert pl.read_parquet(str(workspace.layout.table("loan_outcomes"))).height == outcomes.report.loans == 400
    assert pl.read_parquet(str(workspace.layout.table("rejected_outcomes"))).height == 0
    assert list(workspace.staging.glob("run-1-*")) == []


def test_without_outcome_files_the_tables_are_empty(contract: Contract, workspace: Workspace) -> None:
    outcomes = read_outcome_files(contract, workspace, today=TODAY)
    assert (outcomes.files, outcomes.report.loans) == (0, 0)
    assert pl.read_parquet(str(workspace.layout.table("loan_outcomes"))).is_empty()
