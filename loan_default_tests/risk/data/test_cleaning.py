"""Cleaning: every form of a file gives the same loans, and a failure leaves nothing behind."""

import gzip
import re
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.columns import MATURES, OUTCOME
from loan_default.risk.data import cleaning, loan_files
from loan_default.risk.data.cleaning import clean_application_file, clean_loans
from loan_default.risk.data.loan_files import LoanTable, open_table
from loan_default.risk.data.rejections import rejection_lines
from loan_default.risk.data.synthetic import make_applications, write_csv
from loan_default.risk.data.synthetic_tables import FOOTER
from loan_default.risk.errors import BadInput
from loan_default_tests.conftest import Cleaned
from loan_default_tests.risk.data.loan_tables import (
    Clean,
    as_csv,
    as_parquet,
    months,
    months_later,
    small_book,
    with_values,
)
from loan_default_tests.risk.small_books import make_contract


def test_published_loans_are_read_right(loans: pl.DataFrame, cleaned: Cleaned, contract: Contract) -> None:
    clean = pl.read_parquet(cleaned.path)
    report = cleaned.report
    assert (report.rows_read, report.kept, report.rejected, report.lines_not_loans) == (4_002, 4_000, 0, 2)
    assert (report.snapshot, report.layouts, report.missing_fields) == (date(2019, 3, 1), ("main",), ())
    names = [field.name for field in contract.fields if field.name != "earliest_cr_line"]  # which is support
    assert clean.columns == [*names, *contract.labels]
    assert clean["id"].to_list() == loans["id"].cast(pl.String).to_list()
    for name in ("loan_amnt", "int_rate", "annual_inc", "fico_range_low", "mths_since_last_record", "bc_util"):
        assert clean[name].to_list() == loans[name].to_list(), name
    assert clean["term"].to_list() == loans["term"].str.extract(r"(\d+)").cast(pl.Float64).to_list()
    assert clean["issue_d"].to_list() == loans["issue_d"].str.to_date("%b-%Y").to_list()
    for name in ("grade", "sub_grade", "purpose", "home_ownership", "application_type"):
        assert clean[name].cast(pl.String).to_list() == loans[name].to_list(), name
    years = {"10+ years": 10, "< 1 year": 0, None: None} | {
        f"{count} year{'s' * (count > 1)}": count for count in range(1, 10)
    }
    assert clean["emp_length"].to_list() == [years[text] for text in loans["emp_length"]]
    label = pl.col("loan_status").replace_strict(contract.outcome.label_of, return_dtype=pl.Int8)
    assert clean[OUTCOME].to_list() == loans.select(label).to_series().to_list()
    assert clean[MATURES].to_list() == [
        months_later(month, int(term) + contract.outcome.grace_months)
        for month, term in clean.select("issue_d", "term").iter_rows()
    ]


def test_last_payments_and_amounts_are_read_as_the_contract_names_them(
    loans: pl.DataFrame, cleaned: Cleaned, contract: Contract
) -> None:
    clean = pl.read_parquet(cleaned.path)
    for name, column in contract.outcome.amounts.columns.items():
        assert clean[f"amount_{name}"].to_list() == loans[column].to_list(), name
    paid = loans.select(months("last_pymnt_d") - months("issue_d")).to_series()
    never_paid = paid.is_null() & (clean[OUTCOME] == 1)
    assert never_paid.any()
    assert clean["months_paid"].to_list() == paid.zip_with(~never_paid, pl.Series([0] * len(paid))).to_list()
    known_in = [
        None if outcome is None else months_later(month, count + 5 * outcome)
        for month, count, outcome in clean.select("issue_d", "months_paid", OUTCOME).iter_rows()
    ]
    assert clean["outcome_known"].to_list() == known_in
    assert not {"amount_paid", "months_paid"} & {*contract.feature_names}


def test_without_its_last_payment_an_outcome_is_known_when_its_loan_matures(few: pl.DataFrame, clean: Clean) -> None:
    result = clean(few.drop("last_pymnt_d", "recoveries"))
    resolved = result.loans.filter(pl.col(OUTCOME).is_not_null())
    assert resolved["outcome_known"].to_list() == resolved[MATURES].to_list()
    assert result.loans.select("months_paid", "amount_recovered").null_count().row(0) == (len(few), len(few))


