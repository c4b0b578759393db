"""Cleaning: values are read right from every form of file, unusable rows are kept aside with their reason, and a
failure leaves nothing behind."""

import gzip
import json
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from loan_default.risk.contract import CONF, Contract
from loan_default.risk.data import cleaning
from loan_default.risk.data.cleaning import (
    MATURES,
    OUTCOME,
    REJECTED_SCHEMA,
    CleaningReport,
    clean_application_file,
    clean_applications,
    clean_loans,
    fingerprint,
)
from loan_default.risk.data.synthetic import FOOTER, make_applications, make_loans, write_csv
from loan_default.risk.errors import BadInput

APPLICATION = {"loan_amnt": 10_000, "term": 36, "int_rate": 12.5, "annual_inc": 60_000, "dti": 15.0}


class Done(NamedTuple):
    report: CleaningReport
    loans: pl.DataFrame
    rejected: pl.DataFrame


@pytest.fixture(scope="module")
def few() -> pl.DataFrame:
    """Forty loans as published, all of text as in a CSV; `None` where a field is empty."""
    return pl.read_csv(make_loans(40, seed=4).write_csv().encode(), infer_schema=False)


@pytest.fixture
def clean(tmp_path, contract) -> Callable[..., Done]:
    """Cleans files or a frame, and checks what must hold of every run."""
    cleaned, rejected = tmp_path / "out" / "cleaned.parquet", tmp_path / "out" / "rejected.parquet"

    def run(*sources: Path | pl.DataFrame, by: Contract = contract, snapshot: date | None = None) -> Done:
        paths = [written(source, tmp_path / f"loans{at}.csv") for at, source in enumerate(sources)]
        report = clean_loans(paths, by, cleaned=cleaned, rejected=rejected, snapshot=snapshot)
        done = Done(report, pl.read_parquet(cleaned), pl.read_parquet(rejected))
        assert report.rows_read == report.kept + report.rejected + report.lines_not_loans
        assert (done.loans.height, done.rejected.height) == (report.kept, report.rejected)
        assert done.rejected.schema == pl.Schema(REJECTED_SCHEMA)
        assert done.loans["id"].n_unique() == report.kept
        assert sorted(path.name for path in cleaned.parent.iterdir()) == ["cleaned.parquet", "rejected.parquet"]
        return done

    return run


def written(source: Path | pl.DataFrame, path: Path) -> Path:
    if isinstance(source, Path):
        return source
    source.write_csv(path)
    return path


def parquet(frame: pl.DataFrame, path: Path) -> Path:
    frame.write_parquet(path)
    return path


def put(frame: pl.DataFrame, row: int, **values: Any) -> pl.DataFrame:
    """The frame with other values in one row."""
    at = pl.int_range(pl.len()) == row
    return frame.with_columns(
        pl.when(at).then(pl.lit(value)).otherwise(name).alias(name) for name, value in values.items()
    )


# --- reading values -------------------------------------------------------------------------------------------


