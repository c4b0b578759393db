"""Labels loans that have not matured: by the probability that hazards give each of ending in default.

Hazards are `hazard`'s and are fitted on windows by `timed_version`, as a version's own are; which loans are learned
from is `data.splitting`'s to say, and how a candidate takes a label that is no outcome its class in `candidates`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loan_default.risk.arrays import Matrix
from loan_default.risk.compute import Engine, Table
from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.columns import OUTCOME
from loan_default.risk.data.as_of import LoanHistory, as_of
from loan_default.risk.data.splits import Splits
from loan_default.risk.data.splitting import is_open
from loan_default.risk.errors import BadInput
from loan_default.risk.model.features import FeatureSpace
from loan_default.risk.model.hazard import RECIPE, Hazard, expected_outcomes, fit_hazard
from loan_default.risk.model.search_space import SearchSpace
from loan_default.risk.model.timed_version import read_histories


@dataclass(frozen=True)
class HazardLabel:
    """Tells how loans end that were not matured at the snapshot: as is known, or else as the hazard expects."""

    hazard: Hazard
    contract: Contract
    snapshot: date

    def __call__(self, loans: pl.DataFrame, X: Matrix) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return how loans end (n,), as `Development` asks it of a label, and which are not matured (n,)."""
        open_loans = loans.select(is_open(self.contract, self.snapshot).fill_null(False)).to_series().to_numpy()
        outcomes = loans[OUTCOME].cast(pl.Float32).fill_null(np.nan).to_numpy().copy()
        if open_loans.any():
            view = as_of(loans.filter(open_loans).lazy(), self.contract, self.snapshot, self.snapshot).collect()
            history = LoanHistory.of(view, self.contract, self.snapshot)
            outcomes[open_loans] = expected_outcomes(self.hazard, X[open_loans], history)
        return outcomes, open_loans


def fit_label(
    engine: Engine, loans: Table, splits: Splits, space: FeatureSpace, search: SearchSpace, seed: int
) -> HazardLabel | None:
    """Fit hazards on all loans that a model may be developed on; None where all of these have matured.

    Raises:
        BadInput: no default, or no repayment, was observed, or the search space has no parameters for hazards.
    """
    if splits.open_loans is None or splits.snapshot is None:
        return None
    if RECIPE not in search.sections:
        raise BadInput(f"label: open needs hazards, and the search space has no section {RECIPE}; write one.")
    X, history = read_histories(engine, loans, splits, space)
    hazard = fit_hazard(X, history, space, search.for_loans(len(history)).tunable(RECIPE), seed=seed)
    return HazardLabel(hazard, space.contract, splits.snapshot)
