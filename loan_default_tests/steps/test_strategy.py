"""What cut-offs earn is measured on the test window of the newest version, or a sentence says why not."""

import pytest

from loan_default.risk.metrics import Bootstrap
from loan_default.steps.strategy import measure_cut_offs
from loan_default_tests.steps.book import Book, as_json

pytestmark = pytest.mark.integration


def test_a_version_with_a_value_is_measured_and_another_says_why_not(own_book: Book) -> None:
    trained = own_book.record("trained_model")
    report = measure_cut_offs(own_book.data, trained, own_book.models, own_book.policy, bootstrap=Bootstrap(7, 5))
    assert as_json(report)["version"] == trained["version"]
    assert report["window"] == own_book.data.splits.window("test").span
    assert report["loans"] <= own_book.data.splits.window("test").rows
    assert own_book.policy.value is not None
    assert report["policy"] == own_book.policy.value.model_dump()
    assert own_book.record("strategy_report")["curve"] == as_json(report)["curve"]
