"""All sensors: each is defined, runs by the setting, and is evaluated by its own module."""

from pathlib import Path

import dagster as dg
import pytest

from loan_default.defs.sensors.build import SENSORS
from loan_default.settings import Settings
from loan_default_tests.homes import definitions_of

NAMES = (
    *("new_batch_sensor", "drift_sensor", "performance_sensor"),
    *("production_sensor", "lost_run_sensor", "alert_sensor"),
)


@pytest.mark.parametrize("running", [True, False])
def test_every_sensor_runs_or_waits_by_the_setting(tmp_path: Path, running: bool) -> None:
    sensors = definitions_of(Settings(home=tmp_path, sensors=running)).sensors or []
    statuses = {sensor.name: sensor.default_status is dg.DefaultSensorStatus.RUNNING for sensor in sensors}
    assert statuses == dict.fromkeys(NAMES, running)
    assert all(sensor.description for sensor in sensors)


@pytest.mark.parametrize("name", NAMES)
def test_a_sensor_is_evaluated_by_the_module_of_its_name(name: str) -> None:
    assert SENSORS[name].evaluate.__module__ == f"loan_default.defs.sensors.{name}"
