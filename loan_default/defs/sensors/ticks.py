"""The common parts of sensors: a tick that cannot ask what it needs says so, and runs that are under way.

What each sensor does is in the module that bears its name; `build` puts all of them together.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

import dagster as dg

from loan_default.adapters.scoring_server import ServerError
from loan_default.adapters.storage import explain_os_error
from loan_default.adapters.tracking import TrackingError
from loan_default.risk.errors import BadInput

Parameters = ParamSpec("Parameters")
Result = dg.SensorResult | dg.SkipReason

MAX_REQUESTS = 3  # runs in one tick: Dagster files them one by one, and other sensors wait
MAX_NAMES = 10  # in a skip reason
MAX_RUNS = 100  # of the past that are looked at
UNDER_WAY = {
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
}


def explain_skips(evaluate: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Decorate a sensor's function: what cannot be asked now is the reason to skip, and is asked at the next tick."""

    @wraps(evaluate)
    def tick(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        try:
            return evaluate(*args, **kwargs)
        except (TrackingError, ServerError, BadInput) as error:
            return dg.SkipReason(str(error))
        except OSError as error:
            return dg.SkipReason(explain_os_error(error))

    return tick
