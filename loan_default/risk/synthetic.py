"""Seeded synthetic loans in LendingClub's published layout: what the demo, the tests and the benchmarks run on.

Every figure is drawn from distributions stated here, calibrated to the published file's marginals; no published row
is repeated. Only generating and writing belong here; reading, cleaning and any modelling go to their own modules.

Inside, a loan book is a dict of float arrays of shape (rows,), one per column: NaN is an empty field, a text is the
index of its level in `LEVELS`, a month counts from January 1900. `_published` alone turns these into the file's texts.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from statistics import NormalDist
from typing import IO, cast

import numpy as np
import numpy.typing as npt
import polars as pl

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Columns = dict[str, Array]
Period = tuple[date, date, date]  # first and last issue month, snapshot

PUBLISHED_COLUMNS: tuple[str, ...] = tuple(
    """
    id member_id loan_amnt funded_amnt funded_amnt_inv term int_rate installment grade sub_grade emp_title
    emp_length home_ownership annual_inc verification_status issue_d loan_status pymnt_plan url desc purpose title
    zip_code addr_state dti delinq_2yrs earliest_cr_line fico_range_low fico_range_high inq_last_6mths
    mths_since_last_delinq mths_since_last_record open_acc pub_rec revol_bal revol_util total_acc
    initial_list_status out_prncp out_prncp_inv total_pymnt total_pymnt_inv total_rec_prncp total_rec_int
    total_rec_late_fee recoveries collection_recovery_fee last_pymnt_d last_pymnt_amnt next_pymnt_d
    last_credit_pull_d last_fico_range_high last_fico_range_low collections_12_mths_ex_med
    mths_since_last_major_derog policy_code application_type annual_inc_joint dti_joint verification_status_joint
    acc_now_delinq tot_coll_amt tot_cur_bal open_acc_6m open_act_il open_il_12m open_il_24m mths_since_rcnt_il
    total_bal_il il_util open_rv_12m open_rv_24m max_bal_bc all_util total_rev_hi_lim inq_fi total_cu_tl
    inq_last_12m acc_open_past_24mths avg_cur_bal bc_open_to_buy bc_util chargeoff_within_12_mths delinq_amnt
    mo_sin_old_il_acct mo_sin_old_rev_tl_op mo_sin_rcnt_rev_tl_op mo_sin_rcnt_tl mort_acc mths_since_recent_bc
    mths_since_recent_bc_dlq mths_since_recent_inq mths_since_recent_revol_delinq num_accts_ever_120_pd
    num_actv_bc_tl num_actv_rev_tl num_bc_sats num_bc_tl num_il_tl num_op_rev_tl num_rev_accts
    num_rev_tl_bal_gt_0 num_sats num_tl_120dpd_2m num_tl_30dpd num_tl_90g_dpd_24m num_tl_op_past_12m
    pct_tl_nvr_dlq percent_bc_gt_75 pub_rec_bankruptcies tax_liens tot_hi_cred_lim total_bal_ex_mort
    total_bc_limit total_il_high_credit_limit revol_bal_joint sec_app_fico_range_low sec_app_fico_range_high
    sec_app_earliest_cr_line sec_app_inq_last_6mths sec_app_mort_acc sec_app_open_acc sec_app_revol_util
    sec_app_open_act_il sec_app_num_rev_accts sec_app_chargeoff_within_12_mths
    sec_app_collections_12_mths_ex_med sec_app_mths_since_last_major_derog hardship_flag hardship_type
    hardship_reason hardship_status deferral_term hardship_amount hardship_start_date hardship_end_date
    payment_plan_start_date hardship_length hardship_dpd hardship_loan_status
    orig_projected_additional_accrued_interest hardship_payoff_balance_amount hardship_last_payment_amount
    disbursement_method debt_settlement_flag debt_settlement_flag_date settlement_status settlement_date
    settlement_amount settlement_percentage settlement_term
    """.split()
)

# Statuses that a loan can end in or be in; the order is that of LEVELS["loan_status"].
PAID, CHARGED_OFF, DEFAULTED, PAID_OFF_POLICY, CHARGED_OFF_POLICY, CURRENT, GRACE, LATE_16, LATE_31 = range(9)

# purpose: (title, share, share in the drifted population, usual amount against the rest, log-odds of default)
PURPOSES: dict[str, tuple[str, float, float, float, float]] = {
    "debt_consolidation": ("Debt consolidation", 0.560, 0.38, 1.08, 0.05),
    "credit_card": ("Credit card refinancing", 0.232, 0.10, 1.08, -0.10),
    "home_improvement": ("Home improvement", 0.070, 0.06, 0.95, 0.05),
    "other": ("Other", 0.058, 0.17, 0.66, 0.10),
    "major_purchase": ("Major purchase", 0.020, 0.04, 0.72, 0.00),
    "medical": ("Medical expenses", 0.013, 0.09, 0.62, 0.20),
    "small_business": ("Business", 0.012, 0.08, 1.10, 0.60),
    "car": ("Car financing", 0.010, 0.02, 0.60, -0.15),
    "vacation": ("Vacation", 0.009, 0.02, 0.45, 0.10),
    "moving": ("Moving and relocation", 0.007, 0.03, 0.55, 0.25),
    "house": ("Home buying", 0.006, 0.01, 0.95, 0.15),
    "wedding": ("Wedding expenses", 0.002, 0.00, 0.80, 0.05),
    "renewable_energy": ("Green loan", 0.001, 0.00, 0.60, 0.10),
}
# home_ownership, from the poorest: (share, mean number of mortgages, log-odds of default)
HOMES: dict[str, tuple[float, float, float]] = {
    "ANY": (0.001, 1.0, 0.0),
    "RENT": (0.389, 0.45, 0.16),
    "OWN": (0.115, 1.2, 0.06),
    "MORTGAGE": (0.495, 2.5, -0.14),
}
# grade: (share of each of its five sub-grades, their mean rates in percent)
GRADES: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "A": ((0.031, 0.034, 0.036, 0.042, 0.050), (5.49, 6.49, 7.12, 7.52, 8.09)),
    "B": ((0.057, 0.056, 0.060, 0.064, 0.063), (9.16, 9.93, 10.49, 11.14, 11.86)),
    "C": ((0.065, 0.060, 0.055, 0.059, 0.045), (12.69, 13.44, 14.08, 14.85, 15.77)),
    "D": ((0.033, 0.032, 0.028, 0.026, 0.022), (16.99, 17.86, 18.64, 19.43, 20.18)),
    "E": ((0.015, 0.013, 0.011, 0.010, 0.010), (20.99, 21.67, 22.45, 23.33, 24.24)),
    "F": ((0.005, 0.004, 0.004, 0.003, 0.003), (25.11, 25.83, 26.49, 27.14, 27.79)),
    "G": ((0.002, 0.001, 0.001, 0.001, 0.001), (28.38, 28.86, 29.27, 29.64, 29.99)),
}
# state: share in thousandths, lowest and highest first three digits of its postal codes
STATES: dict[str, tuple[int, int, int]] = {
    state: (int(share), int(low), int(high))
    for state, share, low, high in (
        entry.split(":")
        for entry in """
        CA:138:900:961 TX:83:750:799 NY:78:100:149 FL:76:320:349 IL:38:600:629 GA:35:300:319 PA:33:150:196
        NJ:32:070:089 OH:29:430:458 VA:29:220:246 NC:28:270:289 AZ:26:850:865 MI:26:480:499 MD:25:206:219
        MA:24:010:027 WA:19:980:994 CO:19:800:816 MN:18:550:567 IN:17:460:479 CT:17:060:069 TN:15:370:385
        MO:15:630:658 WI:14:530:549 NV:14:889:898 SC:13:290:299 AL:13:350:369 LA:12:700:714 OR:11:970:979
        KY:11:400:427 OK:8:730:749 KS:8:660:679 AR:8:716:729 MS:7:386:397 NM:7:870:884 RI:6:028:029
        UT:5:840:847 HI:4:967:968 NH:4:030:038 WV:4:247:268 SD:3:570:577 AK:3:995:999 VT:3:050:059
        DE:3:197:199 ID:2:832:838 WY:2:820:831 ME:2:039:049 MT:2:590:599 NE:2:680:693 DC:2:200:205
        ND:2:580:588
        """.split()
    )
}
EMP_LENGTHS: dict[str, float] = {
    "< 1 year": 0.091, "1 year": 0.074, "2 years": 0.095, "3 years": 0.083, "4 years": 0.065, "5 years": 0.066,
    "6 years": 0.050, "7 years": 0.043, "8 years": 0.039, "9 years": 0.036, "10+ years": 0.358,
}  # fmt: skip
VERIFICATIONS: dict[str, float] = {"Not Verified": 0.34, "Source Verified": 0.39, "Verified": 0.27}

LEVELS: dict[str, Sequence[str]] = {
    "term": (" 36 months", " 60 months"),
    "grade": tuple(GRADES),
    "sub_grade": tuple(f"{grade}{step}" for grade in GRADES for step in range(1, 6)),
    "emp_title": (
        "Teacher", "Manager", "Owner", "Registered Nurse", "RN", "Driver", "Supervisor", "Sales",
        "Project Manager", "Office Manager", "Director, Operations", "Truck Driver", "Engineer", "Analyst",
        "Accountant", "Mechanic", "Police Officer", "Server", "Welder", "Paralegal", "Nurse's Aide",
    ),
    "emp_length": tuple(EMP_LENGTHS),
    "home_ownership": tuple(HOMES),
    "verification_status": tuple(VERIFICATIONS),
    "verification_status_joint": tuple(VERIFICATIONS),
    "loan_status": (
        "Fully Paid", "Charged Off", "Default",
        "Does not meet the credit policy. Status:Fully Paid",
        "Does not meet the credit policy. Status:Charged Off",
        "Current", "In Grace Period", "Late (16-30 days)", "Late (31-120 days)",
    ),
    "purpose": tuple(PURPOSES),
    "title": tuple(title for title, *_ in PURPOSES.values()),
    "addr_state": tuple(STATES),
    "zip_code": tuple(f"{prefix:03d}xx" for prefix in range(1000)),
    "initial_list_status": ("w", "f"),
    "application_type": ("Individual", "Joint App"),
    "disbursement_method": ("Cash", "DirectPay"),
    "pymnt_plan": ("n", "y"),
    "hardship_flag": ("N", "Y"),
    "hardship_type": ("INTEREST ONLY-3 MONTHS DEFERRAL",),
    "hardship_reason": ("MEDICAL", "UNEMPLOYMENT", "NATURAL_DISASTER", "INCOME_CURTAILMENT", "REDUCED_HOURS"),
    "hardship_status": ("COMPLETED", "BROKEN", "ACTIVE"),
    "debt_settlement_flag": ("N", "Y"),
    "settlement_status": ("COMPLETE", "ACTIVE", "BROKEN"),
}  # fmt: skip
LEVELS["hardship_loan_status"] = LEVELS["loan_status"]
LEVELS |= dict.fromkeys(
    """
    issue_d earliest_cr_line last_pymnt_d next_pymnt_d last_credit_pull_d sec_app_earliest_cr_line
    hardship_start_date hardship_end_date payment_plan_start_date debt_settlement_flag_date settlement_date
    """.split(),
    tuple(
        f"{name}-{year}"
        for year in range(1900, 2100)
        for name in "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
    ),
)
# Columns that hold text and are not drawn from levels; the first two are empty in the published file.
FREE_TEXT = frozenset({"member_id", "desc", "url"})
# From this issue month on, the file tells recently opened instalment and revolving accounts.
RECENT_ACCOUNTS_FROM = date(2015, 12, 1)
# Mean counts of what most credit files have none of.
RARE_COUNTS = {
    "acc_now_delinq": 0.005, "chargeoff_within_12_mths": 0.007, "collections_12_mths_ex_med": 0.015,
    "num_tl_30dpd": 0.004, "num_tl_120dpd_2m": 0.001, "num_tl_90g_dpd_24m": 0.08, "num_accts_ever_120_pd": 0.45,
}  # fmt: skip
# Mean counts of what borrowers in search of credit have more of.
RECENT_COUNTS = {
    "open_acc_6m": 0.95, "open_act_il": 2.8, "open_il_12m": 0.67, "open_rv_12m": 1.3, "inq_fi": 1.0,
    "total_cu_tl": 1.45, "inq_last_12m": 2.0,
}  # fmt: skip
# Mean counts in the credit file of a joint application's second applicant.
SECOND_COUNTS = {
    "inq_last_6mths": 0.68, "mort_acc": 1.5, "open_acc": 11.7, "open_act_il": 3.1, "num_rev_accts": 12.6,
    "chargeoff_within_12_mths": 0.03, "collections_12_mths_ex_med": 0.05,
}  # fmt: skip
FIRST_MONTH, LAST_MONTH, SNAPSHOT = date(2007, 6, 1), date(2018, 12, 1), date(2019, 3, 1)
FOOTER = "Total amount funded in policy code 1: {}", "Total amount funded in policy code 2: 0"


@dataclass(frozen=True)
class _Traits:
    """What makes borrowers differ: each (rows,), standard normal in the calm population."""

    wealth: Array
    standing: Array  # how well debts were paid so far: high is good
    appetite: Array  # how much new credit is sought
    depth: Array  # how long and varied the credit file is


def make_loans(
    rows: int,
    *,
    seed: int,
    first_month: date = FIRST_MONTH,
    last_month: date = LAST_MONTH,
    snapshot: date = SNAPSHOT,
    shift: float = 0.0,
) -> pl.DataFrame:
    """Make `rows` loans issued between two months (both included), as their file would stand at `snapshot`.

    The population is the same in every issue month; volume grows by half from the first month to the last. Loans
    whose term has ended by the snapshot are resolved, younger ones may be current or late. `shift` moves the
    borrowers: 0 is calm, 1 plainly drifted. The same arguments give the same frame; seeds that differ modulo 98
    share no id (up to 2.5 million rows each).

    Raises ValueError where `rows` is not positive or the months are out of order.
    """
    return _loans(rows, seed, 0, (first_month, last_month, snapshot), shift)


def make_applications(rows: int, *, seed: int, month: date, shift: float = 0.0) -> pl.DataFrame:
    """Make a batch of new applications of one month: nothing that happens after a loan is granted is filled.

    How they ended is told by `make_loans` with the same rows, seed and shift, `month` as first and last month and
    a later snapshot: the same applications with their outcomes.
    """
    columns = _applications(np.random.default_rng((seed, 0)), rows, seed, 0, (month, month, month), shift)
    return _published(columns | {"loan_status": np.full(rows, float(CURRENT))})


def write_csv(frame: pl.DataFrame, path: Path, *, footer: bool = False) -> None:
    """Write loans as the published file looks, gzipped where `path` ends in `.gz`; replaces `path` in one step.

    `footer` adds the lines of totals that follow the loans in the published file and are no loans.
    """
    _write_frames([frame], path, footer=footer)


def write_loans(
    path: Path, rows: int, *, seed: int, chunk_rows: int = 100_000, footer: bool = False, shift: float = 0.0
) -> None:
    """Make and write `rows` loans, holding `chunk_rows` of them in memory at a time; each chunk spans all months."""
    period = FIRST_MONTH, LAST_MONTH, SNAPSHOT
    starts = range(0, rows, chunk_rows)
    frames = (_loans(min(chunk_rows, rows - start), seed, start, period, shift) for start in starts)
    _write_frames(frames, path, footer=footer)


def _loans(rows: int, seed: int, start: int, period: Period, shift: float) -> pl.DataFrame:
    """Make the loans that begin at row `start` of the book of `seed`."""
    rng = np.random.default_rng((seed, start))
    columns = _applications(rng, rows, seed, start, period, shift)
    elapsed = _month_number(period[2]) - columns["issue_d"]
    columns |= _outcome(rng, columns, elapsed)
    columns |= _payments(rng, columns, elapsed)
    columns |= _last_credit_pull(rng, columns, elapsed)
    columns |= _settlements(rng, columns, elapsed)
    columns |= _hardships(rng, columns, elapsed)
    return _published(columns)


def _applications(
    rng: np.random.Generator, rows: int, seed: int, start: int, period: Period, shift: float
) -> Columns:
    """Draw what is known when a loan is granted."""
    if rows < 1:
        raise ValueError(f"rows must be at least 1, not {rows}")
    if not period[0] <= period[1] <= period[2]:
        raise ValueError("first_month, last_month and snapshot must be in this order, not {}, {}, {}".format(*period))
    columns = {"id": _ids(rng, rows, seed, start), "issue_d": _issue_months(rng, rows, *period[:2])}
    traits = _traits(rng, rows, shift)
    columns |= _borrower(rng, traits)
    columns |= _credit_standing(rng, traits, shift)
    columns |= _credit_history(rng, traits, columns["issue_d"])
    columns |= _account_counts(rng, traits, columns)
    columns |= _balances(rng, traits, columns)
    columns |= _recent_accounts(rng, traits, columns)
    columns |= _requested_loan(rng, traits, columns, shift)
    columns |= _pricing(rng, traits, columns)
    return columns | _joint_application(rng, columns)


def _ids(rng: np.random.Generator, rows: int, seed: int, start: int) -> Array:
    return 10_000_000.0 * (1 + seed % 98) + 4.0 * np.arange(start, start + rows) + rng.integers(4, size=rows)


def _issue_months(rng: np.random.Generator, rows: int, first_month: date, last_month: date) -> Array:
    first, last = _month_number(first_month), _month_number(last_month)
    return first + _pick(rng, rows, np.linspace(1, 1.5, last - first + 1))


def _traits(rng: np.random.Generator, rows: int, shift: float) -> _Traits:
    wealth, standing, appetite, depth = rng.standard_normal((4, rows))
    return _Traits(
        wealth=wealth - 0.7 * shift,
        standing=standing - 0.9 * shift,
        appetite=appetite + 0.9 * shift,
        depth=0.3 * wealth + 0.95 * depth,
    )


def _borrower(rng: np.random.Generator, traits: _Traits) -> Columns:
    rows = len(traits.wealth)
    unemployed = rng.random(rows) < 0.065
    home = _rank(0.45 * traits.wealth + 0.89 * rng.standard_normal(rows), [share for share, *_ in HOMES.values()])
    income = 65_500 * np.exp(0.53 * traits.wealth) * np.where(unemployed, 0.72, 1)
    step = np.where(rng.random(rows) < 0.7, 1_000, 1)
    state = _pick(rng, rows, [share for share, *_ in STATES.values()])
    low, high = np.array([prefixes for _, *prefixes in STATES.values()], float)[state.astype(int)].T
    return {
        "emp_length": _only(_pick(rng, rows, list(EMP_LENGTHS.values())), ~unemployed),
        "emp_title": _only(_pick(rng, rows, 1 / np.arange(3, 3 + len(LEVELS["emp_title"]))), ~unemployed),
        "home_ownership": home,
        "annual_inc": np.maximum(np.round(income / step) * step, 4_000),
        "addr_state": state,
        "zip_code": np.floor(low + rng.random(rows) * (high - low + 1)),
        "mort_acc": _count(rng, np.array([mean for _, mean, _ in HOMES.values()])[home.astype(int)]),
    }


def _credit_standing(rng: np.random.Generator, traits: _Traits, shift: float) -> Columns:
    """FICO, revolving credit and debt to income: the better the standing, the higher the first, the lower the rest."""
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
    closed = np.round(np.exp(2.4 + 0.35 * traits.depth + 0.6 * noise[4]))
    odd = rng.random(rows)  # the few lines that cleaning is for
    return {
        "fico_range_low": fico,
        "fico_range_high": fico + 4,
        "revol_util": _only(util, odd > 0.001),
        "total_rev_hi_lim": limit,
        "revol_bal": np.round(limit * util / 100),
        "dti": _only(np.where(odd > 0.9998, 999.0, np.round(np.abs(dti), 2)), (odd < 0.5) | (odd > 0.5007)),
        "open_acc": open_accounts,
        "total_acc": open_accounts + closed,
    }


def _credit_history(rng: np.random.Generator, traits: _Traits, issued: Array) -> Columns:
    """How old the credit file is, what was sought lately and what went wrong in it."""
    rows = len(issued)
    noise = rng.random((12, rows))
    age = np.exp(5.16 + 0.28 * traits.depth + 0.15 * traits.wealth + 0.3 * rng.standard_normal(rows))
    age = np.clip(np.round(age), 38, 720)
    inquiries = _count(rng, 0.5 * np.exp(0.5 * traits.appetite))
    newest = np.floor(rng.gamma(1.3, 6.3 * np.exp(-0.35 * traits.appetite)))
    newest = np.minimum(newest, age)
    newest_revolving = np.minimum(newest + np.floor((noise[0] < 0.45) * rng.exponential(13, rows)), age)
    delinquencies = (noise[1] < 0.19 * np.exp(-0.35 * traits.standing)) * (1 + _count(rng, np.full(rows, 0.6)))
    ever = (delinquencies > 0) | (noise[2] < 0.38)
    delinquent_for = np.where(delinquencies > 0, np.floor(24 * noise[3]), 24 + np.floor(rng.gamma(1.8, 12, rows)))
    records = (noise[4] < 0.13 * np.exp(-0.45 * traits.standing)) * (1 + _count(rng, np.full(rows, 0.25)))
    bankruptcies = rng.binomial(records.astype(int), 0.65).astype(float)
    sought_before = 6 + np.floor(rng.exponential(6.5 * np.exp(-0.2 * traits.appetite)))
    sought_for = np.where(inquiries > 0, np.floor(6 * noise[5]), sought_before)
    history = {
        "earliest_cr_line": issued - age,
        "inq_last_6mths": inquiries,
        "mths_since_recent_inq": _only(sought_for, (sought_for < 25) & (noise[5] < 0.97)),
        "acc_open_past_24mths": _count(rng, 4.1 * np.exp(0.32 * traits.appetite + 0.2 * traits.depth)),
        "delinq_2yrs": delinquencies,
        "mths_since_last_delinq": _only(delinquent_for, ever),
        "mths_since_last_major_derog": _only(delinquent_for + np.floor(14 * noise[6]), ever & (noise[6] < 0.5)),
        "mths_since_recent_bc_dlq": _only(delinquent_for, ever & (noise[7] < 0.45)),
        "mths_since_recent_revol_delinq": _only(delinquent_for, ever & (noise[7] < 0.66)),
        "pub_rec": records,
        "mths_since_last_record": _only(np.floor(24 + 96 * np.sqrt(noise[8])), records > 0),
        "pub_rec_bankruptcies": _only(bankruptcies, noise[9] > 0.001),
        "tax_liens": rng.binomial((records - bankruptcies).astype(int), 0.6).astype(float),
        "pct_tl_nvr_dlq": np.where(ever, np.round(100 - 30 * noise[10] ** 2 - 3, 1), 100.0),
        "mo_sin_old_rev_tl_op": np.round(age * (1 - 0.3 * noise[10] ** 3)),
        "mo_sin_old_il_acct": _only(np.round(age * (0.35 + 0.6 * noise[11])), noise[9] < 0.97),
        "mo_sin_rcnt_tl": newest,
        "mo_sin_rcnt_rev_tl_op": newest_revolving,
        "mths_since_recent_bc": _only(newest_revolving + np.floor((noise[2] < 0.5) * 25 * noise[8]), noise[11] < 0.99),
        "tot_coll_amt": np.round((noise[6] > 0.86) * np.exp(6 + 4 * (noise[7] - 0.5))),
    }
    history |= {
        name: _count(rng, mean * np.exp(-0.3 * traits.standing)) for name, mean in RARE_COUNTS.items()
    }
    history["delinq_amnt"] = np.round(history["acc_now_delinq"] * 2_400 * noise[3])
    return history


def _account_counts(rng: np.random.Generator, traits: _Traits, columns: Columns) -> Columns:
    """How the open and closed accounts divide: parts never exceed their whole."""
    open_accounts, closed = columns["open_acc"], columns["total_acc"] - columns["open_acc"]
    revolving = np.maximum(_part(rng, open_accounts, 0.71), 1)
    active = np.maximum(_part(rng, revolving, 0.68), 1)
    cards = _part(rng, revolving, 0.58)
    closed_revolving = _part(rng, closed, 0.45)
    return {
        "num_sats": open_accounts,
        "num_op_rev_tl": revolving,
        "num_rev_accts": revolving + closed_revolving,
        "num_actv_rev_tl": active,
        "num_rev_tl_bal_gt_0": active,
        "num_bc_sats": cards,
        "num_actv_bc_tl": np.minimum(_part(rng, cards, 0.77), active),
        "num_bc_tl": cards + _part(rng, closed_revolving, 0.52),
        "num_il_tl": open_accounts - revolving + _part(rng, closed - closed_revolving, 0.85),
        "num_tl_op_past_12m": _part(rng, columns["acc_open_past_24mths"], 0.46),
    }


def _balances(rng: np.random.Generator, traits: _Traits, columns: Columns) -> Columns:
    """What is owed and what could be: cards are a part of revolving credit, instalments and mortgages come on top."""
    rows = len(traits.depth)
    noise = rng.standard_normal((4, rows))
    util, limit = np.nan_to_num(columns["revol_util"], nan=50.0), columns["total_rev_hi_lim"]
    card_util = np.round(np.clip(util + 7 + 11 * noise[0], 0, 130), 1)
    card_limit = np.round(limit * rng.beta(4, 2.3, rows) / 100) * 100
    instalments = columns["annual_inc"] * np.exp(-1.05 + 0.25 * traits.depth + 0.8 * noise[1])
    instalments = np.round(np.minimum(instalments, 900_000) * (rng.random(rows) < 0.89))
    granted = np.round(instalments / np.clip(0.69 + 0.2 * noise[2], 0.2, 1.3))
    has_mortgage = columns["home_ownership"] == LEVELS["home_ownership"].index("MORTGAGE")
    mortgage = np.round(has_mortgage * columns["annual_inc"] * np.exp(0.85 + 0.4 * noise[3]))
    owed = columns["revol_bal"] + instalments
    has_card = columns["num_bc_sats"] > 0
    return {
        "bc_util": _only(card_util, has_card),
        "percent_bc_gt_75": _only(np.round(np.clip(1.6 * card_util - 50 + 20 * noise[3], 0, 100), 1), has_card),
        "total_bc_limit": np.where(has_card, card_limit, 0.0),
        "bc_open_to_buy": _only(np.round(card_limit * np.maximum(1 - card_util / 100, 0)), has_card),
        "total_il_high_credit_limit": granted,
        "total_bal_ex_mort": owed,
        "tot_cur_bal": owed + mortgage,
        "tot_hi_cred_lim": limit + granted + np.round(1.1 * mortgage),
        "avg_cur_bal": np.round((owed + mortgage) / columns["open_acc"]),
    }


def _recent_accounts(rng: np.random.Generator, traits: _Traits, columns: Columns) -> Columns:
    """Columns that the published file fills from `RECENT_ACCOUNTS_FROM` on only."""
    revolving, instalments = columns["revol_bal"], columns["total_bal_ex_mort"] - columns["revol_bal"]
    granted, limit = columns["total_il_high_credit_limit"], columns["total_rev_hi_lim"]
    recent = {name: _count(rng, mean * np.exp(0.3 * traits.appetite - 0.045)) for name, mean in RECENT_COUNTS.items()}
    recent |= {
        "open_il_24m": recent["open_il_12m"] + _count(rng, np.full(len(limit), 0.9)),
        "open_rv_24m": recent["open_rv_12m"] + _count(rng, np.full(len(limit), 1.45)),
        "mths_since_rcnt_il": _only(np.floor(rng.gamma(1.0, 20, len(limit))), rng.random(len(limit)) > 0.03),
        "total_bal_il": instalments,
        "il_util": _only(np.round(100 * instalments / np.maximum(granted, 1)), granted > 0),
        "max_bal_bc": np.round(revolving * rng.beta(3, 4, len(limit))),
        "all_util": np.round(100 * (revolving + instalments) / np.maximum(limit + granted, 1)),
    }
    told = columns["issue_d"] >= _month_number(RECENT_ACCOUNTS_FROM)
    return {name: _only(values, told) for name, values in recent.items()}


def _requested_loan(rng: np.random.Generator, traits: _Traits, columns: Columns, shift: float) -> Columns:
    rows = len(traits.wealth)
    noise = rng.standard_normal((2, rows))
    _, calm, drifted, factor, _ = (np.array(part) for part in zip(*PURPOSES.values(), strict=True))
    purpose = _pick(rng, rows, np.maximum((1 - shift) * calm + shift * drifted, 0))
    usual = np.exp(0.26 * traits.wealth + 0.08 * traits.standing + 0.1 * traits.depth + 0.52 * noise[0])
    amount = np.minimum(13_000 * factor[purpose.astype(int)] * usual, 0.45 * columns["annual_inc"])
    step = np.where(rng.random(rows) < 0.6, 1_000, 25)
    amount = np.clip(np.floor(amount / step) * step, 1_000, 40_000)
    unfunded = 25 * (rng.random(rows) < 0.07) * _count(rng, np.full(rows, 2.0))
    return {
        "loan_amnt": amount,
        "funded_amnt": amount,
        "funded_amnt_inv": amount - unfunded,
        "term": _rank(np.log(amount / 12_500) + 0.75 * noise[1], (0.72, 0.28)),
        "purpose": purpose,
        "title": _only(purpose, rng.random(rows) > 0.01),
        "initial_list_status": _pick(rng, rows, (0.68, 0.32)),
        "disbursement_method": _pick(rng, rows, (0.96, 0.04)),
        "policy_code": np.ones(rows),
    }


def _pricing(rng: np.random.Generator, traits: _Traits, columns: Columns) -> Columns:
    """Grade, rate and instalment: the lender's opinion, which knows a little that the file does not tell."""
    rows = len(traits.standing)
    noise = rng.standard_normal((3, rows))
    dti = np.nan_to_num(columns["dti"], nan=18.0).clip(0, 45)
    risk = 0.9 * (columns["term"] - 0.28) + 0.018 * (dti - 18) + 0.2 * traits.appetite - 0.15 * traits.wealth
    risk += -0.5 * traits.standing + 0.65 * noise[0]
    shares, rates = (np.array([value for grade in part for value in grade]) for part in zip(*GRADES.values(), strict=True))
    sub_grade = _rank(risk, shares)
    rate = np.round(np.clip(rates[sub_grade.astype(int)] * (1 + 0.02 * noise[1]), 5.31, 30.99), 2)
    return {
        "grade": np.floor(sub_grade / 5),
        "sub_grade": sub_grade,
        "int_rate": rate,
        "installment": np.round(_annuity(columns["loan_amnt"], rate, _term_months(columns)), 2),
        "verification_status": _rank(0.35 * risk + 0.94 * noise[2], list(VERIFICATIONS.values())),
    }


