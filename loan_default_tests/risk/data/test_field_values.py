"""The contract's fields: typed columns, ranges, derived fields, maturity, and layouts in natural units."""

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from polars.testing import assert_frame_equal

from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.columns import MATURES, OUTCOME
from loan_default.risk.reviewed_file import CONF
from loan_default_tests.risk.data.loan_tables import Clean, as_parquet, small_book, with_values
from loan_default_tests.risk.small_books import make_contract


@pytest.mark.parametrize(
    ("field", "odd", "usual", "problem"),
    [
        ("grade", 3, None, "grade: unknown level"),
        ("home_ownership", 5.5, None, "home_ownership: unknown level"),
        ("earliest_cr_line", 201512, None, "earliest_cr_line: impossible date"),
        ("issue_d", date(1015, 12, 1), date(2015, 12, 1), "issue_d: impossible date"),
        ("dti", date(2015, 12, 1), None, "dti: unreadable number"),
        ("dti", True, None, "dti: unreadable number"),
    ],
)
def test_typed_columns_of_another_kind_are_not_passed_over(
    few: pl.DataFrame, clean: Clean, tmp_path: Path, field: str, odd: object, usual: object, problem: str
) -> None:
    book = few.drop("earliest_cr_line").with_columns(pl.Series(field, [odd] * 10 + [usual] * 30))
    assert clean(as_parquet(book, tmp_path / "odd.parquet")).report.problems == {problem: 10}


def test_what_is_outside_is_clipped_set_aside_or_made_null(few: pl.DataFrame, clean: Clean, tmp_path: Path) -> None:
    data = yaml.safe_load((CONF / "contract.yaml").read_text(encoding="utf-8"))
    for field in data["fields"]:
        if field["name"] in ("open_acc", "purpose", "revol_util"):
            field["outside"] = "null"
    odd = with_values(
        with_values(few, 1, dti="-3", open_acc="501", purpose="yacht", revol_util="201%"),
        2,
        dti="999",
        total_acc="1001",
    )
    result = clean(odd, by=Contract.model_validate(data))
    rows = result.loans.filter(pl.col("id").is_in(few["id"][[1, 2]].implode()))
    assert rows.select("dti", "open_acc", "purpose", "revol_util").rows() == [(0.0, None, None, None)]
    assert result.rejected["reason"].to_list() == ["total_acc '1001' is outside of 0 to 1,000"]
    assert clean(with_values(few, 2, dti="999")).loans["dti"][2] == 100


def test_derived_fields_against_figures_worked_out_by_hand(few: pl.DataFrame, clean: Clean) -> None:
    loan = {
        "loan_amnt": "10000", "int_rate": "12", "term": " 36 months", "annual_inc": "50000", "revol_bal": "2500",
        "earliest_cr_line": "Nov-2003", "issue_d": "Feb-2015",
    }  # fmt: skip
    result = clean(with_values(with_values(few, 0, **loan), 1, **{**loan, "revol_bal": "0", "term": " 60 months"}))
    # 10,000 at 1 % a month: 332.143 over 36 months, 222.444 over 60.
    derived = [
        "loan_to_income",
        "payment_to_income",
        "revolving_to_income",
        "loan_to_revolving",
        "credit_history_months",
    ]
    assert result.loans.select(derived).row(0) == pytest.approx((20, 12 * 332.143 / 500, 5, 400, 135), abs=1e-4)
    assert result.loans.select(derived).row(1) == pytest.approx((20, 12 * 222.4445 / 500, 0, 1000, 135), abs=1e-4)


def test_a_derived_field_that_the_file_gives_is_taken_from_it(few: pl.DataFrame, clean: Clean) -> None:
    result = clean(
        with_values(
            few.with_columns(credit_history_months=pl.lit(None, dtype=pl.String)), 0, credit_history_months="77"
        )
    )
    plain = clean(few)
    assert result.loans["credit_history_months"].to_list() == [77, *plain.loans["credit_history_months"][1:]]


def test_loans_are_matured_the_months_of_grace_after_their_last_payment(few: pl.DataFrame, clean: Clean) -> None:
    loan = {"issue_d": "Feb-2016", "term": " 36 months", "loan_status": "Charged Off"}
    odd = with_values(
        with_values(with_values(few[:3], 0, **loan), 1, **{**loan, "term": " 60 months"}),
        2,
        **{**loan, "loan_status": "Current"},
    )
    result = clean(odd, snapshot=date(2019, 7, 1))
    assert result.loans[MATURES].to_list() == [date(2019, 7, 1), date(2021, 7, 1), date(2019, 7, 1)]
    assert (result.report.resolved, result.report.matured, result.report.default_rate) == (2, 1, 1.0)
    assert clean(odd, snapshot=date(2019, 6, 1)).report.matured == 0
    assert clean(odd, snapshot=date(2019, 6, 1)).report.default_rate is None
    assert clean(with_values(odd, 0, term="36.5 months")).loans[MATURES][0] == date(2019, 8, 1)


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_scale_turns_a_files_number_into_the_units(clean: Clean, tmp_path: Path, form: str) -> None:
    fields = {"rate": {"scale": 100, "range": [0, 60], "words": {"none": 0}}, "amount": {"scale": 12}}
    loans = pl.DataFrame({"id": ["a", "b", "c"], "issued": "2010-01", "term": 12, "status": 0, "taken": "2019-01"})
    rates = pl.Series("rate", [0.07, 0.129, 12.9])
    loans = loans.with_columns(rates, amount=pl.lit(1500.5))
    result = clean(loans if form == "csv" else as_parquet(loans, tmp_path / "x.parquet"), by=small_book(fields=fields))
    assert result.loans.select("rate", "amount").rows() == [(7.0, 18006.0), (12.9, 18006.0)]
    assert result.rejected["reason"].to_list() == ["rate '12.9' times 100 is outside of 0 to 60 percent a year"]


