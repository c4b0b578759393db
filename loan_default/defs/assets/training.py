"""Group `training`: the parameters that tuning found, and the candidates fitted with them.

Tested in `defs/test_pipeline.py`.
"""

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from loan_default.adapters.parquet_table import ParquetTable
from loan_default.defs import metadata
from loan_default.defs.checks import check_results, check_specs
from loan_default.defs.metadata import MODEL, OWNERS, Metadata
from loan_default.defs.mlflow_run import MlflowRunResource
from loan_default.defs.resources import ComputeResource, LoanBookResource, ModelRegistryResource, StudiesResource
from loan_default.defs.results import explain_failures, log_warnings
from loan_default.risk.metrics import SHOWN_METRICS
from loan_default.risk.validation.quality_gates import TRAINING_RULES
from loan_default.steps.training import Training, TrainingData, Tuning, train_and_register, tune_parameters

if TYPE_CHECKING:
    from loan_default.risk.model.training import Candidate
    from loan_default.risk.model.tuning import Trial

# Of the heavy steps: `dagster.yaml` lets one run with any of them go at a time, also one that is of no job.
POOL = "training"


class TuningConfig(dg.Config):
    """Whose parameters to search and how long: the study is continued until it holds this many trials."""

    candidate: str = Field(default="xgboost", description="Candidate whose parameters are searched.")
    trials: int = Field(default=12, description="Trials that the study holds in the end, those of before included.")
    seed: int = Field(default=7, description="Seed of the search.")


class TrainingConfig(dg.Config):
    """Which candidates to fit; none named: those that the search space enables."""

    candidates: list[str] = Field(default=[], description="Candidates to fit; none: those of the search space.")
    seed: int = Field(default=7, description="Seed of everything random.")


@dg.asset(
    group_name="training",
    pool=POOL,
    io_manager_key="json",
    description="A candidate's parameters, searched on the first two windows; a study continues where it stopped.",
    kinds={"optuna", "xgboost"},
    tags=MODEL,
    owners=OWNERS,
)
@explain_failures
def tuned_params(
    context: dg.AssetExecutionContext,
    config: TuningConfig,
    loan_book: LoanBookResource,
    studies: dg.ResourceParam[StudiesResource],
    compute: ComputeResource,
    cleaned_loans: ParquetTable,
    cleaning_report: dict[str, Any],
    loan_splits: dict[str, Any],
) -> dg.MaterializeResult[dict[str, Any]]:
    """Search for parameters."""
    tuning = tune_parameters(
        TrainingData.of(cleaned_loans, cleaning_report, loan_splits, loan_book.contract, compute.engine),
        loan_book.search_space,
        loan_book.policy.decision,
        **config.model_dump(),
        study_storage=studies.storage,
        on_trial=partial(_log_trial, context.log, config.trials),
    )
    log_warnings(context, tuning.tuned.warnings())
    return dg.MaterializeResult(value=tuning.tuned.to_dict(), metadata={**_tuning_metadata(tuning), **compute.metadata})


def _log_trial(log: dg.DagsterLogManager, trials: int, trial: "Trial") -> None:
    number = trial.number + 1
    result = "pruned" if trial.log_loss is None else f"log loss {trial.log_loss:.5f}"
    log.info(f"Trial {number} of {trials}: {result}, best {trial.best:.5f}", extra={"share": number / trials})


def _tuning_metadata(tuning: Tuning) -> Metadata:
    tuned = tuning.tuned
    return {
        "candidate": tuned.candidate,
        "parameters": metadata.table(["parameter", "value"], list(tuned.parameters.items())),
        "log_loss": tuned.log_loss,
        "start_log_loss": tuned.start_log_loss,
        **({} if tuned.gain_error is None else {"gain_error": tuned.gain_error}),
        "trials": tuned.trials,
        "pruned": tuned.pruned,
        "study": tuned.study,
        "seconds": tuned.seconds,
        "share_of_loans": metadata.percent(tuning.share_of_loans),
        "warnings": metadata.bullets(tuned.warnings()),
    }


@dg.asset(
    group_name="training",
    pool=POOL,
    io_manager_key="json",
    check_specs=check_specs("trained_model", TRAINING_RULES),
    description="Candidates fitted and calibrated; the best is the newest version of the registered model (staging).",
    kinds={"xgboost", "scikitlearn", "mlflow"},
    tags=MODEL,
    owners=OWNERS,
)
@explain_failures
def trained_model(
    context: dg.AssetExecutionContext,
    config: TrainingConfig,
    loan_book: LoanBookResource,
    model_registry: ModelRegistryResource,
    mlflow_run: MlflowRunResource,
    compute: ComputeResource,
    cleaned_loans: ParquetTable,
    cleaning_report: dict[str, Any],
    loan_splits: dict[str, Any],
    tuned_params: dict[str, Any],
) -> dg.MaterializeResult[Mapping[str, Any]]:
    """Fit every candidate and register the best; stop where it is too good to be true."""
    training = train_and_register(
        TrainingData.of(cleaned_loans, cleaning_report, loan_splits, loan_book.contract, compute.engine),
        tuned_params,
        loan_book.search_space,
        loan_book.policy,
        model_registry.models,
        mlflow_run.run_id,
        kinds=config.candidates,
        seed=config.seed,
        on_fitted=partial(_log_candidate, context.log),
    )
    link = model_registry.run_link(mlflow_run.run_id)
    return dg.MaterializeResult(
        value=training.record,
        check_results=check_results("trained_model", training.findings),
        metadata={**_training_metadata(training), "mlflow_run": link, **compute.metadata},
    )


def _log_candidate(log: dg.DagsterLogManager, candidate: "Candidate") -> None:
    log.info(f"{candidate.kind}: AUC {candidate.metrics['auc'].value:.4f} on calibrate")


def _training_metadata(training: Training) -> Metadata:
    return {
        "version": training.record["version"],
        "kind": training.record["kind"],
        **{name: training.candidates[0].metrics[name].value for name in SHOWN_METRICS},
        "leaderboard": metadata.table(
            ["on calibrate", *SHOWN_METRICS.values()],
            [(c.kind, *(c.metrics[name].value for name in SHOWN_METRICS)) for c in training.candidates],
        ),
        "git_commit": training.record["git_commit"],
        "value": training.record["value"],
        "timing": training.record["timing"],
    }
