"""Plain values as Dagster's UI displays them."""

import base64

import dagster as dg

from loan_default.defs import metadata
from loan_default.risk.contract.book import Contract
from loan_default.risk.data.rejections import REJECTED_SCHEMA


def test_tables_bullets_and_pictures_are_markdown() -> None:
    assert metadata.table(["a", "b"], [[1, "x"]]).value.splitlines()[0] == "| a | b |"
    assert metadata.bullets(["one", "two"]).value == "- one\n- two"
    assert metadata.bullets([]).value == "none"
    assert metadata.picture(b"png", "roc") == dg.MetadataValue.md(
        f"![roc](data:image/png;base64,{base64.b64encode(b'png').decode()})"
    )


def test_what_rounds_to_nothing_has_no_sign() -> None:
    assert (metadata.percent(-0.0004), repr(metadata.rounded(-0.00001))) == ("0.0%", "0.0")


def test_problems_are_counted_in_their_unit() -> None:
    lines = metadata.problems({"annual_inc range": 2}, "lines").value.splitlines()
    assert (lines[0], lines[-1]) == ("| problem | lines |", "| annual_inc range | 2 |")


def test_columns_are_described_by_the_contract(contract: Contract) -> None:
    schema = metadata.column_schema(contract, {"outcome": ("int", "1 defaulted.")})
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
    assert [column.name for column in metadata.REJECTED.columns] == list(REJECTED_SCHEMA)


def test_columns_of_predictions_are_described_by_us_or_by_the_contract(contract: Contract) -> None:
    ours = {"pd": ("float", "Calibrated."), "npv": ("float", "Earned.")}
    schema = metadata.schema_of(("loan_amnt", "pd"), contract, ours)
    assert [(column.name, column.type, column.description) for column in schema.columns] == [
        ("loan_amnt", "float", f"{contract.by_name['loan_amnt'].description} In dollars."),
        ("pd", "float", "Calibrated."),
    ]
