"""Gives a version its value: estimates on the loans of its development what loans of its PDs cost and earn.

Values are `economics`'s; here stands what needs a scorer for them, beside what ended loans paid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import polars as pl

from loan_default.risk.arrays import Floats
from loan_default.risk.compute import Engine, Table
from loan_default.risk.contract.columns import EXPOSURE
from loan_default.risk.contract.pricing import value_problem
from loan_default.risk.data.splits import Splits, WindowName
from loan_default.risk.economics.loan_terms import are_settled, columns_of_value, read_ended
from loan_default.risk.economics.loss import LEAST_DEFAULTS, EndedLoans
from loan_default.risk.economics.valuation import fit_value
from loan_default.risk.errors import BadInput
from loan_default.risk.model.development import on_windows
from loan_default.risk.model.scorer import Scorer
from loan_default.risk.policy import ValuePolicy


@dataclass(frozen=True)
class ScoredLoans:
    """Ended loans of a window that say what they paid, their PDs (n,), and all columns of them that were asked for."""

    ended: EndedLoans
    pds: Floats
    rows: pl.DataFrame


def score_ended(
    scorer: Scorer,
    engine: Engine,
    loans: Table,
    splits: Splits,
    windows: Sequence[WindowName],
    *,
    columns: Sequence[str] = (),
) -> ScoredLoans:
    """Score the loans of these windows, and read what they paid.

    Raises:
        ValueError: loans of the book cannot be valued.
    """
    names = tuple(dict.fromkeys([*columns_of_value(scorer.contract), *columns]))
    parts = on_windows(engine, loans, scorer.contract, splits, windows, partial(_score, scorer, names))
    rows = pl.concat(parts)
    ended, complete = read_ended(rows, scorer.contract)
    rows = rows.filter(complete)
    return ScoredLoans(ended, rows["pd"].to_numpy(), rows)


def _score(scorer: Scorer, names: Sequence[str], loans: pl.DataFrame) -> pl.DataFrame:
    exposure = [EXPOSURE] if EXPOSURE in loans.columns else []
    return loans.select(*names, *exposure).hstack(scorer.score(loans, with_reasons=False).select("pd", "decision"))


def valued_alike(scorer: Scorer, best: Scorer) -> Scorer:
    """Return the best candidate as it is, and another with its value where decisions are by value."""
    if scorer.model is best.model:
        return best
    return replace(scorer, value=best.value) if best.policy.by_value else scorer


def with_value(
    scorer: Scorer, policy: ValuePolicy | None, engine: Engine, loans: Table, splits: Splits
) -> tuple[Scorer, str]:
    """Return the version with its value, or as it is; and in one sentence what it rests on, or why it has none.

    Raises:
        BadInput: the version decides by value, and there are too few loans to estimate one.
    """
    if policy is None:
        return scorer, "The policy has no section value, so nothing is said of value."
    if problem := value_problem(scorer.contract):
        return scorer, problem
    developed = score_ended(scorer, engine, loans, splits, ("train", "calibrate"))
    defaults, count = int(developed.ended.defaulted.sum()), len(developed.pds)
    if not LEAST_DEFAULTS <= defaults < count:
        least = f"{LEAST_DEFAULTS} defaults and a repaid loan"
        problem = (
            f"Of the loans of development {count:,} say what they paid, of which {defaults:,} defaulted; {least} "
            "are needed, so nothing is said of value."
        )
        if scorer.policy.by_value:
            raise BadInput(f"{problem} Write decision.by: pd in the policy.")
        return scorer, problem
    ended = developed.ended
    if splits.snapshot:
        settled = are_settled(developed.rows, scorer.contract, splits.snapshot, policy.recovery_months)
        ended = replace(ended, settled=settled)
    valued = replace(scorer, value=fit_value(ended, developed.pds, policy))
    return valued, f"Estimated on {count:,} loans of development, of which {defaults:,} defaulted."
