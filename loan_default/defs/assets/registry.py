"""Group `registry`: the newest version measured on the test window, the decision on it, and its card."""

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import dagster as dg

from loan_default.adapters import decision_log
from loan_default.adapters.layout import MODEL_CARD
from loan_default.adapters.parquet_table import ParquetTable
from loan_default.adapters.tracking import PRODUCTION
from loan_default.defs import metadata as shown
from loan_default.defs.resources import ComputeResource, LoanBookResource, ModelRegistryResource, StorageResource
from loan_default.risk.contract import OUTCOME
from loan_default.risk.evaluation import SHOWN_METRICS, metric_headings
from loan_default.risk.validation.promotion import PromotionDecision, decide_promotion
from loan_default.risk.validation.quality_gates import judge_leak

if TYPE_CHECKING:
    from loan_default.risk.evaluation import Interval
    from loan_default.risk.validation.champion_challenger import Judgement

_SHOWN = ("roc.png", "calibration.png", "default_rate_by_decile.png")


class EvaluationConfig(dg.Config):
    """How many bootstrap resamples the intervals rest on."""

    resamples: int = 200
    seed: int = 7


@dg.asset(
    group_name="registry",
    io_manager_key="json",
    **shown.described(
        "The newest version, the other candidates and the version in production on the same test loans.",
        domain="model",
        kinds={"python", "mlflow"},
    ),
)
@shown.in_one_sentence
def model_evaluation(
    config: EvaluationConfig,
    loan_book: LoanBookResource,
    model_registry: ModelRegistryResource,
    compute: ComputeResource,
    cleaned_loans: ParquetTable,
    loan_splits: dict[str, Any],
    trained_model: dict[str, Any],
) -> dg.MaterializeResult:
    """Measure on the test window, which nothing else looks at."""
    import polars as pl

    from loan_default.risk.data.splitting import Splits
    from loan_default.risk.model.development import on_windows
    from loan_default.risk.validation.champion_challenger import judge_on_test, score_test
    from loan_default.risk.validation.plots import evaluation_pngs

    splits, policy = Splits.from_dict(loan_splits), loan_book.policy.promotion
    if trained_model["training_fingerprint"] != splits.fingerprint:  # its training may hold loans that now test
        raise dg.Failure(
            f"Version {trained_model['version']} was trained on other loans or windows than these; train again.",
            allow_retries=False,
        )
    run_id, leader = trained_model["run_id"], trained_model["kind"]
    candidates = {kind: model_registry.models.candidate(run_id, kind) for kind in trained_model["candidates"]}
    in_production = model_registry.tracking.version_of(PRODUCTION)
    champion = model_registry.models.scorer(in_production) if in_production else None
    scored = partial(score_test, candidates, champion, policy)
    test = pl.concat(on_windows(compute.engine, cleaned_loans, loan_book.contract, splits, ["test"], scored))
    judgement, scores = judge_on_test(
        test,
        candidates,
        leader,
        champion,
        policy,
        out_of_time=splits.out_of_time,
        seed=config.seed,
        resamples=config.resamples,
    )
    leak = judge_leak(judgement.evaluation.metrics["auc"].value, policy)
    if not leak.passed:
        raise dg.Failure(f"On the test window: {leak.sentence}", allow_retries=False)
    figures = evaluation_pngs(test[OUTCOME], scores, candidates[leader])
    model_registry.models.log_evaluation(run_id, judgement, figures)
    version = in_production.version if in_production else None
    return dg.MaterializeResult(
        value={"version": trained_model["version"], "champion_version": version, "judgement": judgement.to_dict()},
        metadata={
            **_judgement_metadata(judgement, version),
            **{name.removesuffix(".png"): shown.picture(figures[name], name) for name in _SHOWN},
            "mlflow_run": model_registry.run_link(run_id),
            **compute.shown,
        },
    )


def _judgement_metadata(judgement: "Judgement", champion: int | None) -> dict[str, dg.MarkdownMetadataValue]:
    segments = judgement.evaluation.segments
    return {
        "leaderboard": _leaderboard(judgement, champion),
        "decisions": shown.table(
            ["decision", "share", "default rate"],
            judgement.decisions.select("decision", "share", "default_rate").rows(),
        ),
        "segments": shown.table(
            ["field", "level", "loans", "default rate", "mean PD", "AUC"],
            [(s.field, s.level, s.rows, s.default_rate, s.mean_pd, s.auc) for s in segments],
        ),
    }


