"""Draws how synthetic loans end: status, payments, settlements and hardship plans as they stand at the snapshot.

What was known when the loan was granted belongs in `synthetic_applications`.
"""

from __future__ import annotations

import numpy as np

from loan_default.risk.arrays import Floats
from loan_default.risk.data.synthetic_draws import (
    Columns,
    by_level,
    months_since_1900,
    only_where,
    pick_levels,
    term_months,
    usual_dti,
)
from loan_default.risk.data.synthetic_tables import (
    CHARGED_OFF,
    CURRENT,
    DEFAULTED,
    GRACE,
    HOMES,
    LATE_16,
    LATE_31,
    LOST,
    OUTSIDE_POLICY_BEFORE,
    PAID,
    PAID_OFF_POLICY,
    PURPOSES,
    REPAID,
)


def draw_endings(rng: np.random.Generator, columns: Columns, snapshot: int) -> Columns:
    """Draw all columns that are written after the loans were granted, as they stand in the month `snapshot`."""
    elapsed = snapshot - columns["issue_d"]
    columns = columns | _outcome(rng, columns, elapsed)
    columns |= _payments(rng, columns, elapsed)
    columns |= _last_credit_pull(rng, columns, elapsed)
    columns |= _settlements(rng, columns, elapsed)
    return columns | _hardships(rng, columns, elapsed)


def _log_odds(columns: Columns) -> Floats:
    """Compute the log-odds of default within the term, from what is known when the loan is granted; shape (rows,)."""
    income, dti = columns["annual_inc"], usual_dti(columns)
    *_, purpose_effects = zip(*PURPOSES.values(), strict=True)
    *_, home_effects = zip(*HOMES.values(), strict=True)
    odds: Floats = (
        -1.78
        + 1.45 * np.log(columns["int_rate"] / 13)
        + 0.3 * columns["term"]
        - 0.005 * (np.minimum(columns["fico_range_low"], 780) - 700)
        + 0.012 * (dti - 18)
        + 0.25 * ((dti > 25) & (income < 50_000))
        - 0.12 * np.log(income / 65_000)
        + 2.8 * (12 * columns["installment"] / income - 0.08)
        + 0.006 * np.maximum(np.nan_to_num(columns["revol_util"]) - 60, 0)
        + 0.075 * (np.minimum(columns["acc_open_past_24mths"], 10) - 4.5)
        + 0.1 * np.minimum(columns["inq_last_6mths"], 3)
        + 0.12 * (columns["delinq_2yrs"] > 0)
        - 0.12 * np.log(columns["avg_cur_bal"] / 7_000 + 0.2)
        + 0.2 * np.isnan(columns["emp_length"])
        + by_level(purpose_effects, columns["purpose"])
        + by_level(home_effects, columns["home_ownership"])
    )
    return odds


def _outcome(rng: np.random.Generator, columns: Columns, elapsed: Floats) -> Columns:
    """Draw the status at the snapshot, `elapsed` months after issue, and how many instalments were paid until then."""
    rows, term = len(elapsed), term_months(columns)
    fails = rng.random(rows) < 1 / (1 + np.exp(-_log_odds(columns)))
    luck = rng.random(rows)
    # A loan is charged off five months after its last payment, so one that fails is resolved within its term.
    failed_after = np.floor((np.minimum(term, 48) - 5) * rng.beta(1.5, 1.6, rows))
    repaid_after = np.minimum(np.ceil(rng.exponential(30, rows)), term)
    behind = elapsed - failed_after
    charged_off = np.where(luck < 0.004, DEFAULTED, CHARGED_OFF)
    just_late = np.where(luck < 0.6, GRACE, LATE_16)
    failing = np.select([behind >= 5, behind >= 2, behind == 1], [charged_off, LATE_31, just_late], CURRENT)
    slow = (luck < 0.004) & (elapsed > 2) & (elapsed < repaid_after)
    paying = np.select([slow, elapsed >= repaid_after], [GRACE, PAID], CURRENT)
    status = np.where(fails, failing, paying)
    outside = (columns["issue_d"] < months_since_1900(OUTSIDE_POLICY_BEFORE)) & (rng.random(rows) < 0.04)
    status = np.where(outside & (status <= CHARGED_OFF), status + PAID_OFF_POLICY, status)
    paid_months = np.where(fails, failed_after, repaid_after)
    return {"loan_status": status.astype(float), "paid_months": np.minimum(paid_months, elapsed - slow)}


