"""The demonstration: its files, and commands that lead on from it; the whole of it is `make demo`."""

from pathlib import Path

import polars as pl
import pytest

from loan_default.operations import demo
from loan_default.settings import Settings


def test_loans_and_batches_are_written_into_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "ROWS", 50)
    monkeypatch.setattr(demo, "BATCH_ROWS", 20)
    files = demo.write_files(Settings(home=tmp_path), seed=7)
    assert files.settings.data == str(files.loans)
    assert pl.read_csv(files.loans, infer_schema=False).height == 52
    usual, shifted = (pl.read_csv(file)["fico_range_low"].cast(pl.Float64).to_numpy().mean() for file in files.batches)
    assert [file.stem for file in files.batches] == list(demo.SHIFTS)
    assert usual > shifted
    first, *others = demo.next_steps("var/demo/loans.csv", ".venv/bin/loan-default")
    assert first == "LOAN_DEFAULT_DATA=var/demo/loans.csv .venv/bin/loan-default dev"
    assert all(step.startswith(".venv/bin/loan-default ") for step in others)
