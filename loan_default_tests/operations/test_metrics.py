"""The platform's metrics: counts that only grow, and one verdict at a time."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from prometheus_client import Metric

from loan_default.defs.instance_status import Daemon, InstanceStatus, Instigator
from loan_default.operations.batch_status import BatchStatus
from loan_default.operations.batches import score
from loan_default.operations.metrics import instance_metrics, status_metrics, write_metrics
from loan_default.operations.runs import JobFailed, run_job
from loan_default.operations.status import PerformanceStatus, ServerStatus, Status, VersionStatus
from loan_default.settings import Settings
from loan_default_tests.operations.conftest import write_batch

STATUS = Status((VersionStatus("production", 3), VersionStatus("staging")), (), (), (), ServerStatus(""), None)


def values(metrics: list[Metric]) -> dict[tuple[str, ...], float]:
    """Return each value by the name of its metric and the values of its labels."""
    return {(s.name, *s.labels.values()): s.value for metric in metrics for s in metric.samples}


def test_the_newest_verdict_is_the_one_that_stands() -> None:
    batches = (BatchStatus("1", "scored", verdict="drifted"), BatchStatus("2", "scored", verdict="stable"))
    status = replace(
        STATUS,
        batches=(*batches, BatchStatus("3", "scored"), BatchStatus("4", "failed"), BatchStatus("5", "refused")),
        waiting=("6", "7"),
        performance=PerformanceStatus(3, "degraded", "2026-01-01", None),
    )
    samples = values([*status_metrics(status)])
    drift = {key[1]: value for key, value in samples.items() if key[0] == "loan_default_drift_verdict"}
    assert drift == {"stable": 1, "drifted": 0, "not enough rows": 0}
    assert samples["loan_default_performance_verdict", "degraded"] == 1
    assert [samples["loan_default_batches", state] for state in ("failed", "refused", "waiting")] == [1, 1, 2]
    assert [samples["loan_default_alias_version", alias] for alias in ("production", "staging")] == [3, 0]


def test_no_verdict_is_none_of_them() -> None:
    samples = values([*status_metrics(STATUS)])
    assert {value for key, value in samples.items() if key[0].endswith("_verdict")} == {0}


def test_daemons_the_queue_and_sensors_that_fail() -> None:
    now = datetime.now(UTC)
    status = InstanceStatus(
        daemons=(Daemon("SENSOR", now, None), Daemon("ASSET", None, None)),
        instigators=(Instigator("a", True, "broken"), Instigator("b", True, None)),
        queued_since=now - timedelta(hours=1),
        runs_under_way=2,
        lost_runs=(),
        newest_run_at=None,
        monitors_runs=True,
        retries_runs=True,
        limits_runs=True,
    )
    samples = values([*instance_metrics(status)])
    name = "loan_default_daemon_last_heartbeat_timestamp_seconds"
    assert (samples[name, "SENSOR"], samples[name, "ASSET"]) == (now.timestamp(), 0)
    assert 3600 <= samples["loan_default_queue_wait_seconds",] < 3700
    assert (samples["loan_default_failing_sensors",], samples["loan_default_runs_under_way",]) == (1, 2)


@pytest.mark.integration
def test_runs_are_counted_by_job_and_how_they_ended(
    home: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = write_metrics(home).splitlines()
    failed = 'loan_default_runs_total{dagster_job="batch_prediction_job",status="failure"}'
    assert f"{failed} 0.0" in before
    score(home, write_batch(tmp_path / "2014-07.csv"))
    write_batch(Path(home.storage) / "applications" / "2014-08.csv").write_text("id\n1\n")
    with pytest.raises(JobFailed):
        run_job(home, "batch_prediction_job", batch="2014-08")
    opened: list[dg.DagsterInstance] = []
    open_from_home = dg.DagsterInstance.get

    def open_instance() -> dg.DagsterInstance:
        opened.append(open_from_home())
        return opened[-1]

    monkeypatch.setattr(dg.DagsterInstance, "get", open_instance)
    after = write_metrics(home).splitlines()
    assert len(opened) == 1  # which takes longer than to read all that is shown
    assert f"{failed} 1.0" in after
    assert f"{failed.replace('failure', 'success')} 1.0" in after
    assert [line for line in after if line.startswith("loan_default_job_last_success_timestamp_seconds{")]
    assert 'loan_default_batches{state="failed"} 1.0' in after
    assert 'loan_default_drift_verdict{verdict="not enough rows"} 1.0' in after
    assert 'loan_default_alias_version{alias="production"} 1.0' in after
