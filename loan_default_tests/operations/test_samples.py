"""Sample data: the same seed writes the same file; what cannot be written is refused."""

from datetime import date
from pathlib import Path

import polars as pl
import pytest

from loan_default.operations.samples import SampleRequest, write_sample
from loan_default.risk.errors import BadInput


@pytest.mark.parametrize("name", ["loans.parquet", "loans", "."])
def test_only_csv_is_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadInput, match=r"name a file that ends in \.csv or \.csv\.gz"):
        write_sample(SampleRequest(tmp_path / name, 5, 7))


def test_loans_and_batches_are_written(tmp_path: Path) -> None:
    loans, batch = tmp_path / "deep" / "loans.csv", tmp_path / "batch.csv.gz"
    write_sample(SampleRequest(loans, 20, 7))
    assert pl.read_csv(loans, infer_schema=False).height == 22, "two lines of totals follow"
    write_sample(SampleRequest(batch, 20, 7, month=date(2019, 2, 1)))
    assert pl.read_csv(batch, infer_schema=False)["issue_d"].unique().to_list() == ["Feb-2019"]