def _leaderboard(judgement: "Judgement", champion: int | None) -> dg.MarkdownMetadataValue:
    def line(name: str, metrics: dict[str, "Interval"]) -> list[Any]:
        return [name, str(metrics["auc"]), *(metrics[metric].value for metric in list(SHOWN_METRICS)[1:])]

    rows = [line(kind, dict(metrics)) for kind, metrics in judgement.leaderboard.items()]
    rows += [line(f"version {champion} (production)", dict(judgement.champion))] if judgement.champion else []
    return shown.table(["model", *metric_headings()], rows)


@dg.asset(
    group_name="registry",
    io_manager_key="json",
    check_specs=shown.check_specs("promoted_model", ["alias_points_where_the_decision_says"]),
    **shown.described(
        "The decision on the newest version, by policy; a hold is as normal an outcome as a promotion.",
        domain="model",
        kinds={"mlflow"},
    ),
)
@shown.in_one_sentence
def promoted_model(
    context: dg.AssetExecutionContext,
    loan_book: LoanBookResource,
    model_registry: ModelRegistryResource,
    storage: StorageResource,
    model_evaluation: dict[str, Any],
) -> Iterator[Any]:
    """Decide, and move the alias where the policy says so."""
    from loan_default.risk.validation.champion_challenger import Judgement

    tracking, judged = model_registry.tracking, Judgement.from_dict(model_evaluation["judgement"])
    in_production = tracking.version_of(PRODUCTION)
    champion = in_production.version if in_production else None
    same_champion = champion == model_evaluation["champion_version"]
    decision = decide_promotion(
        model_evaluation["version"],
        champion,
        judged.evaluation,
        judged.comparison if same_champion else None,
        loan_book.policy.promotion,
    )
    record = {
        **decision.to_dict(),
        "decided_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "decided_by": f"policy, run {context.run_id}",
    }
    model_registry.models.record_decision(record)
    decision_log.add(storage.layout, record)
    after = tracking.version_of(PRODUCTION)
    expected = decision.candidate if decision.verdict == "promote" else champion
    found = after.version if after else None
    yield dg.MaterializeResult(
        value=record,
        check_results=[
            dg.AssetCheckResult(
                check_name="alias_points_where_the_decision_says",
                passed=found == expected,
                description=f"production points at version {found}, the decision says {expected}.",
            )
        ],
        metadata={
            "verdict": decision.verdict,
            "candidate": decision.candidate,
            "production": found or "none",
            "reasons": shown.bullets(decision.reasons),
            "rules": shown.table(
                ["rule", "passed", "found"], [(f.rule, f.passed, f.sentence) for f in decision.findings]
            ),
        },
    )


@dg.asset(
    group_name="registry",
    io_manager_key="markdown",
    **shown.described(
        "What a risk analyst reads of the newest version: data, quality, decisions, limits.",
        domain="model",
        kinds={"markdown"},
    ),
)
@shown.in_one_sentence
def model_card(
    model_registry: ModelRegistryResource,
    cleaning_report: dict[str, Any],
    loan_splits: dict[str, Any],
    trained_model: dict[str, Any],
    model_evaluation: dict[str, Any],
    promoted_model: dict[str, Any],
) -> dg.MaterializeResult:
    """Write the card, here and into MLflow."""
    from loan_default.risk.data.splitting import Splits
    from loan_default.risk.validation.champion_challenger import Judgement, intervals
    from loan_default.risk.validation.model_card import ModelCardInputs, leaderboard
    from loan_default.risk.validation.model_card import model_card as write_model_card
    from loan_default.risk.validation.plots import field_importance

    splits, judged = Splits.from_dict(loan_splits), Judgement.from_dict(model_evaluation["judgement"])
    version = model_registry.tracking.get(trained_model["version"])
    scorer = model_registry.models.scorer(version)
    on_calibrate = {kind: intervals(metrics) for kind, metrics in trained_model["calibrate"].items()}
    card = write_model_card(
        ModelCardInputs(
            scorer=scorer,
            parameters=trained_model["parameters"][trained_model["kind"]],
            cleaning=cleaning_report,
            splits=splits,
            leaderboard=leaderboard(on_calibrate, judged.leaderboard),
            evaluation=judged.evaluation,
            decisions=judged.decisions,
            groups=judged.groups,
            importance=field_importance(scorer.model, scorer.space),
            seed=trained_model["seed"],
            trained_at=version.created_at,
            git_commit=trained_model["git_commit"],
            libraries={k.removeprefix("version."): v for k, v in trained_model.items() if k.startswith("version.")},
            version=version.version,
            comparison=judged.comparison,
            promotion=PromotionDecision.from_dict(promoted_model),
        )
    )
    model_registry.tracking.log_text(version.run_id, MODEL_CARD, card)
    return dg.MaterializeResult(
        value=card, metadata={"card": dg.MetadataValue.md(card), "mlflow_run": model_registry.run_link(version.run_id)}
    )
