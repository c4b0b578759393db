"""Reports of earlier releases are read in today's words, those of today as they are."""

import pytest

from loan_default.risk.monitoring.verdicts import with_current_verdict


@pytest.mark.parametrize(
    ("recorded", "current"),
    [
        ("calm", "stable"),
        ("sound", "healthy"),
        ("fallen", "degraded"),
        *((word, word) for word in ("stable", "drifted", "healthy", "degraded", "not enough rows", "another word")),
    ],
)
def test_a_recorded_verdict_is_read_in_current_words(recorded: str, current: str) -> None:
    assert with_current_verdict({"verdict": recorded, "rows": 7}) == {"verdict": current, "rows": 7}