def _joint_application(rng: np.random.Generator, columns: Columns) -> Columns:
    """The second applicant of one loan in eighteen; empty columns for the rest."""
    rows = len(columns["annual_inc"])
    noise = rng.random((10, rows))
    joint = noise[0] < 0.055
    factor = 1.25 + noise[1]
    fico = 600 + 5 * np.floor(20 * (noise[2] + noise[3]))
    second = {
        "annual_inc_joint": np.round(columns["annual_inc"] * factor),
        "dti_joint": np.round(columns["dti"] / factor * (1 + 0.6 * noise[4]), 2),
        "verification_status_joint": np.floor(3 * noise[5] ** 2),
        "revol_bal_joint": np.round(columns["revol_bal"] * (1 + 1.5 * noise[6])),
        "sec_app_fico_range_low": fico,
        "sec_app_fico_range_high": fico + 4,
        "sec_app_earliest_cr_line": columns["issue_d"] - np.floor(40 + 260 * noise[7]),
        "sec_app_revol_util": np.round(100 * noise[8], 1),
        "sec_app_mths_since_last_major_derog": _only(np.floor(80 * noise[9]), noise[9] < 0.33),
    }
    second |= {f"sec_app_{name}": _count(rng, np.full(rows, mean)) for name, mean in SECOND_COUNTS.items()}
    return {"application_type": joint * 1.0} | {name: _only(values, joint) for name, values in second.items()}


