"""Asset checks: they display what a gate or a verdict decided, and decide nothing themselves.

The gates are in `risk.validation`; a step stops at them by `steps.gates`.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable

import dagster as dg

from loan_default.risk.policy import Finding
from loan_default.risk.validation.quality_gates import CLEANING_RULES, PREDICTION_RULES, TRAINING_RULES
from loan_default.steps.serving import CANARY_RULE

ROWS_KEPT, ENOUGH_ROWS, STABLE = "no_rows_lost", "enough_rows", "population_is_stable"
ALIAS_RULE, PROMOTED = "alias_points_where_the_decision_says", "newest_version_is_promoted"
READABLE, GOOD = "every_file_readable", "as_good_as_the_policy_asks"

DESCRIPTIONS = {
    **CLEANING_RULES,
    **TRAINING_RULES,
    **PREDICTION_RULES,
    PROMOTED: "Whether the policy put the newest version into production; a hold is a warning with its reasons.",
    ALIAS_RULE: "MLflow's alias production points where the decision says.",
    ROWS_KEPT: "Every row of the batch file can be scored; the warning counts those that cannot.",
    ENOUGH_ROWS: "The batch has as many applications as a verdict on its drift needs.",
    STABLE: "The applications are like the loans that the version was developed on, within the limits of the policy.",
    READABLE: "Every outcome file could be read; the warning names those that could not.",
    GOOD: "The version in production is as good on loans that ended as the policy asks.",
    CANARY_RULE: "The scoring server answers a known application by the version in production.",
}


def check_specs(
    asset: str, rules: Iterable[str], partitions: dg.PartitionsDefinition[str] | None = None
) -> list[dg.AssetCheckSpec]:
    """Declare the checks that an asset reports itself, one for each rule, and of each partition where it has any."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.PreviewWarning)  # of partitions; Dagster's version is pinned
        return [
            dg.AssetCheckSpec(rule, asset=asset, description=DESCRIPTIONS.get(rule), partitions_def=partitions)
            for rule in rules
        ]


def check_results(asset: str, findings: Iterable[Finding]) -> list[dg.AssetCheckResult]:
    """Turn findings into results of the checks that are named after their rules."""
    return [
        dg.AssetCheckResult(
            asset_key=asset,
            check_name=finding.rule,
            passed=finding.passed,
            description=finding.sentence,
        )
        for finding in findings
    ]


def warning(asset: str, rule: str, *, passed: bool, sentence: str, **figures: float | None) -> dg.AssetCheckResult:
    """Report what a person should look at, and what stops nothing; `figures` that are known are drawn over time."""
    return dg.AssetCheckResult(
        asset_key=asset,
        check_name=rule,
        passed=passed,
        description=sentence,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={name: figure for name, figure in figures.items() if figure is not None},
    )
