"""A batch is compared with the loans of the version that scored it, and only while it is the same."""

from datetime import UTC, date, datetime

import polars as pl
import pytest

from loan_default.adapters.storage import read_json, write_text
from loan_default.risk.compute import LocalEngine
from loan_default.risk.data.synthetic import make_applications
from loan_default.risk.errors import BadInput
from loan_default.steps.monitoring import ComparedBatch, compare_batch
from loan_default.steps.scoring import score_batch
from loan_default_tests.steps.book import Book

pytestmark = pytest.mark.integration
MONTH, NOW = date(2014, 8, 1), datetime(2026, 3, 1, tzinfo=UTC)


def _score(book: Book, shift: float = 0.0) -> None:
    batch = book.deliver("a", make_applications(400, seed=3, month=MONTH, shift=shift))
    score_batch(batch, book.models, book.workspace, LocalEngine(), now=NOW)


def _compare(book: Book, seed: int = 3, shift: float = 0.0) -> ComparedBatch:
    batch = book.deliver("a", make_applications(400, seed=seed, month=MONTH, shift=shift))
    predictions = book.table(book.layout.batch_table("predictions", "a"))
    return compare_batch(batch, predictions, book.models, book.policy.drift, book.workspace, LocalEngine())


def test_the_same_population_is_stable(book: Book) -> None:
    _score(book)
    record = _compare(book).to_dict()
    assert (record["batch"], record["model_version"], record["verdict"], record["rows"]) == ("a", 1, "stable", 400)
    assert {feature["feature"] for feature in record["features"]} >= {"fico_range_low", "annual_inc"}
    assert record["months"] == ("2014-08", "2014-08")
    assert record["limits"] == book.policy.drift.model_dump()
    assert (record["scored_at"], record["reference"]["months"][0]) == ("2026-03-01T00:00:00+00:00", "2012-01")
    sample = pl.read_parquet(str(book.layout.drift_sample("a")))
    assert (sample.height, sample.width) == (300, len(record["features"])), "of 400, by policy"
    stored = read_json(book.layout.batch_record("field_distributions", "a"))
    assert stored["model_version"] == 1
    fields = {field["name"]: field for field in stored["fields"]}
    assert fields.keys() == {feature["feature"] for feature in record["features"]}
    assert sum(bin_["batch"] for bin_ in fields["annual_inc"]["bins"]) == pytest.approx(1)


def test_what_an_earlier_release_drew_of_a_batch_goes_with_its_verdict(book: Book) -> None:
    _score(book)
    for path in book.layout.earlier_drift_pages("a"):
        write_text(path, "of the verdict before")
    _compare(book)
    assert not {"drift_report/a.html", "drift_report/a.evidently.json"} & book.files()


def test_another_population_has_drifted(book: Book) -> None:
    _score(book, shift=1.0)
    assert _compare(book, shift=1.0).verdict.verdict == "drifted"


def test_a_batch_file_that_was_replaced_must_be_scored_first(book: Book) -> None:
    _score(book)
    with pytest.raises(BadInput, match=r"^The predictions of batch a are of an earlier file of that name; score it"):
        _compare(book, seed=4)