def _log_odds(columns: Columns) -> Array:
    """Log-odds of default by the end of the term, from what is known when the loan is granted; shape (rows,)."""
    income, dti = columns["annual_inc"], np.nan_to_num(columns["dti"], nan=18.0).clip(0, 45)
    util = np.nan_to_num(columns["revol_util"], nan=50.0)
    purpose = np.array([effect for *_, effect in PURPOSES.values()])[columns["purpose"].astype(int)]
    home = np.array([effect for *_, effect in HOMES.values()])[columns["home_ownership"].astype(int)]
    burden = 12 * columns["installment"] / income
    return (
        -2.0
        + 0.085 * (columns["int_rate"] - 13)
        + 0.35 * columns["term"]
        - 0.006 * (np.minimum(columns["fico_range_low"], 780) - 700)
        + 0.014 * (dti - 18)
        + 0.25 * ((dti > 25) & (income < 50_000))
        - 0.15 * np.log(income / 65_000)
        + 3.0 * (burden - 0.08)
        + 0.006 * np.maximum(util - 60, 0)
        + 0.08 * (np.minimum(columns["acc_open_past_24mths"], 10) - 4.5)
        + 0.12 * np.minimum(columns["inq_last_6mths"], 3)
        + 0.15 * (columns["delinq_2yrs"] > 0)
        - 0.12 * np.log(columns["avg_cur_bal"] / 7_000 + 0.2)
        + 0.2 * np.isnan(columns["emp_length"])
        + purpose
        + home
    )


