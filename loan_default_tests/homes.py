"""Small homes of the platform: few loans, a quick search and a lenient policy, so that a training takes seconds.

Homes, the files that people drop into them, jobs that run in them and what such a run says belong here. What runs
beside a job (servers, daemons, databases) has modules of its own.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dagster as dg
import polars as pl
import yaml
from upath import UPath

from loan_default.adapters import storage
from loan_default.homes import prepare_process
from loan_default.risk.data.synthetic import make_loans, write_csv
from loan_default.risk.policy import load_policy
from loan_default.risk.reviewed_file import CONF
from loan_default.settings import Settings
from loan_default_tests.shared import made_once
from loan_default_tests.stores import new_tracking

LOANS, TUNED_ON = 6_000, 3_000
FIRST_MONTH, LAST_MONTH = date(2012, 1, 1), date(2014, 6, 1)
QUICK = {"tuned_params": {"trials": 2}, "model_evaluation": {"resamples": 20}}


def small_loans() -> pl.DataFrame:
    """Make loans as published, nearly all of them resolved."""
    return make_loans(LOANS, seed=7, first_month=FIRST_MONTH, last_month=LAST_MONTH)


def write_outcomes(folder: Path, loans: pl.DataFrame, month: str = "2020-01") -> Path:
    """Write how loans as published stand in a month, into the file that people drop into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{month}.csv"
    loans.select("id", "loan_status").with_columns(pl.lit(month).alias("month")).write_csv(path)
    return path


def new_home(folder: Path, bucket: UPath | None = None) -> Settings:
    """Make a home in `folder/home`, loans, policy and search space beside it; or storage and loans in a bucket."""
    settings = _settings_of(folder)
    write_csv(small_loans(), folder / "loans.csv", footer=True)
    (folder / "policy.yaml").write_text(yaml.safe_dump(_lenient_policy()), encoding="utf-8")
    (folder / "search_space.yaml").write_text(yaml.safe_dump(_quick_search()), encoding="utf-8")
    if bucket is None:
        return settings
    storage.store(folder / "loans.csv", bucket / "book" / "loans.csv")
    return replace(settings, storage=str(bucket / "platform"), data=str(bucket / "book" / "*.csv"))


def _settings_of(folder: Path) -> Settings:
    return Settings(
        home=folder / "home",
        data=str(folder / "loans.csv"),
        policy=folder / "policy.yaml",
        search_space=folder / "search_space.yaml",
    )


def trained_home(folder: Path) -> Settings:
    """Make a home in `folder` with version 1 in production, a copy of one that is trained once for all processes."""
    return copy_home("trained_home", _train_home, folder)


def copy_home(name: str, make: Callable[[Path], None], folder: Path) -> Settings:
    """Make a home in `folder`, a copy of the one of this name, which `make` makes once for all processes."""
    original = made_once(name, make)
    shutil.copytree(original, folder, dirs_exist_ok=True)
    settings = _settings_of(folder)
    _replace_paths(settings, original, folder)
    return settings


def _train_home(folder: Path) -> None:
    settings = new_home(folder)
    new_tracking(settings.home / "mlflow")
    with dagster_of(settings) as instance:
        result = Platform(settings, instance).run("full_pipeline_job", config=QUICK)
    assert failures(result) == []


def with_storage(settings: Settings, storage_folder: Path) -> Settings:
    """Move the storage of a home out of it."""
    before = Path(settings.storage)
    shutil.move(before, storage_folder)
    settings = replace(settings, storage=str(storage_folder))
    _replace_paths(settings, before, storage_folder)
    return settings


def _replace_paths(settings: Settings, before: Path, after: Path) -> None:
    """Have records and MLflow name the folder in which they lie now."""
    with closing(sqlite3.connect(settings.home / "mlflow" / "mlflow.db")) as database, database:
        tables = [name for (name,) in database.execute("select name from sqlite_master where type = 'table'")]
        for table in tables:
            for _, column, kind, *_ in database.execute(f'pragma table_info("{table}")').fetchall():
                if kind.startswith(("VARCHAR", "TEXT")):
                    update = f'update "{table}" set "{column}" = replace("{column}", ?, ?)'
                    database.execute(update, (str(before), str(after)))
    records = Path(settings.storage)
    for path in (*records.rglob("MLmodel"), *records.glob("*.json")):
        path.write_text(path.read_text(encoding="utf-8").replace(str(before), str(after)), encoding="utf-8")


def allow_any_promotion(settings: Settings) -> None:
    """Loosen the home's policy, so that a version is promoted which is no better than the one in production."""
    assert settings.policy is not None
    policy = yaml.safe_load(settings.policy.read_text(encoding="utf-8"))
    policy["promotion"] |= {
        "auc_gain_at_least": -1.0,
        "gain_low_above": -1.0,
        "auc_loss_at_most": 1.0,
        "brier_rise_at_most": 1.0,
    }
    settings.policy.write_text(yaml.safe_dump(policy), encoding="utf-8")


def environment_of(settings: Settings) -> dict[str, str]:
    """Return the environment of a process of this home."""
    return {
        **os.environ,
        "LOAN_DEFAULT_HOME": str(settings.home),
        "LOAN_DEFAULT_STORAGE": settings.storage,
        "LOAN_DEFAULT_DATA": settings.data,
        "LOAN_DEFAULT_POLICY": str(settings.policy),
        "LOAN_DEFAULT_SEARCH_SPACE": str(settings.search_space),
        "LOAN_DEFAULT_SERVING_URL": settings.serving_url,
        "DAGSTER_HOME": str(settings.dagster_home),
    }


