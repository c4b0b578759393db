"""A version gets its hazards from the loans of its development, or says why it has none."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from loan_default.risk.compute import FrameTable, LocalEngine
from loan_default.risk.data.splits import WINDOWS, Splits
from loan_default.risk.data.splitting import SplitPlan, split_loans
from loan_default.risk.model.scorer import HAZARD_FOLDER, Scorer
from loan_default.risk.model.search_space import SearchSpace
from loan_default.risk.model.timed_version import with_timing
from loan_default_tests.packages import applications, contract, timed_scorer


@pytest.fixture(scope="module")
def book(windows: Mapping[str, pl.DataFrame]) -> tuple[FrameTable, Splits]:
    loans = pl.concat([windows[name] for name in WINDOWS]).lazy()
    splits = split_loans(loans, contract(), SplitPlan(), snapshot=date(2019, 3, 1), data_fingerprint="d")
    return FrameTable(loans), splits


def test_hazards_are_kept_with_the_version_and_read_again(tmp_path: Path) -> None:
    timed, features = timed_scorer("xgboost"), applications()[1]
    timed.save(tmp_path)
    again = Scorer.load(tmp_path)
    assert again.score(features).equals(timed.score(features))
    assert {path.suffix for path in (tmp_path / HAZARD_FOLDER).rglob("*.*")} == {".json", ".ubj", ".onnx"}


@pytest.mark.slow
def test_hazards_are_of_the_loans_of_development_alone(
    scorer: Scorer, book: tuple[FrameTable, Splits], quick_search: SearchSpace
) -> None:
    loans, splits = book
    _, sentence = with_timing(scorer, LocalEngine(), loans, splits, quick_search, 7)
    developed = splits.window("train").rows + splits.window("calibrate").rows
    defaults = splits.window("train").defaults + splits.window("calibrate").defaults
    assert sentence == (
        f"Hazards of {developed:,} loans of development, of which {defaults:,} defaulted, say when loans default."
    )


def test_a_version_without_hazards_says_why(
    scorer: Scorer, book: tuple[FrameTable, Splits], quick_search: SearchSpace
) -> None:
    loans, splits = book
    unknown = contract().model_copy(update={"outcome": contract().outcome.model_copy(update={"known": None})})
    undated = replace(splits, snapshot=None)
    without = SearchSpace({name: each for name, each in quick_search.sections.items() if name != "xgboost"})
    repaid = FrameTable(loans.scan().with_columns(pl.lit(0, pl.Int8).alias("outcome")))
    for reason, version, windows, search, table in (
        ("outcome.known", replace(scorer, contract=unknown), splits, quick_search, loans),
        ("no month in which the file was taken", scorer, undated, quick_search, loans),
        ("no section xgboost in the search space", scorer, splits, without, loans),
        ("30 defaults and a repaid loan are needed", scorer, splits, quick_search, repaid),
    ):
        unchanged, sentence = with_timing(version, LocalEngine(), table, windows, search, 7)
        assert unchanged is version
        assert reason in sentence
