"""The newest version is measured on the test window, by what its training left."""

from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from upath import UPath

from loan_default.adapters import look_log
from loan_default.adapters.layout import StorageLayout
from loan_default.risk.data.splitting import SplitPlan
from loan_default.risk.errors import BadInput
from loan_default.risk.evaluation import ComparableLoans, Coverage
from loan_default.risk.metrics import Bootstrap
from loan_default.risk.validation.alternatives import ANOTHER_SEED, WITHOUT_OPINION
from loan_default.risk.validation.examination.report import Examination
from loan_default.risk.validation.promotion import decide_promotion
from loan_default.steps.data import split_cleaned_loans
from loan_default.steps.evaluation import evaluate_version
from loan_default_tests.steps.book import Book, as_json

pytestmark = pytest.mark.integration
NOW = datetime(2026, 3, 1, tzinfo=UTC)
BOOTSTRAP = Bootstrap(seed=7, resamples=20)


def test_a_version_is_measured_beside_the_one_in_production(own_book: Book) -> None:
    book, before = own_book, len(look_log.read(own_book.layout))
    evaluation = evaluate_version(
        book.data,
        book.record("trained_model"),
        book.models,
        book.policy,
        book.layout,
        now=NOW,
        bootstrap=BOOTSTRAP,
    )
    record = as_json(evaluation.to_dict())
    assert (record["version"], record["champion_version"]) == (1, 1)
    assert evaluation.judgement.evaluation.came == "came after the training loans of their term"
    stored = book.record("model_evaluation")["judgement"]["evaluation"]
    assert stored["looks"] == {"overlapping": 0, "same": 0}
    assert record["judgement"]["evaluation"] == {**stored, "looks": {"overlapping": before, "same": before}}
    assert before == len(look_log.read(book.layout)) - 1 >= 1
    assert evaluation.plots["roc.png"].startswith(b"\x89PNG")


def test_a_version_is_examined_with_what_could_stand_in_its_place(book: Book) -> None:
    record = book.record("model_evaluation")
    examination = Examination.from_dict(record["examination"])
    assert as_json(examination.to_dict()) == record["examination"]
    assert {line.name for line in examination.alternatives} >= {ANOTHER_SEED, WITHOUT_OPINION}
    assert [window["name"] for window in record["windows"]] == ["train", "calibrate", "test"]
    assert examination.parity is not None
    assert (examination.parity.decisions, examination.parity.reasons) == (0, 0)
    assert 0 < examination.parity.rows <= 200
    assert examination.parity.difference < 1e-6
    assert examination.reasons.untrue == {}
    assert {shift.field for shift in examination.shifts} == {*book.contract.feature_names, "score"}
    assert sum(line.rows for line in examination.by_decision) <= record["windows"][2]["rows"]


def test_a_champion_is_not_compared_on_loans_that_it_was_developed_on(book: Book) -> None:
    """By an earlier test window it was judged on its own training loans, and held candidates without a word."""
    before, report = book.data.splits, book.record("cleaning_report")
    plan = SplitPlan(test_from=date(2013, 3, 1))
    earlier = split_cleaned_loans(book.data.loans, report, book.contract, plan)
    training = {**book.record("trained_model"), "training_fingerprint": earlier.fingerprint}
    training |= {"candidates": [training["kind"]], "variants": []}  # one is enough to be compared
    data, policy = replace(book.data, splits=earlier), book.policy
    judgement = evaluate_version(
        data, training, book.models, policy, book.layout, now=NOW, bootstrap=BOOTSTRAP
    ).judgement
    assert judgement.evaluation.rows == earlier.window("test").rows
    own_test = before.window("test")
    assert judgement.comparable == ComparableLoans(own_test.rows, own_test.defaults)
    assert own_test.rows < earlier.window("test").rows
    strict = policy.promotion.model_copy(update={"least_test_rows": own_test.rows + 1})
    decision = decide_promotion(2, 1, judgement.evaluation, None, strict, judgement.comparable)
    assert decision.reasons[-1].startswith(f"Version 1 was not developed on {own_test.rows:,} of the test loans")


def test_what_is_sold_is_held_against_the_test_window(book: Book) -> None:
    coverage = read_coverage(book)
    assert (coverage.first_month, coverage.last_month) == ("2013-07", "2014-06")
    terms = {level.level: level for level in coverage.levels if level.field == "term"}
    test = {term.name: term.rows for term in book.data.splits.window("test").terms}
    assert {level: terms[level].test_rows for level in terms} == {"36": test["36 months"], "60": test["60 months"]}


def read_coverage(book: Book) -> Coverage:
    return Coverage.from_dict(book.record("model_evaluation")["judgement"]["evaluation"]["coverage"])


def test_a_version_is_not_measured_on_loans_that_it_may_have_seen(book: Book) -> None:
    training = {**book.record("trained_model"), "training_fingerprint": "another"}
    with pytest.raises(BadInput, match=r"^Version 1 was trained on other loans or windows than these; train again\.$"):
        evaluate_version(book.data, training, book.models, book.policy, book.layout, now=NOW, bootstrap=BOOTSTRAP)


def test_a_version_that_is_too_good_to_be_true_on_the_test_window_is_refused(book: Book, tmp_path: Path) -> None:
    strict = book.policy.promotion.model_copy(update={"suspect_leak_above_auc": 0.51})
    policy = book.policy.model_copy(update={"promotion": strict})
    with pytest.raises(BadInput, match=r"^On the test window: .* a leak is suspected\. Look for a field"):
        training, models = book.record("trained_model"), book.models
        evaluate_version(
            book.data, training, models, policy, StorageLayout(UPath(tmp_path)), now=NOW, bootstrap=BOOTSTRAP
        )