def test_what_cannot_be_is_no_last_payment_and_no_amount_and_what_cannot_be_read_rejects_its_loan(
    few: pl.DataFrame, clean: Clean
) -> None:
    changed = with_values(
        few.with_columns(pl.col("recoveries").cast(pl.String)), 0, recoveries="-1", last_pymnt_d="Jan-1990"
    )
    changed = with_values(with_values(changed, 1, recoveries="some"), 2, last_pymnt_d="soon")
    result = clean(changed)
    assert result.loans.select("months_paid", "amount_recovered").row(0) == (None, None)
    assert result.rejected["problem"].to_list() == [
        "amount_recovered: unreadable number",
        "last_payment: impossible date",
    ]


def test_a_term_that_no_model_sees_is_stored_as_loans_mature_by_it(
    loans: pl.DataFrame, contract: Contract, tmp_path: Path
) -> None:
    data = contract.model_dump()
    for field in data["fields"]:
        if field["name"] == "term":
            field |= {"role": "support", "reasons": {}, "risk": None, "group": "term", "applicant_can": None}
    supported, files = Contract.model_validate(data), [as_csv(loans, tmp_path / "loans.csv")]
    clean_loans(files, supported, cleaned=tmp_path / "c", rejected=tmp_path / "r")
    stored = pl.read_parquet(tmp_path / "c")
    assert "term" not in supported.feature_names
    assert set(stored["term"]) == {36, 60}
    assert stored.columns == [*(field.name for field in supported.stored), *supported.labels]


@pytest.mark.slow
def test_every_form_of_a_file_gives_the_same_loans(
    loans: pl.DataFrame, cleaned: Cleaned, clean: Clean, tmp_path: Path
) -> None:
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
        assert_frame_equal(clean(as_parquet(frame, tmp_path / name)).loans, expected)
    write_csv(loans, tmp_path / "loans.csv.gz")
    assert_frame_equal(clean(tmp_path / "loans.csv.gz").loans, expected)


def test_an_id_whose_last_figures_a_float_has_lost_is_rejected(few: pl.DataFrame, clean: Clean, tmp_path: Path) -> None:
    ids = [9007199254740992.0, 9007199254740994.0, *range(38)]
    result = clean(as_parquet(few.with_columns(id=pl.Series(ids, dtype=pl.Float64)), tmp_path / "loans.parquet"))
    assert result.rejected["reason"].to_list() == [
        "id '9007199254740994' is a float, which has lost its last figures; write the column as text or as whole "
        "numbers"
    ]
    assert result.loans["id"][:2].to_list() == ["9007199254740992", "0"]


def test_one_bad_number_changes_nothing_for_the_other_rows(loans: pl.DataFrame, cleaned: Cleaned, clean: Clean) -> None:
    """A bad number makes the reader of typed columns give up: text is read then."""
    result = clean(with_values(loans.with_columns(pl.col("loan_amnt").cast(pl.String)), 17, loan_amnt="a lot"))
    assert result.rejected.rows() == [
        ("loans0.csv", 18, str(loans["id"][17]), "loan_amnt", "a lot", "loan_amnt: unreadable number",
         "loan_amnt 'a lot' is no number; it must be 100 to 1,000,000 dollars"),
    ]  # fmt: skip
    expected = pl.read_parquet(cleaned.path)
    assert_frame_equal(result.loans, expected.filter(pl.int_range(pl.len()) != 17))


@pytest.mark.parametrize(
    "numbers",
    [["5", "5.", ".5", "+5", "5e1", "1e400", "-inf"], [" 5", "0x5", "5,0", "1_0", "five", "- 5", "''"]],
    ids=["plain", "others"],
)
def test_numbers_mean_the_same_whether_a_csv_is_read_typed_or_as_text(
    few: pl.DataFrame, clean: Clean, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, numbers: list[Any]
) -> None:
    path = as_csv(few.with_columns(open_acc=pl.Series(numbers + [None] * 33)), tmp_path / "loans.csv")
    quick = clean(path)

    def open_as_text(*arguments: Any, **options: Any) -> LoanTable:
        return open_table(*arguments, **{**options, "reader": "text"})

    monkeypatch.setattr(cleaning, "open_table", open_as_text)
    slow = clean(path)
    assert_frame_equal(quick.loans, slow.loans)
    assert quick.rejected["id"].to_list() == slow.rejected["id"].to_list()
    assert quick.report.problems == slow.report.problems


