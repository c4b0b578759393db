"""Every asset key alone and with its upstream, as the UI, `dagster asset materialize` and `dg launch` select it.

What each job runs as a whole is in `defs/test_jobs.py`; what a selection does to files in general in
`defs/test_results.py`.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any, get_args

import dagster as dg
import polars as pl
import pytest

from loan_default.adapters.layout import BatchRecordName, RecordName
from loan_default.adapters.record_shapes import SHAPES, parse_record
from loan_default.adapters.scoring_server import ScoringServer
from loan_default.risk.data.synthetic import make_applications, make_loans, write_csv
from loan_default.settings import Settings
from loan_default_tests.homes import (
    Platform,
    definitions_of,
    environment_of,
    failures,
    new_platform,
    own_environment,
    write_outcomes,
)
from loan_default_tests.stores import free_port

BATCH, MONTH = "2014-08", date(2014, 8, 1)
TOGETHER = {
    "data": {"cleaned_loans", "rejected_loans", "cleaning_report"},
    "scoring": {"application_batch", "rejected_applications", "application_report"},
    "outcomes": {"loan_outcomes", "rejected_outcomes", "outcomes_report"},
}
SINGLE = {
    *("loan_splits", "tuned_params", "trained_model", "model_evaluation", "promoted_model", "model_card"),
    *("predictions", "drift_report", "performance_report", "model_server", "backtest", "strategy_report"),
    "provision_report",
}
KEYS = sorted(SINGLE.union(*TOGETHER.values()))
BATCHED = TOGETHER["scoring"] | {"predictions", "drift_report"}
TRAINED = {"trained_model", "model_evaluation", "strategy_report", "promoted_model", "model_card", "model_server"}
TRAINED |= {"predictions", "drift_report", "performance_report", "provision_report"}  # these need a version first
CONFIG: Mapping[str, Mapping[str, Any]] = {
    "tuned_params": {"trials": 2},
    "trained_model": {"candidates": ["logistic_regression"]},
    "model_evaluation": {"resamples": 20},
    "performance_report": {"resamples": 20},
    "backtest": {"first": "2013-01", "every": 60},
}


@pytest.fixture(scope="module")
def platform(trained_home: Callable[[Path], Settings], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A home with a version in production, a scored batch and an outcome file."""
    settings = trained_home(tmp_path_factory.mktemp("subsets"))
    settings = replace(settings, serving_url=f"http://127.0.0.1:{free_port()}")
    with own_environment(), new_platform(settings) as platform:
        os.environ.update(environment_of(settings))  # the server that `model_server` starts is of this home
        platform.deliver(BATCH, make_applications(250, seed=3, month=MONTH))
        write_outcomes(platform.storage / "outcomes", make_loans(250, seed=3, first_month=MONTH, last_month=MONTH))
        assert failures(platform.run("batch_prediction_job", batch=BATCH)) == []
        yield platform
    ScoringServer(settings.serving_url, settings.serving).stop(wait=30)


def materialize(platform: Platform, selection: dg.AssetSelection) -> set[str]:
    """Run a selection as `dagster asset materialize` does; return what Dagster holds for materialized by the run."""
    definitions = definitions_of(platform.settings)
    keys = selection.resolve(definitions.resolve_asset_graph()) - {dg.AssetKey("raw_loans")}
    names = {key.to_user_string() for key in keys}
    job = definitions.resolve_implicit_global_asset_job_def()
    ops = {node.name for node in job.get_subset(asset_selection=keys).all_node_defs}
    result = job.execute_in_process(
        run_config={
            "ops": {name: {"config": CONFIG[name]} for name in CONFIG.keys() & ops},
            "loggers": {"progress": {}},
        },
        instance=platform.instance,
        partition_key=BATCH if names & BATCHED else None,
        asset_selection=sorted(keys),
        raise_on_error=False,
    )
    assert failures(result) == []
    events = result.get_asset_materialization_events()
    return {event.asset_key.to_user_string() for event in events if event.asset_key}


def together(names: set[str]) -> set[str]:
    """Return the assets whose files are written with those that are named."""
    return names.union(*(keys for keys in TOGETHER.values() if keys & names))


