"""Loan files: every form in which they come is opened alike, and what is no loan file is refused in one sentence."""

import gzip
import io
import re
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import yaml
from polars.testing import assert_frame_equal

from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.loading import load_contract
from loan_default.risk.data.delimited import FAULT, ROW
from loan_default.risk.data.loan_files import (
    LoanTable,
    check_table,
    count_lines,
    digest,
    fingerprint,
    from_pandas,
    open_table,
    refuse_damage,
    stem,
    survey,
)
from loan_default.risk.data.synthetic import make_loans, write_csv
from loan_default.risk.errors import BadInput
from loan_default.risk.month_texts import MONTH_CODES
from loan_default_tests.risk.data.loan_tables import as_csv, as_parquet
from loan_default_tests.risk.small_books import make_contract


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Write twenty loans as published: a header and a line for each."""
    path = tmp_path_factory.mktemp("text") / "loans.csv"
    write_csv(make_loans(20, seed=2), path)
    return path.read_text(encoding="utf-8")


Open = Callable[..., LoanTable]


@pytest.fixture
def opened(tmp_path: Path, contract: Contract) -> Open:
    """Return a function that opens content under a name."""

    def open_content(content: bytes | str, name: str = "loans.csv", **how: Any) -> LoanTable:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return open_table(path, contract, with_outcome=how.get("with_outcome", True), reader=how.get("reader", "text"))

    return open_content


FORMS: dict[str, Callable[[str], tuple[bytes | str, str]]] = {
    "gzip": lambda text: (gzip.compress(text.encode()), "loans.csv.gz"),
    "txt": lambda text: (text, "loans.txt"),
    "byte order mark": lambda text: ("\ufeff" + text, "loans.csv"),
    "CRLF": lambda text: (text.replace("\n", "\r\n"), "loans.csv"),
    "title": lambda text: ("Notes offered by Prospectus (https://x/y,z)\n" + text, "loans.csv"),
    "two titles": lambda text: ("\n".join(["Title", "", text]), "loans.csv"),
    "mark, title and CRLF": lambda text: ("\ufeffTitle\r\n" + text.replace("\n", "\r\n"), "loans.csv"),
    "no last line feed": lambda text: (text.rstrip("\n"), "loans.csv"),
    "quoted header": lambda text: (quote_header(text), "loans.csv"),
    "capitals": lambda text: (text, "LOANS.CSV"),
    "no suffix": lambda text: (text, "loans"),
    "letters of patterns": lambda text: (text, "a [1] *#%41 é.csv"),
    "gzip of another name": lambda text: (gzip.compress(text.encode()), "loans.csv"),
    "text that is called gzip": lambda text: (text, "loans.csv.gz"),
    "zip": lambda text: (zipped({"loans.csv": text, "__MACOSX/._loans.csv": "x"}), "loans.zip"),
    "UTF-16": lambda text: (text.encode("utf-16"), "loans.csv"),
    "CR": lambda text: (text.replace("\n", "\r"), "loans.csv"),
    "form feed in the title": lambda text: ("Title\x0c, page 1\x1c\u2028\n" + text, "loans.csv"),
    "title that ends in CR": lambda text: ("Title\r" + text, "loans.csv"),
}


def zipped(files: Mapping[str, str]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return content.getvalue()


def quote_header(text: str) -> str:
    header, body = text.split("\n", 1)
    return ",".join(f'"{name}"' for name in header.split(",")) + "\n" + body


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_csv_gives_the_same_frame(opened: Open, text: str, form: str) -> None:
    plain = opened(text, "plain.csv").frame.collect()
    assert plain.height == 20
    content, name = FORMS[form](text)
    table = opened(content, name)
    frame = table.frame.drop(FAULT, strict=False).collect()
    assert_frame_equal(frame.with_columns(pl.col(pl.String).replace("", None)), plain)  # as the careful reader has it
    assert table.rows in (None, 20)


def test_rows_are_counted_from_one_below_the_header(opened: Open, text: str) -> None:
    table = opened("Title\n" + text)
    assert table.frame.select(ROW).collect()[ROW].to_list() == list(range(1, 21))


def test_text_is_read_as_text_and_plain_numbers_as_such_on_demand(opened: Open, text: str) -> None:
    assert set(opened(text).dtypes.values()) == {pl.UInt32(), pl.String()}
    typed = opened(text, reader="typed")
    assert {name for name, dtype in typed.dtypes.items() if dtype == pl.Float64} >= {"loan_amnt", "dti", "open_acc"}
    first = "\ufeffloan_amnt,term,int_rate,annual_inc,dti,issue_d,loan_status\n"
    assert opened(first, reader="typed").dtypes["loan_amnt"] == pl.Float64
    # Words and units stand among these, so they stay text.
    assert {typed.dtypes[name] for name in ("term", "emp_length", "id", "issue_d")} == {pl.String()}


def test_months_and_levels_are_read_as_codes_where_the_first_rows_say_nothing_else(
    opened: Open, text: str, contract: Contract
) -> None:
    table = opened(text, reader="coded")
    assert table.dtypes["issue_d"] == table.dtypes["last_credit_pull_d"] == MONTH_CODES
    assert table.dtypes["grade"] == pl.Enum(contract.by_name["grade"].levels)
    assert table.dtypes["open_acc"].is_float()
    assert table.dtypes["emp_length"] == pl.String
    header, first, *others = text.splitlines()
    column = header.split(",").index("grade")
    values = first.split(",")
    changed = ",".join([*values[:column], f" {values[column]}", *values[column + 1 :]])
    assert opened("\n".join([header, changed, *others]), reader="coded").dtypes["grade"] == pl.String


@pytest.mark.parametrize("form", ["plain", "title", "odd", "gz", "quote", "empty"])
def test_a_survey_counts_and_digests(tmp_path: Path, contract: Contract, text: str, form: str) -> None:
    title = "Notes offered by Prospectus\n" if form == "title" else ""
    below = {"odd": '"open\n', "quote": "x" * (1 << 20) + "\n"}.get(form, "")
    content = (title + ("" if form == "empty" else text) + below).encode()
    path = tmp_path / "loans.csv"
    path.write_bytes(gzip.compress(content) if form == "gz" else content)
    if form == "empty":
        with pytest.raises(BadInput, match="is empty"):
            survey(path, contract)
        return
    lines, content_digest = survey(path, contract)
    assert (lines, content_digest) == (count_lines(path, contract), digest(path))
    assert lines.plain == (form in ("plain", "title", "gz"))


def test_a_quoted_field_may_hold_line_feeds_and_commas(opened: Open, text: str) -> None:
    lines = text.splitlines()
    cells = lines[3].split(",")
    cells[lines[0].split(",").index("emp_title")] = '"night\nwatch, ""senior"""'
    frame = opened("\n".join([*lines[:3], ",".join(cells), *lines[4:]])).frame.collect()
    assert frame.height == 20
    assert frame["emp_title"][2] == 'night\nwatch, "senior"'


