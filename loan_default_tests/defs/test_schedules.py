"""What is due when, on a real instance: a training each week, and each day the batches that wait."""

from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from loan_default.settings import Settings
from loan_default_tests.homes import definitions_of

AT = datetime(2026, 3, 2, 5, tzinfo=UTC)  # a Monday


@pytest.fixture(scope="module")
def definitions(tmp_path_factory: pytest.TempPathFactory) -> dg.Definitions:
    settings = Settings(home=tmp_path_factory.mktemp("home"), schedules=True, time_zone="Europe/Berlin")
    return definitions_of(settings)


def requests_of(definitions: dg.Definitions, name: str, instance: dg.DagsterInstance) -> list[dg.RunRequest]:
    schedule = definitions.resolve_schedule_def(name)
    context = dg.build_schedule_context(
        instance, scheduled_execution_time=AT, repository_def=definitions.get_repository_def()
    )
    return list(schedule.evaluate_tick(context).run_requests or [])


def materialize(instance: dg.DagsterInstance, asset: str, batch: str) -> None:
    instance.report_runless_asset_event(dg.AssetMaterialization(asset, partition=batch))


def test_a_training_is_due_each_week(definitions: dg.Definitions) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        (request,) = requests_of(definitions, "weekly_training", instance)
    assert request.run_key == "2026-03-02"


@pytest.mark.integration
def test_what_waits_is_asked_for_each_day(definitions: dg.Definitions) -> None:
    with dg.instance_for_test() as instance:
        assert requests_of(definitions, "daily_batch_prediction", instance) == []
        instance.add_dynamic_partitions("batch", ["new", "scored", "compared"])
        for batch in ("scored", "compared"):
            materialize(instance, "predictions", batch)
        materialize(instance, "drift_report", "compared")
        scoring = requests_of(definitions, "daily_batch_prediction", instance)
        monitoring = requests_of(definitions, "daily_monitoring", instance)
    assert [request.partition_key for request in scoring] == ["new"]
    assert [request.partition_key for request in monitoring] == ["scored"]


@pytest.mark.parametrize("running", [True, False])
def test_schedules_run_by_the_setting_and_in_its_time_zone(tmp_path: Path, running: bool) -> None:
    definitions = definitions_of(Settings(home=tmp_path, schedules=running, time_zone="Europe/Berlin"))
    for name, cron in {
        "weekly_training": "0 3 * * 1",
        "daily_batch_prediction": "0 5 * * *",
        "daily_monitoring": "0 6 * * *",
    }.items():
        schedule = definitions.resolve_schedule_def(name)
        assert (schedule.cron_schedule, schedule.execution_timezone) == (cron, "Europe/Berlin")
        assert (schedule.default_status is dg.DefaultScheduleStatus.RUNNING) == running
