"""Where each thing lies in the storage: the names of the folders and files under its root, and of batches.

Reading and writing files is `storage`'s, listing them `file_listing`'s; what a file holds is said by the asset or
adapter that writes it. Assets are stored by the IO managers in `defs`, which name a file after its asset as this module
does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal, get_args

from upath import UPath

from loan_default.risk.errors import BadInput

INBOX, OUTCOMES = "applications", "outcomes"
PREDICTIONS, DRIFT_REPORT = "predictions", "drift_report"
DECISIONS, PREDICTION_HISTORY, PREDICTION_LOG = "history", "prediction_history", "prediction_log"
LATE = ".late-"  # between the day and the name of rows that came after it was over
LOOKS, OVERRIDES = "test_looks", "overrides"
EVIDENTLY, RECORD_INDEX = "evidently", "record_index"
MODEL_CARD = "model_card.md"  # also in MLflow's run
EVALUATION = "evaluation.json"  # in MLflow's run alone
CARD_PAGE = "model_card.html"  # in MLflow's run alone: the card with its figures
MODELS, COMPUTE_LOGS = "mlflow", "compute_logs"
PROBE = ".doctor-"  # begins the name of a file that is written to see whether the storage works
SUFFIXES = (".csv", ".csv.gz", ".parquet")
BATCH_SUFFIXES = (*SUFFIXES, *map(str.upper, SUFFIXES))  # of several forms of one batch the first is scored

RecordName = Literal[
    "cleaning_report",
    "loan_splits",
    "tuned_params",
    "trained_model",
    "model_evaluation",
    "strategy_report",
    "promoted_model",
    "outcomes_report",
    "performance_report",
    "backtest",
    "provision_report",
]
BatchRecordName = Literal["application_report", "prediction_report", "drift_report", "field_distributions"]
RecordKind = RecordName | BatchRecordName | Literal["history", "test_looks", "overrides"]  # with those of the logs
TableName = Literal["cleaned_loans", "rejected_loans", "loan_outcomes", "rejected_outcomes", "provision"]
BatchTableName = Literal["application_batch", "rejected_applications", "predictions"]

# The folders of a storage. Another book has one of its own among those of the book whose contract ships.
FOLDERS = frozenset(
    [
        *(INBOX, OUTCOMES, DECISIONS, PREDICTION_HISTORY, PREDICTION_LOG, LOOKS, OVERRIDES),
        *(EVIDENTLY, RECORD_INDEX, MODELS, COMPUTE_LOGS),
        *(*get_args(BatchRecordName), *get_args(BatchTableName)),
    ]
)

_BATCH = re.compile(r"[A-Za-z0-9._-]+")
_EARLIER_FIGURES = ".evidently.json"


def batch_name(file_name: str) -> str:
    """Name the batch that a file holds: `2018-10.csv` → `2018-10`.

    Raises:
        BadInput: the name has another suffix or a character outside of letters, figures, dot, dash and underscore.
    """
    suffix = next((suffix for suffix in BATCH_SUFFIXES if file_name.endswith(suffix)), None)
    if suffix is None:
        raise BadInput(f"{file_name}: a batch file ends in .csv, .csv.gz or .parquet.")
    name = file_name.removesuffix(suffix)
    if not _BATCH.fullmatch(name) or name.strip(".") == "":
        raise BadInput(
            f"{file_name}: a batch's name may hold letters, figures, '.', '-' and '_' only; rename the file."
        )
    return name


def is_verdict(name: str) -> bool:
    """Tell a batch's verdict among the files of the drift reports from what belongs to Evidently's report."""
    return name.endswith(".json") and not name.endswith(_EARLIER_FIGURES)


@dataclass(frozen=True)
class StorageLayout:
    """The paths under the root of a storage, which is a folder or a bucket with a prefix."""

    root: UPath

    @property
    def inbox(self) -> UPath:
        """The folder of batch files, as the lender delivers them."""
        return self.root / INBOX

    def batch_files(self, batch: str) -> list[UPath]:
        """List the forms in which a batch may be delivered; the first that is there is scored."""
        return [self.inbox / f"{batch}{suffix}" for suffix in BATCH_SUFFIXES]

    @property
    def outcomes(self) -> UPath:
        """The folder of outcome files, as the lender delivers them."""
        return self.root / OUTCOMES

    def record(self, asset: RecordName) -> UPath:
        """Return the path of an asset that is a record."""
        return self.root / f"{asset}.json"

    def batches(self, asset: BatchRecordName | BatchTableName) -> UPath:
        """Return the folder of an asset, with a file for each batch."""
        return self.root / asset

    def batch_record(self, asset: BatchRecordName, batch: str) -> UPath:
        """Return the path of a batch's record."""
        return self.batches(asset) / f"{batch}.json"

    def table(self, asset: TableName) -> UPath:
        """Return the path of an asset that is a table."""
        return self.root / f"{asset}.parquet"

    @property
    def table_folders(self) -> list[UPath]:
        """The folders of tables that one process reads as another wrote them."""
        batches = map(self.batches, get_args(BatchTableName))
        return [self.root, *batches, self.drift_reports, self.prediction_history]

    def record_index(self, asset: BatchRecordName) -> UPath:
        """Return the path of what pages know of all batches' records, to be read in their place; it may be removed."""
        return self.root / RECORD_INDEX / f"{asset}.json"

    def batch_table(self, asset: BatchTableName, batch: str) -> UPath:
        """Return the path of a batch's table."""
        return self.batches(asset) / f"{batch}.parquet"

    @property
    def model_card(self) -> UPath:
        """The card of the newest model, in Markdown."""
        return self.root / MODEL_CARD

    @property
    def predictions(self) -> UPath:
        """The folder of what the last scoring of each batch gave."""
        return self.root / PREDICTIONS

    def predictions_csv(self, batch: str) -> UPath:
        """Return the path of a batch's predictions for people, beside the table."""
        return self.predictions / f"{batch}.csv"

    @property
    def drift_reports(self) -> UPath:
        """The folder of verdicts, and of the samples that Evidently's reports show."""
        return self.root / DRIFT_REPORT

    def drift_sample(self, batch: str) -> UPath:
        """Return the path of the rows of a batch that Evidently's report shows."""
        return self.drift_reports / f"{batch}.sample.parquet"

    def earlier_drift_pages(self, batch: str) -> list[UPath]:
        """List what earlier releases stored of Evidently's: its page and its figures."""
        return [self.drift_reports / f"{batch}{suffix}" for suffix in (".html", _EARLIER_FIGURES)]

    @property
    def evidently(self) -> UPath:
        """The workspace of Evidently, with a report on each batch that somebody has opened."""
        return self.root / EVIDENTLY

    @property
    def decisions(self) -> UPath:
        """The folder of what was decided on versions, for good."""
        return self.root / DECISIONS

    def decision(self, decided_at: datetime, verdict: str, version: int) -> UPath:
        """Return the path of a decision; names sort by time."""
        return self.decisions / f"{decided_at:%Y%m%dT%H%M%S}-{verdict}-version-{version}.json"

    @property
    def looks(self) -> UPath:
        """The folder of the looks at test windows, for good."""
        return self.root / LOOKS

    def look(self, looked_at: datetime, version: int) -> UPath:
        """Return the path of a look; names sort by time."""
        return self.looks / f"{looked_at:%Y%m%dT%H%M%S%f}-version-{version}.json"

    @property
    def overrides(self) -> UPath:
        """The folder of what people decided otherwise on applications, for good."""
        return self.root / OVERRIDES

    def override(self, recorded_at: datetime, decision_id: str) -> UPath:
        """Return the path of an override; names sort by time."""
        return self.overrides / f"{recorded_at:%Y%m%dT%H%M%S%f}-{decision_id}.json"

    @property
    def prediction_history(self) -> UPath:
        """The folder of every prediction, for good."""
        return self.root / PREDICTION_HISTORY

    def predictions_by_version(self, batch: str, version: int) -> UPath:
        """Return the path of what a version predicted for a batch."""
        return self.prediction_history / f"{batch}.version-{version}.parquet"

    def predictions_of_day(self, day: date) -> UPath:
        """Return the path of what the scoring server answered on a day that is over."""
        return self.prediction_history / f"log-{day}.parquet"

    @property
    def prediction_log(self) -> UPath:
        """The folder of what the scoring server answers: a folder for each day, one in it for each hour (UTC)."""
        return self.root / PREDICTION_LOG

    def prediction_log_day(self, day: date) -> UPath:
        """Return the folder of the answers of a day."""
        return self.prediction_log / f"{day:%Y-%m-%d}"

    def prediction_log_hour(self, time: datetime) -> UPath:
        """Return the folder of the answers of an hour."""
        return self.prediction_log_day(time) / f"{time:%H}"

    def late_mark(self, day: date, name: str) -> UPath:
        """Return the path of an empty file that tells of rows of a day that came after it was over."""
        return self.prediction_log / f"{day:%Y-%m-%d}{LATE}{name}"
