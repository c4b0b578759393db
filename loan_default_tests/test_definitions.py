"""What Dagster loads: in a fresh interpreter for each environment, cheap, and complete."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.run_coordinator import QueuedRunCoordinator

import loan_default
from loan_default.risk.validation.quality_gates import CLEANING_RULES, PREDICTION_RULES, TRAINING_RULES
from loan_default.settings import Settings
from loan_default_tests.homes import definitions_of

SECONDS_EACH = {
    *("mlflow", "xgboost", "evidently", "sklearn", "optuna", "matplotlib", "dagster_gcp", "dagster_mlflow", "pandas"),
    *("scipy", "gcsfs"),
}
LOAD = """
import json, os, sys
import dagster as dg
from loan_default.definitions import defs
dg.Definitions.validate_loadable(defs)
loaded = sorted({name.partition(".")[0] for name in sys.modules})
from dagster._core.remote_representation.external_data import RepositorySnap
from dagster_shared.serdes import serialize_value
snapshot = serialize_value(RepositorySnap.from_def(defs.get_repository_def()))
print(json.dumps({"modules": loaded, "home": os.environ["DAGSTER_HOME"], "snapshot": snapshot}))
"""
GROUPS = {
    "data": {"raw_loans", "cleaned_loans", "rejected_loans", "cleaning_report", "loan_splits"},
    "training": {"tuned_params", "trained_model"},
    "registry": {"model_evaluation", "strategy_report", "promoted_model", "model_card"},
    "scoring": {"application_batch", "rejected_applications", "application_report", "predictions"},
    "monitoring": {"drift_report"},
    "serving": {"model_server"},
}
BATCHED = GROUPS["scoring"] | GROUPS["monitoring"]
FRAMES = {"rejected_loans", "rejected_applications", "predictions"}  # whose columns do not depend on the contract
CHECKS = {
    "cleaned_loans": {*CLEANING_RULES},
    "trained_model": {*TRAINING_RULES},
    "promoted_model": {"newest_version_is_promoted", "alias_points_where_the_decision_says"},
    "application_batch": {"no_rows_lost"},
    "predictions": {*PREDICTION_RULES},
    "drift_report": {"population_is_stable", "enough_rows"},
    "model_server": {"answers_the_canary_with_the_promoted_version"},
}
PASSWORD = "pa55word"
NAMED = {
    "LOAN_DEFAULT_STORAGE": "gs://bucket/prefix",
    "MLFLOW_TRACKING_URI": "http://127.0.0.1:9",
    "MLFLOW_TRACKING_PASSWORD": PASSWORD,
    "LOAN_DEFAULT_DAGSTER_STORAGE": f"postgresql://me:{PASSWORD}@127.0.0.1:9/dagster",
    "LOAN_DEFAULT_STUDY_STORAGE": f"postgresql://me:{PASSWORD}@127.0.0.1:9/optuna",
    "LOAN_DEFAULT_API_TOKENS": f"{PASSWORD}-a",
    "LOAN_DEFAULT_ADMIN_TOKENS": f"{PASSWORD}-b",
}


def load(home: Path, environment: str, **more: str) -> subprocess.CompletedProcess[str]:
    variables = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(Path(loan_default.__file__).parents[1]),
        "LOAN_DEFAULT_ENV": environment,
        "LOAN_DEFAULT_HOME": str(home),
        **more,
    }
    command = [sys.executable, "-c", LOAD]
    return subprocess.run(
        command, cwd=home.parent, env=variables, check=False, capture_output=True, text=True, timeout=120
    )


@pytest.mark.integration
@pytest.mark.parametrize("environment", ["local", "staging", "prod"])
def test_definitions_load_in_a_fresh_interpreter_and_show_no_secret(tmp_path: Path, environment: str) -> None:
    done = load(tmp_path / "home", environment, **({} if environment == "local" else NAMED))
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert not SECONDS_EACH & set(report["modules"])
    assert report["home"] == str(tmp_path / "home" / "dagster")
    assert "enabled: false" in (tmp_path / "home" / "dagster" / "dagster.yaml").read_text("utf-8")
    assert ("gs://bucket/prefix" in report["snapshot"]) == (environment != "local"), "it shows what resources are given"
    assert PASSWORD not in report["snapshot"]


@pytest.mark.integration
def test_an_unknown_environment_stops_the_loading(tmp_path: Path) -> None:
    done = load(tmp_path / "home", "production")
    assert done.returncode == 1
    assert done.stderr.endswith("LOAN_DEFAULT_ENV is 'production'; it must be one of local, staging, prod.\n")
    assert not (tmp_path / "home").exists()


@pytest.mark.integration
def test_prod_stops_where_something_is_left_to_a_default(tmp_path: Path) -> None:
    done = load(tmp_path / "home", "prod", **{**NAMED, "LOAN_DEFAULT_STORAGE": ""})
    assert done.returncode == 1
    assert done.stderr.endswith("nothing is left to a default; set LOAN_DEFAULT_STORAGE.\n")
    assert PASSWORD not in done.stderr
    assert not (tmp_path / "home").exists()


@pytest.fixture(scope="module")
def definitions(tmp_path_factory: pytest.TempPathFactory) -> dg.Definitions:
    return definitions_of(Settings(home=tmp_path_factory.mktemp("definitions")))


@pytest.fixture(scope="module")
def specs(definitions: dg.Definitions) -> dict[str, dg.AssetSpec]:
    return {spec.key.to_user_string(): spec for spec in definitions.resolve_all_asset_specs()}


def test_assets_stand_in_their_groups(specs: dict[str, dg.AssetSpec]) -> None:
    for group, names in GROUPS.items():
        assert names <= {name for name, spec in specs.items() if spec.group_name == group}


def test_every_asset_says_what_it_is_and_whose(specs: dict[str, dg.AssetSpec]) -> None:
    for name, spec in specs.items():
        assert spec.owners, f"{name} has no owner"
        assert spec.kinds, f"{name} has no kinds"
        assert len(spec.description or "") > 20, f"{name} says too little"
        assert "domain" in spec.tags, f"{name} has no domain tag"


@pytest.mark.parametrize("name", sorted(FRAMES))
def test_every_frame_describes_its_columns(specs: dict[str, dg.AssetSpec], name: str) -> None:
    columns = specs[name].metadata["dagster/column_schema"].columns
    assert len(columns) >= 7
    assert all(column.description and column.type for column in columns)


def test_batches_are_partitions(specs: dict[str, dg.AssetSpec]) -> None:
    for name, spec in specs.items():
        assert (spec.partitions_def is not None) == (name in BATCHED), name


def test_every_gate_has_its_checks(definitions: dg.Definitions) -> None:
    checks: dict[str, set[str]] = {}
    for key in definitions.resolve_asset_graph().asset_check_keys:
        checks.setdefault(key.asset_key.to_user_string(), set()).add(key.name)
    assert CHECKS.items() <= checks.items()


def test_checks_schedules_and_config_say_what_they_are(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    for key in graph.asset_check_keys:
        assert len(graph.get(key).description or "") > 20, key
        assert graph.get(key).partitions_def == graph.get(key.asset_key).partitions_def, key
    for schedule in definitions.schedules or ():
        assert isinstance(schedule, dg.ScheduleDefinition)
        assert len(schedule.description or "") > 20, schedule.name
    for assets in graph.assets_defs:
        config = assets.op.config_schema.config_type if assets.is_executable else None
        for name, field in (getattr(config, "fields", None) or {}).items():
            assert field.description, f"{assets.op.name}: {name}"


def test_production_is_settled_before_a_batch_is_scored(specs: dict[str, dg.AssetSpec]) -> None:
    assert dg.AssetKey("promoted_model") in {dep.asset_key for dep in specs["predictions"].deps}


@pytest.mark.integration
def test_a_new_home_has_two_runs_at_a_time_and_fills_a_free_place_at_once(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    definitions_of(settings)
    with dg.DagsterInstance.from_config(str(settings.dagster_home)) as instance:
        queue, coordinator = instance.get_concurrency_config().run_queue_config, instance.run_coordinator
        assert queue is not None
        assert queue.max_concurrent_runs == 2
        assert isinstance(coordinator, QueuedRunCoordinator)
        assert coordinator.dequeue_interval_seconds == 1


@pytest.mark.integration
def test_a_new_home_forgets_ticks_that_did_nothing_after_a_day(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    definitions_of(settings)
    with dg.DagsterInstance.from_config(str(settings.dagster_home)) as instance:
        retained = {
            status.value: days for status, days in instance.get_tick_retention_settings(InstigatorType.SENSOR).items()
        }
    assert retained == {"STARTED": -1, "SKIPPED": 1, "SUCCESS": -1, "FAILURE": -1}


def test_resources_can_be_replaced_by_name(tmp_path: Path) -> None:
    from loan_default.definitions import build_definitions

    class Fake(dg.ConfigurableResource[Any]):
        """Stands in for the registry."""

    definitions = build_definitions(Settings(home=tmp_path), {"model_registry": Fake()})
    resources = definitions.resources or {}
    assert isinstance(resources["model_registry"], Fake)
    assert "loan_book" in resources