@pytest.mark.slow
def test_a_long_file_is_counted_while_it_is_read(
    loans: pl.DataFrame, cleaned: Cleaned, clean: Clean, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleaning, "_LONG_BYTES", 0)
    stream, streams = cleaning._stream, []

    def record_stream(*arguments: Any, **how: Any) -> pl.DataFrame:
        streams.append(arguments)
        return stream(*arguments, **how)

    monkeypatch.setattr(cleaning, "_stream", record_stream)
    assert_frame_equal(clean(as_csv(loans, tmp_path / "a.csv")).loans, pl.read_parquet(cleaned.path))
    assert len(streams) == 1
    content = (tmp_path / "a.csv").read_text(encoding="utf-8").replace("\n", "\r")
    (tmp_path / "b.csv").write_text(content, encoding="utf-8", newline="")
    assert_frame_equal(clean(tmp_path / "b.csv").loans, pl.read_parquet(cleaned.path))


@pytest.mark.parametrize(
    ("row", "values"),
    [
        (30, {}),
        (1, {"purpose": " house ", "issue_d": "2018-12-31"}),
        (30, {"grade": "n/a", "last_pymnt_d": "Mar-19"}),
        (30, {"home_ownership": "CASTLE", "loan_status": "Lost", "last_credit_pull_d": "yesterday"}),
        (30, {"open_acc": "many"}),
    ],
)
def test_months_and_levels_read_as_codes_are_read_as_texts_are(
    few: pl.DataFrame,
    clean: Clean,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    row: int,
    values: dict[str, str],
) -> None:
    """Of a long file whose first rows say nothing else; a later one that does has it read again as text."""
    texts = few.with_columns(pl.col(name).cast(pl.String) for name in values)
    path = as_csv(with_values(texts, row, **values), tmp_path / "loans.csv")
    monkeypatch.setattr(loan_files, "_FIRST_ROWS", 5)
    short = clean(path)
    monkeypatch.setattr(cleaning, "_LONG_BYTES", 0)
    long = clean(path)
    assert_frame_equal(long.loans, short.loans)
    assert_frame_equal(long.rejected, short.rejected)
    assert long.report == short.report


def test_the_quarterly_files_are_read_as_they_are_published(
    few: pl.DataFrame, cleaned_few: pl.DataFrame, clean: Clean, tmp_path: Path
) -> None:
    """A title, quotation marks everywhere, percent signs, no ids, and totals below."""
    percent = [pl.format(" {}%", name).alias(name) for name in ("int_rate", "revol_util")]
    nameless = few.with_columns(*percent, id=pl.lit(None, dtype=pl.String))
    body = nameless.write_csv(quote_style="always", line_terminator="\n")
    footer = "".join(f'"{line}"\n' for line in (FOOTER[0].format(5), "", FOOTER[1].format(5)))
    path = tmp_path / "LoanStats_2018Q1.csv"
    path.write_text("Notes offered by Prospectus (https://x/y)\n" + body + "\n\n" + footer, encoding="utf-8")
    result = clean(path)
    assert (result.report.kept, result.report.rejected) == (40, 0)
    assert result.loans["id"][0] == "LoanStats_2018Q1-1"
    assert_frame_equal(result.loans.drop("id"), cleaned_few.drop("id"))
    narrow = [name for name in few.columns if not name.startswith(("sec_app", "hardship", "settlement", "debt_"))]
    as_parquet(nameless.select(narrow), tmp_path / "narrow.parquet")
    assert_frame_equal(clean(tmp_path / "narrow.parquet").loans.drop("id"), result.loans.drop("id"))


def test_several_files_are_one_book(loans: pl.DataFrame, cleaned: Cleaned, clean: Clean, tmp_path: Path) -> None:
    parts = [as_csv(loans[:1_500], tmp_path / "a.csv"), as_parquet(loans[1_500:], tmp_path / "b.parquet")]
    result = clean(*parts)
    assert_frame_equal(result.loans, pl.read_parquet(cleaned.path))
    assert result.report.files == tuple(map(str, parts))
    assert result.report.matured == cleaned.report.matured


