"""Round trips through real folders and real buckets."""

import math
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from upath import UPath

from loan_default.adapters import storage
from loan_default.adapters.file_listing import list_all_files
from loan_default.adapters.parquet_table import ParquetTable
from loan_default.defs.io_managers import JsonIOManager, ParquetIOManager, TextIOManager
from loan_default.defs.resources import root_of

FRAME = pl.DataFrame({"id": ["a", "b"], "pd": [0.1, None], "reasons": [["x"], []]})


@pytest.fixture(params=["folder", pytest.param("bucket", marks=pytest.mark.integration)])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> UPath:
    if request.param == "folder":
        return UPath(tmp_path / "storage")
    return root_of(str(request.getfixturevalue("bucket") / "storage"))


def output_context(asset: str) -> dg.OutputContext:
    return dg.build_output_context(asset_key=dg.AssetKey(asset), run_id="run")


def input_context(asset: str) -> dg.InputContext:
    return dg.build_input_context(asset_key=dg.AssetKey(asset), upstream_output=output_context(asset))


def test_a_frame_comes_back_lazily(root: UPath, tmp_path: Path) -> None:
    manager = ParquetIOManager(root, tmp_path / "staging")
    manager.handle_output(output_context("loans"), FRAME)
    table = manager.load_input(input_context("loans"))
    assert isinstance(table, ParquetTable)
    assert table.scan().collect().equals(FRAME)
    assert storage.exists(root / "loans.parquet")


def test_each_batch_has_its_own_file(root: UPath, tmp_path: Path) -> None:
    batches = dg.StaticPartitionsDefinition(["2018-10", "2018.11"])
    loaded: dict[str, list[str]] = {}

    @dg.asset(io_manager_key="parquet", partitions_def=batches)
    def predictions(context: dg.AssetExecutionContext) -> pl.DataFrame:
        return pl.DataFrame({"batch": [context.partition_key]})

    @dg.asset(io_manager_key="json", partitions_def=batches)
    def report(context: dg.AssetExecutionContext, predictions: Any) -> list[str]:
        loaded[context.partition_key] = predictions.scan().collect()["batch"].to_list()
        return loaded[context.partition_key]

    managers = {"parquet": ParquetIOManager(root, tmp_path / "staging"), "json": JsonIOManager(root)}
    for batch in batches.get_partition_keys():
        assert dg.materialize([predictions, report], partition_key=batch, resources=managers).success
    assert loaded == {"2018-10": ["2018-10"], "2018.11": ["2018.11"]}
    assert {file.name for file in list_all_files(root / "predictions")} == {"2018-10.parquet", "2018.11.parquet"}
    assert storage.read_text(root / "report" / "2018.11.json") == '[\n "2018.11"\n]'


def test_frames_of_one_batch_are_not_mixed_up(root: UPath, tmp_path: Path) -> None:
    batches = dg.StaticPartitionsDefinition(["2018-10"])
    loaded: dict[str, list[str]] = {}

    @dg.asset(io_manager_key="parquet", partitions_def=batches)
    def applications() -> pl.DataFrame:
        return pl.DataFrame({"of": ["applications"]})

    @dg.asset(io_manager_key="parquet", partitions_def=batches)
    def predictions(applications: Any) -> pl.DataFrame:
        return pl.DataFrame({"of": ["predictions"]})

    @dg.asset(io_manager_key="json", partitions_def=batches)
    def report(applications: Any, predictions: Any) -> int:
        loaded["of"] = [frame.scan().collect()["of"].item() for frame in (applications, predictions)]
        return 1

    managers = {"parquet": ParquetIOManager(root, tmp_path / "staging"), "json": JsonIOManager(root)}
    assert dg.materialize([applications, predictions, report], partition_key="2018-10", resources=managers).success
    assert loaded["of"] == ["applications", "predictions"]


def test_a_record_and_a_text_come_back(root: UPath) -> None:
    record = {"verdict": "hold", "reasons": ["AUC 0.7 ≤ 0.8"], "gain": -0.5, "champion": None}
    JsonIOManager(root).handle_output(output_context("decision"), record)
    assert JsonIOManager(root).load_input(input_context("decision")) == record
    TextIOManager(root).handle_output(output_context("card"), "# Karte ü\n")
    assert TextIOManager(root).load_input(input_context("card")) == "# Karte ü\n"


def test_a_record_that_lacks_what_its_readers_need_is_one_sentence(root: UPath) -> None:
    manager = JsonIOManager(root)
    manager.handle_output(output_context("trained_model"), {"version": 1})
    with pytest.raises(dg.Failure, match=r"trained_model\.json lacks run_id; run loan-default run --data FILE, which"):
        manager.load_input(input_context("trained_model"))


def test_what_cannot_be_json_leaves_the_old_record(root: UPath) -> None:
    manager = JsonIOManager(root)
    manager.handle_output(output_context("metrics"), {"auc": 0.7})
    with pytest.raises(ValueError, match="not JSON compliant"):
        manager.handle_output(output_context("metrics"), {"auc": math.nan})
    assert manager.load_input(input_context("metrics")) == {"auc": 0.7}
    assert [file.name for file in list_all_files(root)] == ["metrics.json"]


def test_writing_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = UPath(tmp_path / "storage")
    frames, texts = ParquetIOManager(root, tmp_path / "staging"), TextIOManager(root)
    frames.handle_output(output_context("loans"), FRAME)
    texts.handle_output(output_context("card"), "first")

    def full(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(dg.Failure, match="There is no room left"):
        frames.handle_output(output_context("loans"), FRAME.head(1))
    with pytest.raises(dg.Failure, match="There is no room left"):
        texts.handle_output(output_context("card"), "second")
    assert {path.name for path in root.iterdir()} == {"loans.parquet", "card.md"}
    assert frames.load_input(input_context("loans")).scan().collect().height == 2
    assert texts.load_input(input_context("card")) == "first"


def test_a_reader_keeps_the_file_that_it_opened(tmp_path: Path) -> None:
    manager = ParquetIOManager(UPath(tmp_path / "storage"), tmp_path / "staging")
    manager.handle_output(output_context("loans"), FRAME)
    with (tmp_path / "storage" / "loans.parquet").open("rb") as opened:
        manager.handle_output(output_context("loans"), FRAME.head(1))
        assert pl.read_parquet(opened).height == 2