def test_a_column_called_row_is_no_trouble(opened: Open, text: str) -> None:
    header, *lines = text.splitlines()
    frame = opened("\n".join([header + ",row", *(line + ",7" for line in lines)])).frame.collect()
    assert frame["row"].unique().to_list() == ["7"]
    assert frame[ROW].to_list() == list(range(1, 21))


def test_letters_of_another_encoding_stop_nothing(opened: Open, text: str) -> None:
    header, body = text.encode().split(b"\n", 1)
    latin = header + b"\n" + body.replace(b"MORTGAGE", b"M\xd6RTGAGE", 1)
    assert opened(latin).frame.collect().height == 20


def test_optional_columns_may_lack_and_required_ones_not(opened: Open, text: str) -> None:
    frame = opened(text, "all.csv").frame.drop(ROW).collect()
    assert "fico_range_low" not in opened(frame.drop("fico_range_low", "id").write_csv()).dtypes
    with pytest.raises(BadInput, match=r"loans\.csv lacks the column dti; add it, or say in the contract"):
        opened(frame.drop("dti").write_csv())
    with pytest.raises(BadInput, match="has the column DTI where dti is expected; write it in that letter case"):
        opened(frame.rename({"dti": "DTI"}).write_csv())
    with pytest.raises(BadInput, match="has the column Grade where grade is expected; write it in that letter case"):
        opened(frame.rename({"grade": "Grade"}).write_csv())
    with pytest.raises(BadInput, match="lacks the columns term, annual_inc; add them"):
        opened(frame.drop("annual_inc", "term").write_csv())
    with pytest.raises(BadInput, match="lacks the column loan_status"):
        opened(frame.drop("loan_status").write_csv())
    assert opened(frame.drop("loan_status").write_csv(), with_outcome=False).layout is None