def _lenient_policy() -> dict[str, Any]:
    """Return a policy to which what a few thousand loans can show is enough."""
    policy = load_policy().model_dump(mode="json")
    policy["promotion"] |= {
        "least_test_defaults": 50,
        "auc_at_least": 0.55,
        "gain_over_opinion_at_least": -0.2,
        "calibration_tolerance": 0.5,
        "slope_tolerance": 1.0,
        "segment_least_rows": 200,
        "segment_calibration_tolerance": 1.0,
        "blank_approvals_rise_at_most": 0.5,
    }
    policy["drift"]["report_sample_rows"] = 300
    policy["performance"] |= {"least_loans": 100, "least_defaults": 10, "auc_shortfall_at_most": 0.3}
    policy["value"] = {"funding_rate": 0.05, "servicing_cost": 0.01}
    return policy


def _quick_search() -> dict[str, Any]:
    space: dict[str, Any] = yaml.safe_load((CONF / "search_space.yaml").read_text(encoding="utf-8"))
    space["xgboost"] |= {"rounds_at_most": 60, "stop_after_rounds": 10, "tuned_on_at_most": TUNED_ON}
    space["xgboost"]["start"]["learning_rate"] = 0.1
    space["xgboost"]["search"]["learning_rate"]["high"] = 0.2
    space["random_forest"] |= {"trees": 25, "max_depth": 6}
    return space


@contextmanager
def own_environment() -> Iterator[None]:
    """Put the environment back at the end as it is now."""
    before = dict(os.environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def unset_environment() -> Iterator[None]:
    """Take every setting out of the environment meanwhile."""
    with own_environment():
        for name in list(os.environ):
            if name.startswith(("LOAN_DEFAULT_", "DAGSTER_", "MLFLOW_", "SLACK_", "ALERT_", "SMTP_")):
                del os.environ[name]
        yield


def definitions_of(settings: Settings) -> dg.Definitions:
    """Build the definitions; the module that does makes its own home when it is first loaded: this one."""
    with own_environment():
        os.environ["LOAN_DEFAULT_HOME"] = str(settings.home)
        from loan_default.definitions import build_definitions

        prepare_process(settings)
        return build_definitions(settings)


@contextmanager
def dagster_of(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """Open the instance that the home's own processes use."""
    with own_environment():
        prepare_process(settings)
        with dg.DagsterInstance.get() as instance:
            yield instance


@dataclass(frozen=True)
class Platform:
    """A home and the Dagster instance that runs its jobs."""

    settings: Settings
    instance: dg.DagsterInstance

    @property
    def storage(self) -> Path:
        return Path(self.settings.storage)

    def run(
        self,
        job: str,
        *,
        batch: str | None = None,
        config: Mapping[str, Mapping[str, Any]] | None = None,
        only: list[str] | None = None,
    ) -> dg.ExecuteInProcessResult:
        """Run a job, or `only` some assets of it; a failure is a result too."""
        definition = definitions_of(self.settings).resolve_job_def(job)
        return definition.execute_in_process(
            run_config={
                "ops": {op: {"config": values} for op, values in (config or {}).items()},
                "loggers": {"progress": {}},  # else Dagster's debug lines fill the output
            },
            instance=self.instance,
            partition_key=batch,
            raise_on_error=False,
            asset_selection=[dg.AssetKey(name) for name in only] if only else None,
        )

    def deliver(self, batch: str, applications: pl.DataFrame) -> None:
        """Put a batch file into the inbox and register its partition."""
        with TemporaryDirectory() as folder:
            write_csv(applications, file := Path(folder, f"{batch}.csv"))
            storage.store(file, UPath(self.settings.storage) / "applications" / file.name)
        self.instance.add_dynamic_partitions("batch", [batch])

    def metadata(self, asset: str, batch: str | None = None) -> Mapping[str, dg.MetadataValue]:
        """Return what the UI shows of the asset's newest materialization, or of its newest of a batch."""
        wish = dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[batch] if batch else None)
        (record,) = self.instance.fetch_materializations(wish, limit=1).records
        assert record.asset_materialization is not None
        return record.asset_materialization.metadata


@contextmanager
def new_platform(settings: Settings) -> Iterator[Platform]:
    """Make a platform with a real instance of its own."""
    settings.home.mkdir(parents=True, exist_ok=True)
    folder = settings.home / "instance"
    folder.mkdir()
    with dg.DagsterInstance.local_temp(str(folder), {"telemetry": {"enabled": False}}) as instance:
        yield Platform(settings, instance)


def failure(result: dg.ExecuteInProcessResult) -> str:
    """Return the sentence of the step that failed."""
    assert not result.success
    step = next(event for event in result.all_events if event.is_step_failure)
    assert step.step_failure_data.user_failure_data, step.step_failure_data.error
    return step.step_failure_data.user_failure_data.description or ""


def failures(result: dg.ExecuteInProcessResult) -> list[Any]:
    """List what each step that failed says; nothing where the run succeeded."""
    failed = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    assert failed or result.success
    return [step.user_failure_data or step.error for step in failed if step]


def checks(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    """Return each check that the run evaluated, and whether it passed."""
    return {check.check_name: check.passed for check in result.get_asset_check_evaluations()}
