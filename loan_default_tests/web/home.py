"""A home that has all that pages show: two versions, batches of which one has drifted, rejected rows and outcomes.

It is made once for all processes, by the steps alone, as runs of Dagster would take much longer.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl

from loan_default.adapters import decision_log, storage
from loan_default.risk.compute import LocalEngine
from loan_default.risk.data.synthetic import make_loans
from loan_default.settings import Settings
from loan_default.steps.monitoring import compare_batch
from loan_default.steps.scoring import score_batch
from loan_default_tests import homes
from loan_default_tests.steps.book import Book

MONTHS = {"2014-07": 0.0, "2014-08": 0.0, "2014-09": 1.0}  # and the shift of their population
REJECTED = {"2014-08": 3}


def pages_home(folder: Path) -> Settings:
    """Make the home in `folder`, a copy of one that is made once."""
    return homes.copy_home("pages_home", _make, folder)


def _make(folder: Path) -> None:
    settings = homes.trained_home(folder)
    book, now = Book(settings), datetime.now(UTC)  # after the training, which takes the time as it is
    register_again(book)
    delivered = []
    for number, (batch, shift) in enumerate(MONTHS.items()):
        month = date.fromisoformat(f"{batch}-01")
        loans = make_loans(300, seed=number, first_month=month, last_month=month, shift=shift)
        delivered.append(loans)
        income = pl.when(pl.int_range(pl.len()) < REJECTED.get(batch, 0)).then(-5.0).otherwise("annual_inc")
        _score(book, batch, loans.with_columns(income.alias("annual_inc")), now)
    homes.write_outcomes(Path(str(book.layout.outcomes)), pl.concat(delivered), "2019-12")
    storage.write_json(book.layout.record("performance_report"), book.measure(now).record)


def register_again(book: Book) -> None:
    """Register the package of version 1 as a further version, which is held."""
    from mlflow import MlflowClient

    tracking = book.models.tracking
    client = MlflowClient(tracking.tracking_uri, registry_uri=tracking.tracking_uri)
    first = client.get_model_version(tracking.model_name, "1")
    version = tracking.register(str(first.run_id), str(first.source), {"kind": "xgboost"}).version
    record = decision_log.read(book.layout)[0]
    sentence = "Version 2 gains no AUC over version 1."
    findings = [{"rule": "gains_enough", "passed": False, "sentence": sentence}, *record["findings"]]
    decision = {"verdict": "hold", "candidate": version, "champion": 1, "findings": findings, "reasons": [sentence]}
    decided_at = datetime.fromisoformat(record["decided_at"]) + timedelta(seconds=1)
    decision_log.add(book.layout, {**record, **decision, "decided_at": decided_at.isoformat()})


def _score(book: Book, batch: str, loans: pl.DataFrame, now: datetime) -> None:
    delivered = book.deliver(batch, loans)
    score_batch(delivered, book.models, book.workspace, LocalEngine(), now=now)
    predictions = book.table(book.layout.batch_table("predictions", batch))
    compared = compare_batch(delivered, predictions, book.models, book.policy.drift, book.workspace, LocalEngine())
    storage.write_json(book.layout.batch_record("drift_report", batch), compared.to_dict())
