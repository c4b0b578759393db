"""Draws loan applications: borrowers, their credit files, and the loans they ask for at the lender's price.

Everything here is known when a loan is granted; how it ends belongs in `synthetic_outcomes`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np

from loan_default.risk.arrays import Floats
from loan_default.risk.data.synthetic_draws import (
    Columns,
    annuity,
    by_level,
    draw_counts,
    draw_part,
    months_since_1900,
    only_where,
    pick_levels,
    rank_levels,
    term_months,
    usual_dti,
)
from loan_default.risk.data.synthetic_tables import (
    EMP_LENGTHS,
    GRADES,
    HOMES,
    LEVELS,
    PURPOSES,
    RARE_COUNTS,
    RECENT_ACCOUNTS_FROM,
    RECENT_COUNTS,
    SECOND_COUNTS,
    STATE_TABLE,
    VERIFICATIONS,
)

Period = tuple[date, date, date]  # first and last issue month, snapshot


@dataclass(frozen=True)
class Traits:
    """Latent traits in which borrowers differ: each (rows,), standard normal in the stable population."""

    wealth: Floats
    standing: Floats  # how well debts were paid so far: high is good
    appetite: Floats  # how much new credit is sought
    depth: Floats  # how long and varied the credit file is


def draw_applications(
    rng: np.random.Generator, rows: int, seed: int, start: int, period: Period, shift: float
) -> Columns:
    """Draw what is known when a loan is granted.

    Raises:
        ValueError: `rows` is not positive, or the months of `period` are out of order.
    """
    if rows < 1:
        raise ValueError(f"rows must be at least 1, not {rows}")
    if not period[0] <= period[1] <= period[2]:
        raise ValueError("first month {}, last month {} and snapshot {} must be in this order".format(*period))
    columns = {"id": _ids(rng, rows, seed, start), "issue_d": _issue_months(rng, rows, period)}
    traits = _traits(rng, rows, shift)
    columns |= _borrower(rng, traits)
    columns |= _credit_standing(rng, traits, shift)
    columns |= _recent_credit(rng, traits, columns)
    columns |= _past_trouble(rng, traits)
    columns |= _account_counts(rng, columns)
    columns |= _balances(rng, traits, columns)
    columns |= _recent_accounts(rng, traits, columns)
    columns |= _requested_loan(rng, traits, columns, shift)
    columns |= _pricing(rng, traits, columns)
    return columns | _second_applicant(rng, columns)


def _ids(rng: np.random.Generator, rows: int, seed: int, start: int) -> Floats:
    numbers = np.arange(start, start + rows, dtype=np.float64)
    return 10_000_000 * (1 + seed % 98) + 4 * numbers + rng.integers(4, size=rows)


def _issue_months(rng: np.random.Generator, rows: int, period: Period) -> Floats:
    first, last = months_since_1900(period[0]), months_since_1900(period[1])
    return first + pick_levels(rng, rows, np.linspace(1, 1.5, last - first + 1))


def _traits(rng: np.random.Generator, rows: int, shift: float) -> Traits:
    wealth, standing, appetite, depth = rng.standard_normal((4, rows))
    return Traits(
        wealth=wealth - 0.7 * shift,
        standing=standing - 0.9 * shift,
        appetite=appetite + 0.9 * shift,
        depth=0.3 * wealth + 0.95 * depth,
    )


def _borrower(rng: np.random.Generator, traits: Traits) -> Columns:
    rows = len(traits.wealth)
    employed = rng.random(rows) > 0.065
    home_shares, mortgages, _ = zip(*HOMES.values(), strict=True)
    home = rank_levels(0.45 * traits.wealth + 0.89 * rng.standard_normal(rows), home_shares)
    state = pick_levels(rng, rows, STATE_TABLE[:, 0])
    low, high = STATE_TABLE[state.astype(int), 1:].T
    income = 65_500 * np.exp(0.53 * traits.wealth) * np.where(employed, 1, 0.72)
    step = np.where(rng.random(rows) < 0.7, 1_000, 1)
    return {
        "emp_length": only_where(pick_levels(rng, rows, list(EMP_LENGTHS.values())), employed),
        "emp_title": only_where(pick_levels(rng, rows, 1 / np.arange(3, 3 + len(LEVELS["emp_title"]))), employed),
        "home_ownership": home,
        "mort_acc": draw_counts(rng, by_level(mortgages, home)),
        "annual_inc": np.maximum(np.round(income / step) * step, 4_000),
        "addr_state": state,
        "zip_code": np.floor(low + rng.random(rows) * (high - low + 1)),
    }


def _credit_standing(rng: np.random.Generator, traits: Traits, shift: float) -> Columns:
    """Draw FICO, revolving credit and debt to income: a good standing is a high score and a low use of limits."""
    rows = len(traits.standing)
    noise = rng.standard_normal((5, rows))
    excess = np.maximum(np.exp(3.5 + 0.78 * traits.standing) - 6, 0)
    fico = np.minimum(660 + 5 * np.floor(excess / 5), 845)
    util = np.round(np.clip(50 - 11 * traits.standing + 10 * shift + 22 * noise[0], 0, 130), 1)
    limit = np.exp(0.35 * traits.wealth + 0.3 * traits.standing + 0.35 * traits.depth + 0.58 * noise[1])
    limit = np.round(254 * limit) * 100
    dti = 18 - 1.8 * traits.wealth + 2.2 * traits.depth + 0.06 * (util - 50) + 4 * shift + 7.8 * noise[2]
    open_accounts = np.exp(2.35 + 0.4 * traits.depth + 0.12 * traits.appetite + 0.28 * noise[3])
    open_accounts = np.clip(np.round(open_accounts), 1, 90)
    odd = rng.random(rows)  # a few fields are empty or absurd, as in the published file
    return {
        "fico_range_low": fico,
        "fico_range_high": fico + 4,
        "revol_util": only_where(util, odd > 0.001),
        "total_rev_hi_lim": limit,
        "revol_bal": np.round(limit * util / 100),
        "dti": only_where(np.where(odd > 0.9998, 999.0, np.round(np.abs(dti), 2)), abs(odd - 0.5) > 0.0004),
        "open_acc": open_accounts,
        "total_acc": open_accounts + np.round(np.exp(2.4 + 0.35 * traits.depth + 0.6 * noise[4])),
    }


def _recent_credit(rng: np.random.Generator, traits: Traits, columns: Columns) -> Columns:
    """Draw how old the credit file is, and how lately credit was sought and opened."""
    rows, appetite = len(traits.appetite), traits.appetite
    noise = rng.random((7, rows))
    age = np.exp(5.16 + 0.28 * traits.depth + 0.15 * traits.wealth + 0.3 * rng.standard_normal(rows))
    age = np.clip(np.round(age), 38, 720)
    newest = np.minimum(np.floor(rng.gamma(1.3, 6.3 * np.exp(-0.35 * appetite))), age)
    newest_revolving = np.minimum(newest + np.floor((noise[0] < 0.45) * rng.exponential(13, rows)), age)
    newest_card = np.minimum(newest_revolving + np.floor((noise[1] < 0.5) * rng.exponential(15, rows)), age)
    inquiries = draw_counts(rng, 0.5 * np.exp(0.5 * appetite))
    sought_before = 6 + np.floor(rng.exponential(6.5 * np.exp(-0.2 * appetite)))
    sought = np.where(inquiries > 0, np.floor(6 * noise[2]), sought_before)
    return {
        "earliest_cr_line": columns["issue_d"] - age,
        "mo_sin_old_rev_tl_op": np.round(age * (1 - 0.3 * noise[3] ** 3)),
        "mo_sin_old_il_acct": only_where(np.round(age * (0.35 + 0.6 * noise[4])), noise[5] < 0.97),
        "mo_sin_rcnt_tl": newest,
        "mo_sin_rcnt_rev_tl_op": newest_revolving,
        "mths_since_recent_bc": only_where(newest_card, noise[5] > 0.01),
        "inq_last_6mths": inquiries,
        "mths_since_recent_inq": only_where(sought, (sought < 25) & (noise[6] < 0.97)),
        "acc_open_past_24mths": draw_counts(rng, 4.1 * np.exp(0.32 * appetite + 0.2 * traits.depth)),
    }


def _past_trouble(rng: np.random.Generator, traits: Traits) -> Columns:
    """Draw delinquencies, public records and how long ago they were: empty where nothing ever happened."""
    rows, standing = len(traits.standing), traits.standing
    noise = rng.random((9, rows))
    delinquencies = (noise[0] < 0.19 * np.exp(-0.35 * standing)) * (1 + rng.poisson(0.6, rows))
    ever = (delinquencies > 0) | (noise[1] < 0.38)
    older = 24 + np.floor(rng.gamma(1.8, 12, rows))
    ago = np.where(delinquencies > 0, np.floor(24 * noise[2]), older)
    records = (noise[3] < 0.13 * np.exp(-0.45 * standing)) * (1 + rng.poisson(0.25, rows))
    bankruptcies = draw_part(rng, records, 0.65)
    rare = {name: draw_counts(rng, mean * np.exp(-0.3 * standing)) for name, mean in RARE_COUNTS.items()}
    return rare | {
        "delinq_2yrs": delinquencies.astype(float),
        "mths_since_last_delinq": only_where(ago, ever),
        "mths_since_last_major_derog": only_where(ago + np.floor(14 * noise[4]), ever & (noise[4] < 0.5)),
        "mths_since_recent_bc_dlq": only_where(ago, ever & (noise[5] < 0.45)),
        "mths_since_recent_revol_delinq": only_where(ago, ever & (noise[5] < 0.66)),
        "pct_tl_nvr_dlq": np.where(ever, np.round(97 - 30 * noise[6] ** 2, 1), 100),
        "delinq_amnt": np.round(rare["acc_now_delinq"] * 2_400 * noise[2]),
        "tot_coll_amt": np.round((noise[4] > 0.86) * np.exp(4 + 4 * noise[7])),
        "pub_rec": records.astype(float),
        "mths_since_last_record": only_where(np.floor(24 + 96 * np.sqrt(noise[8])), records > 0),
        "pub_rec_bankruptcies": only_where(bankruptcies, noise[7] > 0.001),
        "tax_liens": draw_part(rng, records - bankruptcies, 0.6),
    }


def _account_counts(rng: np.random.Generator, columns: Columns) -> Columns:
    """Divide the open and closed accounts: a part never exceeds its total."""
    open_accounts, closed = columns["open_acc"], columns["total_acc"] - columns["open_acc"]
    revolving = np.maximum(draw_part(rng, open_accounts, 0.71), 1)
    active = np.maximum(draw_part(rng, revolving, 0.68), 1)
    cards = draw_part(rng, revolving, 0.58)
    closed_revolving = draw_part(rng, closed, 0.45)
    return {
        "num_sats": open_accounts,
        "num_op_rev_tl": revolving,
        "num_rev_accts": revolving + closed_revolving,
        "num_actv_rev_tl": active,
        "num_rev_tl_bal_gt_0": active,
        "num_bc_sats": cards,
        "num_actv_bc_tl": np.minimum(draw_part(rng, cards, 0.77), active),
        "num_bc_tl": cards + draw_part(rng, closed_revolving, 0.52),
        "num_il_tl": open_accounts - revolving + draw_part(rng, closed - closed_revolving, 0.85),
        "num_tl_op_past_12m": draw_part(rng, columns["acc_open_past_24mths"], 0.46),
    }


def _balances(rng: np.random.Generator, traits: Traits, columns: Columns) -> Columns:
    """Draw what is owed and what could be: cards are part of revolving credit, other debts come on top."""
    rows, income = len(traits.depth), columns["annual_inc"]
    noise = rng.standard_normal((5, rows))
    util = np.nan_to_num(columns["revol_util"], nan=50.0)
    has_card = columns["num_bc_sats"] > 0
    card_util = np.round(np.clip(util + 7 + 11 * noise[0], 0, 130), 1)
    card_limit = has_card * np.round(columns["total_rev_hi_lim"] * rng.beta(4, 2.3, rows) / 100) * 100
    instalments = np.minimum(income * np.exp(-1.05 + 0.25 * traits.depth + 0.8 * noise[1]), 900_000)
    instalments = np.round(instalments * (rng.random(rows) < 0.89))
    borrowed = np.round(instalments / np.clip(0.69 + 0.2 * noise[2], 0.2, 1.3))
    mortgaged = columns["home_ownership"] == LEVELS["home_ownership"].index("MORTGAGE")
    mortgage = np.round(mortgaged * income * np.exp(0.85 + 0.4 * noise[3]))
    nearly_full = np.round(np.clip(1.6 * card_util - 50 + 20 * noise[4], 0, 100), 1)
    owed = columns["revol_bal"] + instalments
    return {
        "bc_util": only_where(card_util, has_card),
        "percent_bc_gt_75": only_where(nearly_full, has_card),
        "total_bc_limit": card_limit,
        "bc_open_to_buy": only_where(np.round(card_limit * np.maximum(1 - card_util / 100, 0)), has_card),
        "total_il_high_credit_limit": borrowed,
        "total_bal_ex_mort": owed,
        "tot_cur_bal": owed + mortgage,
        "tot_hi_cred_lim": columns["total_rev_hi_lim"] + borrowed + np.round(1.1 * mortgage),
        "avg_cur_bal": np.round((owed + mortgage) / columns["open_acc"]),
    }


def _recent_accounts(rng: np.random.Generator, traits: Traits, columns: Columns) -> Columns:
    """Draw columns that the published file fills only from `RECENT_ACCOUNTS_FROM` on."""
    rows, owed, revolving = len(traits.appetite), columns["total_bal_ex_mort"], columns["revol_bal"]
    borrowed = columns["total_il_high_credit_limit"]
    limits = np.maximum(columns["total_rev_hi_lim"] + borrowed, 1)
    factor = np.exp(0.3 * traits.appetite - 0.045)
    recent = {name: draw_counts(rng, mean * factor) for name, mean in RECENT_COUNTS.items()}
    recent |= {
        "open_il_24m": recent["open_il_12m"] + rng.poisson(0.9, rows),
        "open_rv_24m": recent["open_rv_12m"] + rng.poisson(1.45, rows),
        "mths_since_rcnt_il": only_where(np.floor(rng.exponential(20, rows)), rng.random(rows) > 0.03),
        "total_bal_il": owed - revolving,
        "il_util": only_where(np.round(100 * (owed - revolving) / np.maximum(borrowed, 1)), borrowed > 0),
        "max_bal_bc": np.round(revolving * rng.beta(3, 4, rows)),
        "all_util": np.round(100 * owed / limits),
    }
    published = columns["issue_d"] >= months_since_1900(RECENT_ACCOUNTS_FROM)
    return {name: only_where(values, published) for name, values in recent.items()}


def _requested_loan(rng: np.random.Generator, traits: Traits, columns: Columns, shift: float) -> Columns:
    rows = len(traits.wealth)
    noise = rng.standard_normal((2, rows))
    _, stable, drifted, factors, _ = zip(*PURPOSES.values(), strict=True)
    purpose = pick_levels(rng, rows, np.maximum((1 - shift) * np.array(stable) + shift * np.array(drifted), 0))
    usual = 13_000 * np.exp(0.26 * traits.wealth + 0.08 * traits.standing + 0.1 * traits.depth + 0.52 * noise[0])
    amount = np.minimum(usual * by_level(factors, purpose), 0.45 * columns["annual_inc"])
    step = np.where(rng.random(rows) < 0.6, 1_000, 25)
    amount = np.clip(np.floor(amount / step) * step, 1_000, 40_000)
    return {
        "loan_amnt": amount,
        "funded_amnt": amount,
        "funded_amnt_inv": amount - 25 * (rng.random(rows) < 0.07) * rng.poisson(2, rows),
        "term": rank_levels(np.log(amount / 12_500) + 0.75 * noise[1], (0.72, 0.28)),
        "purpose": purpose,
        "title": only_where(purpose, rng.random(rows) > 0.01),
        "initial_list_status": pick_levels(rng, rows, (0.68, 0.32)),
        "disbursement_method": pick_levels(rng, rows, (0.96, 0.04)),
        "policy_code": np.ones(rows),
    }


def _pricing(rng: np.random.Generator, traits: Traits, columns: Columns) -> Columns:
    """Draw grade, rate and instalment: the lender's opinion of all that was drawn before."""
    noise = rng.standard_normal((3, len(traits.standing)))
    risk = 0.9 * (columns["term"] - 0.28) + 0.018 * (usual_dti(columns) - 18) + 0.2 * traits.appetite
    risk += -0.15 * traits.wealth - 0.5 * traits.standing + 0.65 * noise[0]
    shares, rates = zip(*(step for steps in GRADES.values() for step in steps), strict=True)
    sub_grade = rank_levels(risk, shares)
    rate = np.round(np.clip(by_level(rates, sub_grade) * (1 + 0.02 * noise[1]), 5.31, 30.99), 2)
    return {
        "grade": np.floor(sub_grade / 5),
        "sub_grade": sub_grade,
        "int_rate": rate,
        "installment": np.round(annuity(columns["loan_amnt"], rate, term_months(columns)), 2),
        "verification_status": rank_levels(0.35 * risk + 0.94 * noise[2], list(VERIFICATIONS.values())),
    }


