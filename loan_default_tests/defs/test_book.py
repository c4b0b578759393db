"""A book that does not ship has its own keys, partitions and runs; the shipped book's stay as Dagster has kept them."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from loan_default.definitions import build_definitions
from loan_default.defs.book import BookNames, batches, with_own_keys
from loan_default.defs.run_tags import BOOK_TAG
from loan_default.settings import Settings


@pytest.fixture(scope="module")
def definitions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dg.Definitions]:
    home = tmp_path_factory.mktemp("home")
    return {book: build_definitions(Settings(home, book=book)) for book in ("", "hmeq")}


def keys(definitions: dg.Definitions) -> set[str]:
    return {key.to_user_string() for key in definitions.resolve_asset_graph().get_all_asset_keys()}


def test_partitions_of_the_shipped_book_are_registered_as_batch() -> None:
    assert batches.name == BookNames().batches.name == "batch"
    assert BookNames("hmeq").batches.name == "hmeq_batches"


def test_every_asset_stands_under_its_book(definitions: dict[str, dg.Definitions]) -> None:
    shipped = keys(definitions[""])
    assert {"raw_loans", "cleaned_loans", "predictions"} <= shipped
    assert keys(definitions["hmeq"]) == {f"hmeq/{key}" for key in shipped}
    graph = definitions["hmeq"].resolve_asset_graph()
    for key in graph.get_all_asset_keys():
        partitions = graph.get(key).partitions_def
        assert partitions is None or partitions == BookNames("hmeq").batches
        assert all(parent.path[0] == "hmeq" for parent in graph.get(key).parent_keys)
    assert {check.asset_key.path[0] for check in graph.asset_check_keys} == {"hmeq"}
    for check in graph.asset_check_keys:
        assert graph.get(check).partitions_def == graph.get(check.asset_key).partitions_def


@pytest.mark.parametrize("job", ["full_pipeline_job", "tuning_job", "batch_prediction_job"])
def test_jobs_select_the_same_assets_of_each_book(definitions: dict[str, dg.Definitions], job: str) -> None:
    shipped, other = (definitions[book].resolve_job_def(job) for book in ("", "hmeq"))
    selected = {key.to_user_string() for key in shipped.asset_layer.executable_asset_keys}
    assert {key.to_user_string() for key in other.asset_layer.executable_asset_keys} == {f"hmeq/{k}" for k in selected}
    assert (shipped.run_tags.get(BOOK_TAG), other.run_tags[BOOK_TAG]) == (None, "hmeq")


def test_a_run_belongs_to_the_book_of_its_tag_or_else_of_its_assets() -> None:
    tagged = dg.DagsterRun(job_name="training_job", tags={BOOK_TAG: "hmeq"})
    of_assets = dg.DagsterRun(job_name="__ASSET_JOB", asset_selection=frozenset({BookNames("hmeq").key("predictions")}))
    plain = dg.DagsterRun(job_name="training_job")
    assert [BookNames("hmeq").owns(run) for run in (tagged, of_assets, plain)] == [True, True, False]
    assert [BookNames().owns(run) for run in (tagged, of_assets, plain)] == [False, False, True]
    with dg.DagsterInstance.ephemeral() as instance:
        for run in (tagged, of_assets, plain):
            instance.add_run(run)
        owned = [record.dagster_run.run_id for record in BookNames("hmeq").runs(instance, job_name="training_job")]
        assert owned == [tagged.run_id]


@pytest.mark.parametrize(("book", "runs"), [("", 1), ("hmeq", 3)])
def test_a_busy_book_hides_no_run_of_a_quiet_one(book: str, runs: int) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        for busy in ("", *["hmeq"] * 7):
            instance.add_run(dg.DagsterRun(job_name="training_job", tags=BookNames(busy).tags))
        newest = BookNames(book).runs(instance, 3)
    assert [record.dagster_run.tags for record in newest] == [BookNames(book).tags] * runs


def test_what_a_step_reports_gets_its_books_key(definitions: dict[str, dg.Definitions]) -> None:
    key = BookNames("hmeq").key("trained_model")
    assets = definitions["hmeq"].resolve_assets_def(key)
    check = dg.AssetCheckResult(asset_key="trained_model", check_name="c", passed=True)
    result = with_own_keys(dg.MaterializeResult(check_results=[check]), assets)
    assert isinstance(result, dg.MaterializeResult)
    assert result.asset_key is None
    assert [check.asset_key for check in result.check_results or ()] == [key]
    assert with_own_keys(dg.AssetMaterialization("trained_model"), assets).asset_key == key


def test_two_books_lie_apart(tmp_path: Path) -> None:
    shipped, other = Settings(tmp_path), Settings(tmp_path, book="hmeq")
    assert other.layout.root == shipped.layout.root / "hmeq"
    assert (shipped.model_name, other.model_name) == ("loan_default_model", "hmeq_model")
    assert (shipped.experiment, other.experiment) == ("loan_default", "hmeq")
    assert other.artifacts == f"{shipped.storage}/hmeq/mlflow"
    assert shipped.serving != other.serving