def test_a_percent_sign_stands_behind_a_percentage_alone(few: pl.DataFrame, clean: Clean) -> None:
    signs = with_values(few, 0, int_rate=" 12.74%", dti="18.5 %", revol_util="%")
    result = clean(with_values(signs, 1, annual_inc="50%"))
    assert result.rejected["problem"].to_list() == ["revol_util: unreadable number", "annual_inc: unreadable number"]
    result = clean(with_values(signs, 0, revol_util="5%"))
    assert result.loans.select("int_rate", "dti", "revol_util").row(0) == (12.74, 18.5, 5)


def test_a_status_is_the_same_whoever_wrote_it(clean: Clean, tmp_path: Path) -> None:
    rows = {"id": ["a", "b", "c", "d"], "issued": "2010-01", "term": "12", "taken": "Jan-19"}
    book = small_book(snapshot={"column": "taken", "format": "%b-%y"})
    result = clean(pl.DataFrame({**rows, "status": ["1", "1.0", "0.00", "None"]}), by=book)
    assert (result.loans[OUTCOME].to_list(), result.report.snapshot) == ([1, 1, 0], date(2019, 1, 1))
    assert result.rejected["problem"].to_list() == ["status: missing"]
    outcome = {"column": "status", "defaulted": ["True"], "repaid": ["False"], "unresolved": ["none"]}
    book = small_book(outcome=outcome, snapshot={"column": "taken", "format": "%b-%y"})
    assert clean(pl.DataFrame({**rows, "status": ["TRUE", "true", "False", "none"]}), by=book).loans[
        OUTCOME
    ].to_list() == [1, 1, 0, None]
    typed = as_parquet(pl.DataFrame({**rows, "status": [True, False, True, True]}), tmp_path / "typed.parquet")
    assert clean(typed, by=book).loans[OUTCOME].to_list() == [1, 0, 1, 1]


def test_every_listed_status_has_its_outcome(few: pl.DataFrame, clean: Clean, contract: Contract) -> None:
    label_of: Mapping[str, int | None] = contract.outcome.label_of
    book = few[: len(label_of)].with_columns(loan_status=pl.Series(list(label_of)))
    assert clean(book).loans[OUTCOME].to_list() == list(label_of.values())


@pytest.fixture(scope="module")
def transformed(loans: pl.DataFrame, contract: Contract) -> pl.DataFrame:
    """Make resolved synthetic loans in the layout of the published cleaned file, the leaking flag all wrong."""
    layout = contract.layouts[0]
    years = pl.col("issue_d").str.slice(4).cast(pl.Int64).alias("issue_year")
    label = pl.col("loan_status").replace_strict(contract.outcome.label_of, return_dtype=pl.Int8)
    resolved: pl.DataFrame = loans.filter(label.is_not_null()).with_columns(
        label, pl.col("term").str.extract(r"(\d+)").cast(pl.Float64)
    )
    return resolved.select(
        "loan_amnt", "loan_status", "int_rate", "revol_util", "bc_util", "mo_sin_old_il_acct", years,
        pl.col("grade").replace_strict({letter: number for number, letter in enumerate("ABCDEFG", 1)}),
        *(pl.col(name).cast(pl.Float64).log1p() for name in layout.log1p),
        debt_settlement_flag_Y=pl.col("loan_status") == 0,
    )  # fmt: skip


def test_the_published_cleaned_file_is_turned_back_into_natural_units(
    transformed: pl.DataFrame, loans: pl.DataFrame, contract: Contract, clean: Clean, tmp_path: Path
) -> None:
    result = clean(transformed)
    assert result.report.layouts == ("selected_features",)
    assert result.report.snapshot == date(2019, 3, 1)
    resolved = loans.filter(pl.col("loan_status").replace_strict(contract.outcome.label_of).is_not_null())
    assert result.report.kept == resolved.height
    for name in (*contract.layouts[0].log1p[1:], "loan_amnt", "int_rate", "revol_util", "bc_util"):
        limits = contract.by_name[name].range
        expected = resolved[name].clip(*limits) if limits and name == "dti" else resolved[name]
        assert result.loans[name].to_list() == pytest.approx(expected.to_list(), abs=0.006, nan_ok=True), name
    assert result.loans["grade"].cast(pl.String).to_list() == resolved["grade"].to_list()
    assert result.loans["issue_d"].to_list() == [date(int(text[4:]), 10, 1) for text in resolved["issue_d"]]
    assert result.loans[OUTCOME].to_list() == transformed["loan_status"].to_list()
    assert_frame_equal(clean(as_parquet(transformed, tmp_path / "loans0.parquet")).loans, result.loans)


