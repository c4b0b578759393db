"""How old a result may be by the policy, in Dagster's own terms: beyond that it warns, beyond twice that it fails.

Dagster's daemon compares it with when the asset was last made. A policy that cannot be read sets none; every run that
reads it says why.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import dagster as dg

from loan_default.risk.contract.loading import load_contract
from loan_default.risk.errors import BadInput
from loan_default.risk.policy import load_policy
from loan_default.settings import Settings


def with_freshness(assets: Iterable[Any], settings: Settings) -> list[Any]:
    """Give the assets of which the policy says how old they may be their freshness policies."""
    days = days_at_most(settings)

    def fresh(spec: dg.AssetSpec) -> dg.AssetSpec:
        limit = days.get(spec.key.path[-1])
        return spec if limit is None else spec.replace_attributes(freshness_policy=_warning_after(limit))

    return [*dg.map_asset_specs(fresh, [*assets])]


def days_at_most(settings: Settings) -> dict[str, int]:
    """Return how many days old the newest of an asset may be, by the asset's plain name."""
    try:
        policy = load_policy(settings.policy, load_contract(settings.contract))
    except BadInput:
        return {}
    return {
        "promoted_model": policy.promotion.decision_days_at_most,
        "drift_report": policy.drift.report_days_at_most,
        "performance_report": policy.performance.report_days_at_most,
    }


def _warning_after(days: int) -> dg.FreshnessPolicy:
    return dg.FreshnessPolicy.time_window(fail_window=timedelta(days=2 * days), warn_window=timedelta(days=days))
