"""Waiting for what another thread or process does soon; light, as the helper of a scoring server imports it too."""

import time
from collections.abc import Callable


def within(seconds: float, condition: Callable[[], bool]) -> bool:
    """Wait until the condition holds; tell whether it did in time."""
    deadline = time.monotonic() + seconds
    while not (holds := condition()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return holds