@pytest.mark.parametrize(
    ("content", "name", "sentence"),
    [
        (b"", "loans.csv", "is empty; a loan file has a header line"),
        (gzip.compress(b"", mtime=0), "loans.csv.gz", "has no header that names loan columns"),
        (
            b"a,b\n1,2\n",
            "loans.csv",
            r"no header that names loan columns \(its first line begins 'a,b'\); give it one with columns such as id, ",
        ),
        (b"<html><body>Not found</body></html>", "loans.csv", "no header that names loan columns"),
        (b"PK\x03\x04\x00\x00", "loans.csv", r"is damaged or cut off \(File is not a zip file\)"),
        ("loan_amnt,term".encode("utf-16-le"), "loans.csv", "seems to be UTF-16 .* write encoding: utf-16-le under"),
        ("loan_amnt,term".encode("utf-16-be"), "loans.csv", "seems to be UTF-16 .* write encoding: utf-16-be under"),
        (b"loan_amnt\0\0\0", "loans.csv", "is no table: it holds binary data"),
        (zipped({"[Content_Types].xml": ""}), "loans.xlsx", "is an Excel workbook; save its sheet as CSV."),
        (zipped({"a.csv": "", "b.csv": ""}), "loans.zip", "is an archive of 2 files; unpack it, and give the CSV"),
        (zipped({"a.csv": "a,b"}), "loans.zip", "has no header that names loan columns"),
        (b"loan_amnt,term\n", "loans.parquet", "is named .parquet but holds no Parquet"),
        (b"PAR1 and then nothing", "loans.parquet", "is damaged or cut off"),
    ],
)
def test_what_is_no_loan_file_is_refused(opened: Open, content: bytes | str, name: str, sentence: str) -> None:
    with pytest.raises(BadInput, match=rf"{name}:? .*{sentence}|{name}:? {sentence}"):
        opened(content, name)


@pytest.mark.parametrize(("separator", "word"), [(";", "semicolons"), ("\t", "tabs"), ("|", "bars")])
def test_a_wrong_separator_is_named(opened: Open, text: str, separator: str, word: str) -> None:
    with pytest.raises(
        BadInput, match=f"is separated by {word} where the contract expects commas; save it with commas"
    ) as refusal:
        opened(text.replace(",", separator))
    remedy = re.search("write (separator: .*) under files", str(refusal.value))
    assert remedy
    assert yaml.safe_load(remedy[1]) == {"separator": separator}


@pytest.mark.parametrize(("before", "after"), [("", " "), (" ", ""), ("\ufeff", ""), ("", "\u00a0")])
def test_a_name_with_signs_that_nobody_sees_is_refused_where_it_is_read(
    opened: Open, text: str, before: str, after: str
) -> None:
    """It would count as absent, and every loan as one without this field."""
    sentence = f"column {f'{before}dti{after}'!r} is dti but for signs that nobody sees; rename it."
    with pytest.raises(BadInput, match=rf"loans\.csv: {re.escape(sentence)}"):
        opened(text.replace(",dti,", f",{before}dti{after},", 1))


@pytest.mark.parametrize("change", [str.upper, lambda header: header.replace(",", ", ")])
def test_columns_of_another_letter_case_or_with_blanks_are_named(
    opened: Open, text: str, change: Callable[[str], str]
) -> None:
    header, body = text.split("\n", 1)
    name = re.escape(repr(change(",acc_open_past_24mths").split(",")[1]))
    with pytest.raises(BadInput, match=rf"as {name} where it expects acc_open_past_24mths; write them in the same"):
        opened(f"{change(header)}\n{body}")


