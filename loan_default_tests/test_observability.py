"""`docker/observability`: rules by promtool, dashboards as they are written, and metrics by a real Prometheus.

The programs are those of Debian's package `prometheus`; what needs them skips where they are absent.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import pytest
import yaml

from loan_default.defs.instance_status import InstanceStatus
from loan_default.operations.metrics import instance_metrics, run_metrics, status_metrics
from loan_default.operations.status import ServerStatus, Status
from loan_default.serving.metrics import Metrics
from loan_default_tests.stores import free_port, log_model, new_run, new_tracking

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docker" / "observability"
RULES = sorted(FOLDER.glob("rules/*.yml"))
ALERTS = {
    rule["alert"]: rule
    for file in RULES
    for group in yaml.safe_load(file.read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
    if "alert" in rule
}
needs_prometheus = pytest.mark.skipif(
    not (shutil.which("promtool") and shutil.which("prometheus")), reason="needs Prometheus: apt-get install prometheus"
)
# What stands in an expression and is no metric.
_WORDS = {"and", "or", "unless", "by", "on", "ignoring", "without", "group_left", "group_right", "offset", "bool"}


def load_generator() -> Any:
    spec = spec_from_file_location("dashboards", FOLDER / "dashboards.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules["dashboards"] = module  # where its dataclasses are looked up
    spec.loader.exec_module(module)
    return module


def dashboards() -> Iterator[tuple[str, dict[str, Any]]]:
    for file in sorted(FOLDER.glob("grafana/dashboards/*.json")):
        yield file.name, json.loads(file.read_text(encoding="utf-8"))


def expressions() -> Iterator[tuple[str, str]]:
    """Yield each expression of a rule or a dashboard, with its place."""
    for file in RULES:
        for group in yaml.safe_load(file.read_text(encoding="utf-8"))["groups"]:
            for rule in group["rules"]:
                yield f"{file.name} {rule.get('alert') or rule['record']}", rule["expr"]
    for name, dashboard in dashboards():
        for panel in dashboard["panels"]:
            for target in panel.get("targets", ()):
                yield f"{name} {panel['title']}", target["expr"]


def metrics_of(expression: str) -> set[str]:
    """Return the names of metrics in an expression: words that are no function, label, duration or number."""
    bare = re.sub(r'"[^"]*"|\{[^}]*\}|\[[^\]]*\]', " ", expression)
    bare = re.sub(r"\b(by|on|ignoring|without|group_left|group_right) *\([^)]*\)", " ", bare)
    words = re.findall(r"[a-zA-Z_:][\w:]*(?! *\()\b", re.sub(r"\b\d+[smhdw]\b", " ", bare))
    return {word for word in words if not re.search(rf"\b{re.escape(word)} *\(", bare)} - _WORDS


def exposed() -> set[str]:
    """Return the names of all series of the scoring server and of the platform, and those that rules record."""
    server = re.findall(r"^# TYPE (\S+) (\S+)", Metrics().text().decode(), re.M)
    names = {name for name, _ in server}
    names |= {f"{name}_{part}" for name, kind in server if kind == "histogram" for part in ("bucket", "sum", "count")}
    status = Status((), (), (), (), ServerStatus(""), None)
    with dg.DagsterInstance.ephemeral() as instance:
        platform = [
            *run_metrics(instance),
            *instance_metrics(InstanceStatus((), (), None, 0, (), None, True, True, True)),
            *status_metrics(status),
        ]
    names |= {f"{metric.name}_total" if metric.type == "counter" else metric.name for metric in platform}
    recorded = re.findall(r"- record: (\S+)", "".join(file.read_text(encoding="utf-8") for file in RULES))
    return names | {*recorded, "up"}


def test_names_of_metrics_are_read_from_an_expression() -> None:
    assert metrics_of('max by (le) (abs(rate(a_bucket{le="x"}[5m]) / on (b) group_left () c offset 6h)) > 1000') == {
        "a_bucket",
        "c",
    }


def test_every_expression_names_metrics_that_exist() -> None:
    names = exposed()
    unknown = {expression_source: metrics_of(expression) - names for expression_source, expression in expressions()}
    assert not {expression_source: missing for expression_source, missing in unknown.items() if missing}
    assert all(metrics_of(expression) for _, expression in expressions())


def test_every_metric_of_the_platform_is_shown_or_watched() -> None:
    used = {name for _, expression in expressions() for name in metrics_of(expression)}
    parts = re.compile("_(bucket|sum|count)$")
    stems = {parts.sub("", name) for name in used}
    unused = {name for name in exposed() if name.startswith("loan_default_") and parts.sub("", name) not in stems}
    assert unused == set()


def test_the_level_of_latency_is_a_bucket() -> None:
    levels = {level for _, expression in expressions() for level in re.findall(r'le="([^"]+)"', expression)}
    assert levels
    assert all(f'loan_default_request_seconds_bucket{{le="{level}"}}' in Metrics().text().decode() for level in levels)


def test_the_dashboards_are_what_the_generator_writes() -> None:
    written = {file.name: file.read_text(encoding="utf-8") for file in FOLDER.glob("grafana/dashboards/*.json")}
    assert written == load_generator().texts(), "make dashboards"


def test_panels_do_not_overlap_and_have_their_source() -> None:
    for name, dashboard in dashboards():
        cells: set[tuple[int, int]] = set()
        for panel in dashboard["panels"]:
            grid = panel["gridPos"]
            own = {(grid["x"] + x, grid["y"] + y) for x in range(grid["w"]) for y in range(grid["h"])}
            assert not own & cells, (name, panel["title"])
            assert max(x for x, _ in own) < 24
            cells |= own
            sources = [target["datasource"]["uid"] for target in panel.get("targets", ())]
            provisioned = yaml.safe_load((FOLDER / "grafana/provisioning/datasources/prometheus.yaml").read_text())
            assert {*sources} <= {source["uid"] for source in provisioned["datasources"]}
        identifiers = [panel["id"] for panel in dashboard["panels"]]
        assert len({*identifiers}) == len(identifiers)


def test_every_alert_has_a_test_that_it_fires_and_one_that_it_does_not() -> None:
    fires, stays = set[str](), set[str]()
    for file in FOLDER.glob("tests/*.test.yml"):
        for test in yaml.safe_load(file.read_text(encoding="utf-8"))["tests"]:
            for case in test.get("alert_rule_test", ()):
                (fires if case.get("exp_alerts") else stays).add(case["alertname"])
    assert fires == stays == {*ALERTS}


def test_every_alert_is_a_page_or_a_ticket_and_the_docs_say_what_to_do() -> None:
    page = (ROOT / "docs" / "observability.md").read_text(encoding="utf-8")
    anchors = {heading.lower() for heading in re.findall(r"^#+ (\w+)$", page, re.M)}
    for name, alert in ALERTS.items():
        assert alert["labels"]["severity"] in ("page", "ticket"), name
        file, _, anchor = alert["annotations"]["runbook"].partition("#")
        assert file == "docs/observability.md", name
        assert anchor in anchors, name


# --- by the real programs


@needs_prometheus
@pytest.mark.integration
def test_rules_and_configuration_pass_promtool() -> None:
    for command in (
        ("check", "config", "prometheus.yml"),
        ("check", "rules", *map(str, RULES)),
        ("test", "rules", *map(str, sorted(FOLDER.glob("tests/*.test.yml")))),
    ):
        done = subprocess.run(["promtool", *command], cwd=FOLDER, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@contextmanager
def started(command: list[str], log: Path, environment: Mapping[str, str] | None = None) -> Iterator[None]:
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
    try:
        yield
    finally:
        process.terminate()
        process.wait(timeout=40)


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[httpx.Client]:
    """A Prometheus by our configuration, which scrapes a scoring server and the platform, with version 1 in MLflow."""
    tracking = new_tracking(tmp_path / "registry")
    run_id = new_run(tracking)
    tracking.promote(tracking.register(run_id, log_model(tracking, run_id), {}).version, {})
    scoring, platform, own = free_port(), free_port(), free_port()
    config = (FOLDER / "prometheus.yml").read_text(encoding="utf-8")
    for old, new in {
        "scoring:5001": f"127.0.0.1:{scoring}",
        "metrics:9464": f"127.0.0.1:{platform}",
        "15s": "1s",
        "60s": "10s",
        "50s": "10s",
        "rules/*.yml": f"{FOLDER}/rules/*.yml",
    }.items():
        assert old in config
        config = config.replace(old, new)
    (tmp_path / "prometheus.yml").write_text(config, encoding="utf-8")
    command = [sys.executable, "-m", "loan_default.cli"]
    environment = {
        **os.environ,
        "LOAN_DEFAULT_HOME": str(tmp_path / "home"),
        "DAGSTER_HOME": str(tmp_path / "home" / "dagster"),
        "MLFLOW_TRACKING_URI": tracking.tracking_uri,
    }
    with (
        started([*command, "serve", "--port", str(scoring)], tmp_path / "serve.log", environment),
        started([*command, "metrics", "--port", str(platform)], tmp_path / "metrics.log", environment),
        started(
            [
                "prometheus",
                f"--config.file={tmp_path}/prometheus.yml",
                f"--storage.tsdb.path={tmp_path}/tsdb",
                f"--web.listen-address=127.0.0.1:{own}",
            ],
            tmp_path / "prometheus.log",
        ),
        httpx.Client(base_url=f"http://127.0.0.1:{own}", timeout=10) as client,
    ):
        yield client


def ask(client: httpx.Client, expression: str, accept: Callable[[list[float]], bool]) -> list[float]:
    """Return the values of an expression as soon as they are as they should be."""
    deadline = time.monotonic() + 120
    values: list[float] = []
    while time.monotonic() < deadline:
        with suppress(httpx.TransportError):
            answer = client.get("/api/v1/query", params={"query": expression})
            if answer.status_code == 200:  # it is not ready while it starts
                values = [float(series["value"][1]) for series in answer.json()["data"]["result"]]
        if accept(values):
            return values
        time.sleep(0.3)
    raise AssertionError(f"{expression}: {values}")


@needs_prometheus
@pytest.mark.integration
def test_a_real_prometheus_scrapes_a_real_server_and_the_platform(prometheus: httpx.Client) -> None:
    ask(prometheus, "up", lambda values: values == [1, 1])
    ask(prometheus, 'loan_default_model_version{job="scoring",alias="production"}', lambda values: values == [1])
    ask(prometheus, 'loan_default_alias_version{alias="production"}', lambda values: values == [1])
    ask(prometheus, "loan_default_build_info", lambda values: values == [1])
    ask(prometheus, 'loan_default_runs_total{dagster_job="full_pipeline_job",status="failure"}', lambda v: v == [0])
    groups = prometheus.get("/api/v1/rules").json()["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert {rule["name"] for rule in rules if rule["type"] == "alerting"} == {*ALERTS}
    ask(
        prometheus,
        "count(ALERTS{alertname='ScoringServesNothing',alertstate='firing'}) or vector(0)",
        lambda v: v == [0],
    )
    assert not [rule for rule in rules if rule["health"] == "err"]
