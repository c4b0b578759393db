"""Plain values in Dagster's words."""

import base64
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from loan_default.adapters.scoring_server import ServerError
from loan_default.adapters.tracking import TrackingError
from loan_default.defs import metadata as shown
from loan_default.risk.contract import Contract
from loan_default.risk.data.rejections import REJECTED_SCHEMA
from loan_default.risk.errors import BadInput
from loan_default.risk.policy import Finding
from loan_default.settings import Settings
from loan_default_tests.homes import definitions_of

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


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (TrackingError("MLflow cannot be reached."), "MLflow cannot be reached."),
        (ServerError("No server answers."), "No server answers."),
        (OSError(28, "No space left on device", "/a"), "There is no room left at /a; make some"),
    ],
)
def test_what_a_user_can_mend_is_one_sentence_in_a_function_and_in_a_generator(error: Exception, told: str) -> None:
    @shown.in_one_sentence
    def value(count: int) -> int:
        raise error

    @shown.in_one_sentence
    def values(count: int) -> Iterator[int]:
        yield count
        raise error

    steps = values(1)
    assert next(steps) == 1
    for fails in (lambda: value(1), lambda: next(steps)):
        with pytest.raises(dg.Failure) as raised:
            fails()
        assert raised.value.description.startswith(told)


def test_every_asset_says_what_is_wrong_in_one_sentence(tmp_path: Path) -> None:
    for asset in definitions_of(Settings(home=tmp_path)).assets or []:
        if isinstance(asset, dg.AssetsDefinition) and asset.is_executable:
            does = asset.op.compute_fn.decorated_fn
            assert getattr(does, "__wrapped__", None), f"{does.__name__} is not decorated by in_one_sentence"
