"""What outcome files tell: the latest month counts, a bad line is told with its reason, a bad file stops no other."""

from collections.abc import Callable
from datetime import date
from pathlib import Path
from random import Random

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.loading import load_contract
from loan_default.risk.data.outcomes import OutcomesReport, Roll, check_outcome_file, read_outcomes
from loan_default.risk.errors import BadInput
from loan_default_tests.risk.data.loan_tables import small_book

TODAY = date(2020, 6, 15)
HEADER = "id,loan_status,month"

Read = Callable[..., tuple[OutcomesReport, pl.DataFrame, pl.DataFrame]]


@pytest.fixture
def read(tmp_path: Path, contract: Contract) -> Read:
    """Return a function that reads files of name=lines: the report, the outcomes and what was rejected."""

    def read_them(**files: str) -> tuple[OutcomesReport, pl.DataFrame, pl.DataFrame]:
        paths = [tmp_path / f"{name}.csv" for name in files]
        for path, text in zip(paths, files.values(), strict=True):
            path.write_text(text, encoding="utf-8")
        return read_files(paths, contract)

    return read_them


def read_files(paths: list[Path], contract: Contract) -> tuple[OutcomesReport, pl.DataFrame, pl.DataFrame]:
    outcomes, rejected = (paths[0].parent / f"{name}.parquet" for name in ("outcomes", "rejected"))
    report = read_outcomes(paths, contract, outcomes=outcomes, rejected=rejected, today=TODAY)
    return report, pl.read_parquet(outcomes), pl.read_parquet(rejected)


def endings(outcomes: pl.DataFrame) -> dict[str, tuple[int | None, str]]:
    return {row["id"]: (row["outcome"], f"{row['month']:%Y-%m}") for row in outcomes.iter_rows(named=True)}


def test_the_latest_month_of_a_loan_counts(read: Read) -> None:
    report, outcomes, _ = read(
        a=f"{HEADER}\n1,Current,2019-01\n2,Fully Paid,Mar-2019\n3,Default,2019-03\n",
        b=f"{HEADER}\n1,Charged Off,2019-02-28\n2,Late (31-120 days),2018-12\n3,Fully Paid,2019-03\n",
    )
    assert endings(outcomes) == {"1": (1, "2019-02"), "2": (0, "2019-03"), "3": (0, "2019-03")}, "a later file corrects"
    assert (report.loans, report.defaulted, report.repaid, report.unresolved) == (3, 1, 2, 0)
    assert report.to_dict()["seen_until"] == "2019-03"


def test_months_of_a_loan_are_told_and_how_loans_went_from_one_to_the_next(read: Read) -> None:
    report, outcomes, _ = read(
        a=f"{HEADER}\n1,Current,2019-01\n2,Current,2019-01\n3,Current,2019-01\n",
        b=f"{HEADER}\n1,Late (31-120 days),2019-02\n2,Current,2019-02\n3,Fully Paid,2019-03\n4,Default,2019-03\n",
        c=f"{HEADER}\n1,Charged Off,2019-03\n1,Charged Off,2019-04\n2,Late (31-120 days),2019-03\n",
    )
    months = {row["id"]: [row[name] for name in ("first", "ended", "before")] for row in outcomes.iter_rows(named=True)}
    january, february, march = (date(2019, month, 1) for month in (1, 2, 3))
    assert months == {
        "1": [january, march, february],
        "2": [january, None, None],
        "3": [january, march, january],
        "4": [march, march, None],
    }
    assert report.monthly_rolls == (
        Roll("2019-01", "Current", "Current", 1),
        Roll("2019-01", "Current", "Late (31-120 days)", 1),
        Roll("2019-02", "Current", "Late (31-120 days)", 1),
        Roll("2019-02", "Late (31-120 days)", "Charged Off", 1),
        Roll("2019-03", "Charged Off", "Charged Off", 1),
    )
    assert report.rolls["Current", "Late (31-120 days)"] == 2


