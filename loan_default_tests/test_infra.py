"""The rules that `infra/` must keep, read from the HCL: nothing public, nothing of value deleted, no right too many.

The bucket's rules are held against the names that the code gives, and the alerts against what the code says.
"""

import inspect
import json
import re
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from dagster import DagsterRunStatus as RunStatus

from loan_default.adapters import decision_log, layout
from loan_default.adapters.alerts import Channels
from loan_default.adapters.hosting import AUTHENTICATED_BY, HEALTH_ROUTE, PREDICT_ROUTE, SAGEMAKER, VERTEX_PORT
from loan_default.settings import WEB_PORT, Settings, known_variables
from loan_default_tests.defs.sensors.conftest import harness  # noqa: F401 - a fixture
from loan_default_tests.defs.sensors.harness import Harness
from loan_default_tests.records import filled

ROOT = Path(__file__).parent.parent
INFRA, DOCKER = ROOT / "infra", ROOT / "docker"
MODULES = ["", *sorted(path.name for path in (INFRA / "modules").iterdir())]
ENVIRONMENTS = ("staging", "prod")

# The only roles on the whole project, each for a right that exists on no smaller thing; why is said beside it.
ON_THE_PROJECT = {("platform", "roles/logging.logWriter"), ("platform", "roles/monitoring.metricWriter")}
EVERYBODY = ("allUsers", "allAuthenticatedUsers", "0.0.0.0/0", "::/0")
IAP = "35.235.240.0/20"


# --- reading


def parse(path: Path) -> dict[str, Any]:
    import hcl2  # builds its grammar when it is loaded
    from hcl2.utils import SerializationOptions

    options = SerializationOptions(with_comments=False, explicit_blocks=False, strip_string_quotes=True)
    return hcl2.loads(path.read_text(encoding="utf-8"), serialization_options=options)


@cache
def read(module: str) -> dict[str, list[Any]]:
    """Read all blocks of a module by their kind; "" is the root."""
    blocks: dict[str, list[Any]] = defaultdict(list)
    for path in sorted((INFRA / "modules" / module if module else INFRA).glob("*.tf")):
        for kind, entries in parse(path).items():
            blocks[kind] += entries
    return blocks


@cache
def text_of(module: str) -> str:
    """Read a module's text without its comments."""
    folder = INFRA / "modules" / module if module else INFRA
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.tf")))
    return re.sub(r"(?m)(^|\s)#.*$", "", text)


def labelled(module: str, kind: str) -> dict[str, Any]:
    """Return variables, outputs or modules by name."""
    return {name: body for block in read(module).get(kind, []) for name, body in block.items()}


def resources(kind: str, *modules: str) -> Iterator[tuple[str, str, Any]]:
    """Yield module, name and body of all resources of a type, which may end with a star."""
    for module in modules or MODULES:
        for block in [
            *read(module).get("resource", []),
            *read(module).get("data", []),
            *read(module).get("ephemeral", []),
        ]:
            for label, named in block.items():
                if label == kind or (kind.endswith("*") and label.startswith(kind[:-1])):
                    yield from ((module, name, body) for name, body in named.items())


def only(kind: str, *modules: str) -> Any:
    (match,) = resources(kind, *modules)
    return match[2]


