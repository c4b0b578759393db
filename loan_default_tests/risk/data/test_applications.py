"""Single applications: cleaned as the same rows of a file, or refused in one sentence."""

from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from loan_default.risk.contract.book import Contract
from loan_default.risk.data.applications import clean_applications, refuse_unknown
from loan_default.risk.data.cleaning import clean_application_file
from loan_default.risk.errors import BadInput
from loan_default_tests.conftest import Cleaned
from loan_default_tests.risk.small_books import BY_WAVE, TIMELESS, make_contract

APPLICATION = {"loan_amnt": 10_000, "term": 36, "int_rate": 12.5, "annual_inc": 60_000, "dti": 15.0}


def test_records_are_cleaned_as_the_same_rows_of_a_file(
    loans: pl.DataFrame, cleaned: Cleaned, contract: Contract
) -> None:
    names = [field.name for field in contract.fields if field.column in loans.columns]
    records = loans[:50].select(names)
    expected = pl.read_parquet(cleaned.path)[:50].select(contract.feature_names)
    assert_frame_equal(clean_applications(records, contract), expected)
    single = clean_applications(records[7:8], contract)
    assert_frame_equal(single, expected[7:8])
    assert_frame_equal(
        clean_applications(pl.DataFrame([dict(reversed(records.row(7, named=True).items()))]), contract), single
    )


def test_the_least_application_is_enough(contract: Contract) -> None:
    (row,) = clean_applications(pl.DataFrame([APPLICATION]), contract).rows(named=True)
    present = {name: value for name, value in row.items() if value is not None}
    derived = {"loan_to_income": pytest.approx(100 / 6), "payment_to_income": pytest.approx(6.690725)}
    assert present == {**APPLICATION, **derived}
    assert tuple(row) == contract.feature_names
    texts = pl.DataFrame([{name: f"{value}" for name, value in APPLICATION.items()}])
    assert clean_applications(texts, contract).rows() == [tuple(row.values())]


