"""What the steps of a home are called with: records, tables, models, and the files that people have reviewed."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
from upath import UPath

from loan_default.adapters.layout import RecordName, StorageLayout, TableName
from loan_default.adapters.model_store import ModelStore
from loan_default.adapters.parquet_table import ParquetTable
from loan_default.adapters.storage import read_json
from loan_default.adapters.tracking import Tracking
from loan_default.risk.compute import LocalEngine
from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.loading import load_contract
from loan_default.risk.data.synthetic import write_csv
from loan_default.risk.metrics import Bootstrap
from loan_default.risk.model.search_space import SearchSpace, load_search_space
from loan_default.risk.policy import Policy, load_policy
from loan_default.settings import Settings
from loan_default.steps.batch import Batch
from loan_default.steps.outcomes import read_outcome_files
from loan_default.steps.performance import MeasuredPerformance, measure_versions
from loan_default.steps.scoring import read_batch
from loan_default.steps.training import TrainingData
from loan_default.steps.workspace import Workspace


def as_json(record: Any) -> Any:
    """A record as it is read again: tuples are lists then."""
    return json.loads(json.dumps(record, default=str))


@dataclass(frozen=True)
class Book:
    """A home, opened as the assets open it."""

    settings: Settings

    def with_storage(self, folder: Path) -> Book:
        """The same models and another storage."""
        return Book(replace(self.settings, storage=str(folder)))

    @property
    def contract(self) -> Contract:
        return load_contract(self.settings.contract)

    @property
    def policy(self) -> Policy:
        return load_policy(self.settings.policy)

    @property
    def search_space(self) -> SearchSpace:
        return load_search_space(self.settings.search_space)

    @property
    def layout(self) -> StorageLayout:
        return StorageLayout(UPath(self.settings.storage))

    @property
    def workspace(self) -> Workspace:
        return Workspace(self.layout, self.settings.staging, "run-1")

    @property
    def models(self) -> ModelStore:
        settings = self.settings
        return ModelStore(Tracking(settings.tracking_uri, settings.artifacts), settings.models)

    @property
    def data(self) -> TrainingData:
        return TrainingData.of(
            self.table(self.layout.table("cleaned_loans")),
            self.record("cleaning_report"),
            self.record("loan_splits"),
            self.contract,
            LocalEngine(),
        )

    def record(self, asset: RecordName) -> dict[str, Any]:
        record: dict[str, Any] = read_json(self.layout.record(asset))
        return record

    def table(self, path: UPath) -> ParquetTable:
        return ParquetTable.of(path, self.settings.staging)

    def stored(self, asset: TableName) -> pl.DataFrame:
        return pl.read_parquet(str(self.layout.table(asset)))

    def files(self) -> set[str]:
        """The names of what lies in the storage."""
        root = Path(self.settings.storage)
        return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}

    def deliver(self, batch: str, applications: pl.DataFrame) -> Batch:
        """Put a batch file into the inbox and read it."""
        path = Path(str(self.layout.inbox / f"{batch}.csv"))
        path.parent.mkdir(exist_ok=True)
        write_csv(applications, path)
        report = read_batch(batch, self.contract, self.workspace)
        return Batch(batch, self.table(self.layout.batch_table("application_batch", batch)), report.to_dict())

    def measure(self, now: datetime) -> MeasuredPerformance:
        """Read the files of outcomes, and measure every version on loans that ended."""
        read_outcome_files(self.contract, self.workspace, today=now.date())
        return measure_versions(
            self.table(self.layout.table("loan_outcomes")),
            self.record("outcomes_report"),
            self.contract,
            self.policy,
            self.models,
            self.workspace,
            now=now,
            bootstrap=Bootstrap(7, 20),
        )
