"""A batch is named after its file, and a name that could be anything else is refused."""

import pytest

from loan_default.defs.partitions import batch_name, batches
from loan_default.risk.errors import BadInput


@pytest.mark.parametrize(
    ("file", "batch"),
    [
        ("2018-10.csv", "2018-10"),
        ("2018-10.csv.gz", "2018-10"),
        ("2018_Q4.v2.parquet", "2018_Q4.v2"),
        ("october.csv.csv", "october.csv"),
    ],
)
def test_a_batch_is_named_after_its_file(file: str, batch: str) -> None:
    assert batch_name(file) == batch


@pytest.mark.parametrize("file", ["2018 10.csv", "a/b.csv", "märz.csv", "a,b.parquet", ".csv", "..csv", "x\n.csv"])
def test_odd_characters_are_refused(file: str) -> None:
    with pytest.raises(BadInput, match=r"may hold letters, figures, '\.', '-' and '_' only; rename the file\.$"):
        batch_name(file)


@pytest.mark.parametrize("file", ["2018-10", "2018-10.xlsx", "2018-10.CSV", "csv"])
def test_other_suffixes_are_refused(file: str) -> None:
    with pytest.raises(BadInput, match=r"a batch file ends in \.csv, \.csv\.gz or \.parquet\.$"):
        batch_name(file)


def test_partitions_are_registered_as_batch() -> None:
    assert batches.name == "batch"
