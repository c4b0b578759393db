"""A batch is compared with the loans of the version that scored it, and only while it is the same."""

from datetime import UTC, date, datetime

import pytest

from loan_default.risk.compute import LocalEngine
from loan_default.risk.data.synthetic import make_applications
from loan_default.risk.errors import BadInput
from loan_default.steps.monitoring import ComparedBatch, compare_batch
from loan_default.steps.scoring import score_batch
from loan_default_tests.steps.book import Book

pytestmark = pytest.mark.integration
MONTH, NOW = date(2014, 8, 1), datetime(2026, 3, 1, tzinfo=UTC)


def _score(book: Book, shift: float = 0.0) -> None:
    applications, report = book.deliver("a", make_applications(400, seed=3, month=MONTH, shift=shift))
    score_batch("a", applications, report, book.models, book.workspace, LocalEngine(), now=NOW)


def _compare(book: Book, seed: int = 3, shift: float = 0.0) -> ComparedBatch:
    applications, report = book.deliver("a", make_applications(400, seed=seed, month=MONTH, shift=shift))
    predictions = book.table(book.layout.batch_table("predictions", "a"))
    policy = book.policy.drift
    return compare_batch("a", applications, report, predictions, book.models, policy, book.layout, LocalEngine())


def test_the_same_population_is_stable(book: Book) -> None:
    _score(book)
    record = _compare(book).to_dict()
    assert (record["batch"], record["model_version"], record["verdict"], record["rows"]) == ("a", 1, "stable", 400)
    assert {feature["feature"] for feature in record["features"]} >= {"fico_range_low", "annual_inc"}
    assert book.files() >= {"drift_report/a.html", "drift_report/a.evidently.json"}


def test_another_population_has_drifted(book: Book) -> None:
    _score(book, shift=1.0)
    compared = _compare(book, shift=1.0)
    assert compared.verdict.verdict == "drifted"
    assert "<html" in compared.page.read_text(encoding="utf-8")[:200].lower()


def test_a_batch_file_that_was_replaced_must_be_scored_first(book: Book) -> None:
    _score(book)
    with pytest.raises(BadInput, match=r"^The predictions of batch a are of an earlier file of that name; score it"):
        _compare(book, seed=4)