def test_empty_values_of_a_client_are_missing(contract: Contract) -> None:
    empty = {
        "grade": None,
        "purpose": float("nan"),
        "fico_range_low": float("nan"),
        "emp_length": "n/a",
        "home_ownership": " ",
    }
    (row,) = clean_applications(pl.DataFrame([{**APPLICATION, **empty}]), contract).rows(named=True)
    assert [row[name] for name in empty] == [None] * len(empty)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "log1p term": ({"term": 3.6109}, "term '3.6109' is outside of 6 to 120 months."),
    "log1p income": ({"annual_inc": 10.91}, "annual_inc '10.91' is outside of 100 to 100,000,000 dollars a year."),
    "log1p score": ({"fico_range_low": 6.51}, "fico_range_low '6.51' is outside of 300 to 850 FICO points."),
    "grade as number": ({"grade": 3}, "grade '3' is not one of A, B, C, D, E, F, G."),
    "level": ({"application_type": "Trio"}, "application_type 'Trio' is not one of Individual, Joint App."),
    "truth": ({"application_type": True}, "application_type 'true' is not one of Individual, Joint App."),
    "word": ({"open_acc": "many"}, "open_acc 'many' is no number; it must be 0 to 500."),
    "infinite": ({"int_rate": float("inf")}, "int_rate 'inf' is outside of 0.5 to 60 percent a year."),
    "wild": ({"term": 1e12}, "term '1000000000000' is outside of 6 to 120 months."),
    "nothing": ({"annual_inc": None}, "annual_inc is missing; it must be 100 to 100,000,000 dollars a year."),
    "nan": ({"int_rate": float("nan")}, "int_rate is missing; it must be 0.5 to 60 percent a year."),
    "list": ({"open_acc": [1, 2]}, "open_acc '[1, 2]' is List(Int64); it must be 0 to 500."),
    "object": ({"open_acc": {"a": 1}}, "open_acc \"{'a': 1}\" is Struct({'a': Int64}); it must be 0 to 500."),
    "bytes": ({"grade": b"A"}, "grade \"b'A'\" is Binary; it must be one of A, B, C, D, E, F, G."),
    "day": ({"open_acc": date(2015, 1, 1)}, "open_acc '2015-01-01' is no number; it must be 0 to 500."),
    "month": ({"issue_d": "soon"}, "issue_d 'soon' is no month; it must be a month, as Dec-2015 or 2015-12."),
    "month number": ({"issue_d": 201512}, "issue_d '201512' is no month; it must be a month, as Dec-2015 or 2015-12."),
    "order of months": (
        {"issue_d": "Jan-2010", "earliest_cr_line": "Mar-2010"},
        "credit_history_months '-2' is outside of 0 to 1,200 months.",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_application_that_cannot_be_used_is_refused_in_one_sentence(contract: Contract, name: str) -> None:
    change, sentence = REFUSED[name]
    good = pl.DataFrame([APPLICATION])
    records = pl.concat([good, pl.DataFrame([{**APPLICATION, **change}])], how="diagonal_relaxed")
    with pytest.raises(BadInput) as refused:
        clean_applications(records, contract)
    assert str(refused.value) == f"Row 1: {sentence}"


@pytest.mark.parametrize("name", ["debt_settlement_flag_Y", "loan_status", "installment", "row", "outcome"])
def test_what_is_no_field_is_refused(contract: Contract, name: str) -> None:
    with pytest.raises(
        BadInput, match=f"^{name} is no field of a loan application; the fields are acc_open_past_24mths, "
    ):
        clean_applications(pl.DataFrame([{**APPLICATION, name: 0}]), contract)


@pytest.mark.parametrize("name", [" term", "TERM", "term\u00a0"])
def test_a_name_that_is_nearly_a_fields_is_refused_with_the_fields(contract: Contract, name: str) -> None:
    with pytest.raises(BadInput) as refused:
        refuse_unknown(name, contract)
    assert str(refused.value).startswith(f"{name!r} is no field of a loan application; send 'term', or set ")


def test_a_column_of_the_loan_file_is_refused_with_the_name_of_its_field() -> None:
    income = {"name": "wage", "column": "AnnualIncome", "kind": "number", "role": "feature"}
    contract = make_contract(
        {**income, "unit": "dollars", "range": [0, 10], "description": "Income."}, time="none", outcomes="final"
    )
    with pytest.raises(BadInput, match=r"^AnnualIncome is a column of the loan file; .* the field is called wage\.$"):
        clean_applications(pl.DataFrame([{"AnnualIncome": 1}]), contract)


@pytest.mark.parametrize(
    ("levels", "value", "level"),
    [
        (["0", "1"], "true", "1"),
        (["0", "1"], "FALSE", "0"),
        (["0", "1"], True, "1"),
        (["0", "1"], " 1.0 ", "1"),
        (["0", "1"], 1.0, "1"),
        (["False", "True"], 1, "True"),
        (["false", "true"], "0.0", "false"),
        (["1", "2"], "true", None),
        (["0", "1", "2"], True, None),
        (["no", "yes"], "Yes", None),
    ],
)
def test_a_request_and_a_file_read_a_level_by_one_rule(
    tmp_path: Path, levels: list[str], value: str | float | bool, level: str | None
) -> None:
    flag = {"name": "flag", "kind": "nominal", "role": "feature", "levels": levels, "description": "A flag."}
    book = make_contract(flag, time="none", outcomes="final")
    table, file, cleaned = pl.DataFrame({"id": ["7"], "flag": [value]}), tmp_path / "batch.csv", tmp_path / "cleaned"
    table.write_csv(file)
    if level is None:
        with pytest.raises(BadInput, match=r"flag '.*' is not one of"):
            clean_applications(table, book)
        with pytest.raises(BadInput, match=r"flag '.*' is not one of"):
            clean_application_file(file, book, cleaned=cleaned, rejected=tmp_path / "rejected")
        return
    clean_application_file(file, book, cleaned=cleaned, rejected=tmp_path / "rejected")
    of_file = pl.read_parquet(cleaned, glob=False)["flag"].to_list()
    assert clean_applications(table, book)["flag"].to_list() == of_file == [level]


@pytest.mark.parametrize("name", APPLICATION)
def test_a_required_field_must_be_there(contract: Contract, name: str) -> None:
    rest = {field: value for field, value in APPLICATION.items() if field != name}
    with pytest.raises(BadInput, match=f"Row 0: {name} is missing; it must be .* to "):
        clean_applications(pl.DataFrame([rest]), contract)


def test_an_empty_request_is_refused(contract: Contract) -> None:
    for nothing in (pl.DataFrame(), pl.DataFrame([APPLICATION])[:0]):
        with pytest.raises(BadInput, match="There is no application in the request"):
            clean_applications(nothing, contract)


def test_protected_fields_and_cohorts_are_not_read_of_an_application() -> None:
    application = {"income": 50_000.0, "home": "own", "debt": 20.0}
    for contract in (TIMELESS, BY_WAVE):
        assert clean_applications(pl.DataFrame([application]), contract).row(0, named=True) == application
    for name, value in {"sex": "f", "age": 30, "wave": "a"}.items():
        role = "cohort" if name == "wave" else "protected"
        with pytest.raises(
            BadInput, match=f"^{name} is {role} and not read of an application; leave it out, or set serving"
        ):
            clean_applications(pl.DataFrame([{**application, name: value}]), BY_WAVE)


def test_a_term_that_only_says_when_a_loan_matures_may_be_left_out_of_an_application() -> None:
    contract = make_contract(
        *({"name": "issued", "kind": "month", "role": "time", "required": True, "description": "Month."},),
        {
            "name": "term",
            "kind": "number",
            "role": "support",
            "unit": "months",
            "required": True,
            "description": "Term.",
        },
    )
    assert clean_applications(pl.DataFrame([{"income": 50_000.0}]), contract).height == 1
