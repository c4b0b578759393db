"""Commands that set up: the home once, sample data, the doctor, the demonstration, completion."""

from pathlib import Path

import polars as pl
import pytest

from loan_default.homes import with_homes
from loan_default_tests.cli.conftest import Run, sentence


@pytest.mark.parametrize("out", [".", "loans.parquet", "loans"])
def test_sample_data_is_csv(command: Run, out: str) -> None:
    expected = f"{out} cannot be written; name a file that ends in .csv or .csv.gz."
    assert sentence(command("sample-data", "--rows", "5", "--out", out)) == expected


def test_init_makes_the_home_once(folder: Path, command: Run) -> None:
    code, output, _ = command("init")
    assert code == 0
    assert output.replace("\n", "") == f"Ready: {folder}/var"
    assert (folder / ".env").read_text("utf-8") == with_homes("", folder / "var")
    assert "enabled: false" in (folder / "var" / "dagster" / "dagster.yaml").read_text("utf-8")
    (folder / ".env").write_text("LOAN_DEFAULT_HOME=elsewhere\n", encoding="utf-8")
    assert command("init")[0] == 0
    assert (folder / ".env").read_text("utf-8").splitlines() == [
        "LOAN_DEFAULT_HOME=elsewhere",
        "DAGSTER_HOME=${LOAN_DEFAULT_HOME}/dagster",
    ]
    assert (folder / "elsewhere" / "staging").is_dir()


@pytest.mark.parametrize("name", ["loans.csv", "deep/er/loans.csv.gz"])
def test_sample_data_writes_loans(folder: Path, command: Run, name: str) -> None:
    for out in (name, f"again-{Path(name).name}"):
        assert command("sample-data", "--rows", "30", "--seed", "3", "--out", out)[0] == 0
    assert (folder / name).read_bytes() == (folder / f"again-{Path(name).name}").read_bytes()
    loans = pl.read_csv(folder / name, infer_schema=False)
    assert loans.height == 32, "two lines of totals follow the loans"
    assert loans.width == 151


def test_sample_data_writes_a_batch(folder: Path, command: Run) -> None:
    arguments = ("sample-data", "--batch", "--rows", "30", "--month", "2019-02", "--out")
    code, output, _ = command(*arguments, "2019-02.csv")
    assert (code, output) == (0, "30 rows written to 2019-02.csv.\n")
    assert command(*arguments, "shifted.csv", "--shift", "1")[0] == 0
    usual, shifted = (pl.read_csv(folder / name) for name in ("2019-02.csv", "shifted.csv"))
    assert usual["issue_d"].unique().to_list() == ["Feb-2019"]
    assert usual.height == 30
    means = [frame["fico_range_low"].cast(pl.Float64).to_numpy().mean() for frame in (usual, shifted)]
    assert means[0] > means[1]
