"""The newest version is examined on its test loans, and against what the server answers."""

from pathlib import Path

import pytest

from loan_default.steps.examination import examine_version
from loan_default_tests.steps.book import Book

pytestmark = pytest.mark.integration


def test_the_parts_that_need_more_than_the_version_are_measured(book: Book, tmp_path: Path) -> None:
    version = book.models.tracking.get(1)
    examination = examine_version(
        book.data, version, book.models, book.policy.drift, alternatives=(), by_decision=(), seed=7
    )
    assert examination.rows == book.data.splits.window("test").rows
    quality = {field.field: field for field in examination.quality}
    assert set(quality) == set(book.contract.feature_names)
    loans = book.data.loans.scan().collect()
    assert quality["dti"].missing_share == loans["dti"].null_count() / loans.height
    psis = [shift.psi for shift in examination.shifts if shift.psi is not None]
    assert psis == sorted(psis, reverse=True)
    assert {shift.field for shift in examination.shifts} == {*book.contract.feature_names, "score"}
    assert examination.parity is not None
    assert examination.parity.form in ("onnx", book.models.scorer(version).kind)
    assert examination.parity.difference < 1e-6