def _outcome(rng: np.random.Generator, columns: Columns, elapsed: Array) -> Columns:
    """Status at the snapshot, `elapsed` months after issue, and `paid_months`, how many instalments were paid."""
    rows, term = len(elapsed), _term_months(columns)
    fails = rng.random(rows) < 1 / (1 + np.exp(-_log_odds(columns)))
    luck = rng.random(rows)
    failed_after = np.floor((np.minimum(term, 48) - 5) * rng.beta(1.5, 1.6, rows))
    repaid_after = np.minimum(np.ceil(rng.exponential(30, rows)), term)
    behind = elapsed - failed_after
    failing = np.select(
        [behind >= 5, behind >= 2, behind == 1],
        [np.where(luck < 0.004, DEFAULTED, CHARGED_OFF), LATE_31, np.where(luck < 0.6, GRACE, LATE_16)],
        CURRENT,
    )
    slow = (luck < 0.004) & (elapsed > 2)
    paying = np.where(elapsed >= repaid_after, PAID, np.where(slow, GRACE, CURRENT))
    status = np.where(fails, failing, paying).astype(float)
    # Until 2010 a few loans were granted outside the lender's own policy, which the file tells in their status.
    outside = (columns["issue_d"] < _month_number(date(2011, 1, 1))) & (rng.random(rows) < 0.04)
    status = np.where(outside & np.isin(status, (PAID, CHARGED_OFF)), status + PAID_OFF_POLICY, status)
    paid_months = np.minimum(np.where(fails, failed_after, repaid_after), elapsed - (paying == GRACE))
    return {"loan_status": status, "paid_months": paid_months}


def _payments(rng: np.random.Generator, columns: Columns, elapsed: Array) -> Columns:
    """What was paid up to the snapshot. Known only after the outcome: never a feature."""
    rows, amount, paid_months, status = len(elapsed), columns["loan_amnt"], columns["paid_months"], columns["loan_status"]
    repaid, lost, active = _repaid(status), _lost(status), status >= CURRENT
    term, monthly = _term_months(columns), columns["int_rate"] / 1200
    # Balance after k of n payments: P ((1 + r)^n - (1 + r)^k) / ((1 + r)^n - 1).
    growth = (1 + monthly) ** term
    balance = amount * (growth - (1 + monthly) ** paid_months) / (growth - 1)
    principal = np.where(repaid, amount, amount - balance)
    interest = columns["installment"] * paid_months - (amount - balance)
    late_fee = np.round(_only_zero(15 + 30 * rng.random(rows), rng.random(rows) < np.where(lost, 0.14, 0.02)), 2)
    recovered = np.round(_only_zero(balance * rng.beta(1.2, 8, rows), lost & (rng.random(rows) < 0.71)), 2)
    total = np.round(principal + interest + late_fee + recovered, 2)
    invested = columns["funded_amnt_inv"] / amount
    ...
