"""Plain values in Dagster's words."""

import base64

import dagster as dg
import pytest

from loan_default.defs import metadata as shown
from loan_default.risk.cleaning import REJECTED_SCHEMA
from loan_default.risk.contract import Contract
from loan_default.risk.errors import BadInput
from loan_default.risk.policy import Finding

FINDINGS = (Finding("ids_unique", True, "4 loans have 4 ids."), Finding("calibrated", False, "Error 0.2."))


def test_findings_become_results_of_the_checks_of_their_names() -> None:
    specs = shown.check_specs("trained_model", [finding.rule for finding in FINDINGS])
    results = shown.check_results("trained_model", FINDINGS)
    assert [spec.key for spec in specs] == [dg.AssetCheckKey(result.asset_key, result.check_name) for result in results]
    assert [(result.passed, result.description) for result in results] == [
        (True, "4 loans have 4 ids."),
        (False, "Error 0.2."),
    ]


def test_bad_input_fails_the_step_without_retries() -> None:
    with pytest.raises(dg.Failure) as raised, shown.user_errors():
        raise BadInput("loans.csv is empty.")
    assert raised.value.description == "loans.csv is empty."
    assert not raised.value.allow_retries


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(ZeroDivisionError), shown.user_errors():
        _ = 1 / 0


def test_tables_bullets_and_pictures_are_markdown() -> None:
    assert shown.table(["a", "b"], [[1, "x"]]).value.splitlines()[0] == "| a | b |"
    assert shown.bullets(["one", "two"]).value == "- one\n- two"
    assert shown.bullets([]).value == "none"
    assert shown.picture(b"png", "roc") == dg.MetadataValue.md(
        f"![roc](data:image/png;base64,{base64.b64encode(b'png').decode()})"
    )


def test_columns_are_described_by_the_contract(contract: Contract) -> None:
    schema = shown.column_schema(contract, {"outcome": ("int", "1 defaulted.")})
    columns = {column.name: column for column in schema.columns}
    assert list(columns)[-1] == "outcome"
    assert "earliest_cr_line" not in columns, "read for derived fields only"
    income = columns["annual_inc"]
    assert (income.type, income.tags["role"]) == ("float", "feature")
    assert income.description == "Income that the borrower states. In dollars a year."
    assert not income.constraints.nullable
    assert income.constraints.other == ["100 to 100,000,000 dollars a year"]
    assert columns["issue_d"].type == "date"


def test_rejected_rows_are_described_column_by_column() -> None:
    assert [column.name for column in shown.REJECTED.columns] == list(REJECTED_SCHEMA)
