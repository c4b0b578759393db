"""A step stops where a finding failed, and hands on all of them."""

import pytest

from loan_default.risk.policy import Finding
from loan_default.steps.gates import GateFailed, require_passed

PASSED = Finding("ids_unique", True, "4 loans have 4 ids.")
FAILED = Finding("default_rate_in_band", False, "60% of the loans defaulted; 5% to 40% is expected.")


def test_a_finding_that_failed_stops_the_step_with_all_findings() -> None:
    with pytest.raises(GateFailed) as raised:
        require_passed("cleaned_loans", [PASSED, FAILED])
    assert str(raised.value) == FAILED.sentence
    assert (raised.value.asset, raised.value.findings) == ("cleaned_loans", (PASSED, FAILED))


def test_findings_that_passed_stop_nothing() -> None:
    require_passed("cleaned_loans", [PASSED])
    require_passed("cleaned_loans", [])
