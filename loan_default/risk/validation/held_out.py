"""Works on the loans of a test window: scores them by every model, and once more without each field.

What is measured of the scores is `champion_challenger`'s, what follows from it `promotion`'s. Tested in
`steps/test_evaluation.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import polars as pl

from loan_default.risk.compute import Engine, Table
from loan_default.risk.contract.book import Contract
from loan_default.risk.data.splits import Splits
from loan_default.risk.evaluation import BlankedField, WindowDesign
from loan_default.risk.model.development import on_windows
from loan_default.risk.model.scorer import Scorer
from loan_default.risk.policy import PromotionPolicy
from loan_default.risk.validation.champion_challenger import score_test
from loan_default.risk.validation.missingness import BLANKED_AT_MOST, blank_fields, blanked_fields


@dataclass(frozen=True)
class HeldOutWindow:
    """Loans, their windows, and where work on them is done."""

    engine: Engine
    loans: Table
    contract: Contract
    splits: Splits

    @property
    def design(self) -> WindowDesign:
        """Return how the test loans were set apart."""
        splits = self.splits
        several_terms = len(splits.window("test").terms) > 1
        return WindowDesign(splits.tests_out_of_time, splits.cut_by, splits.cohort, several_terms)

    def score(
        self, scorers: Mapping[str, Scorer], champion: Scorer | None, policy: PromotionPolicy, unseen: pl.Expr
    ) -> pl.DataFrame:
        """Score the loans by all of them, as `score_test` does."""
        score = partial(score_test, scorers, champion, policy, unseen=unseen)
        return pl.concat(on_windows(self.engine, self.loans, self.contract, self.splits, ["test"], score))

    def blank(self, scorer: Scorer, rows: int) -> tuple[BlankedField, ...]:
        """Leave out each field of the loans in turn, of which there are so many `rows`."""
        blank = partial(blank_fields, scorer, min(BLANKED_AT_MOST / rows, 1))
        return blanked_fields(on_windows(self.engine, self.loans, self.contract, self.splits, ["test"], blank))
