"""Every version is measured on the loans that it had not seen."""

from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from loan_default.adapters.storage import read_json, write_json
from loan_default.risk.compute import LocalEngine
from loan_default.risk.data.synthetic import make_applications, make_loans
from loan_default.steps.scoring import score_batch
from loan_default.steps.workspace import Workspace
from loan_default_tests.homes import write_outcomes
from loan_default_tests.steps.book import Book

MONTH, NOW = date(2014, 8, 1), datetime(2026, 3, 1, tzinfo=UTC)


def _write_outcomes(workspace: Workspace) -> None:
    loans = make_loans(400, seed=3, first_month=MONTH, last_month=MONTH)
    write_outcomes(Path(str(workspace.layout.outcomes)), loans)


@pytest.mark.integration
def test_what_was_predicted_is_held_against_how_the_loans_ended(book: Book) -> None:
    batch = book.deliver("a", make_applications(400, seed=3, month=MONTH))
    score_batch(batch, book.models, book.workspace, LocalEngine(), now=NOW)
    _write_outcomes(book.workspace)
    measured = book.measure(NOW)
    (version,) = measured.record["versions"]
    assert (version["version"], version["known"] > 390) == (1, True)
    assert (measured.record["told_until"], measured.record["unreadable"]) == ("2020-01", [])
    assert measured.record["measured_at"] == "2026-03-01T00:00:00+00:00"
    assert measured.performance.verdict is not None
    assert measured.performance.verdict.version == 1


@pytest.mark.integration
def test_a_fall_is_seen_in_months_where_files_tell_month_by_month(book: Book) -> None:
    """Of 400 loans that ran, forty default in each of the next months; their first term is not over for years."""
    applications = make_applications(400, seed=3, month=MONTH)
    score_batch(book.deliver("a", applications), book.models, book.workspace, LocalEngine(), now=NOW)
    folder = Path(str(book.layout.outcomes))
    for number, month in enumerate(("2014-09", "2014-10", "2014-11", "2014-12")):
        loans = applications.with_row_index().with_columns(
            loan_status=pl.when(pl.col("index") < 40 * number).then(pl.lit("Charged Off")).otherwise(pl.lit("Current"))
        )
        write_outcomes(folder, loans, month)
    measured = book.measure(NOW)
    assert measured.record["verdict"] == "degraded"
    (reason,) = measured.record["reasons"]
    row = measured.record["early"][-1]
    assert reason.startswith(f"{row['defaults']} of {row['loans']} loans have defaulted so far where ")
    assert (row["vintage"], row["repaid"]) == ("2014-Q3", 0)
    assert 390 < row["loans"] <= 400
    assert 115 < row["defaults"] <= 120
    assert 0 < row["expected_defaults"] < 20
    write_json(book.layout.record("performance_report"), measured.record)
    kept = read_json(book.layout.record("performance_report"), "performance_report")
    assert kept["findings"][0]["passed"] is False
    rolls = [tuple(roll.values()) for roll in book.record("outcomes_report")["monthly_rolls"]]
    assert rolls[-3:] == [
        ("2014-11", "Charged Off", "Charged Off", 80),
        ("2014-11", "Current", "Charged Off", 40),
        ("2014-11", "Current", "Current", 280),
    ]
