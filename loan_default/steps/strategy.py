"""Step of group `registry`: measure what the cut-offs of the newest version earn on the loans of its test window.

The look at that window is the evaluation's, which comes before; what is measured is `strategy_report`'s, in `risk`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from loan_default.risk.policy import Policy, StrategyLimits

if TYPE_CHECKING:
    from loan_default.adapters.model_store import ModelStore
    from loan_default.risk.metrics import Bootstrap
    from loan_default.steps.training import TrainingData

_NO_RECORD = "The version was trained before values were, so nothing is said of value."


def measure_cut_offs(
    data: TrainingData,
    trained_model: Mapping[str, Any],
    models: ModelStore,
    policy: Policy,
    *,
    bootstrap: Bootstrap,
) -> dict[str, Any]:
    """Return the record of what cut-offs earn, or of why nothing is said of it: then `problem` is a sentence.

    Args:
        data: the loans, of which the test window counts.
        trained_model: the record of the training.
        models: where the version is.
        policy: the limits within which cut-offs are proposed.
        bootstrap: of the months of issue, on which the proposal's intervals rest.
    """
    from loan_default.risk.model.valued_version import score_ended
    from loan_default.risk.value.strategy_report import measure_strategy, report_columns

    number = trained_model["version"]
    scorer = models.scorer(models.tracking.get(number))
    if scorer.value is None:
        return {"version": number, "problem": trained_model.get("value", _NO_RECORD)}
    columns = report_columns(scorer.contract)
    scored = score_ended(scorer, data.engine, data.loans, data.splits, ("test",), columns=columns)
    limits = policy.value.limits if policy.value else StrategyLimits()
    span = data.splits.window("test").span
    measured = measure_strategy(scorer, scored, limits, bootstrap=bootstrap)
    return {"version": number, "window": span, **measured}
