"""Synthetic files: the published layout, the same loans from the same seed, and files that are written whole."""

from __future__ import annotations

import gzip
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from loan_default.risk.data.synthetic import make_loans, write_csv, write_loans
from loan_default.risk.data.synthetic_tables import PUBLISHED_COLUMNS
from loan_default_tests.risk.data.loan_tables import extent


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    """Return the texts of a written file, nothing converted."""
    path = tmp_path_factory.mktemp("published") / "loans.csv"
    write_csv(make_loans(20_000, seed=5), path)
    return pl.read_csv(path, infer_schema=False)


def test_the_layout_is_the_published_one(lines: pl.DataFrame) -> None:
    assert len(PUBLISHED_COLUMNS) == len(set(PUBLISHED_COLUMNS)) == 151
    assert PUBLISHED_COLUMNS[:6] == ("id", "member_id", "loan_amnt", "funded_amnt", "funded_amnt_inv", "term")
    assert PUBLISHED_COLUMNS[-1] == "settlement_term"
    assert tuple(lines.columns) == PUBLISHED_COLUMNS
    empty = [name for name in lines.columns if lines[name].null_count() == lines.height]
    assert empty == ["member_id", "desc"]


@pytest.mark.real_data
def test_the_layout_is_that_of_the_real_file(lines: pl.DataFrame, real_data: Path) -> None:
    real = pl.read_csv(real_data / "lendingclub" / "accepted_sample.csv", infer_schema=False)
    assert tuple(real.columns) == PUBLISHED_COLUMNS
    for name in ("term", "grade", "emp_length", "home_ownership", "verification_status", "hardship_type"):
        assert set(lines[name].unique()) == set(real[name].unique()), name


def test_the_same_seed_gives_the_same_loans() -> None:
    assert make_loans(500, seed=3).equals(make_loans(500, seed=3))
    assert not make_loans(500, seed=3).drop("id", "url").equals(make_loans(500, seed=4).drop("id", "url"))


@pytest.mark.parametrize(
    ("column", "form"),
    [
        ("id", r"\d{8,9}"),
        ("url", r"https://lendingclub\.com/browse/loanDetail\.action\?loan_id=\d{8,9}"),
        ("loan_amnt", r"\d{4,5}\.0"),
        ("term", " (36|60) months"),
        ("int_rate", r"\d{1,2}\.\d{1,2}"),
        ("installment", r"\d{2,4}\.\d{1,2}"),
        ("grade", "[A-G]"),
        ("sub_grade", "[A-G][1-5]"),
        ("emp_length", r"< 1 year|1 year|[2-9] years|10\+ years"),
        ("annual_inc", r"\d{4,7}\.0"),
        ("issue_d", r"[A-Z][a-z]{2}-20(0[7-9]|1[0-8])"),
        ("earliest_cr_line", r"[A-Z][a-z]{2}-(19|20)\d\d"),
        ("last_pymnt_d", r"[A-Z][a-z]{2}-20\d\d"),
        ("zip_code", r"\d{3}xx"),
        ("addr_state", "[A-Z]{2}"),
        ("dti", r"\d{1,3}\.\d{1,2}"),
        ("fico_range_low", r"(6[6-9]|7\d|8[0-4])[05]\.0"),
        ("mths_since_last_delinq", r"\d{1,3}\.0"),
        ("revol_util", r"\d{1,3}\.\d"),
        ("pymnt_plan", "n|y"),
        ("hardship_flag", "N|Y"),
        ("application_type", "Individual|Joint App"),
    ],
)
def test_texts_have_the_published_form(lines: pl.DataFrame, column: str, form: str) -> None:
    odd = lines.filter(~pl.col(column).str.contains(f"^({form})$"))[column]
    assert odd.is_empty(), odd.head(3).to_list()


@pytest.mark.parametrize(
    ("column", "low", "high"),
    [
        ("mths_since_last_delinq", 0.45, 0.55),
        ("mths_since_last_record", 0.80, 0.88),
        ("emp_length", 0.05, 0.08),
        ("revol_util", 0.0001, 0.004),
        ("dti", 0.0001, 0.004),
        ("annual_inc_joint", 0.90, 0.97),
        ("hardship_amount", 0.99, 0.9999),
        ("settlement_amount", 0.97, 0.995),
        ("tot_cur_bal", 0.0, 0.0),
    ],
)
def test_fields_are_as_often_empty_as_in_the_published_file(
    lines: pl.DataFrame, column: str, low: float, high: float
) -> None:
    assert low <= lines[column].null_count() / lines.height <= high


@pytest.mark.slow
def test_ids_are_unique_within_and_across_seeds() -> None:
    ids = pl.concat([make_loans(2_000, seed=seed)["id"] for seed in range(20)])
    assert ids.n_unique() == 40_000
    assert extent(ids)[0] >= 10_000_000
    assert extent(make_loans(10, seed=97)["id"])[1] <= 999_999_999


def test_volume_grows_mildly(book: pl.DataFrame) -> None:
    first, last = (book.filter(pl.col("issued").dt.year() == year).height for year in (2008, 2018))
    assert 1.25 < last / first < 1.7


def test_the_footer_follows_the_loans(tmp_path: Path) -> None:
    frame = make_loans(50, seed=1)
    write_csv(frame, tmp_path / "loans.csv", footer=True)
    lines = (tmp_path / "loans.csv").read_text().splitlines()
    assert len(lines) == 53
    total = int(frame["funded_amnt"].sum())
    assert lines[-2] == f"Total amount funded in policy code 1: {total}" + "," * 150
    assert lines[-1] == "Total amount funded in policy code 2: 0" + "," * 150


def test_a_gzipped_file_holds_the_same_lines_and_the_same_bytes_each_time(tmp_path: Path) -> None:
    frame = make_loans(200, seed=1)
    paths = [tmp_path / "loans.csv", tmp_path / "loans.csv.gz", tmp_path / "again.csv.gz"]
    for path in paths:
        write_csv(frame, path)
    plain, packed, again = (path.read_bytes() for path in paths)
    assert gzip.decompress(packed) == plain
    assert packed == again
    assert packed[4:8] == bytes(4), "the archive tells when it was made"
    assert pl.read_csv(paths[1], infer_schema=False).height == 200


def test_a_large_book_is_written_in_chunks(tmp_path: Path) -> None:
    write_loans(tmp_path / "book.csv", 2_500, seed=4, chunk_rows=1_000, footer=True)
    book = pl.read_csv(tmp_path / "book.csv", infer_schema=False)
    assert book.height == 2_502
    assert book["id"].n_unique() == 2_502
    assert book["annual_inc"][:1_000].to_list() != book["annual_inc"][1_000:2_000].to_list()
    write_csv(make_loans(1_000, seed=4), tmp_path / "first.csv")
    first = (tmp_path / "first.csv").read_text()
    assert (tmp_path / "book.csv").read_text().startswith(first)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "loans.csv"
    path.write_text("old")
    with pytest.raises(pl.exceptions.ColumnNotFoundError):
        write_csv(make_loans(5, seed=1).drop("funded_amnt"), path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_wrong_arguments_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="rows must be at least 1, not 0"):
        make_loans(0, seed=1)
    with pytest.raises(ValueError, match="rows must be at least 1, not 0"):
        write_loans(tmp_path / "none.csv", 0, seed=1)
    with pytest.raises(ValueError, match=r"snapshot 2018-01-01 must be in this order"):
        make_loans(10, seed=1, snapshot=date(2018, 1, 1))
    assert not list(tmp_path.iterdir())