def test_a_column_that_stands_twice_is_refused_where_it_is_read(opened: Open, text: str) -> None:
    header, body = text.split("\n", 1)
    twice = header.replace("emp_title", "desc")  # which no field reads
    assert opened(twice + "\n" + body).frame.collect().height == 20
    with pytest.raises(BadInput, match=r"loans\.csv: column dti stands 2 times in the header; rename or remove one\."):
        opened(header.replace("emp_title", "dti") + "\n" + body)


def test_a_separator_quote_and_encoding_are_the_contracts(tmp_path: Path, contract: Contract, text: str) -> None:
    plain = pl.read_csv(io.StringIO(text), infer_schema=False)
    odd = plain.with_columns(emp_title=pl.lit("Köchin; 'Chef'")).write_csv(separator=";", quote_char="'")
    (tmp_path / "loans.csv").write_bytes(odd.encode("cp1252"))
    files = contract.files.model_copy(update={"separator": ";", "quote": "'", "encoding": "cp1252"})
    table = open_table(tmp_path / "loans.csv", contract.model_copy(update={"files": files}), with_outcome=True)
    assert table.frame.collect()["emp_title"].to_list() == ["Köchin; 'Chef'"] * 20


def test_a_header_is_checked_without_a_look_below(tmp_path: Path, contract: Contract, text: str) -> None:
    (tmp_path / "loans.csv").write_text(text.split("\n", 1)[0] + '\n"', encoding="utf-8")
    check_table(tmp_path / "loans.csv", contract, with_outcome=True)
    (tmp_path / "short.csv").write_text("loan_amnt,term\n", encoding="utf-8")
    with pytest.raises(BadInput, match="lacks the columns"):
        check_table(tmp_path / "short.csv", contract, with_outcome=True)


def test_a_file_is_called_without_its_kind() -> None:
    names = ("a.csv", "a.CSV.gz", "a.parquet", "a.csv.zip", "a", "2018.Q1", "a.txt.csv")
    assert [stem(name) for name in names] == ["a", "a", "a", "a", "a", "2018.Q1", "a.txt"]


def test_a_path_that_is_no_file_is_refused(tmp_path: Path, contract: Contract) -> None:
    for path, sentence in ((tmp_path, "is a folder; give"), (tmp_path / "none.csv", "is not a file; give the path")):
        with pytest.raises(BadInput, match=sentence):
            open_table(path, contract, with_outcome=True)


@pytest.mark.parametrize(
    "values",
    [pl.col("dti").implode().over("id"), pl.struct("dti"), pl.lit(b"1"), pl.duration(days=1), pl.time(1)],
    ids=["list", "struct", "binary", "duration", "time"],
)
def test_nested_and_strange_columns_are_refused_only_where_they_are_read(
    opened: Open, tmp_path: Path, values: pl.Expr
) -> None:
    frame = make_loans(5, seed=1)
    unread = as_parquet(frame.with_columns(values.alias("desc")), tmp_path / "unread").read_bytes()
    assert opened(unread, "loans.parquet").frame.select("dti").collect().height == 5
    read = as_parquet(frame.with_columns(values.alias("dti")), tmp_path / "read").read_bytes()
    with pytest.raises(BadInput, match=r"loans\.parquet: column dti holds .* values, .*; write it as text or numbers"):
        opened(read, "loans.parquet")


