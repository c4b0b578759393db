"""Asset checks: they display what a gate decided, and decide nothing themselves.

The gates are in `risk.validation`; a step stops at them by `steps.gates`.
"""

from __future__ import annotations

from collections.abc import Iterable

import dagster as dg

from loan_default.risk.policy import Finding


def check_specs(asset: str, rules: Iterable[str]) -> list[dg.AssetCheckSpec]:
    """Declare the checks that an asset reports itself, one for each rule of its gate."""
    return [dg.AssetCheckSpec(rule, asset=asset) for rule in rules]


def check_results(asset: str, findings: Iterable[Finding]) -> list[dg.AssetCheckResult]:
    """Turn findings into results of the checks that are named after their rules."""
    return [
        dg.AssetCheckResult(
            asset_key=asset,
            check_name=finding.rule,
            passed=finding.passed,
            description=finding.sentence,
            metadata={"found": finding.sentence},
        )
        for finding in findings
    ]


def warning(asset: str, rule: str, *, passed: bool, sentence: str) -> dg.AssetCheckResult:
    """Report what a person should look at, and what stops nothing."""
    return dg.AssetCheckResult(
        asset_key=asset,
        check_name=rule,
        passed=passed,
        description=sentence,
        severity=dg.AssetCheckSeverity.WARN,
    )
