"""Findings as asset checks."""

import dagster as dg

from loan_default.defs.checks import check_results, check_specs, warning
from loan_default.risk.policy import Finding

FINDINGS = (Finding("ids_unique", True, "4 loans have 4 ids."), Finding("calibrated", False, "Error 0.2."))


def test_findings_become_results_of_the_checks_of_their_names() -> None:
    specs = check_specs("trained_model", [finding.rule for finding in FINDINGS])
    results = check_results("trained_model", FINDINGS)
    assert [spec.key for spec in specs] == [
        dg.AssetCheckKey(result.asset_key or dg.AssetKey("none"), str(result.check_name)) for result in results
    ]
    assert [(result.passed, result.description) for result in results] == [
        (True, "4 loans have 4 ids."),
        (False, "Error 0.2."),
    ]
    assert {result.severity for result in results} == {dg.AssetCheckSeverity.ERROR}


def test_what_a_person_should_look_at_is_a_warning() -> None:
    result = warning("drift_report", "enough_rows", passed=False, sentence="50 applications; 200 are needed.")
    assert (result.passed, result.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert result.description == "50 applications; 200 are needed."
