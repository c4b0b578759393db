"""Group `training`: the parameters that tuning found, and the candidates fitted with them."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

import dagster as dg

from loan_default.adapters.parquet_table import ParquetTable
from loan_default.defs import metadata as shown
from loan_default.defs.mlflow_run import MlflowRunResource
from loan_default.defs.resources import ComputeResource, LoanBookResource, ModelRegistryResource, StudiesResource
from loan_default.risk.contract import OUTCOME, Contract
from loan_default.risk.evaluation import SHOWN_METRICS
from loan_default.risk.validation.quality_gates import NO_LEAK, TRAINING_RULES, failures, judge_candidate

if TYPE_CHECKING:
    from loan_default.risk.data.splitting import Splits
    from loan_default.risk.model.training import Candidate
    from loan_default.risk.model.tuning import Trial

# Of the heavy steps: `dagster.yaml` lets one run with any of them go at a time, also one that is of no job.
POOL = "training"


class TuningConfig(dg.Config):
    """How long to search: the study is continued until it holds this many trials."""

    trials: int = 12
    seed: int = 7


class TrainingConfig(dg.Config):
    """Which candidates to fit; none named: all."""

    candidates: list[str] = []  # noqa: RUF012 - pydantic copies it
    seed: int = 7


@dg.asset(
    group_name="training",
    pool=POOL,
    io_manager_key="json",
    **shown.described(
        "XGBoost's parameters, found on the train and calibrate windows; a study continues where it stopped.",
        domain="model",
        kinds={"optuna", "xgboost"},
    ),
)
@shown.in_one_sentence
def tuned_params(
    context: dg.AssetExecutionContext,
    config: TuningConfig,
    loan_book: LoanBookResource,
    studies: dg.ResourceParam[StudiesResource],
    compute: ComputeResource,
    cleaned_loans: ParquetTable,
    loan_splits: dict[str, Any],
) -> dg.MaterializeResult:
    """Search for parameters."""
    from loan_default.risk.data.splitting import Splits
    from loan_default.risk.model.development import development_on
    from loan_default.risk.model.tuning import tune

    splits, search = Splits.from_dict(loan_splits), loan_book.search_space
    at_most = search.xgboost.tuned_on_at_most

    def told(trial: "Trial") -> None:
        reached = "pruned" if trial.log_loss is None else f"log loss {trial.log_loss:.5f}"
        context.log.info(
            f"Trial {trial.number + 1} of {config.trials}: {reached}, best {trial.best:.5f}",
            extra={"share": (trial.number + 1) / config.trials},
        )

    found = tune(
        development_on(compute.engine, cleaned_loans, loan_book.contract, splits, at_most),
        search,
        data_fingerprint=splits.fingerprint,
        storage=studies.storage,
        trials=config.trials,
        seed=config.seed,
        on_trial=told,
    )
    return dg.MaterializeResult(
        value=found.to_dict(),
        metadata={
            "parameters": shown.table(["parameter", "value"], list(found.parameters.items())),
            "log_loss": found.log_loss,
            "start_log_loss": found.start_log_loss,
            "trials": found.trials,
            "pruned": found.pruned,
            "share_of_loans": splits.share_of(at_most),
            "study": found.study,
            "seconds": found.seconds,
            **compute.shown,
        },
    )


@dg.asset(
    group_name="training",
    pool=POOL,
    io_manager_key="json",
    check_specs=shown.check_specs("trained_model", TRAINING_RULES),
    **shown.described(
        "Candidates fitted and calibrated; the best is the newest version of the registered model (staging).",
        domain="model",
        kinds={"xgboost", "scikitlearn", "mlflow"},
    ),
)
@shown.in_one_sentence
def trained_model(
    context: dg.AssetExecutionContext,
    config: TrainingConfig,
    loan_book: LoanBookResource,
    model_registry: ModelRegistryResource,
    mlflow_run: MlflowRunResource,
    compute: ComputeResource,
    cleaned_loans: ParquetTable,
    loan_splits: dict[str, Any],
    tuned_params: dict[str, Any],
) -> Iterator[Any]:
    """Fit every candidate and register the best; stop where it is too good to be true."""
    from loan_default.adapters.model_store import provenance
    from loan_default.risk.data.splitting import Splits
    from loan_default.risk.model.development import development_on
    from loan_default.risk.model.training import KINDS, train_candidates
    from loan_default.risk.monitoring.reference_profile import reference_of

    contract, policy, splits = loan_book.contract, loan_book.policy, Splits.from_dict(loan_splits)
    candidates = train_candidates(
        development_on(compute.engine, cleaned_loans, contract, splits),
        tuned_params["parameters"],
        loan_book.search_space,
        policy.decision,
        seed=config.seed,
        kinds=config.candidates or KINDS,
        on_fitted=lambda c: context.log.info(f"{c.kind}: AUC {c.metrics['auc'].value:.4f} on calibrate"),
    )
    best = candidates[0]
    findings = judge_candidate(best, _grade(compute, cleaned_loans, contract, splits), policy.promotion)
    if not findings[TRAINING_RULES.index(NO_LEAK)].passed:
        yield from shown.check_results("trained_model", findings)
        raise dg.Failure(failures(findings), allow_retries=False)
    tags = {"data_fingerprint": splits.data_fingerprint, "training_fingerprint": splits.fingerprint, **provenance()}
    _log_run(mlflow_run, candidates, splits, {**tags, "kind": best.kind})
    version = model_registry.models.register(
        mlflow_run.run_id,
        candidates,
        reference=reference_of(
            compute.engine, cleaned_loans, contract, splits, best.scorer, policy.drift.report_sample_rows
        ),
        tags=tags,
    )
    yield dg.MaterializeResult(
        value=_record(candidates, version.version, mlflow_run.run_id, config.seed, tags),
        check_results=shown.check_results("trained_model", findings),
        metadata={
            "version": version.version,
            "kind": best.kind,
            "leaderboard": shown.table(
                ["candidate", *(f"{name} on calibrate" for name in SHOWN_METRICS)],
                [(c.kind, *(c.metrics[name].value for name in SHOWN_METRICS)) for c in candidates],
            ),
            "mlflow_run": model_registry.run_link(mlflow_run.run_id),
            "git_commit": tags["git_commit"],
            **compute.shown,
        },
    )


def _grade(compute: ComputeResource, loans: ParquetTable, contract: Contract, splits: "Splits") -> float | None:
    """AUC of the lender's own opinion on the calibrate window."""
    import polars as pl

    from loan_default.risk.model.development import on_windows
    from loan_default.risk.model.training import grade_auc, graded

    found = pl.concat(on_windows(compute.engine, loans, contract, splits, ["calibrate"], partial(graded, contract)))
    return grade_auc(found, found[OUTCOME].to_numpy().astype(float), contract)


def _record(
    candidates: tuple["Candidate", ...], version: int, run_id: str, seed: int, tags: Mapping[str, str]
) -> dict[str, Any]:
    """What later assets need to know of this training."""
    return {
        "version": version,
        "run_id": run_id,
        "kind": candidates[0].kind,
        "candidates": [candidate.kind for candidate in candidates],
        "parameters": {candidate.kind: dict(candidate.parameters) for candidate in candidates},
        "calibrate": {c.kind: {name: asdict(metric) for name, metric in c.metrics.items()} for c in candidates},
        "seed": seed,
        **tags,
    }


def _log_run(
    mlflow_run: MlflowRunResource, candidates: tuple["Candidate", ...], splits: "Splits", tags: Mapping[str, str]
) -> None:
    tracking, run_id = mlflow_run.tracking, mlflow_run.run_id
    tracking.set_tags(run_id, tags)
    tracking.log_parameters(
        run_id, {f"{c.kind}.{name}": value for c in candidates for name, value in c.parameters.items()}
    )
    tracking.log_metrics(
        run_id, {f"calibrate.{c.kind}.{name}": m.value for c in candidates for name, m in c.metrics.items()}
    )
    tracking.log_json(run_id, "windows.json", splits.to_dict())