def _second_applicant(rng: np.random.Generator, columns: Columns) -> Columns:
    """Draw the other borrower of one loan in eighteen; empty columns for the rest."""
    rows = len(columns["annual_inc"])
    noise = rng.random((9, rows))
    joint = noise[0] < 0.055
    factor = 1.25 + noise[1]
    fico = 570 + 5 * np.floor(20 * (noise[2] + noise[3]))
    counts = {f"sec_app_{name}": draw_counts(rng, np.full(rows, mean)) for name, mean in SECOND_COUNTS.items()}
    second = counts | {
        "annual_inc_joint": np.round(columns["annual_inc"] * factor),
        "dti_joint": np.round(usual_dti(columns) / factor * (1 + 1.4 * noise[4]), 2),
        "verification_status_joint": np.floor(3 * noise[5] ** 2),
        "revol_bal_joint": np.round(columns["revol_bal"] * (1 + 1.5 * noise[6])),
        "sec_app_fico_range_low": fico,
        "sec_app_fico_range_high": fico + 4,
        "sec_app_earliest_cr_line": columns["issue_d"] - np.floor(40 + 260 * noise[7]),
        "sec_app_revol_util": np.round(100 * noise[8], 1),
        "sec_app_mths_since_last_major_derog": only_where(np.floor(240 * noise[6]), noise[6] < 0.33),
    }
    return {"application_type": joint * 1.0} | {name: only_where(values, joint) for name, values in second.items()}
