"""What a tick cannot ask now is its reason to skip."""

from collections.abc import Callable

import dagster as dg
import pytest

from loan_default.adapters.scoring_server import ServerError
from loan_default.adapters.tracking import TrackingError
from loan_default.defs.sensors.ticks import Result, explain_skips
from loan_default.risk.errors import BadInput


def _tick(error: Exception) -> Callable[[], Result]:
    @explain_skips
    def evaluate() -> Result:
        raise error

    return evaluate


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (TrackingError("The registry cannot be reached."), "The registry cannot be reached."),
        (ServerError("The server refuses the token."), "The server refuses the token."),
        (BadInput("contract.yaml has no fields."), "contract.yaml has no fields."),
        (OSError(28, "No space left on device", "/a"), "There is no room left at /a; make some"),
    ],
)
def test_what_cannot_be_asked_now_is_the_reason_to_skip(error: Exception, sentence: str) -> None:
    result = _tick(error)()
    assert isinstance(result, dg.SkipReason)
    assert str(result.skip_message).startswith(sentence)


def test_other_errors_fail_the_tick() -> None:
    with pytest.raises(ZeroDivisionError):
        _tick(ZeroDivisionError())()
