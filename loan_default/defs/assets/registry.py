"""Group `registry`: the newest version measured on the test window, the decision on it, and its card.

Tested in `defs/test_pipeline.py`.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from loan_default.adapters.parquet_table import ParquetTable
from loan_default.defs import metadata
from loan_default.defs.checks import ALIAS_RULE, PROMOTED, check_specs, warning
from loan_default.defs.metadata import MODEL, OWNERS, Metadata
from loan_default.defs.resources import (
    ClockResource,
    ComputeResource,
    LoanBookResource,
    ModelRegistryResource,
    StorageResource,
    WebPagesResource,
)
from loan_default.defs.results import explain_failures
from loan_default.risk.metrics import SHOWN_METRICS, metric_headings
from loan_default.risk.text import shorten_sentences
from loan_default.steps.evaluation import VersionEvaluation, evaluate_version
from loan_default.steps.model_card import VersionRecords, write_card
from loan_default.steps.promotion import Promotion, decide_on_version
from loan_default.steps.strategy import measure_cut_offs
from loan_default.steps.training import TrainingData

if TYPE_CHECKING:
    from loan_default.risk.evaluation import Evaluation
    from loan_default.risk.metrics import Bootstrap, Interval
    from loan_default.risk.validation.champion_challenger import Judgement

_PLOTS = ("roc.png", "calibration.png", "default_rate_by_decile.png")


class EvaluationConfig(dg.Config):
    """The bootstrap resamples on which the intervals rest."""

    resamples: int = Field(default=200, description="Bootstrap resamples on which every interval rests.")
    seed: int = Field(default=7, description="Seed of the resamples: the same seed gives the same intervals.")

    @property
    def bootstrap(self) -> "Bootstrap":
        """How the loans of an interval are drawn anew."""
        from loan_default.risk.metrics import Bootstrap

        return Bootstrap(self.seed, self.resamples)


@dg.asset(
    group_name="registry",
    io_manager_key="json",
    description="The newest version, the other candidates and the version in production on the same test loans.",
    kinds={"python", "mlflow"},
    tags=MODEL,
    owners=OWNERS,
)
@explain_failures
def model_evaluation(
    config: EvaluationConfig,
    loan_book: LoanBookResource,
    model_registry: ModelRegistryResource,
    storage: StorageResource,
    compute: ComputeResource,
    clock: ClockResource,
    cleaned_loans: ParquetTable,
    cleaning_report: dict[str, Any],
    loan_splits: dict[str, Any],
    trained_model: dict[str, Any],
) -> dg.MaterializeResult[dict[str, Any]]:
    """Measure on the test window, which nothing else looks at."""
    evaluation = evaluate_version(
        TrainingData.of(cleaned_loans, cleaning_report, loan_splits, loan_book.contract, compute.engine),
        trained_model,
        model_registry.models,
        loan_book.policy,
        storage.layout,
        now=clock.now(),
        bootstrap=config.bootstrap,
    )
    link = model_registry.run_link(trained_model["run_id"])
    return dg.MaterializeResult(
        value=evaluation.to_dict(),
        metadata={**_evaluation_metadata(evaluation), "mlflow_run": link, **compute.metadata},
    )


def _evaluation_metadata(evaluation: VersionEvaluation) -> Metadata:
    judgement = evaluation.judgement
    segments = judgement.evaluation.segments
    return {
        "version": evaluation.version,
        **_trend(judgement.evaluation),
        "leaderboard": _leaderboard(judgement, evaluation.champion_version),
        "decisions": metadata.table(
            ["decision", "share", "default rate"],
            [
                (decision, metadata.percent(share), None if rate is None else metadata.percent(rate))
                for decision, share, rate in judgement.decisions.select("decision", "share", "default_rate").rows()
            ],
        ),
        "segments": metadata.table(
            ["field", "level", "loans", "default rate", "mean PD", "z", "AUC", "KS"],
            [
                (s.field, s.level, s.rows, *map(metadata.percent, (s.default_rate, s.mean_pd)), s.z, s.auc, s.ks)
                for s in segments
            ],
        ),
        **{name.removesuffix(".png"): metadata.picture(evaluation.plots[name], name) for name in _PLOTS},
    }


def _trend(evaluation: "Evaluation") -> Metadata:
    """Return the figures of the newest version that the UI draws over time."""
    gain = evaluation.opinion_gain
    figures = {name: metadata.rounded(evaluation.metrics[name].value) for name in SHOWN_METRICS}
    return {**figures, **({} if gain is None else {"gain_over_opinion": metadata.rounded(gain.value)})}


def _leaderboard(judgement: "Judgement", champion: int | None) -> dg.MarkdownMetadataValue:
    def line(name: str, metrics: Mapping[str, "Interval"]) -> list[Any]:
        return [name, str(metrics["auc"]), *(metrics[metric].value for metric in list(SHOWN_METRICS)[1:])]

    rows = [line(kind, metrics) for kind, metrics in judgement.leaderboard.items()]
    if judgement.champion:
        common, all_rows = judgement.comparable, judgement.evaluation.rows
        on = f", on {common.rows:,} loans" if common is not None and common.rows < all_rows else ""
        rows.append(line(f"version {champion}, in production{on}", judgement.champion))
    return metadata.table(["model", *metric_headings()], rows)


@dg.asset(
    group_name="registry",
    io_manager_key="json",
    deps=["model_evaluation"],
    description="What cut-offs of the newest version earn on its test loans, by PD and by value; nothing is decided.",
    kinds={"python"},
    tags=MODEL,
    owners=OWNERS,
)
@explain_failures
def strategy_report(
    config: EvaluationConfig,
    loan_book: LoanBookResource,
    model_registry: ModelRegistryResource,
    compute: ComputeResource,
    cleaned_loans: ParquetTable,
    cleaning_report: dict[str, Any],
    loan_splits: dict[str, Any],
    trained_model: dict[str, Any],
) -> dg.MaterializeResult[dict[str, Any]]:
    """Measure what cut-offs earn, and propose some."""
    report = measure_cut_offs(
        TrainingData.of(cleaned_loans, cleaning_report, loan_splits, loan_book.contract, compute.engine),
        trained_model,
        model_registry.models,
        loan_book.policy,
        bootstrap=config.bootstrap,
    )
    return dg.MaterializeResult(value=report, metadata={**_strategy_metadata(report), **compute.metadata})


def _strategy_metadata(report: Mapping[str, Any]) -> Metadata:
    if "problem" in report:
        return {"version": report["version"], "problem": report["problem"]}
    by_rule = report["equal_number"]
    rows = [
        (rule, each["loans"], metadata.percent(each["default_rate"] or 0), each["expected_npv"], each["npv"])
        for rule, each in by_rule.items()
    ]
    return {
        "version": report["version"],
        "unit": report["unit"],
        "equal_number": metadata.table(["rule", "loans", "default rate", "expected NPV", "realised NPV"], rows),
        "npv_by_pd": by_rule["pd"]["npv"],
        "npv_by_value": by_rule["npv"]["npv"],
    }


@dg.asset(
    group_name="registry",
    io_manager_key="json",
    check_specs=check_specs("promoted_model", [PROMOTED, ALIAS_RULE]),
    description="The decision on the newest version, by policy; a hold is as normal an outcome as a promotion.",
    kinds={"mlflow"},
    tags=MODEL,
    owners=OWNERS,
)
@explain_failures
def promoted_model(
    context: dg.AssetExecutionContext,
    loan_book: LoanBookResource,
    model_registry: ModelRegistryResource,
    storage: StorageResource,
    clock: ClockResource,
    model_evaluation: dict[str, Any],
) -> dg.MaterializeResult[Mapping[str, Any]]:
    """Decide, and move the alias where the policy says so."""
    promotion = decide_on_version(
        model_evaluation,
        model_registry.models,
        loan_book.policy,
        storage.layout,
        now=clock.now(),
        decided_by=f"policy, run {context.run.run_id}",
    )
    checks = [_verdict_check(promotion), _alias_check(promotion)]
    return dg.MaterializeResult(value=promotion.record, check_results=checks, metadata=_promotion_metadata(promotion))


def _verdict_check(promotion: Promotion) -> dg.AssetCheckResult:
    decision = promotion.decision
    return warning(
        "promoted_model",
        PROMOTED,
        passed=decision.verdict == "promote",
        sentence=f"{decision.verdict} version {decision.candidate}: {shorten_sentences(decision.reasons)}",
    )


def _alias_check(promotion: Promotion) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        check_name=ALIAS_RULE,
        passed=promotion.production == promotion.expected,
        description=f"production points at version {promotion.production}, the decision says {promotion.expected}.",
    )


def _promotion_metadata(promotion: Promotion) -> Metadata:
    decision = promotion.decision
    rules = [(finding.rule, finding.passed, finding.sentence) for finding in decision.findings]
    return {
        "verdict": decision.verdict,
        "candidate": decision.candidate,
        "production": promotion.production or "none",
        "reasons": metadata.bullets(decision.reasons),
        "rules": metadata.table(["rule", "passed", "found"], rules),
    }


@dg.asset(
    group_name="registry",
    io_manager_key="markdown",
    deps=["strategy_report"],
    description="What a risk analyst reads of the newest version: data, quality, decisions, limits.",
    kinds={"markdown"},
    tags=MODEL,
    owners=OWNERS,
)
@explain_failures
def model_card(
    loan_book: LoanBookResource,
    model_registry: ModelRegistryResource,
    web_pages: WebPagesResource,
    storage: StorageResource,
    cleaning_report: dict[str, Any],
    loan_splits: dict[str, Any],
    trained_model: dict[str, Any],
    model_evaluation: dict[str, Any],
    promoted_model: dict[str, Any],
) -> dg.MaterializeResult[str]:
    """Write the card, here and into MLflow."""
    records = VersionRecords(cleaning_report, loan_splits, trained_model, model_evaluation, promoted_model)
    card = write_card(records, model_registry.models, loan_book.policy, storage.layout)
    return dg.MaterializeResult(
        value=card.text,
        metadata={
            "page": dg.MetadataValue.url(web_pages.pages.card(trained_model["version"])),
            "card": dg.MetadataValue.md(card.text),
            "mlflow_run": model_registry.run_link(card.mlflow_run_id),
        },
    )
