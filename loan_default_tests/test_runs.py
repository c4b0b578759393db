"""docs/runs.md: Dagster takes its YAML, the settings in it are known, the limits hold, and the command's options exist.

What only Dagster's launchers can judge is skipped where dagster-docker and dagster-k8s are not installed.
"""

import ast
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._cli.job import job_backfill_command
from dagster._config import process_config, resolve_to_config_type

from loan_default.defs.jobs import _OF_A_TRAINING, ALONE
from loan_default.homes import dagster_yaml
from loan_default.settings import PLATFORM_NEEDS, Settings, unknown_variables
from loan_default_tests.homes import definitions_of, own_environment
from loan_default_tests.queues import ask, begin

pytestmark = pytest.mark.integration  # a queue over run storage on disk

PROJECT = Path(__file__).parents[1]
TEXT = (PROJECT / "docs" / "runs.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
FRAGMENTS = [fragment for block in BLOCKS for fragment in yaml.safe_load_all(block)]
LIMITS = next(fragment for fragment in FRAGMENTS if "concurrency" in fragment)
LAUNCHERS = {fragment["run_launcher"]["module"]: fragment for fragment in FRAGMENTS if "run_launcher" in fragment}
DOCKER, K8S = (LAUNCHERS[module]["run_launcher"]["config"] for module in ("dagster_docker", "dagster_k8s"))
STACK = yaml.safe_load((PROJECT / "docker" / "compose.yaml").read_text(encoding="utf-8"))
DAEMON = next(fragment for fragment in FRAGMENTS if "services" in fragment)["services"]["daemon"]
NEW_HOME = yaml.safe_load(dagster_yaml(Settings(Path())))
TAG = "dagster-k8s/config"


def heavier() -> dict[str, Any]:
    """Read the tags that the page gives to trainings."""
    (code,) = re.findall(r"```python\n_OF_A_TRAINING = (.*?)```", TEXT, re.DOTALL)
    return ast.literal_eval(code.replace("ALONE", repr(ALONE)))  # type: ignore[no-any-return]


@pytest.fixture
def instance(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[dg.DagsterInstance]:
    """Open the instance of a new home whose `dagster.yaml` says this too."""
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(NEW_HOME | request.param), encoding="utf-8")
    with own_environment():
        os.environ["DAGSTER_HOME"] = str(tmp_path)
        with dg.DagsterInstance.get() as opened:
            yield opened


def fewer() -> dict[str, Any]:
    """Return the page's limits with 2 batches for 20 and 4 runs for 25, as filing a run takes a while."""
    return json.loads(json.dumps(LIMITS).replace('"limit": 20', '"limit": 2').replace(": 25", ": 4"))  # type: ignore[no-any-return]


@pytest.mark.parametrize("instance", [fewer()], indirect=True)
def test_many_batches_go_at_a_time_and_leave_places_to_the_others(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    definitions = definitions_of(Settings(home=tmp_path / "home"))
    scoring, assets = (
        definitions.resolve_job_def("batch_prediction_job"),
        definitions.resolve_implicit_global_asset_job_def(),
    )
    report = frozenset({dg.AssetKey("drift_report")})
    materialized = ask(instance, assets, batch="1", asset_selection=report)  # as from the asset graph
    first, *_ = (ask(instance, scoring, batch=batch) for batch in "234")
    training, _ = (ask(instance, definitions.resolve_job_def("training_job")) for _ in range(2))
    assert begin(instance) == [training, materialized, first]


def test_no_limit_that_keeps_records_whole_is_lost_with_more_runs() -> None:
    runs = LIMITS["concurrency"]["runs"]["tag_concurrency_limits"]
    assert [limit for limit in NEW_HOME["concurrency"]["runs"]["tag_concurrency_limits"] if limit not in runs] == []
    assert LIMITS["concurrency"]["pools"] == NEW_HOME["concurrency"]["pools"]


@pytest.mark.parametrize("instance", LAUNCHERS.values(), indirect=True, ids=LAUNCHERS)
def test_an_instance_opens_with_the_launcher_and_our_limits(instance: dg.DagsterInstance) -> None:
    launcher = instance.get_ref().run_launcher_data
    assert launcher is not None
    assert LAUNCHERS[launcher.module_name]["run_launcher"]["class"] == launcher.class_name
    assert instance.get_concurrency_config().pool_config.default_pool_limit == 1
    assert instance.run_monitoring_enabled, "else nobody sees that a container died"
    assert instance.run_monitoring_max_runtime_seconds == 86_400


def named() -> dict[str, set[str]]:
    """Return the variables that a run is given."""
    names = {
        fragment["kind"]: set(fragment.get("data", {})) | set(fragment.get("stringData", {}))
        for fragment in FRAGMENTS
        if "kind" in fragment
    }
    return {"docker": set(DOCKER["env_vars"]), "k8s": names["ConfigMap"] | names["Secret"]}


@pytest.mark.parametrize("where", ["docker", "k8s"])
def test_a_run_is_given_settings_that_are_known_and_all_that_prod_asks_for(where: str) -> None:
    names = named()[where]
    assert unknown_variables(dict.fromkeys(names, "x")) == {}
    assert names >= {*PLATFORM_NEEDS}
    documented = (PROJECT / ".env.example").read_text(encoding="utf-8")
    assert [name for name in names if f"# {name}=" not in documented] == []


def test_secrets_are_in_the_secret_of_kubernetes() -> None:
    (config,) = (fragment["data"] for fragment in FRAGMENTS if fragment.get("kind") == "ConfigMap")
    assert not [
        name for name in config if re.search("PASSWORD|TOKENS|_STORAGE$", name) and name != "LOAN_DEFAULT_STORAGE"
    ]
    assert K8S["env_config_maps"] == K8S["env_secrets"] == ["loan-default"]


def test_a_container_is_given_what_the_stack_has() -> None:
    environment = {**STACK["services"]["daemon"]["environment"], **DAEMON["environment"]}
    assert [name for name in DOCKER["env_vars"] if name not in environment] == [], "Dagster stops where one is not set"
    assert {*DOCKER["env_vars"]} <= STACK["services"]["code-server"]["environment"].keys()
    assert {name.partition("_")[2] for name in DOCKER["networks"]} == STACK["networks"].keys()
    volumes = STACK["services"]["code-server"]["volumes"]
    assert DOCKER["container_kwargs"]["volumes"] == [
        f"{STACK['name']}_{volume.replace('${BOOKS:-books}', 'books')}" for volume in volumes
    ]


def test_docker_knows_the_limits_of_a_container() -> None:
    containers = pytest.importorskip("docker.models.containers")  # of MLflow's
    options = {name: value for name, value in DOCKER["container_kwargs"].items() if name != "stop_timeout"}  # Dagster's
    container = containers._create_container_args({**options, "image": "x", "version": "1.47"})
    assert container["host_config"]["Memory"] == 6 * 2**30
    assert container["host_config"]["NanoCpus"] == 2 * 10**9


@pytest.mark.parametrize("module", LAUNCHERS)
def test_the_launcher_takes_its_config(module: str) -> None:
    launcher_block = LAUNCHERS[module]["run_launcher"]
    launcher = getattr(pytest.importorskip(module), launcher_block["class"])
    config = process_config(resolve_to_config_type(launcher.config_type()), launcher_block["config"])
    assert config.success, config.errors


def test_kubernetes_understands_the_size_of_a_job() -> None:
    k8s = pytest.importorskip("dagster_k8s.job")
    user_config = k8s.get_user_defined_k8s_config({TAG: json.dumps(heavier()[TAG])})
    assert user_config.container_config["resources"]["limits"] == {"memory": "8Gi"}


def test_the_size_of_a_job_is_a_tag_that_a_run_can_carry() -> None:
    tags = dg.define_asset_job("training_job", tags=heavier()).tags or {}
    assert tags.items() >= _OF_A_TRAINING.items()
    assert json.loads(tags[TAG])["container_config"]["resources"]["requests"] == {"cpu": "4", "memory": "6Gi"}


def test_the_launchers_are_of_the_version_of_the_family() -> None:
    (version,) = re.findall(r'"dagster-postgres==([\d.]+)"', (PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    assert re.findall(r"dagster-(\w+)==([\d.]+)", TEXT) == [("docker", version), ("k8s", version)]


def test_the_options_of_a_backfill_exist() -> None:
    options = {option for parameter in job_backfill_command.params for option in parameter.opts}
    documented = {
        option for line in re.findall(r"^dagster job backfill (.*)$", TEXT, re.MULTILINE) for option in line.split()
    }
    assert {option for option in documented if option.startswith("-")} <= options