def test_decimals_of_more_figures_than_are_computed_with_are_refused(opened: Open, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = make_loans(5, seed=1).to_arrow()
    table = table.set_column(table.column_names.index("dti"), "dti", pa.array([1] * 5).cast(pa.decimal256(40, 2)))
    pq.write_table(table, tmp_path / "wide")
    with pytest.raises(BadInput, match=r"column dti holds Decimal\(.*40.*\) values, .*; write it as text or numbers"):
        opened((tmp_path / "wide").read_bytes(), "loans.parquet")


def test_a_parquet_file_whose_schema_is_damaged_is_refused(opened: Open, tmp_path: Path) -> None:
    content = bytearray(as_parquet(make_loans(5, seed=1), tmp_path / "loans").read_bytes())
    position = content.rindex(b"ARROW:schema") + 40
    content[position : position + 4] = b"\x00\x01\x02\x03"
    with pytest.raises(BadInput, match=r"loans\.parquet is damaged or cut off"):
        opened(bytes(content), "loans.parquet")
    with pytest.raises(BadInput, match=r"loans\.parquet is damaged or cut off"):
        opened(bytes(content[: len(content) // 2]), "loans.parquet")


def test_only_damage_is_called_damage() -> None:
    with (
        pytest.raises(BadInput, match=r"^x\.csv is damaged or cut off \(half a line\); fetch .*"),
        refuse_damage("x.csv"),
    ):
        raise pl.exceptions.ComputeError("half\na  line.")
    with pytest.raises(OSError, match="No space left"), refuse_damage("loans.csv"):
        raise OSError(28, "No space left on device")
    with pytest.raises(pl.exceptions.ColumnNotFoundError), refuse_damage("loans.csv"):
        pl.DataFrame({"a": [1]}).select("b")


def test_every_missing_value_of_pandas_is_null_and_everything_else_is_told() -> None:
    frame = pd.DataFrame(
        {
            "int_rate": [13.5, None],
            "term": [36, 60],
            "id": pd.array([2**60 + 1, None], dtype="Int64"),
            "issue_d": pd.Series([7.0, "007"], dtype=object),
            "purpose": [np.nan, "car"],
            "grade": ["None", pd.NA],
            "dti": [True, 5],
            "fico_range_low": [[700], {"a": 1}],
        }
    )
    assert from_pandas(frame).to_dicts() == [
        {
            "int_rate": 13.5, "term": 36, "id": 2**60 + 1, "issue_d": "7", "purpose": None, "grade": None,
            "dti": "True", "fico_range_low": "[700]",
        },
        {
            "int_rate": None, "term": 60, "id": None, "issue_d": "007", "purpose": "car", "grade": None,
            "dti": "5", "fico_range_low": "{'a': 1}",
        },
    ]  # fmt: skip
    assert from_pandas(pd.DataFrame({"dti": [True, False]}))["dti"].to_list() == ["True", "False"]


def test_the_fingerprint_is_of_the_content(tmp_path: Path, few: pl.DataFrame) -> None:
    first, second = as_csv(few, tmp_path / "a.csv"), as_csv(few, tmp_path / "b.csv")
    other = as_csv(few[1:], tmp_path / "c.csv")
    assert fingerprint([first]) == fingerprint([second]) != fingerprint([other])
    assert fingerprint([first, other]) != fingerprint([other, first])
    assert len(fingerprint([first])) == 16


def test_an_application_is_asked_for_no_protected_field(tmp_path: Path) -> None:
    wing = {"name": "wing", "kind": "text", "role": "protected", "required": True, "description": "Wing."}
    book, path = make_contract(wing, time="none", outcomes="final"), tmp_path / "loans.csv"
    path.write_text("id,income,status\n1,2,good\n", encoding="utf-8")
    check_table(path, book, with_outcome=False)
    with pytest.raises(BadInput, match="lacks the column wing; add it"):
        check_table(path, book, with_outcome=True)


@pytest.mark.parametrize("form", ["csv", "parquet"])
@pytest.mark.parametrize("name", [ROW, FAULT])
def test_a_column_of_a_name_of_ours_is_refused(tmp_path: Path, text: str, name: str, form: str) -> None:
    loans = as_csv(pl.read_csv(text.encode()).rename({"desc": name}), tmp_path / "loans.csv")
    path = loans if form == "csv" else as_parquet(pl.read_csv(loans), tmp_path / "loans.parquet")
    with pytest.raises(BadInput, match=f"a column named {name} is added to every table here; rename the one"):
        check_table(path, load_contract(), with_outcome=True)