@pytest.mark.slow
def test_loans_without_id_are_called_by_file_and_row(few: pl.DataFrame, clean: Clean, tmp_path: Path) -> None:
    nameless = few.drop("id")
    assert clean(as_csv(nameless, tmp_path / "2018.Q1.csv")).loans["id"][:2].to_list() == ["2018.Q1-1", "2018.Q1-2"]
    assert clean(with_values(few, 1, id=None)).loans["id"][1] == "loans0-2"
    (tmp_path / "2017").mkdir()
    same = [as_csv(nameless[:3], tmp_path / "2017" / "part.csv"), as_csv(nameless[3:6], tmp_path / "part.csv")]
    dotted = [as_csv(nameless[6:9], tmp_path / f"x.Q{quarter}.csv") for quarter in (1, 2)]
    result = clean(*same, *dotted)
    assert result.report.kept == 12
    assert result.loans["id"][2:7].to_list() == ["part.1-3", "part.2-1", "part.2-2", "part.2-3", "x.Q1-1"]


def test_the_prediction_log_is_in_natural_units(tmp_path: Path) -> None:
    book = small_book(files={"decimal": ","}, fields={"rate": {"scale": 100}, "issued": {"format": "%d/%m/%Y"}})
    logged = pl.DataFrame({"id": "007", "issued": "2026-11", "rate": 7.5, "request_id": "r", "model_version": 3})
    cleaned, rejected = tmp_path / "cleaned.parquet", tmp_path / "rejected.parquet"
    for columns, rate in ({"scored_at": date(2026, 11, 3)}, 7.5), ({}, 750):
        path = as_parquet(
            logged.with_columns(**{name: pl.lit(day) for name, day in columns.items()}), tmp_path / "l.parquet"
        )
        assert clean_application_file(path, book, cleaned=cleaned, rejected=rejected).kept == 1
        assert pl.read_parquet(cleaned).select("id", "rate").row(0) == ("007", rate)


def test_a_file_given_twice_is_refused(few: pl.DataFrame, clean: Clean, tmp_path: Path) -> None:
    path = as_csv(few, tmp_path / "loans.csv")
    with pytest.raises(BadInput, match=r"loans\.csv is given twice"):
        clean(path, tmp_path / "." / "loans.csv")
    with pytest.raises(BadInput, match="No loan file was given"):
        clean()


def test_a_path_of_nothing_is_refused(clean: Clean, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"nothing\.csv is not a file; give the path"):
        clean(tmp_path / "nothing.csv")


def damaged_body(frame: pl.DataFrame, folder: Path) -> Path:
    """Write Parquet of which only the footer is left: it opens, and fails when it is read."""
    content = bytearray(as_parquet(frame, folder / "damaged.parquet").read_bytes())
    body = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    content[4:body] = bytes(body - 4)
    (folder / "damaged.parquet").write_bytes(content)
    return folder / "damaged.parquet"


def gzipped(frame: pl.DataFrame, folder: Path, *, short_of: int = 0, turned: int | None = None) -> Path:
    packed = bytearray(gzip.compress(frame.write_csv().encode()))
    if turned is not None:
        packed[turned] ^= 0xFF
    (folder / "loans.csv.gz").write_bytes(packed[: len(packed) - short_of])
    return folder / "loans.csv.gz"


UNUSABLE: dict[str, tuple[Callable[[pl.DataFrame, Path], Path], str]] = {
    "cut gzip": (lambda few, folder: gzipped(few, folder, short_of=4_000), r"loans\.csv\.gz is damaged or cut off"),
    "gzip without end": (lambda few, folder: gzipped(few, folder, short_of=4), "is damaged or cut off"),
    "gzip of another sum": (lambda few, folder: gzipped(few, folder, turned=-6), "is damaged or cut off"),
    "cut long gzip": (
        lambda few, folder: gzipped(pl.concat([few] * 200), folder, short_of=40_000),
        r"loans\.csv\.gz is damaged or cut off",
    ),
    "damaged Parquet": (damaged_body, r"damaged\.parquet is damaged or cut off"),
    "header only": (lambda few, folder: as_csv(few[:0], folder / "a.csv"), "there is a header but no loan"),
    "no rows": (lambda few, folder: as_parquet(few[:0], folder / "a.parquet"), "there is a header but no loan"),
    "all bad": (
        lambda few, folder: as_csv(few.with_columns(grade=pl.lit("H")), folder / "a.csv"),
        r"a\.csv: none of the 40 loans is usable; the most frequent reason is grade: unknown level \(40\)\. "
        r"The first: a\.csv, row 1: grade 'H' is not one of A, B, C, D, E, F, G\.$",
    ),
    "lacking": (lambda few, folder: as_csv(few.drop("dti"), folder / "a.csv"), "lacks the column dti"),
}  # fmt: skip


