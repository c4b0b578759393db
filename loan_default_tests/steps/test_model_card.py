"""The card of the newest version is written from what the steps before it left."""

import pytest

from loan_default.steps.model_card import VersionRecords, write_card
from loan_default_tests.steps.book import Book

pytestmark = pytest.mark.integration


def test_the_card_is_written_from_the_records_and_logged_to_the_run_of_the_training(own_book: Book) -> None:
    record = own_book.record
    records = VersionRecords(
        record("cleaning_report"),
        record("loan_splits"),
        record("trained_model"),
        record("model_evaluation"),
        record("promoted_model"),
    )
    card = write_card(records, own_book.models, own_book.policy, own_book.layout)
    assert card.text == own_book.layout.model_card.read_text(encoding="utf-8")
    assert card.mlflow_run_id == own_book.record("trained_model")["run_id"]