def test_published_loans_are_read_right(loans, cleaned, contract):
    clean = pl.read_parquet(cleaned.path)
    report = cleaned.report
    assert (report.rows_read, report.kept, report.rejected, report.lines_not_loans) == (4_002, 4_000, 0, 2)
    assert (report.snapshot, report.layouts, report.missing_fields) == (date(2019, 3, 1), ("published",), ())
    names = [field.name for field in contract.fields if field.role != "support"]
    assert clean.columns == [*names, OUTCOME, MATURES]
    assert clean["id"].to_list() == loans["id"].cast(pl.String).to_list()
    for name in ("loan_amnt", "int_rate", "annual_inc", "fico_range_low", "mths_since_last_record", "bc_util"):
        assert clean[name].to_list() == loans[name].to_list(), name
    assert clean["term"].to_list() == loans["term"].str.extract(r"(\d+)").cast(pl.Float64).to_list()
    assert clean["issue_d"].to_list() == loans["issue_d"].str.to_date("%b-%Y").to_list()
    for name in ("grade", "sub_grade", "purpose", "home_ownership", "application_type"):
        assert clean[name].cast(pl.String).to_list() == loans[name].to_list(), name
    years = {"10+ years": 10, "< 1 year": 0, None: None} | {f"{at} year{'s' * (at > 1)}": at for at in range(1, 10)}
    assert clean["emp_length"].to_list() == [years[text] for text in loans["emp_length"]]
    known = pl.col("loan_status").replace_strict(contract.outcome.label_of, return_dtype=pl.Int8)
    assert clean[OUTCOME].to_list() == loans.select(known).to_series().to_list()
    assert clean[MATURES].to_list() == [
        date(month.year + int(term) // 12, month.month, 1)
        for month, term in clean.select("issue_d", "term").iter_rows()
    ]


def test_every_form_of_a_file_gives_the_same_loans(loans, cleaned, clean, tmp_path):
    expected = pl.read_parquet(cleaned.path)
    as_text = pl.read_csv(loans.write_csv().encode(), infer_schema=False)
    month = pl.col("issue_d", "earliest_cr_line", "last_credit_pull_d").str.to_date("%b-%Y")
    forms = {
        "typed.parquet": loans,
        "text.parquet": as_text,
        "dates.parquet": loans.with_columns(month, pl.col("grade", "loan_status").cast(pl.Categorical)),
        "times.parquet": loans.with_columns(month.cast(pl.Datetime("ns")).dt.replace_time_zone("Asia/Tokyo")),
        "floats.parquet": loans.with_columns(pl.col("id").cast(pl.Float64), pl.col(pl.Float64).fill_null(float("nan"))),
        "narrow.parquet": loans.with_columns(
            pl.col("loan_amnt").cast(pl.Decimal(10, 2)), pl.col("open_acc").cast(pl.Int8)
        ),
    }
    for name, frame in forms.items():
        assert_frame_equal(clean(parquet(frame, tmp_path / name)).loans, expected)
    write_csv(loans, tmp_path / "loans.csv.gz")
    assert_frame_equal(clean(tmp_path / "loans.csv.gz").loans, expected)


def test_one_bad_number_changes_nothing_for_the_other_rows(loans, cleaned, clean):
    """A bad number makes the reader of typed columns give up: text is read then."""
    done = clean(put(loans.with_columns(pl.col("loan_amnt").cast(pl.String)), 17, loan_amnt="a lot"))
    assert done.rejected.rows() == [
        ("loans0.csv", 18, str(loans["id"][17]), "loan_amnt", "a lot", "loan_amnt: unreadable number",
         "loan_amnt 'a lot' is no number; it must be 100 to 1,000,000 dollars"),
    ]  # fmt: skip
    expected = pl.read_parquet(cleaned.path)
    assert_frame_equal(done.loans, expected.filter(pl.int_range(pl.len()) != 17))


def read_column(values: list[str | None], field: str, contract: Contract) -> list[Any]:
    """What `clean_applications`' parser makes of texts of one field; "rejected" where a row would be."""
    rows = pl.DataFrame({field: pl.Series(values, dtype=pl.String)}).with_row_index(cleaning.ROW).lazy()
    table = cleaning.LoanTable(Path("x.csv"), "x", rows, dict(rows.collect_schema()), None)
    frame, checks = cleaning._parsed(table, contract, with_outcome=False)
    failed = cleaning._any_failed([check for check in checks if check.field == field])
    read = frame.select(field, failed.alias("failed")).collect()
    return ["rejected" if bad else value for value, bad in read.iter_rows()]


@given(st.lists(st.floats(allow_nan=False) | st.integers(-(10**20), 10**20), min_size=1, max_size=20))
@settings(max_examples=40, deadline=None)
def test_numbers_are_read_exactly_and_kept_within_their_range(contract, numbers):
    texts = [f" {number}\t" for number in numbers]
    clipped = [min(max(float(number), 0.0), 100.0) for number in numbers]
    assert read_column(texts, "dti", contract) == clipped
    allowed = [float(number) if 300 <= number <= 850 else "rejected" for number in numbers]
    assert read_column(texts, "fico_range_low", contract) == allowed
    assert read_column([f"{number} months" for number in numbers], "term", contract) == [
        float(number) if 6 <= number <= 120 else "rejected" for number in numbers
    ]


@given(st.lists(st.text("0123456789.+-eE_ ,%$xnaifty½٣", max_size=8), min_size=1, max_size=30))
@example(["", "  ", "nan", " nan ", "nann", "1,000", "$5", "5 %", "0x10", "1_000", "--1", "1e", "ten", "½", "٣"])
@settings(max_examples=30, deadline=None)
def test_a_text_is_a_number_exactly_where_python_says_so(contract, texts):
    def expected(text: str) -> Any:
        text = text.strip(" \t")
        if text in ("", "nan"):  # of the texts that mean no value, those that can be drawn here
            return None
        try:
            number = float(text)
        except ValueError:
            return "rejected"
        return number if 0 <= number <= 500 and text.isascii() and "_" not in text else "rejected"

    assert read_column(texts, "open_acc", contract) == [expected(text) for text in texts]


@pytest.mark.parametrize(
    "numbers",
    [["5", "5.", ".5", "+5", "5e1", "1e400", "-inf"], [" 5", "0x5", "5,0", "1_0", "five", "- 5", "''"]],
    ids=["plain", "others"],
)
def test_numbers_mean_the_same_whether_a_csv_is_read_typed_or_as_text(few, clean, tmp_path, monkeypatch, numbers):
    path = written(few.with_columns(open_acc=pl.Series(numbers + [None] * 33)), tmp_path / "loans.csv")
    quick = clean(path)
    open_table = cleaning.open_table
    monkeypatch.setattr(cleaning, "open_table", lambda *given, **how: open_table(*given, **{**how, "typed": False}))
    slow = clean(path)
    assert_frame_equal(quick.loans, slow.loans)
    assert quick.rejected["id"].to_list() == slow.rejected["id"].to_list()
    assert quick.report.problems == slow.report.problems


@given(st.dates(date(1920, 1, 1), date(2079, 12, 31)))
@settings(max_examples=60, deadline=None)
def test_months_are_read_in_every_spelling(contract, day):
    texts = [f"{day:%b-%Y}", f" {day:%Y-%m} ", f"{day:%Y-%m-%d}", f"{day:%Y-%m-%d}T00:00:00", f"{day} 12:30:00.5"]
    assert read_column(texts, "issue_d", contract) == [day.replace(day=1)] * len(texts)


@given(st.text(max_size=12) | st.from_regex(r"\d{1,4}[-/. ]\d{1,2}([-/. ]\d{1,2})?", fullmatch=True))
@example("2015-13")
@example("2015-02-30")
@example("2015-12zzzz")
@example("Dec-15")
@example("DEC-2015")
@example("Dec-2080")
@example("1919-12")
@example("1919-12-31")
@example("201512")
@settings(max_examples=60, deadline=None)
def test_what_is_no_month_is_rejected(contract, text):
    read = read_column([text], "earliest_cr_line", contract)[0]
    if not text.strip(" \t"):
        assert read is None
    elif read != "rejected":
        month = text.strip(" \t")
        assert month[:7] == f"{read:%Y-%m}" or month == f"{read:%b-%Y}"
        assert len(month) <= 8 or date.fromisoformat(month[:10]).replace(day=1) == read


@pytest.mark.parametrize(
    ("field", "bad", "good", "problem"),
    [
        ("grade", 3, None, "grade: unknown level"),
        ("home_ownership", 5.5, None, "home_ownership: unknown level"),
        ("earliest_cr_line", 201512, None, "earliest_cr_line: impossible date"),
        ("issue_d", date(1015, 12, 1), date(2015, 12, 1), "issue_d: impossible date"),
        ("dti", date(2015, 12, 1), None, "dti: unreadable number"),
        ("dti", True, None, "dti: unreadable number"),
    ],
)
def test_typed_columns_of_another_kind_are_not_passed_over(few, clean, tmp_path, field, bad, good, problem):
    odd = few.drop("earliest_cr_line").with_columns(pl.Series(field, [bad] * 10 + [good] * 30))
    assert clean(parquet(odd, tmp_path / "odd.parquet")).report.problems == {problem: 10}


# --- ranges, levels and derived fields ------------------------------------------------------------------------


def test_what_is_outside_is_clipped_set_aside_or_made_null(few, clean, tmp_path):
    data = yaml.safe_load((CONF / "contract.yaml").read_text(encoding="utf-8"))
    for field in data["fields"]:
        if field["name"] in ("open_acc", "purpose"):
            field["outside"] = "null"
    odd = put(put(few, 1, dti="-3", open_acc="501", purpose="yacht"), 2, dti="999", total_acc="1001")
    done = clean(odd, by=Contract.model_validate(data))
    kept = done.loans.filter(pl.col("id").is_in(few["id"][[1, 2]].implode()))
    assert kept.select("dti", "open_acc", "purpose").rows() == [(0.0, None, None)]
    assert done.rejected["reason"].to_list() == ["total_acc '1001' is outside of 0 to 1,000 count"]
    assert clean(put(few, 2, dti="999")).loans["dti"][2] == 100


def test_derived_fields_against_figures_worked_out_by_hand(few, clean):
    loan = {
        "loan_amnt": "10000", "int_rate": "12", "term": " 36 months", "annual_inc": "50000", "revol_bal": "2500",
        "earliest_cr_line": "Nov-2003", "issue_d": "Feb-2015",
    }  # fmt: skip
    done = clean(put(put(few, 0, **loan), 1, **{**loan, "revol_bal": "0", "term": " 60 months"}))
    # 10,000 at 1 % a month: 332.143 over 36 months, 222.444 over 60.
    derived = [
        "loan_to_income",
        "payment_to_income",
        "revolving_to_income",
        "loan_to_revolving",
        "credit_history_months",
    ]
    assert done.loans.select(derived).row(0) == pytest.approx((20, 12 * 332.143 / 500, 5, 400, 135), abs=1e-4)
    assert done.loans.select(derived).row(1) == pytest.approx((20, 12 * 222.4445 / 500, 0, 1000, 135), abs=1e-4)


def test_a_derived_field_that_the_file_gives_is_taken_from_it(few, clean):
    done = clean(
        put(few.with_columns(credit_history_months=pl.lit(None, dtype=pl.String)), 0, credit_history_months="77")
    )
    plain = clean(few)
    assert done.loans["credit_history_months"].to_list() == [77, *plain.loans["credit_history_months"][1:]]


def test_a_credit_line_after_the_loan_is_rejected(few, clean):
    done = clean(put(few, 0, issue_d="Jan-2010", earliest_cr_line="Mar-2010"))
    assert done.rejected["reason"].to_list() == ["credit_history_months '-2' is outside of 0 to 1,200 months"]


def test_optional_columns_may_lack(few, clean):
    done = clean(few.drop("fico_range_low", "purpose", "earliest_cr_line", "addr_state"))
    assert done.report.missing_fields == ("purpose", "fico_range_low", "credit_history_months")
    assert done.loans.schema == clean(few).loans.schema
    assert done.report.warnings() == [
        "The file lacks purpose, fico_range_low, credit_history_months; the models see these as missing."
    ]
    emptied = clean(few.with_columns(fico_range_low=pl.lit(None, dtype=pl.String)))
    assert emptied.report.missing_fields == ("fico_range_low",)


# --- rows that are not usable ---------------------------------------------------------------------------------


BAD = {
    "issue_d": [("Dec-20155", "issue_d: impossible date", "is no month"), (None, "issue_d: missing", "a month")],
    "loan_amnt": [("99", "loan_amnt: out of range", "is outside of 100 to 1,000,000 dollars")],
    "term": [
        ("1e11", "term: out of range", "is outside of 6 to 120 months"),
        ("2000000000", "term: out of range", "is outside of 6 to 120 months"),
        ("inf", "term: out of range", "is outside of 6 to 120 months"),
        ("-36 months", "term: out of range", "is outside of 6 to 120 months"),
        ("3.6109179126442243", "term: out of range", "is outside of 6 to 120 months"),
    ],
    "annual_inc": [("0", "annual_inc: out of range", "100 to 100,000,000 dollars"), (None, "annual_inc: missing", "")],
    "grade": [("H", "grade: unknown level", "is not one of A, B, C, D, E, F, G"), ("a", "grade: unknown level", "")],
    "emp_length": [("ages", "emp_length: unreadable number", "must be 0 to 60 years")],
    "loan_status": [
        ("Sold", "loan_status: unknown status", "is no status that the contract lists"),
        ("fully paid", "loan_status: unknown status", "is no status"),
        (None, "loan_status: missing", "every loan needs a status"),
    ],
}  # fmt: skip


@pytest.mark.parametrize(("field", "case"), [(field, case) for field, cases in BAD.items() for case in cases])
def test_a_bad_row_is_set_aside_with_its_reason(few, clean, field, case):
    value, problem, why = case
    done = clean(put(few, 5, **{field: value}))
    (row,) = done.rejected.rows(named=True)
    assert (row["file"], row["row"], row["id"]) == ("loans0.csv", 6, few["id"][5])
    assert (row["field"], row["problem"]) == (field, problem)
    assert row["value"] == (value and row["value"])
    assert row["reason"].startswith(f"{field} is missing" if value is None else f"{field} '{row['value']}' is ")
    assert why in row["reason"]
    assert done.report.problems == {problem: 1}
    assert done.report.rejected_share == 1 / 40
    assert done.report.warnings() == [f"1 rows were rejected: {problem} (1)."]


@pytest.mark.parametrize("nothing", ["", " ", "NA", "n/a", "NaN", "null"])
@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_texts_that_mean_nothing(few, clean, tmp_path, nothing, form):
    loans = put(few, 0, dti=nothing, purpose=nothing, earliest_cr_line=nothing, emp_length=nothing)
    done = clean(loans if form == "csv" else parquet(loans, tmp_path / "loans.parquet"))
    assert done.loans.select("dti", "purpose", "credit_history_months", "emp_length").row(0) == (None,) * 4


def test_a_missing_dti_is_no_reason_to_reject(few, clean):
    assert clean(put(few, 0, dti=None)).loans["dti"][0] is None


def test_of_several_problems_the_first_is_told_and_all_are_counted_by_kind(few, clean):
    odd = put(put(put(few, 0, grade="H", loan_amnt="1"), 1, loan_amnt="2"), 2, loan_amnt="3")
    done = clean(odd)
    assert done.rejected["problem"].to_list() == ["grade: unknown level"] + ["loan_amnt: out of range"] * 2
    assert list(done.report.problems.items()) == [("loan_amnt: out of range", 2), ("grade: unknown level", 1)]


def test_lines_that_are_no_loans_are_counted(few, clean, tmp_path):
    lines = few.write_csv().splitlines()
    policy = "Loans that do not meet the credit policy"
    totals = [line.format(5) for line in FOOTER]
    path = tmp_path / "loans.csv"
    path.write_text("\n".join([*lines[:9], "", policy, *lines[9:], "", "", *totals, ""]), encoding="utf-8")
    done = clean(path)
    assert (done.report.rows_read, done.report.lines_not_loans, done.report.kept) == (46, 6, 40)
    assert_frame_equal(done.loans, clean(few).loans)


def test_a_line_that_breaks_off_is_rejected_not_passed_over(few, clean, tmp_path):
    lines = few.write_csv().splitlines()
    path = tmp_path / "loans.csv"
    path.write_text("\n".join([*lines, lines[3][:12]]), encoding="utf-8")
    done = clean(path)
    assert (done.report.kept, done.report.rejected, done.report.lines_not_loans) == (40, 1, 0)


# --- ids and several files ------------------------------------------------------------------------------------


def test_several_files_are_one_book(loans, cleaned, clean, tmp_path):
    parts = [written(loans[:1_500], tmp_path / "a.csv"), parquet(loans[1_500:], tmp_path / "b.parquet")]
    done = clean(*parts)
    assert_frame_equal(done.loans, pl.read_parquet(cleaned.path))
    assert done.report.files == tuple(map(str, parts))
    assert done.report.matured == cleaned.report.matured


def test_of_loans_with_one_id_the_first_stays(few, clean):
    again = put(few[10:], 0, loan_amnt="12345")
    done = clean(few[:12], again)
    assert (done.report.kept, done.report.rejected, done.report.problems) == (40, 2, {"id: duplicate": 2})
    assert_frame_equal(done.loans, clean(few).loans)
    assert done.rejected["id"].to_list() == few["id"][10:12].to_list()
    assert done.rejected["reason"][0] == f"id '{few['id'][10]}' stands in the data before"


def test_a_duplicate_of_a_rejected_loan_is_kept(few, clean):
    done = clean(put(few, 0, grade="H"), few[:1])
    assert (done.report.kept, done.report.problems) == (40, {"grade: unknown level": 1})


def test_loans_without_id_are_called_by_file_and_row(few, clean, tmp_path):
    nameless = few.drop("id")
    assert clean(written(nameless, tmp_path / "2018.Q1.csv")).loans["id"][:2].to_list() == ["2018.Q1-1", "2018.Q1-2"]
    assert clean(put(few, 1, id=None)).loans["id"][1] == "loans0-2"
    (tmp_path / "2017").mkdir()
    same = [written(nameless[:3], tmp_path / "2017" / "part.csv"), written(nameless[3:6], tmp_path / "part.csv")]
    dotted = [written(nameless[6:9], tmp_path / f"x.Q{at}.csv") for at in (1, 2)]
    done = clean(*same, *dotted)
    assert done.report.kept == 12
    assert done.loans["id"][2:7].to_list() == ["part.1-3", "part.2-1", "part.2-2", "part.2-3", "x.Q1-1"]


def test_a_file_given_twice_is_refused(few, clean, tmp_path):
    path = written(few, tmp_path / "loans.csv")
    with pytest.raises(BadInput, match=r"loans\.csv is given twice"):
        clean(path, tmp_path / "." / "loans.csv")
    with pytest.raises(BadInput, match="No loan file was given"):
        clean()


def test_the_fingerprint_is_of_the_content(tmp_path, few):
    first, second = written(few, tmp_path / "a.csv"), written(few, tmp_path / "b.csv")
    other = written(few[1:], tmp_path / "c.csv")
    assert fingerprint([first]) == fingerprint([second]) != fingerprint([other])
    assert fingerprint([first, other]) != fingerprint([other, first])
    assert len(fingerprint([first])) == 16


# --- snapshot and maturity ------------------------------------------------------------------------------------


def test_one_mistyped_date_does_not_move_the_snapshot(few, clean, loans):
    assert clean(put(few, 0, last_credit_pull_d="Mar-2079")).report.snapshot == date(2019, 3, 1)
    odd = loans.with_columns(
        last_credit_pull_d=pl.when(pl.int_range(pl.len()) < 3).then(pl.lit("Mar-2079")).otherwise("last_credit_pull_d")
    )
    assert clean(odd).report.snapshot == date(2019, 3, 1)
    assert clean(odd[:1000]).report.snapshot == date(2079, 3, 1)  # three in a thousand are no slip


def test_a_file_without_snapshot_column_takes_the_newest_issue_month(few, clean):
    issued = few["issue_d"].str.to_date("%b-%Y").sort()
    twice = issued.filter(issued.is_duplicated()).max()
    assert clean(few.drop("last_credit_pull_d")).report.snapshot == twice
    assert clean(few.with_columns(last_credit_pull_d=pl.lit(None, dtype=pl.String))).report.snapshot == twice
    alone = clean(few[:1].drop("last_credit_pull_d"))
    assert alone.report.snapshot == alone.loans["issue_d"][0]


def test_loans_are_matured_by_the_month_of_their_last_payment(few, clean):
    loan = {"issue_d": "Feb-2016", "term": " 36 months", "loan_status": "Charged Off"}
    odd = put(
        put(put(few[:3], 0, **loan), 1, **{**loan, "term": " 60 months"}), 2, **{**loan, "loan_status": "Current"}
    )
    done = clean(odd, snapshot=date(2019, 2, 1))
    assert done.loans[MATURES].to_list() == [date(2019, 2, 1), date(2021, 2, 1), date(2019, 2, 1)]
    assert (done.report.resolved, done.report.matured, done.report.default_rate) == (2, 1, 1.0)
    assert clean(odd, snapshot=date(2019, 1, 1)).report.matured == 0
    assert clean(odd, snapshot=date(2019, 1, 1)).report.default_rate is None
    assert clean(put(odd, 0, term="36.5 months")).loans[MATURES][0] == date(2019, 3, 1)


def test_every_listed_status_has_its_outcome(few, clean, contract):
    label_of: Mapping[str, int | None] = contract.outcome.label_of
    book = few[: len(label_of)].with_columns(loan_status=pl.Series(list(label_of)))
    assert clean(book).loans[OUTCOME].to_list() == list(label_of.values())


# --- the published cleaned file -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def transformed(loans, contract) -> pl.DataFrame:
    """Resolved synthetic loans in the layout of the published cleaned file, the leaking flag all wrong."""
    layout = contract.layouts[0]
    years = pl.col("issue_d").str.slice(4).cast(pl.Int64).alias("issue_year")
    label = pl.col("loan_status").replace_strict(contract.outcome.label_of, return_dtype=pl.Int8)
    resolved = loans.filter(label.is_not_null()).with_columns(
        label, pl.col("term").str.extract(r"(\d+)").cast(pl.Float64)
    )
    return resolved.select(
        "loan_amnt", "loan_status", "int_rate", "revol_util", "bc_util", "mo_sin_old_il_acct", years,
        pl.col("grade").replace_strict({letter: at for at, letter in enumerate("ABCDEFG", 1)}),
        *(pl.col(name).cast(pl.Float64).log1p() for name in layout.log1p),
        debt_settlement_flag_Y=pl.col("loan_status") == 0,
    )  # fmt: skip


def test_the_published_cleaned_file_is_turned_back_into_natural_units(transformed, loans, contract, clean, tmp_path):
    done = clean(transformed)
    assert done.report.layouts == ("selected_features",)
    assert done.report.snapshot == date(2019, 3, 1)
    known = loans.filter(pl.col("loan_status").replace_strict(contract.outcome.label_of).is_not_null())
    assert done.report.kept == known.height
    for name in (*contract.layouts[0].log1p[1:], "loan_amnt", "int_rate", "revol_util", "bc_util"):
        expected = known[name].clip(*contract.by_name[name].range) if name == "dti" else known[name]
        assert done.loans[name].to_list() == pytest.approx(expected.to_list(), abs=0.006, nan_ok=True), name
    assert done.loans["grade"].cast(pl.String).to_list() == known["grade"].to_list()
    assert done.loans["issue_d"].to_list() == [date(int(text[4:]), 12, 1) for text in known["issue_d"]]
    assert done.loans[OUTCOME].to_list() == transformed["loan_status"].to_list()
    assert_frame_equal(clean(parquet(transformed, tmp_path / "loans0.parquet")).loans, done.loans)


def test_the_leaking_flag_is_never_read(transformed, clean):
    turned = transformed.with_columns(~pl.col("debt_settlement_flag_Y"))
    assert_frame_equal(clean(transformed).loans, clean(turned).loans)
    assert not [name for name in clean(transformed).loans.columns if "settlement" in name]


def test_a_bad_value_in_the_cleaned_layout_is_shown_as_it_stands(transformed, clean):
    odd = transformed[:30].cast(pl.String)
    done = clean(put(put(odd, 0, annual_inc="lots"), 1, grade="8"))
    assert done.rejected["reason"].to_list() == [
        "annual_inc 'lots' is no number; it must be 100 to 100,000,000 dollars a year",
        "grade '8' is not one of A, B, C, D, E, F, G",
    ]


def test_layouts_may_be_mixed(transformed, few, clean):
    done = clean(few, transformed)
    assert done.report.layouts == ("published", "selected_features")
    assert done.report.kept == 40 + transformed.height
    assert done.report.snapshot == date(2019, 3, 1)
    old = clean(few.with_columns(last_credit_pull_d=pl.lit("Jan-2019")), transformed)
    assert old.report.snapshot == date(2019, 3, 1)


# --- files that cannot be used at all -------------------------------------------------------------------------


def damaged_body(frame: pl.DataFrame, folder: Path) -> Path:
    """Parquet of which only the footer is left: it opens, and fails when it is read."""
    whole = bytearray(parquet(frame, folder / "damaged.parquet").read_bytes())
    body = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    whole[4:body] = bytes(body - 4)
    (folder / "damaged.parquet").write_bytes(whole)
    return folder / "damaged.parquet"


def gzipped(frame: pl.DataFrame, folder: Path, *, short_of: int = 0, turned: int | None = None) -> Path:
    packed = bytearray(gzip.compress(frame.write_csv().encode()))
    if turned is not None:
        packed[turned] ^= 0xFF
    (folder / "loans.csv.gz").write_bytes(packed[: len(packed) - short_of])
    return folder / "loans.csv.gz"


UNUSABLE = {
    "cut gzip": (lambda few, folder: gzipped(few, folder, short_of=4_000), r"loans\.csv\.gz is damaged or cut off"),
    "gzip without end": (lambda few, folder: gzipped(few, folder, short_of=4), "is damaged or cut off"),
    "gzip of another sum": (lambda few, folder: gzipped(few, folder, turned=-6), "is damaged or cut off"),
    "cut long gzip": (
        lambda few, folder: gzipped(pl.concat([few] * 200), folder, short_of=40_000),
        r"loans\.csv\.gz is damaged or cut off",
    ),
    "damaged Parquet": (damaged_body, r"damaged\.parquet is damaged or cut off"),
    "header only": (lambda few, folder: written(few[:0], folder / "a.csv"), "there is a header but no loan below it"),
    "no rows": (lambda few, folder: parquet(few[:0], folder / "a.parquet"), "there is a header but no loan below it"),
    "all bad": (
        lambda few, folder: written(few.with_columns(grade=pl.lit("H")), folder / "a.csv"),
        r"a\.csv: none of the 40 loans is usable; the most frequent reason is grade: unknown level\.",
    ),
    "lacking": (lambda few, folder: written(few.drop("dti"), folder / "a.csv"), "lacks the column dti"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNUSABLE)
def test_a_failure_leaves_everything_as_it_was(few, contract, tmp_path, name):
    make, sentence = UNUSABLE[name]
    path, out = make(few, tmp_path), tmp_path / "out"
    targets = {"cleaned": out / "cleaned.parquet", "rejected": out / "rejected.parquet"}
    with pytest.raises(BadInput, match=sentence):
        clean_loans([path], contract, **targets)
    assert not out.exists() or not list(out.iterdir())
    out.mkdir(exist_ok=True)
    for target in targets.values():
        target.write_text("before", encoding="utf-8")
    with pytest.raises(BadInput, match=sentence):
        clean_loans([path], contract, **targets)
    assert [target.read_text(encoding="utf-8") for target in out.iterdir()] == ["before", "before"]


def test_one_damaged_file_among_good_ones_is_enough_to_stop(few, contract, tmp_path):
    good, bad, out = written(few, tmp_path / "good.csv"), damaged_body(few, tmp_path), tmp_path / "out"
    with pytest.raises(BadInput, match=r"damaged\.parquet is damaged or cut off"):
        clean_loans([good, bad], contract, cleaned=out / "cleaned", rejected=out / "rejected")
    assert not list(out.iterdir())


def test_trouble_that_is_not_the_files_is_not_blamed_on_it(few, contract, tmp_path, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    path = written(few, tmp_path / "loans.csv")
    monkeypatch.setattr(cleaning, "_move_duplicates", full)
    with pytest.raises(OSError, match="No space left"):
        clean_loans([path], contract, cleaned=tmp_path / "out" / "c", rejected=tmp_path / "out" / "r")
    assert not list((tmp_path / "out").iterdir())


def test_the_report_is_a_record(cleaned):
    record = json.loads(json.dumps(cleaned.report.to_dict()))
    assert (record["snapshot"], record["first_month"], record["kept"]) == ("2019-03", "2007-06", 4_000)
    assert cleaned.report.warnings() == []
    assert 0.1 < record["default_rate"] < 0.3


def test_cleaning_streams(loans_csv, contract):
    """A node that gathers a whole column would need memory for the whole file."""
    for typed in (True, False):
        table = cleaning.open_table(loans_csv, contract, with_outcome=True, columns=["last_credit_pull_d"], typed=typed)
        for query in cleaning._outputs(table, contract, with_outcome=True):
            plan = query.show_graph(engine="streaming", plan_stage="physical", raw_output=True)
            assert plan
            nodes = plan.split("</TABLE>")[-1]
            assert "multi-scan" in nodes
            assert "columnar" not in nodes
            assert "in-memory" not in nodes.replace("in-memory engine fallback", "")


# --- applications ---------------------------------------------------------------------------------------------


def test_a_batch_of_applications_needs_no_status(contract, tmp_path):
    batch = make_applications(50, seed=3, month=date(2019, 1, 1)).drop("loan_status", "last_credit_pull_d")
    path = written(batch, tmp_path / "batch.csv")
    report = clean_application_file(path, contract, cleaned=tmp_path / "c.parquet", rejected=tmp_path / "r.parquet")
    assert (report.kept, report.snapshot, report.default_rate, report.matured) == (50, None, None, 0)
    assert not {OUTCOME, MATURES} & set(pl.read_parquet(tmp_path / "c.parquet").columns)


def test_records_are_cleaned_as_the_same_rows_of_a_file(loans, cleaned, contract):
    names = [field.name for field in contract.fields if field.column in loans.columns]
    records = loans[:50].select(names)
    expected = pl.read_parquet(cleaned.path)[:50].select(contract.feature_names)
    assert_frame_equal(clean_applications(records, contract), expected)
    one = clean_applications(records[7:8], contract)
    assert_frame_equal(one, expected[7:8])
    assert_frame_equal(
        clean_applications(pl.DataFrame([dict(reversed(records.row(7, named=True).items()))]), contract), one
    )


def test_the_least_application_is_enough(contract):
    (row,) = clean_applications(pl.DataFrame([APPLICATION]), contract).rows(named=True)
    given = {name: value for name, value in row.items() if value is not None}
    derived = {"loan_to_income": pytest.approx(100 / 6), "payment_to_income": pytest.approx(6.690725)}
    assert given == {**APPLICATION, **derived}
    assert tuple(row) == contract.feature_names
    texts = pl.DataFrame([{name: f"{value}" for name, value in APPLICATION.items()}])
    assert clean_applications(texts, contract).rows() == [tuple(row.values())]


def test_empty_values_of_a_client_are_missing(contract):
    empty = {
        "grade": None,
        "purpose": float("nan"),
        "fico_range_low": float("nan"),
        "emp_length": "n/a",
        "home_ownership": " ",
    }
    (row,) = clean_applications(pl.DataFrame([{**APPLICATION, **empty}]), contract).rows(named=True)
    assert [row[name] for name in empty] == [None] * len(empty)


REFUSED = {
    "log1p term": ({"term": 3.6109}, "term '3.6109' is outside of 6 to 120 months."),
    "log1p income": ({"annual_inc": 10.91}, "annual_inc '10.91' is outside of 100 to 100,000,000 dollars a year."),
    "log1p score": ({"fico_range_low": 6.51}, "fico_range_low '6.51' is outside of 300 to 850 FICO points."),
    "grade as number": ({"grade": 3}, "grade '3' is not one of A, B, C, D, E, F, G."),
    "level": ({"application_type": "Trio"}, "application_type 'Trio' is not one of Individual, Joint App."),
    "truth": ({"application_type": True}, "application_type 'true' is not one of Individual, Joint App."),
    "word": ({"open_acc": "many"}, "open_acc 'many' is no number; it must be 0 to 500 count."),
    "infinite": ({"int_rate": float("inf")}, "int_rate 'inf' is outside of 0.5 to 60 percent a year."),
    "wild": ({"term": 1e12}, "term '1000000000000' is outside of 6 to 120 months."),
    "nothing": ({"annual_inc": None}, "annual_inc is missing; it must be 100 to 100,000,000 dollars a year."),
    "nan": ({"int_rate": float("nan")}, "int_rate is missing; it must be 0.5 to 60 percent a year."),
    "list": ({"open_acc": [1, 2]}, "open_acc '[1, 2]' is List(Int64); it must be 0 to 500 count."),
    "object": ({"open_acc": {"a": 1}}, "open_acc \"{'a': 1}\" is Struct({'a': Int64}); it must be 0 to 500 count."),
    "bytes": ({"grade": b"A"}, "grade \"b'A'\" is Binary; it must be one of A, B, C, D, E, F, G."),
    "day": ({"open_acc": date(2015, 1, 1)}, "open_acc '2015-01-01' is no number; it must be 0 to 500 count."),
    "month": ({"issue_d": "soon"}, "issue_d 'soon' is no month; it must be a month, as Dec-2015 or 2015-12."),
    "month number": ({"issue_d": 201512}, "issue_d '201512' is no month; it must be a month, as Dec-2015 or 2015-12."),
    "order of months": (
        {"issue_d": "Jan-2010", "earliest_cr_line": "Mar-2010"},
        "credit_history_months '-2' is outside of 0 to 1,200 months.",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_application_that_cannot_be_used_is_refused_in_one_sentence(contract, name):
    change, sentence = REFUSED[name]
    good = pl.DataFrame([APPLICATION])
    records = pl.concat([good, pl.DataFrame([{**APPLICATION, **change}])], how="diagonal_relaxed")
    with pytest.raises(BadInput) as refused:
        clean_applications(records, contract)
    assert str(refused.value) == f"Row 1: {sentence}"


@pytest.mark.parametrize("name", ["debt_settlement_flag_Y", "loan_status", "installment", "row", "outcome"])
def test_what_is_no_field_is_refused(contract, name):
    with pytest.raises(
        BadInput, match=f"^{name} is no field of a loan application; the fields are acc_open_past_24mths, "
    ):
        clean_applications(pl.DataFrame([{**APPLICATION, name: 0}]), contract)


@pytest.mark.parametrize("name", APPLICATION)
def test_a_required_field_must_be_there(contract, name):
    rest = {field: value for field, value in APPLICATION.items() if field != name}
    with pytest.raises(BadInput, match=f"Row 0: {name} is missing; it must be .* to "):
        clean_applications(pl.DataFrame([rest]), contract)


def test_an_empty_request_is_refused(contract):
    for nothing in (pl.DataFrame(), pl.DataFrame([APPLICATION])[:0]):
        with pytest.raises(BadInput, match="There is no application in the request"):
            clean_applications(nothing, contract)


# --- real loans -----------------------------------------------------------------------------------------------


@pytest.mark.real_data
def test_real_loans_are_read(real_data, clean):
    done = clean(real_data / "lendingclub" / "accepted_sample.csv")
    assert (done.report.kept, done.report.problems) == (6_993, {"annual_inc: out of range": 3})
    assert (done.report.snapshot, done.report.missing_fields) == (date(2019, 3, 1), ())


@pytest.mark.real_data
def test_the_real_cleaned_file_is_read(real_data, clean, contract, tmp_path):
    done = clean(real_data / "selected_features" / "loan_default_selected_features_clean.csv")
    assert (done.report.kept, done.report.rejected) == (199, 0)
    first = done.loans.select("term", "annual_inc", "dti", "fico_range_low", "revol_bal", "grade").row(0)
    assert first == (36, 55_000, 5.91, 675, 2_765, "C")
    batch = real_data / "selected_features" / "batch_input.csv"
    report = clean_application_file(batch, contract, cleaned=tmp_path / "c", rejected=tmp_path / "r")
    assert (report.kept, report.rejected) == (100, 0)