READ = {"header only": 0, "no rows": 0, "all bad": 40}  # their rows were read, and so many rejected


@pytest.mark.parametrize("name", UNUSABLE)
@pytest.mark.slow
def test_a_failure_leaves_all_but_the_rejected_rows_as_it_was(
    few: pl.DataFrame, contract: Contract, tmp_path: Path, name: str
) -> None:
    make, sentence = UNUSABLE[name]
    path, out = make(few, tmp_path), tmp_path / "out"
    cleaned, rejected = out / "cleaned.parquet", out / "rejected.parquet"
    for before in (None, "before"):
        if before:
            out.mkdir(exist_ok=True)
            for target in (cleaned, rejected):
                target.write_text(before, encoding="utf-8")
        with pytest.raises(BadInput, match=sentence):
            clean_loans([path], contract, cleaned=cleaned, rejected=rejected)
        assert (cleaned.read_text(encoding="utf-8") if cleaned.exists() else None) == before
        if name in READ:
            assert pl.read_parquet(rejected).height == READ[name]
        else:
            assert (rejected.read_text(encoding="utf-8") if rejected.exists() else None) == before
        assert {path.name for path in out.iterdir()} <= {cleaned.name, rejected.name} if out.exists() else True


@pytest.mark.slow
def test_one_damaged_file_among_good_ones_is_enough_to_stop(
    few: pl.DataFrame, contract: Contract, tmp_path: Path
) -> None:
    sound, damaged, out = as_csv(few, tmp_path / "sound.csv"), damaged_body(few, tmp_path), tmp_path / "out"
    with pytest.raises(BadInput, match=r"damaged\.parquet is damaged or cut off"):
        clean_loans([sound, damaged], contract, cleaned=out / "cleaned", rejected=out / "rejected")
    assert not list(out.iterdir())


