"""The code location, which Dagster loads: settings in, definitions out; no logic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dagster as dg

from loan_default.defs.assets import (
    backtest,
    data,
    monitoring,
    outcomes,
    performance,
    provision,
    registry,
    scoring,
    serving,
    training,
)
from loan_default.defs.book import BookNames
from loan_default.defs.code import with_code
from loan_default.defs.freshness import with_freshness
from loan_default.defs.jobs import build_jobs
from loan_default.defs.logger import progress_logger
from loan_default.defs.resources import build_resources
from loan_default.defs.schedules import build_schedules
from loan_default.defs.sensors.build import build_sensors
from loan_default.homes import prepare_process, warn_of_temporary_home
from loan_default.settings import Settings, load_settings, require


def build_definitions(
    settings: Settings, resource_overrides: Mapping[str, Any] | None = None, *, retries: bool = True
) -> dg.Definitions:
    """Build all assets, checks, jobs and resources for these settings; `resource_overrides` replaces resources by name.

    With `retries` a step of a batch is tried again where its failure may pass; a person who waits is told at once.
    """
    names = BookNames(settings.book)
    plain = names.assets(
        [data, training, registry, scoring, monitoring, outcomes, performance, backtest, provision, serving]
    )
    assets = with_freshness(with_code(plain), settings)
    jobs = build_jobs(settings.tracking, names, retries=retries)
    by_name = {job.name: job for job in jobs}
    return dg.Definitions(
        assets=assets,
        jobs=jobs,
        sensors=build_sensors(by_name, running=settings.sensors),
        schedules=build_schedules(by_name, names, running=settings.schedules, time_zone=settings.time_zone),
        resources={**build_resources(settings), **(resource_overrides or {})},
        executor=dg.in_process_executor,
        loggers={"progress": progress_logger, "console": dg.colored_console_logger},
    )


warn_of_temporary_home()
_settings = load_settings()
require()
prepare_process(_settings)
defs = build_definitions(_settings)