def values(body: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Yield every text below a block, with the argument that holds it."""
    if isinstance(body, dict):
        for name, inner in body.items():
            yield from values(inner, name)
    elif isinstance(body, list):
        for inner in body:
            yield from values(inner, key)
    else:
        yield key, str(body)


def tfvars(environment: str) -> dict[str, Any]:
    return parse(INFRA / f"{environment}.tfvars")


# --- form


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.slow
def test_every_variable_and_output_says_what_it_is(module: str) -> None:
    for name, variable in labelled(module, "variable").items():
        assert len(variable["description"]) > 10, name
        assert variable["type"], name
        checked = "validation" in variable
        if not module and variable["type"] != "bool":
            assert checked, f"{name} takes anything"
        if not checked and variable.get("nullable") is not False and variable["type"] != "bool":
            assert "null" in variable["description"], f"{name} may be null and does not say so"
    for name, output in labelled(module, "output").items():
        assert len(output["description"]) > 10, name


def test_versions_are_pinned() -> None:
    (terraform,) = read("")["terraform"]
    assert re.fullmatch(r">= 1\.\d+, < 2\.0", terraform["required_version"])
    (providers,) = terraform["required_providers"]
    used = {
        kind.split("_")[0]
        for module in MODULES
        for kind in re.findall(r'^(?:resource|data|ephemeral) "(\w+)"', text_of(module), re.M)
    }
    assert set(providers) == used
    for name, provider in providers.items():
        assert re.fullmatch(r"~> \d+\.\d+", provider["version"]), f"{name} may become another major version"


def test_the_state_is_remote_and_each_environment_has_its_own() -> None:
    (terraform,) = read("")["terraform"]
    assert terraform["backend"] == [{"gcs": {}}]
    backends = [(INFRA / f"{environment}.gcs.tfbackend").read_text(encoding="utf-8") for environment in ENVIRONMENTS]
    assert backends[0] != backends[1]


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_tfvars_give_what_is_asked_for_and_no_secret(environment: str) -> None:
    values, variables = tfvars(environment), labelled("", "variable")
    assert values["environment"] == environment
    assert set(values) <= set(variables)
    assert {name for name, variable in variables.items() if "default" not in variable} <= set(values)
    assert not [name for name in values if re.search("password|token|secret|webhook", name)]
    assert values["deletion_protection"] is (environment == "prod")


@pytest.mark.parametrize("module", MODULES)
def test_what_is_referred_to_is_there(module: str) -> None:
    text, variables = text_of(module), labelled(module, "variable")
    assert set(re.findall(r"\bvar\.(\w+)", text)) == set(variables), (
        "variables that are used, and those that are declared"
    )
    locals_ = {name for block in read(module).get("locals", []) for name in block}
    assert set(re.findall(r"\blocal\.(\w+)", text)) == locals_
    declared = {(kind, name) for kind, name in re.findall(r'^(?:resource|data|ephemeral) "(\w+)" "(\w+)"', text, re.M)}
    assert set(re.findall(r"\b(google_\w+|random_\w+)\.(\w+)", text)) <= declared
    for name, block in labelled(module, "module").items():
        source = Path(block["source"]).name
        inputs = labelled(source, "variable")
        passed = set(block) - {"source", "count", "for_each", "depends_on"}
        assert passed <= set(inputs), f"{name} is given what it does not take"
        assert {name for name, variable in inputs.items() if "default" not in variable} <= passed, (
            f"{name} is given too little"
        )
        outputs = set(re.findall(rf"\bmodule\.{name}(?:\[[^\]]*\])?\.(\w+)", text))
        assert outputs <= set(labelled(source, "output")), f"{name} does not tell {outputs}"


@pytest.mark.integration
def test_the_format_is_terraforms() -> None:
    terraform = shutil.which("terraform")
    if terraform is None:
        pytest.skip("no terraform on this machine; CI has one")
    environment = {"PATH": "/usr/bin:/bin", "TF_CLI_CONFIG_FILE": "/dev/null", "CHECKPOINT_DISABLE": "1"}
    done = subprocess.run(
        [terraform, "fmt", "-check", "-diff", "-recursive", str(INFRA)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stdout


# --- nothing public


def test_nobody_is_everybody() -> None:
    for module in MODULES:
        for kind in ("resource", "module", "locals"):
            for block in read(module).get(kind, []):
                for key, value in values(block):
                    assert not any(everybody in value for everybody in EVERYBODY), f"{module}: {key} = {value}"
    for environment in ENVIRONMENTS:
        assert not any(everybody in value for _, value in values(tfvars(environment)) for everybody in EVERYBODY)


def test_only_iap_comes_in() -> None:
    rules = [rule for _, _, rule in resources("google_compute_firewall")]
    for rule in rules:
        assert rule["direction"] == "INGRESS"
        assert rule["source_ranges"] == [IAP]
        assert rule["allow"] == [{"protocol": "tcp", "ports": ["22"]}]
        assert rule["target_service_accounts"]
    assert len(rules) == 1


def test_nothing_has_a_public_address() -> None:
    (database,) = only("google_sql_database_instance")["settings"]
    (address,) = database["ip_configuration"]
    assert address["ipv4_enabled"] is False
    assert "authorized_networks" not in address
    assert address["ssl_mode"] == "ENCRYPTED_ONLY"
    (interface,) = only("google_compute_instance")["network_interface"]
    assert not {"access_config", "ipv6_access_config"} & set(interface)
    assert not [*resources("google_compute_address"), *resources("google_compute_global_forwarding_rule")]
    assert only("google_compute_global_address")["address_type"] == "INTERNAL"


def test_the_bucket_is_private_and_keeps_versions() -> None:
    bucket = only("google_storage_bucket")
    assert bucket["uniform_bucket_level_access"] is True
    assert bucket["public_access_prevention"] == "enforced"
    assert bucket["versioning"] == [{"enabled": True}]
    assert bucket["soft_delete_policy"][0]["retention_duration_seconds"] >= 7 * 24 * 3600
    assert bucket["dynamic"][0]["encryption"]["for_each"] == "${var.kms_key == null ? [] : [var.kms_key]}"


def test_the_instance_is_shielded_and_let_in_by_os_login() -> None:
    instance = only("google_compute_instance")
    assert set(instance["shielded_instance_config"][0].values()) == {True}
    assert (instance["metadata"]["enable-oslogin"], instance["metadata"]["block-project-ssh-keys"]) == ("TRUE", "TRUE")


def test_services_take_no_call_from_outside_and_none_without_a_name() -> None:
    ingress = {name: body["ingress"] for _, name, body in resources("google_cloud_run_v2_service")}
    assert ingress == {"mlflow": "INGRESS_TRAFFIC_INTERNAL_ONLY", "scoring": "${var.scoring.ingress}"}
    variable = labelled("", "variable")["scoring_ingress"]
    assert variable["default"] == "INGRESS_TRAFFIC_INTERNAL_ONLY"
    assert "INGRESS_TRAFFIC_ALL" not in variable["validation"][0]["condition"]
    assert not any("invoker_iam_disabled" in body for _, _, body in resources("google_cloud_run_v2_service"))


# --- nothing of value is deleted


def lifecycle_classes() -> dict[str, str]:
    """Return what each kind of object is worth, by a name that the code gives it."""
    models = Settings(home=Path("/home"), storage="gs://bucket/root").artifacts.removeprefix("gs://bucket/root/")
    names = {
        f"{models}/models/m-1/artifacts/python_model.py": "model",
        f"{models}/0a1b/artifacts/model_card.md": "model",
        f"{layout.DECISIONS}/20261124T120000-promote-version-3.json": "record",
        f"{layout.PREDICTION_HISTORY}/2018-10.version-3.parquet": "record",
        f"{layout.PREDICTION_HISTORY}/log-2026-11-01.parquet": "record",
        f"{layout.PREDICTION_LOG}/2026-11-24/12/5001-1-0-20261124T120000-0a1b2c3d.parquet": "decision",
        f"{layout.INBOX}/2018-10.csv": "input",
        f"{layout.OUTCOMES}/2019-03.csv": "input",
        f"{layout.DRIFT_REPORT}/2018-10.html": "report",
        f"{layout.DRIFT_REPORT}/2018-10.evidently.json": "report",
        f"{layout.DRIFT_REPORT}/2018-10.sample.parquet": "report",
        f"{layout.EVIDENTLY}/0a1b/snapshots/2c3d.json": "report",
        f"{layout.COMPUTE_LOGS}/storage/0a1b/compute_logs/x.err": "log",
    }
    return names | dict.fromkeys(assets(), "asset")


@cache
def assets() -> tuple[str, ...]:
    """Return the object of each asset, as the IO managers name it."""
    from loan_default.definitions import build_definitions

    definitions = build_definitions(Settings(home=Path("/nowhere"), storage="memory://bucket/root"))
    managers, paths = definitions.resources or {}, []
    for node in definitions.resolve_asset_graph().asset_nodes:
        manager = managers.get(getattr(node, "io_manager_key", ""))
        if node.is_materializable and manager is not None and hasattr(manager, "extension"):
            batch = "/2018-10" if node.is_partitioned else ""
            paths.append(f"{'/'.join(node.key.path)}{batch}{manager.extension}")
    assert len(paths) >= 15
    return tuple(paths)


def rules() -> Iterator[tuple[str, dict[str, Any]]]:
    for rule in only("google_storage_bucket")["lifecycle_rule"]:
        yield rule["action"][0]["type"], rule["condition"][0]


def touches(condition: dict[str, Any], name: str) -> bool:
    """Tell whether a rule's names are this object's, whatever its age."""
    prefixes = [prefix.replace("${var.prefix}/", "") for prefix in condition.get("matches_prefix", [""])]
    suffixes = condition.get("matches_suffix", [""])
    return any(map(name.startswith, prefixes)) and any(map(name.endswith, suffixes))


def test_models_and_records_are_never_deleted_in_any_version() -> None:
    for name, worth in lifecycle_classes().items():
        deleting = [condition for action, condition in rules() if action == "Delete" and touches(condition, name)]
        if worth in ("model", "record", "input"):
            assert not deleting, f"{name} is deleted"
        current = [condition for condition in deleting if condition.get("with_state") != "ARCHIVED"]
        assert bool(current) is (worth in ("report", "log", "decision")), (
            f"{name} is {'deleted' if current else 'never deleted'}"
        )
        for condition in current:
            assert "age" in condition, name


def test_every_rule_that_deletes_or_moves_is_about_something_that_there_is() -> None:
    names = [*lifecycle_classes(), f"{layout.PROBE}0a1b2c3d"]
    for action, condition in rules():
        if action == "AbortIncompleteMultipartUpload":
            continue
        for prefix in condition["matches_prefix"]:
            assert prefix.startswith("${var.prefix}/"), prefix
            assert any(touches({**condition, "matches_prefix": [prefix]}, name) for name in names), (
                f"nothing is {prefix}"
            )


def test_what_is_read_again_and_again_stays_where_reading_is_free() -> None:
    moved = [condition for action, condition in rules() if action == "SetStorageClass"]
    assert {condition["matches_storage_class"][0] for condition in moved} == {"STANDARD", "NEARLINE"}
    for name in (
        f"{layout.PREDICTION_HISTORY}/2018-10.version-3.parquet",
        f"{layout.OUTCOMES}/2019-03.csv",
        "mlflow/models/m-1/x",
    ):
        assert not any(touches(condition, name) for condition in moved), f"{name} is read by runs"
    for folder in (layout.INBOX, layout.PREDICTION_LOG):
        assert any(touches(condition, f"{folder}/x") for condition in moved)


def test_old_versions_are_limited_where_runs_replace_files() -> None:
    limited = [condition for _, condition in rules() if condition.get("with_state") == "ARCHIVED"]
    for name in assets():
        if name.endswith(".parquet"):
            assert any(touches(condition, name) for condition in limited), f"old versions of {name} pile up"


# --- rights


def test_only_two_roles_are_on_the_whole_project() -> None:
    grants = set()
    for _, _, body in resources("google_project_iam*"):
        grants.add((body["member"].split(".")[1], body["role"]))
    assert grants == ON_THE_PROJECT
    assert not [*resources("google_folder_iam*"), *resources("google_organization_iam*")]


def test_roles_are_small_and_are_added_to_what_others_gave() -> None:
    for module in MODULES:
        for kind in re.findall(r'^resource "(\w+_iam_(?:policy|binding|audit_config))"', text_of(module), re.M):
            pytest.fail(f"{kind} takes away what others gave")
    for module, name, body in resources("google_*"):
        role = body.get("role", "")
        assert not re.search(r"roles/(owner|editor|viewer)$|[aA]dmin$", role), f"{module}.{name}: {role}"


def test_there_are_no_keys() -> None:
    assert not [*resources("google_service_account_key")]
    assert not any("credentials" in block["google"] for block in read("")["provider"])


def test_each_service_account_is_one_services() -> None:
    accounts = {name for _, name, _ in resources("google_service_account")}
    runs_as = {
        name: body["template"][0]["service_account"] for _, name, body in resources("google_cloud_run_v2_service")
    }
    assert runs_as == {name: f"${{var.accounts.{name}}}" for name in runs_as}
    assert only("google_compute_instance")["service_account"][0]["email"] == "${var.account}"
    assert labelled("", "module")["platform"]["account"] == "${module.identity.accounts.platform}"
    federated = only("google_service_account_iam_member", "identity")
    assert federated["service_account_id"] == "${google_service_account.ci.name}"
    assert accounts == {*runs_as, "platform", "ci"}


def test_only_this_repository_and_branch_becomes_ci() -> None:
    condition = only("google_iam_workload_identity_pool_provider")["attribute_condition"]
    subject, ref = condition.split(" && ")
    assert subject == "assertion.sub == 'repo:${var.repository}:environment:${var.environment}'"
    assert ref == "assertion.ref == '${var.ref}'"


# --- secrets


def secrets_of(service: str) -> set[str]:
    """Return the secrets that a service is given."""
    if service == "platform":
        local = next(block["platform_secrets"] for block in read("")["locals"])
        (mapping,) = re.findall(r"(?s) in \{(.*?)\} :", local)
        return set(re.findall(r'=\s*"([a-z-]+)"', mapping))
    body = next(body for _, name, body in resources("google_cloud_run_v2_service") if name == service)
    (container,) = body["template"][0]["containers"]
    blocks = [block["env"] for block in container["dynamic"]]
    secret = [block for block in blocks if "value_source" in block["content"][0]]
    for block in secret:
        (reference,) = block["content"][0]["value_source"][0]["secret_key_ref"]
        assert reference["version"] == "${var.secrets[env.value].version}", "a secret is named by its version"
    return {name for block in secret for name in block["for_each"].values()}


def readers() -> dict[str, set[str]]:
    """Return the services that may read each secret."""
    local = next(block["secrets"] for block in read("")["locals"])
    direct = {name: set(secret["readers"]) for name, secret in local.items()}
    (database,) = (block["databases"] for block in read("database")["locals"])
    return direct | {f"{name}-database-url": {service} for name, service in database.items()}


def test_a_service_may_read_the_secrets_that_it_is_given_and_no_other() -> None:
    readers_of = defaultdict(set)
    for service in ("platform", "mlflow", "scoring"):
        for secret in secrets_of(service):
            readers_of[secret].add(service)
    assert dict(readers_of) == readers()
    services = labelled("", "module")["services"]["secrets"]
    assert set(re.findall(r'"([a-z-]+)"', services)) == secrets_of("mlflow") | secrets_of("scoring")
    accessor = only("google_secret_manager_secret_iam_member")
    assert (accessor["for_each"], accessor["role"]) == ("${var.readers}", "roles/secretmanager.secretAccessor")


def test_no_password_is_written_down_or_kept_in_the_state() -> None:
    for module in MODULES:
        assert not re.search(r'^resource "random_(password|string)"', text_of(module), re.M), (
            "it would stand in the state"
        )
    for module, name, body in resources("google_*"):
        for key, value in values(body):
            assert key not in ("password", "secret_data", "root_password"), f"{module}.{name} puts {key} into the state"
            if re.search("password|secret_data|token", key) and not key.endswith("_version"):
                assert value.startswith("${"), f"{module}.{name}: {key} is written down"
    assert "local.secret" not in str(only("google_compute_instance"))


def test_the_instance_is_told_the_names_of_secrets_and_not_their_values() -> None:
    metadata = only("google_compute_instance")["metadata"]
    assert '"${name}=${secret.id}/${secret.version}"' in metadata["loan-default-secrets"]
    assert not any("secret" in value for name, value in metadata.items() if name != "loan-default-secrets")
    assert labelled("secret", "variable")["value"]["ephemeral"] is True
    assert "value" not in labelled("secret", "output")


# --- what runs


def test_services_are_looked_after_and_bounded() -> None:
    for _, name, body in resources("google_cloud_run_v2_service"):
        (template,) = body["template"]
        (container,) = template["containers"]
        for probe in ("startup_probe", "liveness_probe"):
            assert container[probe][0]["http_get"][0]["path"], f"{name} has no {probe}"
        assert {"min_instance_count", "max_instance_count"} == set(template["scaling"][0]), name
        assert template["max_instance_request_concurrency"], name
        assert container["resources"][0]["limits"], name


def test_everything_that_keeps_something_is_protected() -> None:
    for kind in ("google_sql_database_instance", "google_compute_instance", "google_cloud_run_v2_service"):
        for _, name, body in resources(kind):
            assert body["deletion_protection"] == "${var.deletion_protection}", name
    assert only("google_storage_bucket")["force_destroy"] == "${!var.deletion_protection}"
    assert labelled("", "variable")["deletion_protection"]["default"] is True
    for name, body in labelled("", "module").items():
        if "deletion_protection" in body:
            assert body["deletion_protection"] == "${var.deletion_protection}", name


def test_the_database_is_backed_up() -> None:
    (settings,) = only("google_sql_database_instance")["settings"]
    (backup,) = settings["backup_configuration"]
    assert backup["enabled"] is True
    assert backup["point_in_time_recovery_enabled"] is True
    (databases,) = (block["databases"] for block in read("database")["locals"])
    assert set(databases) == {"dagster", "mlflow", "optuna"}


class Loader(yaml.SafeLoader):
    """Compose's own tags: what they replace is of no interest here."""


Loader.add_constructor(
    "!override",
    lambda loader, node: (
        loader.construct_mapping(node, deep=True)
        if isinstance(node, yaml.MappingNode)
        else loader.construct_sequence(node, deep=True)  # type: ignore[arg-type]
    ),
)
Loader.add_constructor("!reset", lambda loader, node: None)


def test_on_the_instance_run_dagsters_services_with_secrets_in_memory_only() -> None:
    base, cloud = (yaml.load((DOCKER / name).read_text(), Loader) for name in ("compose.yaml", "compose.cloud.yaml"))
    running = {name for name, service in base["services"].items() if not service.get("profiles")}
    elsewhere = {name for name, service in cloud["services"].items() if service.get("profiles")}
    assert running - elsewhere == {"webserver", "daemon", "code-server"}
    for name in running - elsewhere:
        service = cloud["services"][name]
        assert service["secrets"] == ["environment"], name
        assert ". /run/secrets/environment;" in service["entrypoint"][-1], name
        assert not set(service["depends_on"] or ()) & elsewhere, f"{name} waits for what does not run here"
    assert "secrets" not in cloud["services"]["mlflow-ui"], "it needs none"
    published = [port for service in cloud["services"].values() for port in service.get("ports", [])]
    assert all(port.startswith("127.0.0.1:") for port in published)
    assert cloud["secrets"]["environment"]["file"].startswith("/run/"), "that is memory"
    start = (INFRA / "modules" / "platform" / "start.sh").read_text(encoding="utf-8")
    required = set(re.findall(r"\$\{(\w+):\?", (DOCKER / "compose.yaml").read_text(encoding="utf-8")))
    (stand_ins,) = re.findall(r"(?s)for name in ([A-Z_\s\\]+); do\n  export", start)
    assert set(stand_ins.replace("\\", "").split()) == required


def test_every_setting_reaches_a_container() -> None:
    services = yaml.safe_load((DOCKER / "compose.yaml").read_text(encoding="utf-8"))["services"].values()
    environment = {name for service in services for name in service.get("environment") or {}}
    in_images = {"LOAN_DEFAULT_HOME", "DAGSTER_HOME"}
    of_hosts = {WEB_PORT}  # compose publishes another one
    of_platforms = {AUTHENTICATED_BY, VERTEX_PORT, PREDICT_ROUTE, HEALTH_ROUTE, *SAGEMAKER}
    of_addresses = {"PGPASSWORD"}  # which hold their passwords there
    assert known_variables() - environment == in_images | of_hosts | of_platforms | of_addresses


GCLOUD = """#!/usr/bin/env bash
case $* in
  secrets*api-tokens*) echo 'a?b&c=d,e';;
  secrets*) echo 'postgresql://u:p@10.0.0.2:5432/dagster?sslmode=require';;
esac
"""
CURL = """#!/usr/bin/env bash
case ${!#} in
  */loan-default-settings) printf 'LOAN_DEFAULT_ENV=staging\\nLOAN_DEFAULT_DATA=gs://bucket/a=b/loans.csv';;
  */loan-default-secrets)
    printf '%s\\n' LOAN_DEFAULT_DAGSTER_STORAGE=dagster-database-url/1 LOAN_DEFAULT_API_TOKENS=api-tokens/3;;
  */loan-default-image) printf 'europe-west3-docker.pkg.dev/p/loan-default/loan-default-platform@sha256:0';;
  *) echo "# ${!#}";;
esac
"""
COMMANDS = '#!/usr/bin/env bash\n[[ $* != *\'--entrypoint id\'* ]] || id -u\necho "$0 $*" >>"$CALLS"\n'


@pytest.mark.integration
def test_the_instance_starts_with_its_secrets_in_a_file_for_the_containers_alone(tmp_path: Path) -> None:
    """The script itself, with stand-ins for Google's commands and Docker, under folders of this test."""
    commands = tmp_path / "bin"
    commands.mkdir()
    scripts = {"gcloud": GCLOUD, "curl": CURL, "docker": COMMANDS, "systemctl": COMMANDS, "apt-get": COMMANDS}
    for name, script in scripts.items():
        (commands / name).write_text(script)
        (commands / name).chmod(0o755)
    source = (INFRA / "modules" / "platform" / "start.sh").read_text(encoding="utf-8")
    for folder in ("/etc/loan-default", "/run/loan-default", "/root"):
        source = source.replace(f"={folder}\n", f"={tmp_path}{folder}\n").replace(
            f"HOME={folder} ", f"HOME={tmp_path}{folder} "
        )
    for folder in ("etc", "run", "root"):
        (tmp_path / folder).mkdir()
    environment = {"PATH": f"{commands}:/usr/bin:/bin", "CALLS": str(tmp_path / "calls")}
    done = subprocess.run(["bash", "-c", source], check=False, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    secrets = tmp_path / "run" / "loan-default" / "environment"
    assert secrets.stat().st_mode & 0o777 == 0o400
    read_by_a_shell = f"set -a; . {secrets}; env"
    printed = subprocess.run(["sh", "-c", read_by_a_shell], capture_output=True, text=True, env={}, check=True).stdout
    for line in (
        "LOAN_DEFAULT_API_TOKENS=a?b&c=d,e",
        "LOAN_DEFAULT_DATA=gs://bucket/a=b/loans.csv",
        "LOAN_DEFAULT_DAGSTER_STORAGE=postgresql://u:p@10.0.0.2:5432/dagster?sslmode=require",
    ):
        assert line in printed.splitlines()
    calls = (tmp_path / "calls").read_text()
    assert " up --detach " in calls.splitlines()[-2]
    assert "a?b" not in calls + done.stdout + done.stderr, "a secret is on a command line or in the log"
    on_disk = [path for path in (tmp_path / "etc").rglob("*") if path.is_file()]
    assert len(on_disk) == 3
    assert not any("a?b" in path.read_text() for path in on_disk)


# --- alerts


def unquoted(text: str) -> str:
    """Undo the backslashes of a text in a filter of Cloud Logging, as it does before it reads a regular expression."""
    return str(json.loads(f'"{text}"'))


@pytest.mark.integration
def test_alerts_look_for_lines_that_the_platform_writes(harness: Harness) -> None:  # noqa: F811
    """What the sensor says is what Dagster's daemon prints."""
    from dagster._daemon import sensor

    assert 'f"Sensor {remote_sensor.name} skipped: {sensor_runtime_data.skip_message}"' in inspect.getsource(sensor)
    (block,) = (block for block in read("watching")["locals"])
    beginning = unquoted(*re.findall(r'message=~"(.*)"', block["daemon"]))

    def line(channels: Channels) -> str:
        message = harness.alerts(channels)
        return (
            f"2026-11-24 12:00:00 +0000 - dagster.daemon.SensorDaemon - INFO - Sensor alert_sensor skipped: {message}"
        )

    def matching_kinds(text: str) -> set[str]:
        """Return the alerts that the line sets off."""
        patterns = {name: unquoted(rule["says"]) for name, rule in block["lines"].items()}
        return {name for name, pattern in patterns.items() if re.search(beginning, text) and re.search(pattern, text)}

    nobody = Channels()
    quiet = line(nobody)
    assert re.search(beginning, quiet), "the daemon's sign of life"
    assert matching_kinds(quiet) == set()
    harness.add_run("training_job", RunStatus.FAILURE)
    assert matching_kinds(line(nobody)) == {"failed"}
    record = {"batch": "2018-10", "model_version": 1, "verdict": "drifted", "reasons": ["score: PSI 1.3 is above 0.25"]}
    Path(harness.write("drift_report", "2018-10.json", text=json.dumps(filled("drift_report", record)))).touch()
    assert matching_kinds(line(nobody)) == {"drifted"}
    harness.write_performance("degraded")
    assert matching_kinds(line(nobody)) == {"degraded"}
    dead = Channels(slack="http://127.0.0.1:1/")
    decided = {"verdict": "hold", "candidate": 2, "decided_by": "policy", "reasons": ["AUC is low."]}
    decided["decided_at"] = (datetime.now(UTC) - timedelta(minutes=1)).isoformat(timespec="seconds")
    decision_log.add(harness.storage.layout, filled("history", decided))
    assert matching_kinds(line(dead)) == {"unheard"}