def _payments(rng: np.random.Generator, columns: Columns, elapsed: Floats) -> Columns:
    """Compute what was paid and lost up to the snapshot: it agrees with the outcome, a trap for a careless model."""
    rows, status = len(elapsed), columns["loan_status"]
    amount, paid_months = columns["loan_amnt"], columns["paid_months"]
    repaid, defaulted, active = np.isin(status, REPAID), np.isin(status, LOST), status >= CURRENT
    # Balance after k of n payments: P ((1 + r)^n - (1 + r)^k) / ((1 + r)^n - 1), r the monthly rate.
    growth = 1 + columns["int_rate"] / 1200
    final_growth = growth ** term_months(columns)
    balance = amount * (final_growth - growth**paid_months) / (final_growth - 1)
    interest = columns["installment"] * paid_months - (amount - balance)
    principal = np.where(repaid, amount, amount - balance)
    late_fee = (rng.random(rows) < np.where(defaulted, 0.14, 0.02)) * (15 + 30 * rng.random(rows))
    recovered = (defaulted & (rng.random(rows) < 0.71)) * balance * rng.beta(1.2, 8, rows)
    total = principal + interest + late_fee + recovered
    invested = columns["funded_amnt_inv"] / amount
    dollars = {
        "out_prncp": active * balance,
        "out_prncp_inv": active * balance * invested,
        "total_pymnt": total,
        "total_pymnt_inv": total * invested,
        "total_rec_prncp": principal,
        "total_rec_int": interest,
        "total_rec_late_fee": late_fee,
        "recoveries": recovered,
        "collection_recovery_fee": 0.18 * recovered,
        "last_pymnt_amnt": (paid_months > 0) * (columns["installment"] + repaid * balance),
    }
    return {name: np.round(values, 2) for name, values in dollars.items()} | {
        "last_pymnt_d": only_where(columns["issue_d"] + paid_months, paid_months > 0),
        "next_pymnt_d": only_where(columns["issue_d"] + elapsed + 1, active),
    }


def _last_credit_pull(rng: np.random.Generator, columns: Columns, elapsed: Floats) -> Columns:
    """Draw when the lender last looked, and the FICO it saw: some 130 points lower where the loan defaulted."""
    rows, status = len(elapsed), columns["loan_status"]
    since = np.floor(rng.random(rows) * (elapsed - columns["paid_months"] + 1))
    stopped = (status < CURRENT) & (rng.random(rows) < 0.6)
    change = np.select([np.isin(status, LOST), status > CURRENT], [-130, -85], 2)
    change = 5 * np.round((change + 45 * rng.standard_normal(rows)) / 5)
    fico = np.clip(columns["fico_range_high"] + change, 499, 849)
    return {
        "last_credit_pull_d": columns["issue_d"] + elapsed - stopped * since,
        "last_fico_range_high": fico,
        "last_fico_range_low": np.where(fico < 500, 0, fico - 4),
    }


def _settlements(rng: np.random.Generator, columns: Columns, elapsed: Floats) -> Columns:
    """Settle one defaulted loan in nine, for about half of what is owed."""
    rows = len(elapsed)
    noise = rng.random((4, rows))
    settled = np.isin(columns["loan_status"], LOST) & (noise[0] < 0.11)
    flagged = columns["issue_d"] + np.minimum(columns["paid_months"] + 5 + np.floor(20 * noise[1]), elapsed)
    percentage = np.round(40 + 20 * noise[2], 2)
    owed = columns["loan_amnt"] - columns["total_rec_prncp"]
    settlement = {
        "debt_settlement_flag_date": flagged,
        "settlement_status": pick_levels(rng, rows, (0.5, 0.38, 0.12)),
        "settlement_date": flagged - np.floor(3 * noise[3]),
        "settlement_amount": np.round(percentage / 100 * owed, 2),
        "settlement_percentage": percentage,
        "settlement_term": np.floor(25 * noise[3]),
    }
    flag = {"debt_settlement_flag": settled * 1.0}
    return flag | {name: only_where(values, settled) for name, values in settlement.items()}


def _hardships(rng: np.random.Generator, columns: Columns, elapsed: Floats) -> Columns:
    """Draw plans of three interest-only months in the snapshot's last two years, mostly of loans in trouble."""
    rows, status = len(elapsed), columns["loan_status"]
    noise = rng.random((5, rows))
    ago = np.floor(24 * noise[0])
    troubled = (status > CURRENT) | np.isin(status, LOST)
    paying_then = (elapsed - ago > 2) & (elapsed - ago < columns["paid_months"] + 4)
    planned = paying_then & (noise[1] < np.where(troubled, 0.06, 0.008))
    running = planned & (ago < 3) & (status >= CURRENT)
    start = columns["issue_d"] + elapsed - ago
    interest = columns["loan_amnt"] * columns["int_rate"] / 1200 * (0.3 + 0.6 * noise[3])
    plan = {
        "hardship_type": np.zeros(rows),
        "hardship_reason": pick_levels(rng, rows, (0.25, 0.25, 0.2, 0.2, 0.1)),
        "hardship_status": np.select([running, noise[2] < 0.2], [2.0, 1.0], 0.0),
        "deferral_term": np.full(rows, 3.0),
        "hardship_amount": np.round(interest, 2),
        "hardship_start_date": start,
        "hardship_end_date": start + 3,
        "payment_plan_start_date": start + (noise[4] < 0.5),
        "hardship_length": np.full(rows, 3.0),
        "hardship_dpd": np.floor(30 * noise[2]),
        "hardship_loan_status": np.select([noise[2] < 0.1, noise[2] < 0.5], [CURRENT, GRACE], LATE_16),
        "orig_projected_additional_accrued_interest": only_where(np.round(3 * interest, 2), noise[4] < 0.85),
        "hardship_payoff_balance_amount": np.round(columns["loan_amnt"] * (0.4 + 0.5 * noise[3]), 2),
        "hardship_last_payment_amount": np.round(columns["installment"] * (0.1 + 0.9 * noise[4]), 2),
    }
    flags = {"hardship_flag": running * 1.0, "pymnt_plan": running * 1.0}
    return flags | {name: only_where(values, planned) for name, values in plan.items()}
