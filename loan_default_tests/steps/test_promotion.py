"""The version that was evaluated is decided on, and the alias follows."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from loan_default.adapters import decision_log
from loan_default.adapters.model_store import ORIGIN
from loan_default.adapters.tracking import PRODUCTION
from loan_default.risk.errors import BadInput
from loan_default.steps.promotion import decide_on_version, version_in_production
from loan_default_tests.steps.book import Book, as_json
from loan_default_tests.stores import new_tracking

pytestmark = pytest.mark.integration
NOW = datetime(2026, 3, 1, tzinfo=UTC)


def test_a_decision_is_logged_and_the_alias_is_where_it_says(own_book: Book) -> None:
    before = decision_log.read(own_book.layout)
    promotion = decide_on_version(
        own_book.record("model_evaluation"),
        own_book.models,
        own_book.policy,
        own_book.layout,
        now=NOW,
        decided_by="policy, run-1",
    )
    assert promotion.production == promotion.expected == 1
    assert promotion.record["test_looks"] == {"overlapping": 0, "same": 0}
    evidence, training = promotion.record["evidence"], own_book.record("trained_model")
    assert evidence["origin"] == {tag: str(training[tag]) for tag in ORIGIN}
    assert evidence["decision_policy_fingerprint"] == own_book.policy.fingerprint
    assert evidence["windows"] == own_book.record("loan_splits")["windows"]
    assert evidence["metrics"]["auc"]["low"] < evidence["metrics"]["auc"]["value"]
    assert promotion.record["decided_at"] == "2026-03-01T00:00:00+00:00"
    after = decision_log.read(own_book.layout)
    assert [record for record in after if record not in before] == [as_json(promotion.record)]


def test_without_a_version_in_production_the_remedy_is_named(book: Book, tmp_path: Path) -> None:
    assert PRODUCTION in version_in_production(book.models.tracking).aliases
    empty = new_tracking(tmp_path / "empty")
    with pytest.raises(BadInput, match=r"^No version is in production; run full_pipeline_job, or promote"):
        version_in_production(empty)