def test_days_past_due_and_balances_are_read_where_a_file_tells_them(read: Read) -> None:
    header = f"{HEADER},days_past_due,balance"
    report, outcomes, _ = read(
        a=f"{header}\n1,Current,2019-01,0,900\n2,Current,2019-01,,700\n3,Current,2019-01,0,500\n",
        b=f"{header}\n1,Current,2019-02,29.5,890\n2,Current,2019-02,29,690\n3,Current,2019-02,95,500\n",
        c=f"{header}\n1,Current,2019-03,60,890.5\n2,Fully Paid,2019-03,0,0\n3,Charged Off,2019-03,125,0\n",
        d=f"{HEADER}\n4,Current,2019-03\n",
    )
    names = ("days_past_due", "balance", "exposure")
    states = {row["id"]: [row[name] for name in names] for row in outcomes.iter_rows(named=True)}
    assert states == {
        "1": [60, 890.5, None], "2": [0, 0, None], "3": [125, 0, 500], "4": [None, None, None]
    }, "what is owed at a default is told before it is written off"  # fmt: skip
    assert report.rolls == {
        ("0 days", "30 to 59 days"): 1,
        ("0 days", "90 days and more"): 1,
        ("1 to 29 days", "Fully Paid"): 1,
        ("30 to 59 days", "60 to 89 days"): 1,
        ("90 days and more", "Charged Off"): 1,
        ("Current", "1 to 29 days"): 1,
    }


@pytest.mark.parametrize(
    ("numbers", "reason"),
    [
        ("x,900", "days_past_due 'x' is no number; it must be a number of 0 and more, or empty"),
        ("-3,900", "days_past_due '-3' is no number of 0 and more; correct it, or leave it empty"),
        ("3,-900", "balance '-900' is no number of 0 and more; correct it, or leave it empty"),
    ],
)
def test_a_line_with_an_impossible_number_is_told(read: Read, numbers: str, reason: str) -> None:
    report, outcomes, rejected = read(
        a=f"{HEADER},days_past_due,balance\n1,Current,2019-03,,\n2,Current,2019-03,{numbers}\n"
    )
    assert (outcomes.height, report.rejected) == (1, 1)
    assert rejected["reason"].item() == reason


def test_outcomes_are_read_as_the_book_writes_them(tmp_path: Path) -> None:
    book = small_book(files={"nothing": ["?"]}, fields={"issued": {"format": "%d.%m.%y", "century": 1930}})
    texts, numbers = tmp_path / "texts.csv", tmp_path / "numbers.parquet"
    texts.write_text("id,status,month\n007,1.0,31.03.19\n?,1,2019-03\n8,?,2019-03\n9,2,2019-03\n", encoding="utf-8")
    ids = pl.Series([10**17, 2**62], dtype=pl.Int64)
    pl.DataFrame({"id": ids, "status": [0.0, 1.0], "month": [date(2019, 3, 1)] * 2}).write_parquet(numbers)
    _, outcomes, rejected = read_files([texts, numbers], book)
    assert endings(outcomes) == {"007": (1, "2019-03"), f"{10**17}": (0, "2019-03"), f"{2**62}": (1, "2019-03")}
    assert rejected["problem"].to_list() == ["id: missing", "status: missing", "status: unknown status"]


@pytest.mark.parametrize(
    ("line", "problem", "reason"),
    [
        (",Current,2019-03", "id: missing", "id is missing; every line names a loan"),
        ("7,,2019-03", "loan_status: missing", "loan_status is missing; every line needs a status"),
        ("7,Gone,2019-03", "loan_status: unknown status", "loan_status 'Gone' is no status that the contract lists: "),
        ("7,Current,", "month: missing", "month is missing; write it as 2019-03"),
        ("7,Current,13/2019", "month: impossible date", "month '13/2019' is no month; write it as 2019-03"),
        ("7,Current,2099-07", "month: impossible date", "month '2099-07' lies in the future, after December 2079"),
        ("7,Current,2020-07", "month: in the future", "month '2020-07' is after today, 2020-06-15"),
    ],
)
def test_a_line_that_cannot_be_used_is_told_and_the_others_count(
    read: Read, line: str, problem: str, reason: str
) -> None:
    report, outcomes, rejected = read(a=f"{HEADER}\n1,Current,2019-03\n{line}\n")
    assert list(endings(outcomes)) == ["1"]
    assert report.problems == {problem: 1}
    assert rejected.select("file", "row", "problem").row(0) == ("a.csv", 2, problem)
    assert rejected["reason"].item().startswith(reason)


