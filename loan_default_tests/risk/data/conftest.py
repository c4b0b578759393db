"""Shares forty loans of texts, a cleaning that checks what must hold of every run, and loans that are divided."""

from datetime import date
from pathlib import Path

import polars as pl
import pytest

from loan_default.risk.contract.book import Contract
from loan_default.risk.data.cleaning import clean_loans
from loan_default.risk.data.rejections import REJECTED_SCHEMA
from loan_default.risk.data.splits import Splits
from loan_default.risk.data.splitting import SplitPlan, split_loans
from loan_default.risk.data.synthetic import make_loans
from loan_default_tests.conftest import Cleaned
from loan_default_tests.risk.data.loan_tables import Clean, CleaningResult, as_csv, month, months


@pytest.fixture(scope="session")
def few() -> pl.DataFrame:
    """Make forty loans as published, all of text as in a CSV; `None` where a field is empty."""
    return pl.read_csv(make_loans(40, seed=4).write_csv().encode(), infer_schema=False)


@pytest.fixture(scope="session")
def cleaned_few(few: pl.DataFrame, contract: Contract, tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    """Clean the forty loans as they are."""
    folder = tmp_path_factory.mktemp("few")
    path = as_csv(few, folder / "loans.csv")
    clean_loans([path], contract, cleaned=folder / "cleaned.parquet", rejected=folder / "rejected.parquet")
    return pl.read_parquet(folder / "cleaned.parquet")


@pytest.fixture
def clean(tmp_path: Path, contract: Contract) -> Clean:
    """Return a function that cleans files or a frame, and checks what must hold of every run."""
    cleaned, rejected = tmp_path / "out" / "cleaned.parquet", tmp_path / "out" / "rejected.parquet"

    def run(
        *sources: Path | pl.DataFrame,
        by: Contract = contract,
        snapshot: date | None = None,
        today: date | None = None,
    ) -> CleaningResult:
        paths = [as_csv(source, tmp_path / f"loans{number}.csv") for number, source in enumerate(sources)]
        report = clean_loans(paths, by, cleaned=cleaned, rejected=rejected, snapshot=snapshot, today=today)
        result = CleaningResult(report, pl.read_parquet(cleaned), pl.read_parquet(rejected))
        assert report.rows_read == report.kept + report.rejected + report.lines_not_loans
        assert (result.loans.height, result.rejected.height) == (report.kept, report.rejected)
        assert result.rejected.schema == pl.Schema(REJECTED_SCHEMA)
        assert result.loans["id"].n_unique() == report.kept
        assert sorted(path.name for path in cleaned.parent.iterdir()) == ["cleaned.parquet", "rejected.parquet"]
        return result

    return run


@pytest.fixture(scope="session")
def book() -> pl.DataFrame:
    """Make 30,000 loans with the month arithmetic that the tests share."""
    term = pl.col("term").str.extract(r"(\d+)").cast(pl.Int32)
    return make_loans(30_000, seed=11).with_columns(
        issued=month("issue_d"),
        term_months=term,
        matured=months("issue_d") + term <= 2019 * 12 + 3,
        defaulted=pl.col("loan_status").str.contains("Charged Off|Default"),
        credit_age=(months("issue_d") - months("earliest_cr_line")).cast(pl.Float64),
    )


@pytest.fixture(scope="session")
def matured(book: pl.DataFrame) -> pl.DataFrame:
    return book.filter("matured").sort("issued")


@pytest.fixture(scope="session")
def split(cleaned: Cleaned, contract: Contract) -> Splits:
    assert cleaned.report.snapshot
    return split_loans(
        pl.scan_parquet(cleaned.path), contract, SplitPlan(), snapshot=cleaned.report.snapshot, data_fingerprint="a"
    )
