"""Measures on the test window what a version's cut-offs earn: the record that page, card and Dagster read.

What is measured of loans is `risk.value.strategy`'s; here stands which loans, groups and vintages they are. Nothing in
it decides: a person adopts a proposal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any, get_args

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.field import LoanField
from loan_default.risk.economics.approval import RULES, Mask, ValuedLoans, approved_by, outcome_of, realised_by_decile
from loan_default.risk.economics.loss import losses_by_vintage, measure_losses
from loan_default.risk.economics.valuation import ValueModel
from loan_default.risk.metrics import Bootstrap
from loan_default.risk.model.decision_rule import APPROVE, DECLINE
from loan_default.risk.model.scorer import DECISIONS, Scorer
from loan_default.risk.model.valued_version import ScoredLoans
from loan_default.risk.policy import CUT_OFFS, DecidedBy, StrategyLimits
from loan_default.risk.validation.examination.fairness import divide_loans
from loan_default.risk.value.strategy import propose, strategy_curve, why_none

_LEAST_LOANS = 100  # of a group that is shown


def report_columns(contract: Contract) -> list[str]:
    """Return the columns of loans that the report reads beside those of their value."""
    time = [contract.time_name] if contract.has_time else []
    return [*dict.fromkeys([*time, *(field.name for field in _group_fields(contract))])]


def _group_fields(contract: Contract) -> list[LoanField]:
    """Return the fields by which loans are told apart: those of segments, and what is protected."""
    names = dict.fromkeys([*contract.segments, *(field.name for field in contract.with_role("protected"))])
    return [contract.by_name[name] for name in names if contract.by_name[name].kind != "month"]


def measure_strategy(
    scorer: Scorer, scored: ScoredLoans, limits: StrategyLimits, *, bootstrap: Bootstrap
) -> dict[str, Any]:
    """Measure what the cut-offs of a version earn on loans that it was not developed on.

    Args:
        scorer: the version, with a value.
        scored: ended loans of the test window, with `report_columns`.
        limits: within which cut-offs are proposed.
        bootstrap: of the months of issue.

    Raises:
        ValueError: the version has no value.
    """
    value, contract, policy = scorer.value, scorer.contract, scorer.policy
    if value is None or contract.pricing is None:
        raise ValueError("the version has no value")
    scored = _learned(scored, value)
    loans, capital = ValuedLoans.of(value, scored.pds, scored.ended), value.policy.capital_share
    decided = scored.rows["decision"].cast(pl.String).to_numpy()
    present = {
        "approve": decided == DECISIONS[APPROVE],
        "approve and review": decided != DECISIONS[DECLINE],
        "all": np.ones(len(loans.pds), dtype=np.bool_),
    }
    people = {
        field.name: _labels(scored.rows[field.name], field)
        for field in contract.with_role("protected")
        if field.kind != "month"
    }
    equal: dict[str, Mask] = {rule: approved_by(loans, rule, float(present["approve"].mean()))[1] for rule in RULES}
    look = partial(propose, loans, limits, capital, people, bootstrap=bootstrap)
    proposals = {by: look(by=by) for by in get_args(DecidedBy)}
    return {
        "unit": contract.by_name[contract.pricing.amount].unit,
        "policy": value.policy.model_dump(),
        "limits": limits.model_dump(exclude_none=True),
        "cut_offs": policy.model_dump(include={*CUT_OFFS}),
        "loans": len(loans.pds),
        "present": {name: asdict(outcome_of(loans, approved, capital)) for name, approved in present.items()},
        "equal_number": {rule: asdict(outcome_of(loans, approved, capital)) for rule, approved in equal.items()},
        "curve": [asdict(point) for point in strategy_curve(loans, capital)],
        "deciles": [asdict(group) for group in realised_by_decile(loans)],
        "vintages": [*_vintages(loans, scored, contract)],
        "vintage_losses": [*_vintage_losses(scored, value, contract)],
        "losses": [asdict(estimate) for estimate in measure_losses(scored.ended)],
        "groups": [*_groups(loans, scored, contract, equal, capital)],
        "proposals": {by: proposal and asdict(proposal) for by, proposal in proposals.items()},
        "no_proposal": {
            by: why_none(loans, limits, capital, people, by=by) for by, proposal in proposals.items() if not proposal
        },
    }


def _learned(scored: ScoredLoans, value: ValueModel) -> ScoredLoans:
    """Return the loans of the terms that a version learned of.

    Raises:
        ValueError: there is none.
    """
    learned = np.isin(scored.ended.realised.terms, list(value.endings))
    if not learned.any():
        raise ValueError("no loan has a term that the version learned of")
    return ScoredLoans(scored.ended.take(learned), scored.pds[learned], scored.rows.filter(learned))


def _vintages(loans: ValuedLoans, scored: ScoredLoans, contract: Contract) -> Iterator[dict[str, Any]]:
    """Compare expected and realised losses and values by quarter of issue."""
    if not contract.has_time:
        return
    labels = _quarters(scored, contract)
    for label in np.unique(labels):
        rows = labels == label
        sums = {
            name: float(getattr(loans, name)[rows].sum()) for name in ("expected_loss", "loss", "expected_npv", "npv")
        }
        yield {
            "vintage": str(label),
            "loans": int(rows.sum()),
            "mean_pd": float(loans.pds[rows].mean()),
            "default_rate": float(loans.defaulted[rows].mean()),
            **sums,
        }


def _quarters(scored: ScoredLoans, contract: Contract) -> NDArray[np.str_]:
    """Return the quarter of issue of each loan (n,)."""
    month = scored.rows[contract.time_name]
    quarters = pl.select(pl.format("{}-Q{}", month.dt.year(), month.dt.quarter())).to_series()
    return np.asarray(quarters.to_list(), dtype=np.str_)


def _vintage_losses(scored: ScoredLoans, value: ValueModel, contract: Contract) -> Iterator[dict[str, Any]]:
    """Compare what defaults cost with what was expected, by quarter of issue."""
    if contract.has_time:
        yield from map(asdict, losses_by_vintage(scored.ended, _quarters(scored, contract).tolist(), value.endings))


def _groups(
    loans: ValuedLoans, scored: ScoredLoans, contract: Contract, rules: Mapping[str, Mask], capital_share: float
) -> Iterator[dict[str, Any]]:
    """Measure by term, by segment and by group of people what both rules approve, as many loans by either."""
    for field in _group_fields(contract):
        labels = np.asarray(_labels(scored.rows[field.name], field))
        for label in np.unique(labels):
            rows = labels == label
            if rows.sum() < _LEAST_LOANS:
                continue
            outcomes = {rule: outcome_of(loans, approved & rows, capital_share) for rule, approved in rules.items()}
            yield {
                "field": field.name,
                "group": str(label),
                "loans": int(rows.sum()),
                **{
                    rule: {**asdict(each), "approval_rate": each.loans / int(rows.sum())}
                    for rule, each in outcomes.items()
                },
            }


def _labels(values: pl.Series, field: LoanField) -> Sequence[str]:
    """Return the group of each loan, as the measures of fairness divide them."""
    labels = np.empty(len(values), dtype=object)
    for label, group in divide_loans(values.to_frame().with_row_index(":row"), field):
        labels[group[":row"].to_numpy()] = label
    return [*map(str, labels)]
