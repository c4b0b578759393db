"""All sensors: what each evaluates, how often, and the jobs of which it may request runs.

What a sensor does is in the module that bears its name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import cleandoc
from typing import Any

import dagster as dg

from loan_default.defs.sensors import (
    alert_sensor,
    drift_sensor,
    lost_run_sensor,
    new_batch_sensor,
    performance_sensor,
    production_sensor,
)
from loan_default.defs.sensors.ticks import Result


@dataclass(frozen=True)
class Sensor:
    """A sensor's function, the least seconds between two ticks, and the jobs that it may request."""

    evaluate: Callable[..., Result]
    interval_seconds: int
    jobs: tuple[str, ...] = ()


SENSORS: Mapping[str, Sensor] = {
    "new_batch_sensor": Sensor(new_batch_sensor.evaluate, 10, ("batch_prediction_job",)),
    "drift_sensor": Sensor(drift_sensor.evaluate, 15, ("retraining_job", "batch_prediction_job")),
    "performance_sensor": Sensor(performance_sensor.evaluate, 30, ("performance_job",)),
    "production_sensor": Sensor(production_sensor.evaluate, 15, ("serving_job",)),
    "lost_run_sensor": Sensor(lost_run_sensor.evaluate, 30),
    "alert_sensor": Sensor(alert_sensor.evaluate, 30),
}


def build_sensors(jobs: Mapping[str, Any], *, running: bool) -> list[dg.SensorDefinition]:
    """Define every sensor; running from the start, or once a person starts it."""
    status = dg.DefaultSensorStatus.RUNNING if running else dg.DefaultSensorStatus.STOPPED
    return [
        dg.sensor(
            name=name,
            jobs=[jobs[job] for job in sensor.jobs] or None,
            minimum_interval_seconds=sensor.interval_seconds,
            default_status=status,
            description=cleandoc(sensor.evaluate.__doc__ or ""),
        )(sensor.evaluate)
        for name, sensor in SENSORS.items()
    ]
