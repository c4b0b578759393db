"""The whole platform with Dask's workers on a bucket: the jobs are those of one machine, and so is what they leave."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from upath import UPath

from loan_default.adapters import dask_engine, storage
from loan_default.defs.book import batches
from loan_default.risk.data.synthetic import make_applications, make_loans, write_csv
from loan_default_tests.buckets import asked_at, new_bucket
from loan_default_tests.engines import Cluster, cluster, kill_worker
from loan_default_tests.homes import QUICK, Platform, dagster_of, failures, new_home

pytestmark = pytest.mark.long

MONTH = date(2014, 8, 1)
BATCH = "2014-08"


@pytest.fixture(scope="module")
def root(emulator: str) -> Iterator[UPath]:
    with asked_at(emulator):
        yield new_bucket()


@pytest.fixture(scope="module")
def running(root: UPath, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Workers that ask for the same bucket."""
    with cluster(tmp_path_factory.mktemp("dask")) as dask:
        yield dask


@pytest.fixture(scope="module")
def platforms(root: UPath, running: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Platform]]:
    """On the workers and on this process, with the same loans in two files; a few loans are enough for parts."""
    homes = {}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(dask_engine, "_FEWEST_ROWS", 300)
        for name in ("dask", "local"):
            folder = tmp_path_factory.mktemp(name)
            home = new_home(folder, root / name)
            more = make_loans(1_500, seed=9, first_month=date(2012, 1, 1), last_month=date(2014, 6, 1))
            write_csv(more.with_columns(pl.format("more-{}", "id").alias("id")), folder / "more.csv")
            storage.store(folder / "more.csv", root / name / "book" / "more.csv")
            applications = folder / f"{BATCH}.csv"
            write_csv(make_applications(2_000, seed=3, month=MONTH, shift=0.3), applications)
            storage.store(applications, root / name / "platform" / "applications" / applications.name)
            homes[name] = home
        studies = f"journal://{homes['dask'].home.parent / 'studies'}"
        homes["dask"] = replace(homes["dask"], engine="dask", dask_address=running.address, study_storage=studies)
        with dagster_of(homes["dask"]) as dask, dagster_of(homes["local"]) as local:
            yield {"dask": Platform(homes["dask"], dask), "local": Platform(homes["local"], local)}


@pytest.fixture(scope="module")
def results(platforms: dict[str, Platform]) -> dict[str, list[dg.ExecuteInProcessResult]]:
    results = {}
    for name, platform in platforms.items():
        platform.instance.add_dynamic_partitions(str(batches.name), [BATCH])
        results[name] = [
            platform.run("full_pipeline_job", config={**QUICK, "tuned_params": {"trials": 4}}),
            platform.run("batch_prediction_job", batch=BATCH),
        ]
        assert [failures(result) for result in results[name]] == [[], []]
    return results


def place_of(platform: Platform, *parts: str) -> UPath:
    return UPath(platform.settings.storage).joinpath(*parts)


def record(platform: Platform, *parts: str) -> Any:
    return json.loads(storage.read_text(place_of(platform, *parts)))


def frame(platform: Platform, folder: Path, *parts: str) -> pl.DataFrame:
    return pl.read_parquet(storage.fetch(place_of(platform, *parts), folder))


def test_loans_and_windows_are_the_same(platforms: dict[str, Platform], results: Any, tmp_path: Path) -> None:
    for name in ("cleaned_loans.parquet", "rejected_loans.parquet"):
        spread, local = (frame(platforms[engine], tmp_path / engine, name) for engine in ("dask", "local"))
        assert spread.equals(local)
    assert record(platforms["dask"], "loan_splits.json") == record(platforms["local"], "loan_splits.json")


def test_a_version_is_registered_judged_and_decided_on(platforms: dict[str, Platform], results: Any) -> None:
    spread, local = (record(platforms[engine], "model_evaluation.json") for engine in ("dask", "local"))
    aucs = [judged["judgement"]["evaluation"]["metrics"]["auc"]["value"] for judged in (spread, local)]
    assert aucs[0] == pytest.approx(aucs[1], abs=0.02)  # of a thousand loans
    assert record(platforms["dask"], "promoted_model.json")["verdict"] == "promote"
    assert record(platforms["dask"], "tuned_params.json")["trials"] == 4


def test_every_application_is_scored_in_its_order(platforms: dict[str, Platform], results: Any, tmp_path: Path) -> None:
    spread, local = (
        frame(platforms[engine], tmp_path / engine, "predictions", f"{BATCH}.parquet") for engine in ("dask", "local")
    )
    assert spread["id"].equals(local["id"])
    assert spread["pd"].is_between(0, 1).all()
    reports = [record(platforms[engine], "drift_report", f"{BATCH}.json") for engine in ("dask", "local")]
    psi = [{line["feature"]: line["psi"] for line in report["features"]} for report in reports]
    assert {name: value for name, value in psi[0].items() if name != "raw_score"} == {
        name: value for name, value in psi[1].items() if name != "raw_score"
    }


def test_heavy_assets_link_to_where_their_workers_can_be_watched(results: Any) -> None:
    def linked(name: str) -> set[str]:
        return {
            materialized.asset_key.to_user_string()
            for result in results[name]
            for event in result.get_asset_materialization_events()
            for materialized in [event.materialization]
            if "dask_dashboard" in materialized.metadata
        }

    assert linked("dask") == {
        "cleaned_loans",
        "tuned_params",
        "trained_model",
        "model_evaluation",
        "strategy_report",
        "predictions",
        "drift_report",
    }
    assert linked("local") == set()


def test_a_worker_dies_while_a_batch_is_scored(platforms: dict[str, Platform], results: Any, tmp_path: Path) -> None:
    platform = platforms["dask"]
    before = frame(platform, tmp_path / "before", "predictions", f"{BATCH}.parquet")
    watching = dask_engine.DaskEngine(platform.settings.dask_address)
    with kill_worker(watching, "score_part") as died:
        assert failures(platform.run("batch_prediction_job", batch=BATCH)) == []
    watching.close()
    after = frame(platform, tmp_path / "after", "predictions", f"{BATCH}.parquet")
    assert len(died) == 1
    assert after.drop("scored_at").equals(before.drop("scored_at"))


def test_a_scheduler_that_is_gone_fails_the_step_in_a_sentence(platforms: dict[str, Platform], results: Any) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(dask_engine, "_CONNECT_SECONDS", 1)
        settings = replace(platforms["dask"].settings, dask_address="tcp://127.0.0.1:9")
        lost = Platform(settings, platforms["dask"].instance)
        (sentence,) = failures(lost.run("training_job", only=["tuned_params"]))
    assert "No Dask scheduler answers at tcp://127.0.0.1:9 (LOAN_DEFAULT_DASK_ADDRESS)" in str(sentence)