def test_trouble_that_is_not_the_files_is_not_blamed_on_it(
    few: pl.DataFrame, contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    path = as_csv(few, tmp_path / "loans.csv")
    monkeypatch.setattr(cleaning, "_move_duplicates", full)
    with pytest.raises(OSError, match="No space left"):
        clean_loans([path], contract, cleaned=tmp_path / "out" / "c", rejected=tmp_path / "out" / "r")
    assert not list((tmp_path / "out").iterdir())


def test_cleaning_streams(loans_csv: Path, contract: Contract) -> None:
    """A node that gathers a whole column would need memory for the whole file."""
    for reader in ("typed", "text"):
        table = open_table(loans_csv, contract, with_outcome=True, columns=["last_credit_pull_d"], reader=reader)
        frame, rules = cleaning._parse_rows(table, contract, with_outcome=True)
        usable, unusable, counts = cleaning._outputs(frame, table, contract, with_outcome=True)
        for query in (usable, unusable, counts, rejection_lines(unusable, rules, table, contract)):
            plan = query.show_graph(engine="streaming", plan_stage="physical", raw_output=True)
            assert plan
            nodes = plan.split("</TABLE>")[-1]
            assert "multi-scan" in nodes
            assert "columnar" not in nodes
            assert "in-memory" not in nodes.replace("in-memory engine fallback", "")


def test_a_text_is_stripped_and_a_month_is_read_once(loans_csv: Path, contract: Contract) -> None:
    """Polars computes what holds a null in each place where it stands: cleaning then takes a fifth longer."""
    table = open_table(loans_csv, contract, with_outcome=True, columns=["last_credit_pull_d"])
    frame, _ = cleaning._parse_rows(table, contract, with_outcome=True)
    plan = cleaning._outputs(frame, table, contract, with_outcome=True)[0].explain()
    for column in ("id", "grade", "raw:term", "loan_status"):
        assert plan.count(f'col("{column}").str.strip_chars(') == 1, column
    assert plan.count(".tanh()") == 1
    assert plan.count(".str.strptime(") == 4  # three months, of which one may be written in two ways


def test_a_batch_of_applications_needs_no_status(contract: Contract, tmp_path: Path) -> None:
    batch = make_applications(50, seed=3, month=date(2019, 1, 1)).drop("loan_status", "last_credit_pull_d")
    path = as_csv(batch, tmp_path / "batch.csv")
    report = clean_application_file(path, contract, cleaned=tmp_path / "c.parquet", rejected=tmp_path / "r.parquet")
    assert (report.kept, report.snapshot, report.default_rate, report.matured) == (50, None, None, 0)
    assert not {OUTCOME, MATURES} & set(pl.read_parquet(tmp_path / "c.parquet").columns)


@pytest.mark.real_data
def test_real_loans_are_read(real_data: Path, clean: Clean) -> None:
    result = clean(real_data / "lendingclub" / "accepted_sample.csv")
    assert (result.report.kept, result.report.problems) == (6_993, {"annual_inc: out of range": 3})
    assert (result.report.snapshot, result.report.missing_fields) == (date(2019, 3, 1), ())


@pytest.mark.real_data
def test_the_real_cleaned_file_is_read(real_data: Path, clean: Clean, contract: Contract, tmp_path: Path) -> None:
    result = clean(real_data / "selected_features" / "loan_default_selected_features_clean.csv")
    assert (result.report.kept, result.report.rejected) == (199, 0)
    first = result.loans.select("term", "annual_inc", "dti", "fico_range_low", "revol_bal", "grade").row(0)
    assert first == (36, 55_000, 5.91, 675, 2_765, "C")
    batch = real_data / "selected_features" / "batch_input.csv"
    report = clean_application_file(batch, contract, cleaned=tmp_path / "c", rejected=tmp_path / "r")
    assert (report.kept, report.rejected) == (100, 0)


@pytest.mark.slow
def test_no_field_meets_a_column_of_cleaning_by_its_name(few: pl.DataFrame, clean: Clean, contract: Contract) -> None:
    """Fields may be called as anything that stands beside them while files are read, and say the same."""
    names = ["no_loan", "not_a_loan", "broken", "failed", "first", "month", "rows", "table", "row", "file", "field"]
    names += ["value", "problem", "reason", "status", "unreadable", "loans", "last_credit_pull_d", "raw"]
    sources = {source for name in contract.sources for source in contract.sources[name]} | {"id", "issue_d", "term"}
    free = [field.name for field in contract.fields if field.name not in sources and not field.derived]
    called = dict(zip(free, names, strict=False))
    assert len(called) == len(names)
    data = contract.model_dump()
    fields = [{**field, "name": called.get(field["name"], field["name"])} for field in data["fields"]]
    pricing = {key: called.get(name, name) for key, name in data["pricing"].items()}
    naming = {"fields": fields, "bureau_score": called[data["bureau_score"]], "pricing": pricing}
    renamed = Contract.model_validate({**data, **naming})
    odd = with_values(with_values(few, 1, open_acc="many"), 2, id=few["id"][3])
    odd = pl.concat([odd, odd.head(1).with_columns(pl.lit("Total amount funded").alias("id"))])
    expected, result = clean(odd), clean(odd, by=renamed)
    assert_frame_equal(result.loans, expected.loans.rename(called))
    assert (result.report.kept, result.report.rejected, result.report.lines_not_loans) == (38, 2, 1)
    assert result.report.snapshot == expected.report.snapshot


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [("", "a header but no loan below it."), ("\nL1,1,bad\n", "below it: 2 lines are blank or fit not_loans.")],
)
def test_a_file_without_a_loan_is_refused(clean: Clean, tmp_path: Path, lines: str, sentence: str) -> None:
    path = tmp_path / "loans.csv"
    path.write_text(f"id,income,status\n{lines}", encoding="utf-8")
    with pytest.raises(BadInput, match=re.escape(sentence)):
        clean(path, by=make_contract(time="none", outcomes="final", not_loans=["^L"]))
