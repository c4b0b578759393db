"""Values of a file: numbers, months and texts are read exactly, and what is none is rejected."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.file_format import NOTHING
from loan_default.risk.data.delimited import ROW
from loan_default.risk.data.field_values import parse_table
from loan_default.risk.data.loan_files import LoanTable
from loan_default.risk.data.parsing import Vocabulary, text_of
from loan_default.risk.data.rejections import any_broken
from loan_default_tests.risk.data.loan_tables import Clean, as_parquet, small_book, with_values


def read_column(values: Sequence[str | None] | pl.Series, field: str, contract: Contract) -> list[Any]:
    """Return the values that texts, or a typed column, of one field become; "rejected" where the row would be."""
    column = values if isinstance(values, pl.Series) else pl.Series(values, dtype=pl.String)
    rows = pl.DataFrame({field: column}).with_row_index(ROW).lazy()
    table = LoanTable(Path("x.csv"), "x", rows, dict(rows.collect_schema()), None)
    frame, rules = parse_table(table, contract, with_outcome=False)
    broken = any_broken([rule for rule in rules if rule.field == field and "missing" not in rule.problem])
    lines = frame.select(field, broken.alias("broken")).collect()
    return ["rejected" if rejected else value for value, rejected in lines.iter_rows()]


@given(st.lists(st.floats(allow_nan=False) | st.integers(-(10**20), 10**20), min_size=1, max_size=20))
def test_numbers_are_read_exactly_and_kept_within_their_range(contract: Contract, numbers: list[Any]) -> None:
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
def test_a_text_is_a_number_exactly_where_python_says_so(contract: Contract, texts: list[str]) -> None:
    def expected(text: str) -> Any:
        text = text.strip(" \t")
        if text.lower() in map(str.lower, NOTHING):
            return None
        try:
            number = float(text)
        except ValueError:
            return "rejected"
        return number if 0 <= number <= 500 and text.isascii() and "_" not in text else "rejected"

    assert read_column(texts, "open_acc", contract) == [expected(text) for text in texts]


@given(st.dates(date(1920, 1, 1), date(2079, 12, 31)))
def test_months_are_read_in_every_spelling(contract: Contract, day: date) -> None:
    texts = [f"{day:%b-%Y}", f" {day:%Y-%m} ", f"{day:%Y-%m-%d}", f"{day:%Y-%m-%d}T00:00:00", f"{day} 12:30:00.5"]
    assert read_column(texts, "issue_d", contract) == [day.replace(day=1)] * len(texts)


PRINTED = st.characters(exclude_categories=["C"])  # of what is none, Python and Polars strip not the same


@given(st.text(PRINTED, max_size=12) | st.from_regex(r"\d{1,4}[-/. ]\d{1,2}([-/. ]\d{1,2})?", fullmatch=True))
@example("2015-13")
@example("2015-02-30")
@example("2015-12zzzz")
@example("Dec-15")
@example("DEC-2015")
@example("Dec-2080")
@example("1919-12")
@example("1919-12-31")
@example("201512")
@example("2015-12-31x")
def test_what_is_no_month_is_rejected(contract: Contract, text: str) -> None:
    read = read_column([text], "earliest_cr_line", contract)[0]
    if not text.strip(" \t"):
        assert read is None
    elif read != "rejected":
        month = text.strip(" \t")
        assert month[:7] == f"{read:%Y-%m}" or month == f"{read:%b-%Y}"
        assert len(month) <= 8 or date.fromisoformat(month[:10]).replace(day=1) == read
        assert len(month) <= 10 or month[10] in "T "


FORMATS = ["%b-%y", "%Y%m", "%d-%m-%Y %H:%M", "%m/%d/%Y", "%d.%m.%y", "%B %Y", "%Y%m%d", "%y/%m", "%Y-%m-%dT%H:%M:%S"]


@given(st.sampled_from(FORMATS), st.sampled_from([1920, 1930, 1970, 1979]), st.data())
def test_a_month_written_in_a_declared_format_reads_back(format_: str, century: int, data: st.DataObject) -> None:
    day = data.draw(st.dates(date(century, 1, 1), date(century + 99, 12, 31)))
    book = small_book(fields={"issued": {"format": [format_], **({"century": century} if "%y" in format_ else {})}})
    texts = [f" {day:{format_}}", f"{day}"]
    assert read_column(texts, "issued", book) == [day.replace(day=1)] * 2


@given(
    st.sampled_from(FORMATS), st.text(PRINTED, max_size=12) | st.dates(date(1500, 1, 1)).map("{:%m/%d/%y %b-%Y}".format)
)
def test_a_text_that_is_no_month_is_never_taken_as_absent(format_: str, text: str) -> None:
    (read,) = read_column([text], "issued", small_book(fields={"issued": {"format": format_}}))
    assert (read is None) == (text.strip().lower() in map(str.lower, NOTHING))


@pytest.mark.parametrize(
    ("format_", "text", "expected"),
    [
        ("%m/%d/%Y", "02/01/2015", date(2015, 2, 1)),
        ("%d/%m/%Y", "02/01/2015", date(2015, 1, 1)),
        ("%d/%m/%Y", "02/13/2015", "rejected"),
        ("%m/%d/%Y", "02/01/15", "rejected"),
        ("%b-%y", "Feb-2015", date(2015, 2, 1)),
        ("%b-%y", "14-Jan", "rejected"),
        (["%d/%m/%Y", "%Y%m"], "201502", date(2015, 2, 1)),
        ("%Y%m", "201502.0", date(2015, 2, 1)),
        ("%Y%m", "201513", "rejected"),
        ("%Y%m", "2015021", "rejected"),
        ("days since 1899-12-30", "42036", date(2015, 2, 1)),
        ("days since 1899-12-30", "42035.9", date(2015, 1, 1)),
        ("days since 1899-12-30", "4203600000", "rejected"),
        ("days since 1899-12-30", "inf", "rejected"),
        ("months since 1970-01-01", "541", date(2015, 2, 1)),
        ("months since 1970-01-01", "1e9", "rejected"),
        ("seconds since 1970-01-01", "1422748800", date(2015, 2, 1)),
        ("seconds since 1970-01-01", "1422748799", date(2015, 1, 1)),
    ],
)
def test_a_format_reads_what_it_says_and_no_more(format_: Any, text: str, expected: Any) -> None:
    book = small_book(fields={"issued": {"format": format_}})
    assert read_column([text], "issued", book) == [expected]


def test_numbers_of_a_typed_column_are_months_by_their_format() -> None:
    day, month = pl.Series([42036.0, None]), pl.Series([201502])
    since = {"format": ["days since 1899-12-30"]}
    assert read_column(day, "issued", small_book(fields={"issued": since})) == [date(2015, 2, 1), None]
    assert read_column(month, "issued", small_book(fields={"issued": {"format": "%Y%m"}})) == [date(2015, 2, 1)]
    assert read_column(pl.Series([date(2015, 2, 9)]), "issued", small_book(fields={"issued": since})) == [
        date(2015, 2, 1)
    ]


class Written(NamedTuple):
    number: float
    text: str
    files: dict[str, Any]


@st.composite
def written(draw: st.DrawFn) -> Written:
    """Draw a number, how a book writes numbers, and the number written so."""
    decimal, thousands = draw(
        st.sampled_from([(".", None), (".", ","), (",", "."), (",", None), (",", " "), (".", "'")])
    )
    signs, in_brackets = draw(st.sampled_from([[], ["$", "US$"], ["USD", "\u20ac"]])), draw(st.booleans())
    files = {"decimal": decimal, "thousands": thousands, "currency": signs, "negative_in_brackets": in_brackets}
    number = draw(st.decimals(-(10**9), 10**9, places=draw(st.integers(0, 3))))
    grouped = thousands is not None and draw(st.booleans())
    text = f"{abs(number):{',' if grouped else ''}f}".translate({44: thousands or ",", 46: decimal})
    sign = draw(st.sampled_from(["", *signs]))
    text = draw(st.sampled_from([f"{sign}{text}", f"{text} {sign}".strip()]))
    if number < 0:
        text = f"({text})" if in_brackets and draw(st.booleans()) else f"-{text}"
    return Written(float(number), text, files)


@given(written(), st.sampled_from(["", " "]))
def test_a_number_written_in_a_declared_format_reads_back(written: Written, blank: str) -> None:
    book = small_book(files=written.files)
    assert read_column([blank + written.text], "amount", book) == [written.number]
    assert read_column([written.text + blank + "%"], "rate", book) == [written.number]
    assert read_column([written.text + "%"], "amount", book) == ["rejected"]


@given(st.integers(0, 40), st.integers(0, 400), st.sampled_from(["{}yrs {}mon", " {} Yr. , {} MON", "{}yr{}mon."]))
def test_a_number_written_in_parts_is_their_sum(years: int, months: int, form: str) -> None:
    book = small_book(fields={"amount": {"parts": {"yrs": 12, "yr": 12, "mon": 1}, "unit": "months", "scale": 2}})
    texts = [form.format(years, months), f"{months} mon", f"{years}yrs", f"{months}mon {years}yrs", "5", "none"]
    assert read_column(texts, "amount", book) == [
        *(2.0 * (12 * years + months), 2.0 * months, 24.0 * years),
        *("rejected", "rejected", None),
    ]
    assert read_column(pl.Series([float(months)]), "amount", book) == [2.0 * months]


@given(st.text("0123456789.,-+()$ %e'", max_size=9) | st.text(PRINTED, max_size=4), st.booleans())
def test_signs_are_what_is_declared_and_no_text_is_taken_as_absent(text: str, brackets: bool) -> None:
    keys = {"currency": ["$"], "negative_in_brackets": brackets}
    english = small_book(files={"thousands": ",", **keys})
    german = small_book(files={"decimal": ",", "thousands": ".", **keys})
    (read,) = read_column([text], "amount", english)
    assert read_column([text.translate({44: ".", 46: ","})], "amount", german) == [read]
    assert (read is None) == (text.strip().lower() in map(str.lower, NOTHING))


@pytest.mark.parametrize(
    ("files", "text", "expected"),
    [
        ({}, "12,345", "rejected"),
        ({}, "$5", "rejected"),
        ({}, "(5)", "rejected"),
        ({"thousands": ","}, "12,34", "rejected"),
        ({"thousands": ","}, "1,234,5", "rejected"),
        ({"thousands": ","}, "1,23,456.5", 123456.5),
        ({"thousands": "."}, "1.234", "files: decimal and thousands"),
        ({"decimal": ","}, "1.5", "rejected"),
        ({"decimal": ",", "thousands": "."}, "1.5", "rejected"),
        ({"decimal": ",", "thousands": "."}, "1.500", 1500),
        ({"thousands": " "}, "1\u202f234\u00a0567", 1234567),
        ({"thousands": "'"}, "1\u2019234", 1234),
        ({"currency": ["$"]}, "-$5", -5),
        ({"currency": ["$"]}, "$-5", -5),
        ({"currency": ["$"]}, "-$-5", "rejected"),
        ({"currency": ["$"]}, "$", "rejected"),
        ({"currency": ["$"], "negative_in_brackets": True}, "$(5)", -5),
        ({"currency": ["$"], "negative_in_brackets": True}, "($ 5)", -5),
        ({"negative_in_brackets": True}, "(-5)", "rejected"),
        ({"negative_in_brackets": True}, "()", "rejected"),
        ({"nothing": ["."]}, ".", None),
        ({"nothing": ["."]}, "NA", "rejected"),
    ],
)
def test_numbers_by_the_signs_of_a_book(files: dict[str, Any], text: str, expected: Any) -> None:
    if isinstance(expected, str) and expected != "rejected":
        with pytest.raises(ValueError, match=expected):
            small_book(files=files)
    else:
        assert read_column([text], "amount", small_book(files=files)) == [expected]


@given(st.sampled_from(NOTHING), st.data())
def test_a_word_for_nothing_is_one_in_every_kind_of_field_and_any_letter_case(word: str, data: st.DataObject) -> None:
    text = "".join(data.draw(st.sampled_from([letter.lower(), letter.upper()])) for letter in word)
    for field in ("issued", "term", "amount", "rate", "sort", "note"):
        assert read_column([f" {text} "], field, small_book()) == [None], field
    assert read_column([text], "id", small_book()) == ["x-0"]  # the name of the file and the row
    assert read_column([text], "owner", small_book()) == ["NONE" if text == "NONE" else None]


def test_long_words_for_nothing_and_those_of_a_field() -> None:
    words = {
        "owner": {"words": {"not asked": None, "nan": "NONE"}},
        "amount": {"words": {"-1": None, "9e9": None, "most": 7}},
    }
    book = small_book(files={"nothing": ["Not Available", "nan"]}, fields=words)
    texts = ["NOT AVAILABLE", "not available", "Not asked", "not asked", "nan", "NaN", "null"]
    assert read_column(texts, "owner", book) == [None, None, None, None, "NONE", None, "rejected"]
    assert read_column(["-1", "-1.00", "-1.5", "9000000000", "most", "-"], "amount", book) == [
        None, None, -1.5, None, 7, "rejected",
    ]  # fmt: skip
    assert read_column(pl.Series([-1, 5]), "amount", book) == [None, 5]


@pytest.mark.parametrize(
    ("field", "column", "expected"),
    [
        (
            "sort",
            ["1", "1.0", "2.00", "1.5", "01", "A", "A.0"],
            ["1", "1", "2", "rejected", "rejected", "A", "rejected"],
        ),
        ("sort", pl.Series([1, 2, 3]), ["1", "2", "rejected"]),
        ("sort", pl.Series([1.0, None, 2.5]), ["1", None, "rejected"]),
        ("sort", pl.Series(["1.00", "2.00"]).cast(pl.Decimal(9, 2)), ["1", "2"]),
        ("owner", ["true", "TRUE", "False", "T", "1", "none"], ["True", "True", "False", "rejected", "True", None]),
        ("owner", pl.Series([True, False, None]), ["True", "False", None]),
        ("owner", pl.Series(["true"], dtype=pl.Categorical), ["True"]),
    ],
)
def test_a_level_is_the_same_whoever_wrote_it(field: str, column: Any, expected: list[Any]) -> None:
    assert read_column(column, field, small_book()) == expected


def test_words_that_would_become_one_are_told_apart() -> None:
    apart = Vocabulary.of({"1": 0, "1.0": 1, "True": 2, "TRUE": 2})
    texts = pl.DataFrame({"text": ["1", "1.0", "1.00", "true"]})
    meanings = texts.select(apart.translate(pl.col("text"), pl.lit(None, pl.Int8), pl.Int8))
    assert meanings.to_series().to_list() == [0, 1, None, 2]


@given(st.from_regex(r"0{0,3}[0-9]{1,20}", fullmatch=True))
@example("0012345678901234567890")
def test_an_id_keeps_every_figure(text: str) -> None:
    assert read_column([text], "id", small_book()) == [text]
    number = Decimal(text)
    assert read_column(pl.Series([number]).cast(pl.Decimal(38, 2)), "id", small_book()) == [f"{number}"]
    if number < 2**63:
        assert read_column(pl.Series([int(text)]), "id", small_book()) == [f"{number}"]
    assert read_column(pl.Series([float(text), None]), "id", small_book())[0] == f"{int(float(text))}"
    assert text_of(int(text)) == text_of(number) == f"{number}"
    assert text_of(float(text)) == f"{int(float(text))}"


@pytest.mark.parametrize("nothing", ["", "NaN", "#N/A"])
@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_texts_that_mean_nothing(few: pl.DataFrame, clean: Clean, tmp_path: Path, nothing: str, form: str) -> None:
    loans = with_values(few, 0, dti=nothing, purpose=nothing, earliest_cr_line=nothing, emp_length=nothing)
    result = clean(loans if form == "csv" else as_parquet(loans, tmp_path / "loans.parquet"))
    assert result.loans.select("dti", "purpose", "credit_history_months", "emp_length").row(0) == (None,) * 4


@pytest.mark.parametrize(
    ("words", "texts", "meanings"),
    [
        (["0", "1"], ["1", "1.0", "TRUE", "false", "2", "yes"], [1, 1, 1, 0, None, None]),
        (["0.0", "1.0", "unknown"], ["True", "unknown", "1"], [1, 2, 1]),
        (["False", "True"], ["0", "1.0", "true", "2"], [0, 1, 1, None]),
        (["0", "1", "2"], ["true", "1"], [None, 1]),  # a number among others is no boolean
        (["0", "1", "true"], ["true", "1"], [2, 1]),
        (["False", "True", "1"], ["1", "0"], [2, None]),
        (["True"], ["1", "true"], [None, 0]),
    ],
)
def test_a_boolean_is_one_thing_whoever_writes_it(words: list[str], texts: list[str], meanings: list[Any]) -> None:
    vocabulary = Vocabulary.of({word: meaning for meaning, word in enumerate(words)})
    otherwise = pl.lit(None, dtype=pl.Int8)
    read = pl.DataFrame({"text": texts}).select(vocabulary.translate(pl.col("text"), otherwise, pl.Int8))
    assert read.to_series().to_list() == meanings