@pytest.mark.integration
def test_every_key_is_tested(platform: Platform) -> None:
    graph = definitions_of(platform.settings).resolve_asset_graph()
    assert {key.to_user_string() for key in graph.materializable_asset_keys} == set(KEYS)


@pytest.mark.integration
@pytest.mark.parametrize("key", KEYS)
def test_a_key_alone(platform: Platform, key: str) -> None:
    assert materialize(platform, dg.AssetSelection.assets(key)) == together({key})


@pytest.mark.integration
def test_what_the_keys_have_written_is_of_the_shape_that_readers_ask_for(platform: Platform) -> None:
    layout = platform.settings.layout
    paths = {kind: layout.record(kind) for kind in get_args(RecordName) if kind in SHAPES}
    paths |= {kind: layout.batch_record(kind, BATCH) for kind in get_args(BatchRecordName)}
    assert {*SHAPES} - {*paths} == {"history", "test_looks", "overrides"}, "kept by logs, whose tests read them"
    for kind, path in paths.items():
        assert parse_record(path.read_bytes(), path, kind)


def _upstream(key: str) -> dg.AssetSelection:
    return dg.AssetSelection.assets(key).upstream()


@pytest.mark.parametrize(
    "key",
    [
        pytest.param(key, marks=pytest.mark.integration if key == "loan_splits" else pytest.mark.long)
        for key in sorted(set(KEYS) - TRAINED)
    ],
)
def test_a_key_with_its_upstream(platform: Platform, key: str) -> None:
    assert materialize(platform, _upstream(key)) >= together({key})


@pytest.mark.long
@pytest.mark.parametrize("key", sorted(TRAINED))
def test_a_key_with_its_upstream_from_a_training_on(platform: Platform, key: str) -> None:
    assert materialize(platform, _upstream(key)) >= together({key, "trained_model", "cleaned_loans"})


# --- no two files contradict each other


@pytest.mark.parametrize(
    "key",
    [
        pytest.param(key, marks=pytest.mark.integration if key == "cleaning_report" else pytest.mark.long)
        for key in sorted(TOGETHER["data"])
    ],
)
def test_a_new_loan_file_replaces_table_and_report_whichever_is_selected(
    platform: Platform, tmp_path: Path, key: str
) -> None:
    loans = make_loans(700, seed=len(key), first_month=date(2012, 1, 1), last_month=date(2014, 6, 1))
    write_csv(loans, tmp_path / "loans.csv")
    other = replace(platform.settings, data=str(tmp_path / "loans.csv"), storage=str(tmp_path / "storage"))
    platform = replace(platform, settings=other)
    for _ in range(2):
        materialize(platform, dg.AssetSelection.assets(key))
        report = json.loads((platform.storage / "cleaning_report.json").read_text(encoding="utf-8"))
        rejected = pl.read_parquet(platform.storage / "rejected_loans.parquet").height
        assert pl.read_parquet(platform.storage / "cleaned_loans.parquet").height == report["kept"]
        assert (report["rejected"], report["rows_read"]) == (rejected, loans.height)
        loans = loans.head(600)
        write_csv(loans, tmp_path / "loans.csv")


# --- the commands themselves


def _command(platform: Platform, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {**environment_of(platform.settings), "DAGSTER_HOME": str(platform.settings.home / "instance")}
    (Path(env["DAGSTER_HOME"]) / "dagster.yaml").write_text("telemetry:\n  enabled: false\n", encoding="utf-8")
    cwd = platform.settings.home.parent
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.long
@pytest.mark.parametrize(
    "selection",
    [
        ["cleaned_loans"],
        ["*loan_splits"],
        ["application_batch", "--partition", BATCH],
        ["loan_outcomes"],
        ["*model_card", "--config-json", json.dumps({"ops": {op: {"config": CONFIG[op]} for op in list(CONFIG)[:3]}})],
    ],
    ids=lambda selection: selection[0],
)
def test_dagster_asset_materialize(platform: Platform, selection: list[str]) -> None:
    arguments = ("dagster", "asset", "materialize", "-m", "loan_default.definitions", "--select", *selection)
    done = _command(platform, *arguments)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "RUN_SUCCESS" in done.stderr
