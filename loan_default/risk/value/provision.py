"""Computes what open loans are expected to lose: each loan's provision by stage and over its life, in each scenario.

A loan's PD says how likely it ends in default. When it would, or be repaid, its own curve says where the version has
hazards, else the loans of its term; what is lost then is `economics`'. A loan that still runs after some months has
outlived part of both; of the rest come the months' hazards, which scenarios multiply. Sums of a book are sums of these
rows. Stages: IFRS 9, 5.5.3 to 5.5.5 and B5.5.19 to B5.5.37; the life of all: CECL (ASC 326).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loan_default.risk.arrays import Floats
from loan_default.risk.contract.pricing import MONTHS_A_YEAR
from loan_default.risk.economics.cash_flows import Endings, balances
from loan_default.risk.economics.valuation import ValueModel
from loan_default.risk.model.hazard import Hazard
from loan_default.risk.model.scorer import Scorer
from loan_default.risk.policy import ProvisionPolicy, Scenario

BASE = Scenario()
_PART = 20_000  # loans at once: 10 MB for each month table of 60 months
STAGES = (1, 2, 3)


@dataclass(frozen=True)
class OpenLoans:
    """Loans of a book that still run (n,).

    Attributes:
        pds: that a loan of its kind ends in default, at its grant.
        balances: principal that is owed, in the book's money.
        rates: shares a year.
        terms: months.
        months: since the grant.
        overdue: months since the last payment, beyond the one in which the next is due; NaN where that is not known.
        granted_pds: what was said of the loan when it was decided on; NaN where that is not known.
        hazard_margins: log-odds of the version's hazards (n, m), where it has some.
    """

    pds: Floats
    balances: Floats
    rates: Floats
    terms: Floats
    months: Floats
    overdue: Floats
    granted_pds: Floats
    hazard_margins: Floats | None = None

    def take(self, rows: NDArray[Any]) -> OpenLoans:
        """Return some of the loans."""
        return replace(self, **{name: values[rows] for name, values in vars(self).items() if values is not None})


@dataclass(frozen=True)
class LossModel:
    """What a version says of losses: its value, and by its hazards when each loan would end.

    `months_after_default` pass from the last payment until a default is known, as the hazards count it.
    """

    value: ValueModel
    hazard: Hazard | None = None
    months_after_default: int = 0

    @classmethod
    def of(cls, scorer: Scorer) -> LossModel:
        """Read it of a version.

        Raises:
            ValueError: the version has no value.
        """
        delay = scorer.contract.outcome.known
        if scorer.value is None or delay is None:
            raise ValueError("the version has no value")
        return cls(scorer.value, scorer.hazard, delay.months_after_default)

    def endings(self, loans: OpenLoans, term: int) -> tuple[Floats, Floats]:
        """Return when loans of a term (n,) end: shares of defaults and of repayments, (n or 1, term)."""
        if self.hazard is None or loans.hazard_margins is None:
            of_term = self.value.endings[term]
            return of_term.defaulted[None], of_term.repaid[None]
        return self.hazard.of_term(loans.hazard_margins, term).by_month(term, self.months_after_default)


@dataclass(frozen=True)
class ExpectedLosses:
    """What is expected of open loans (n,): PD and loss of the next twelve months, and of the rest of their lives."""

    year_pd: Floats
    lifetime_pd: Floats
    year_loss: Floats
    lifetime_loss: Floats


def expected_losses(model: LossModel, loans: OpenLoans, scenario: Scenario = BASE) -> ExpectedLosses:
    """Return what open loans are expected to lose, discounted at their own rate; NaN of a term without a value.

    Of a loan that its term is over the last month of the term is taken to be the one that comes.
    """
    result = ExpectedLosses(*(np.full(len(loans.pds), np.nan) for _ in range(4)))
    for term, endings in model.value.endings.items():
        rows = np.flatnonzero((loans.terms == term) & (loans.rates > -1))
        for start in range(0, len(rows), _PART):
            part = rows[start : start + _PART]
            own = loans.take(part)
            expected = _expected(endings, model.endings(own, term), own, scenario)
            for target, values in zip(vars(result).values(), expected, strict=True):
                target[part] = values
    return result


def _expected(
    endings: Endings, shares: tuple[Floats, Floats], loans: OpenLoans, scenario: Scenario
) -> tuple[Floats, Floats, Floats, Floats]:
    """Return PD and loss of a year and of the rest of the lives of loans of one term, by when they end (`shares`)."""
    months, count = endings.months, len(loans.pds)
    passed = np.clip(loans.months, 0, months - 1).astype(np.int64)
    defaults, repayments = loans.pds[:, None] * shares[0], (1 - loans.pds)[:, None] * shares[1]
    running = np.cumsum((defaults + repayments)[:, ::-1], axis=1)[:, ::-1]  # when each month begins
    with np.errstate(divide="ignore", invalid="ignore"):
        default, repayment = (np.nan_to_num(ends / running) for ends in (defaults, repayments))
    default = np.minimum(default * scenario.hazard, 1.0)
    last = np.arange(months) == months - 1
    repayment = np.where(last, 1 - default, np.minimum(repayment * scenario.prepayment, 1 - default))
    ahead = np.arange(months) - passed[:, None]  # months from now
    is_ahead = ahead >= 0
    kept = np.where(is_ahead, 1 - default - repayment, 1.0)
    survived = np.cumprod(np.concatenate([np.ones((count, 1)), kept[:, :-1]], axis=1), axis=1)
    happens = np.where(is_ahead, survived * default, 0.0)
    owed = balances(loans.rates, months)[:, :-1]
    share = owed / owed[np.arange(count), passed][:, None]
    exposure = loans.balances[:, None] * np.minimum(endings.exposure * share, 1.0)
    worth = (1 + loans.rates / MONTHS_A_YEAR)[:, None] ** -np.maximum(ahead + 1, 0)
    lost = happens * exposure * np.minimum(endings.loss * scenario.lgd, 1.0) * worth
    of_year = is_ahead & (ahead < MONTHS_A_YEAR)
    within = (np.where(of_year, happens, 0.0).sum(axis=1), np.where(of_year, lost, 0.0).sum(axis=1))
    return within[0], happens.sum(axis=1), within[1], lost.sum(axis=1)


def stage_loans(loans: OpenLoans, policy: ProvisionPolicy) -> NDArray[np.int64]:
    """Return the stage of each loan (n,): 3 impaired, 2 a risk that has risen since the grant, else 1.

    By months without a payment (the presumptions of 90 and 30 days), and by the PD against that of the grant.
    """
    with np.errstate(invalid="ignore"):
        has_risen = loans.pds >= policy.stage_2_pd_ratio * loans.granted_pds
        late, impaired = loans.overdue >= policy.stage_2_months, loans.overdue >= policy.stage_3_months
    return np.where(impaired, 3, np.where(late | has_risen, 2, 1)).astype(np.int64)


def provision_loans(model: LossModel, loans: OpenLoans, policy: ProvisionPolicy) -> pl.DataFrame:
    """Return a row for each loan: stage, PD and loss of a year and of its life, and its provision in each scenario.

    A provision is the loss of the next year in stage 1, of the life in stage 2, and what of the balance is lost in a
    default now in stage 3. `provision` is the mean of the scenarios by their weights, `cecl` the life's loss likewise.
    """
    stages, base = stage_loans(loans, policy), expected_losses(model, loans)
    columns: dict[str, Any] = {
        "stage": stages, "balance": loans.balances, "year_pd": base.year_pd, "lifetime_pd": base.lifetime_pd
    }  # fmt: skip
    weights = policy.weights
    provision, cecl = np.zeros(len(stages)), np.zeros(len(stages))
    for name, scenario in policy.scenarios.items():
        expected, impaired = expected_losses(model, loans, scenario), _lost_now(model.value, loans, scenario)
        own = np.select([stages == 1, stages == 2], [expected.year_loss, expected.lifetime_loss], impaired)
        life = np.where(stages == 3, impaired, expected.lifetime_loss)
        columns |= {f"provision_{name}": own, f"cecl_{name}": life}
        provision, cecl = provision + weights[name] * own, cecl + weights[name] * life
    return pl.DataFrame(columns | {"provision": provision, "cecl": cecl}, nan_to_null=True)


def _lost_now(value: ValueModel, loans: OpenLoans, scenario: Scenario) -> Floats:
    """Return what of the balance is lost where a loan defaults now."""
    lost = np.full(len(loans.pds), np.nan)
    for term, endings in value.endings.items():
        rows = loans.terms == term
        passed = np.clip(loans.months[rows], 0, term - 1).astype(np.int64)
        lost[rows] = loans.balances[rows] * np.minimum(endings.loss[passed] * scenario.lgd, 1.0)
    return lost


def summarise(rows: pl.DataFrame, policy: ProvisionPolicy, groups: Mapping[str, str]) -> dict[str, Any]:
    """Add up the rows of loans: by stage, by each of the columns `groups` (title → column), and by scenario."""
    valued = rows.filter(pl.col("provision").is_not_null())
    return {
        "loans": rows.height,
        "not_valued": rows.height - valued.height,
        "total": _sums(valued),
        "stages": [
            {"stage": stage, **_sums(valued.filter(pl.col("stage") == stage))} for stage in STAGES
        ],
        "groups": [*_by_group(valued, groups)],
        "scenarios": [
            {
                "scenario": name,
                **scenario.model_dump(exclude={"weight"}),
                "weight": policy.weights[name],
                "provision": float(valued[f"provision_{name}"].sum()),
                "cecl": float(valued[f"cecl_{name}"].sum()),
                "by_stage": [float(valued.filter(pl.col("stage") == s)[f"provision_{name}"].sum()) for s in STAGES],
            }
            for name, scenario in policy.scenarios.items()
        ],
    }  # fmt: skip


def _sums(rows: pl.DataFrame) -> dict[str, Any]:
    names = ("balance", "provision", "cecl")
    shares = {name: None if rows.is_empty() else float(rows[name].mean()) for name in ("year_pd", "lifetime_pd")}  # type: ignore[arg-type]
    return {"loans": rows.height, **{name: float(rows[name].sum()) for name in names}, **shares}


def _by_group(rows: pl.DataFrame, groups: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    for title, column in groups.items():
        for (label,), part in rows.sort(column).group_by(column, maintain_order=True):
            yield {"field": title, "group": "missing" if label is None else str(label), **_sums(part)}