def test_the_leaking_flag_is_never_read(transformed: pl.DataFrame, clean: Clean) -> None:
    turned = transformed.with_columns(~pl.col("debt_settlement_flag_Y"))
    assert_frame_equal(clean(transformed).loans, clean(turned).loans)
    assert not [name for name in clean(transformed).loans.columns if "settlement" in name]


def test_a_bad_value_in_the_cleaned_layout_is_shown_as_it_stands(transformed: pl.DataFrame, clean: Clean) -> None:
    odd = transformed[:30].cast(pl.String)
    result = clean(with_values(with_values(odd, 0, annual_inc="lots"), 1, grade="8"))
    assert result.rejected["reason"].to_list() == [
        "annual_inc 'lots' is no number; it must be 100 to 100,000,000 dollars a year",
        "grade '8' is not one of A, B, C, D, E, F, G",
    ]


def test_layouts_may_be_mixed(transformed: pl.DataFrame, few: pl.DataFrame, clean: Clean) -> None:
    result = clean(few, transformed)
    assert result.report.layouts == ("main", "selected_features")
    assert result.report.kept == 40 + transformed.height
    assert result.report.snapshot == date(2019, 3, 1)
    old = clean(few.with_columns(last_credit_pull_d=pl.lit("Jan-2019")), transformed)
    assert old.report.snapshot == date(2019, 3, 1)


@pytest.mark.parametrize("name", ["*", "^debt$", "^.*$"])
@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_column_is_read_by_its_name_whatever_signs_it_has(clean: Clean, tmp_path: Path, name: str, form: str) -> None:
    field: dict[str, Any] = {"name": "tax", "column": name, "kind": "number", "role": "feature", "description": "Tax."}
    field |= {"unit": "dollars", "range": [0, 9]}
    book = make_contract(field, time="none", outcomes="final")
    loans = pl.DataFrame({"id": ["a", "b"], name: [1.0, 2.0], "status": ["bad", "good"]})
    result = clean(loans if form == "csv" else as_parquet(loans, tmp_path / "x.parquet"), by=book)
    assert result.loans["tax"].to_list() == [1, 2]


def test_an_id_with_a_sign_that_nobody_sees_is_rejected(clean: Clean, tmp_path: Path) -> None:
    path = tmp_path / "loans.csv"  # as of two files of UTF-8 with a mark, put one behind the other
    path.write_text("id,income,status\nL1,1,bad\n\ufeffL2,2,good\nL\u200b1,3,good\nL3,4,good\n", encoding="utf-8")
    result = clean(path, by=make_contract(time="none", outcomes="final"))
    assert result.loans["id"].to_list() == ["L1", "L3"]
    assert result.rejected["reason"].to_list() == [
        f"id '{value}' holds a sign that nobody sees; take it out of the file" for value in (r"\ufeffL2", r"L\u200b1")
    ]


def test_two_ids_of_another_encoding_never_become_one(clean: Clean, tmp_path: Path) -> None:
    path = tmp_path / "loans.csv"
    path.write_bytes("id,income,status\nLé,1,bad\nLè,2,good\nL\0,3,good\nL,4,good\n".encode("latin-1"))
    result = clean(path, by=make_contract(time="none", outcomes="final"))
    assert result.loans["id"].to_list() == ["L"]
    assert result.rejected["problem"].to_list() == ["id: unreadable text"] * 3
    assert result.rejected["reason"][0].startswith(
        "id 'L\ufffd' holds bytes that are no letters; save the file as UTF-8"
    )
    table = as_parquet(
        pl.DataFrame({"id": ["L\ufffd", "L\0", "L"], "income": [1, 3, 4], "status": ["bad", "good", "good"]}),
        tmp_path / "x.parquet",
    )
    result = clean(table, by=make_contract(time="none", outcomes="final"))
    assert (result.loans["id"].to_list(), result.rejected["problem"].to_list()) == (["L"], ["id: unreadable text"] * 2)
    assert result.rejected["reason"][0] == (
        "id 'L\ufffd' holds bytes that are no letters; they were lost before the Parquet file was written; write it "
        "anew from its source"
    )
    latin = make_contract(time="none", outcomes="final", files={"encoding": "latin-1"})
    assert clean(path, by=latin).loans["id"].to_list() == ["Lé", "Lè", "L"]