def test_a_file_that_cannot_be_read_holds_up_no_other(read: Read) -> None:
    report, outcomes, _ = read(a=f"{HEADER}\n1,Current,2019-03\n", b="id,loan_status\n1,Current\n", c="", d="x;y\n")
    assert list(endings(outcomes)) == ["1"]
    assert list(report.unreadable) == ["b.csv", "c.csv", "d.csv"]
    assert "lacks the column month" in report.unreadable["b.csv"]
    assert "give it one with the columns id, loan_status, month." in report.unreadable["d.csv"]


def test_a_file_whose_columns_are_named_otherwise_is_told_which(read: Read) -> None:
    report, _, _ = read(a="loan,loan_status,month\n1,Current,2019-03\n", b="ID,loan_status,Month\n1,Current,2019-03\n")
    assert "lacks the column id; add it." in report.unreadable["a.csv"]
    assert "as 'ID' where it expects id" in report.unreadable["b.csv"]


def test_a_file_cut_off_in_its_middle_is_reported(tmp_path: Path, contract: Contract) -> None:
    complete, torn = tmp_path / "complete.parquet", tmp_path / "torn.parquet"
    pl.DataFrame({"id": ["1"], "loan_status": ["Current"], "month": [date(2019, 3, 1)]}).write_parquet(complete)
    torn.write_bytes(complete.read_bytes()[:-20])
    report, outcomes, _ = read_files([torn, complete], contract)
    assert endings(outcomes) == {"1": (None, "2019-03")}
    assert "damaged or cut off" in report.unreadable["torn.parquet"]


def test_no_file_is_no_outcome(tmp_path: Path, contract: Contract) -> None:
    outcomes, rejected = tmp_path / "outcomes.parquet", tmp_path / "rejected.parquet"
    report = read_outcomes([], contract, outcomes=outcomes, rejected=rejected, today=TODAY)
    assert (report.loans, report.seen_until) == (0, None)
    assert pl.read_parquet(outcomes).is_empty()
    assert pl.read_parquet(rejected).is_empty()


def test_one_mistyped_month_does_not_make_every_loan_mature(read: Read) -> None:
    lines = "\n".join(f"{loan},Current,2019-03" for loan in range(999))
    report, _, _ = read(a=f"{HEADER}\n{lines}\n999,Current,2020-03\n")
    assert report.seen_until == date(2019, 3, 1)


def test_a_loan_file_as_published_is_refused_for_want_of_a_month(loans_csv: Path, contract: Contract) -> None:
    with pytest.raises(BadInput, match="lacks the column month"):
        check_outcome_file(loans_csv, contract)


@given(seed=st.integers(0, 2**32))
@pytest.mark.slow
def test_any_division_into_files_tells_the_same(seed: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    draw = Random(seed)
    contract = load_contract()
    labels = contract.outcome.label_of
    pairs = {(draw.randrange(9), f"201{draw.randrange(9)}-{draw.randrange(1, 13):02d}") for _ in range(40)}
    lines = [(str(loan), draw.choice(list(labels)), month) for loan, month in sorted(pairs)]
    latest = {loan: (labels[status], month) for loan, status, month in lines}
    draw.shuffle(lines)
    folder, files = tmp_path_factory.mktemp("outcomes"), draw.randrange(1, 5)
    paths = [folder / f"{file}.csv" for file in range(files)]
    for number, path in enumerate(paths):
        text = "\n".join(",".join(line) for line in lines[number::files])
        path.write_text(f"{HEADER}\n{text}\n", encoding="utf-8")
    report, outcomes, rejected = read_files(paths, contract)
    assert endings(outcomes) == latest
    assert rejected.is_empty()
    assert report.rows == len(lines)
