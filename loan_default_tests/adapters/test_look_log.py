"""Looks at test windows: each is kept, and those before that saw any of the same loans are counted."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from upath import UPath

from loan_default.adapters import look_log
from loan_default.adapters.layout import StorageLayout
from loan_default.risk.data.splits import Splits, Window
from loan_default.risk.evaluation import Looks
from loan_default.risk.loan_order import CutBy

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def splits(first: date, last: date, *, calibrated_from: date = date(2010, 1, 1), rows: int = 100) -> Splits:
    windows = (
        Window("train", date(2007, 1, 1), date(2009, 12, 1), 300, 30),
        Window("calibrate", calibrated_from, date(2010, 6, 1), 100, 10),
        Window("test", first, last, rows, 10),
    )
    return Splits(date(2016, 12, 1), windows, True, "f", 0, 0)


@pytest.mark.parametrize("kind", ["folder", pytest.param("bucket", marks=pytest.mark.integration)])
def test_looks_are_counted_by_the_loans_that_they_saw(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    root = UPath(tmp_path) if kind == "folder" else request.getfixturevalue("bucket") / "prefix"
    layout = StorageLayout(root)
    year, half, next_year = date(2011, 1, 1), date(2011, 7, 1), date(2012, 1, 1)
    windows = [
        (splits(year, date(2011, 12, 1)), Looks(0, 0)),
        (splits(year, date(2011, 12, 1)), Looks(1, 1)),
        (splits(year, date(2011, 12, 1), calibrated_from=date(2010, 3, 1)), Looks(2, 2)),  # the same loans test
        (splits(half, date(2012, 6, 1)), Looks(3, 0)),
        (splits(next_year, date(2012, 12, 1)), Looks(1, 0)),  # of which only the last saw a month
        (splits(year, date(2011, 12, 1), rows=101), Looks(4, 0)),
    ]
    for number, (looked_at, before) in enumerate(windows):
        assert look_log.add(layout, looked_at, number, NOW + timedelta(minutes=number)) == before
    assert [look["version"] for look in look_log.read(layout)] == [*range(6)]


def test_looks_of_one_second_are_all_kept(tmp_path: Path) -> None:
    layout = StorageLayout(UPath(tmp_path))
    for number in range(3):
        look_log.add(layout, splits(date(2011, 1, 1), date(2011, 2, 1)), 1, NOW + timedelta(microseconds=number))
    assert len(look_log.read(layout)) == 3


def test_looks_at_books_without_a_date_overlap_by_cohort_and_draws_always(tmp_path: Path) -> None:
    def cut(cut_by: CutBy, first: float = 0, last: float = 0, rows: int = 100) -> Splits:
        cohorts, positions = (("c", "d"), (first, last)) if cut_by == "cohort" else ((), ())
        test = Window("test", None, None, rows, 10, cohorts=cohorts, positions=positions)
        windows = (Window("train", None, None, 300, 30), Window("calibrate", None, None, 100, 10), test)
        return Splits(None, windows, False, "f", 0, 0, cut_by=cut_by, cohort="wave" if cut_by == "cohort" else None)

    layout = StorageLayout(UPath(tmp_path))
    windows = [
        (cut("cohort", 2, 3), Looks(0, 0)),
        (cut("cohort", 4, 5), Looks(0, 0)),
        (cut("cohort", 3, 4), Looks(2, 0)),
        (cut("cohort", 2, 3), Looks(2, 1)),
        (cut("draw"), Looks(4, 0)),  # they may be any
        (cut("draw", rows=101), Looks(5, 0)),
    ]
    for number, (looked_at, before) in enumerate(windows):
        assert look_log.add(layout, looked_at, number, NOW + timedelta(minutes=number)) == before, number
