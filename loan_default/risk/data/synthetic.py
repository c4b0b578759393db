"""Seeded synthetic loans in LendingClub's published layout: what the demo, tests and benchmarks run on.

Every figure is drawn from distributions stated here, calibrated to the published file's marginals; none of
its rows is repeated. Making and writing loans belongs here; reading them is for `cleaning`.

Inside, a loan book is a dict of float arrays of shape (rows,): NaN is an empty field, a text is the number of
its level in `LEVELS`, a month counts from January 1900. Only `_published` turns these into the file's texts.
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
Columns = dict[str, Array]
Period = tuple[date, date, date]  # first and last issue month, snapshot

PUBLISHED_COLUMNS: tuple[str, ...] = tuple(
    """
    id member_id loan_amnt funded_amnt funded_amnt_inv term int_rate installment grade sub_grade emp_title
    emp_length home_ownership annual_inc verification_status issue_d loan_status pymnt_plan url desc purpose
    title zip_code addr_state dti delinq_2yrs earliest_cr_line fico_range_low fico_range_high inq_last_6mths
    mths_since_last_delinq mths_since_last_record open_acc pub_rec revol_bal revol_util total_acc
    initial_list_status out_prncp out_prncp_inv total_pymnt total_pymnt_inv total_rec_prncp total_rec_int
    total_rec_late_fee recoveries collection_recovery_fee last_pymnt_d last_pymnt_amnt next_pymnt_d
    last_credit_pull_d last_fico_range_high last_fico_range_low collections_12_mths_ex_med
    mths_since_last_major_derog policy_code application_type annual_inc_joint dti_joint
    verification_status_joint acc_now_delinq tot_coll_amt tot_cur_bal open_acc_6m open_act_il open_il_12m
    open_il_24m mths_since_rcnt_il total_bal_il il_util open_rv_12m open_rv_24m max_bal_bc all_util
    total_rev_hi_lim inq_fi total_cu_tl inq_last_12m acc_open_past_24mths avg_cur_bal bc_open_to_buy bc_util
    chargeoff_within_12_mths delinq_amnt mo_sin_old_il_acct mo_sin_old_rev_tl_op mo_sin_rcnt_rev_tl_op
    mo_sin_rcnt_tl mort_acc mths_since_recent_bc mths_since_recent_bc_dlq mths_since_recent_inq
    mths_since_recent_revol_delinq num_accts_ever_120_pd num_actv_bc_tl num_actv_rev_tl num_bc_sats num_bc_tl
    num_il_tl num_op_rev_tl num_rev_accts num_rev_tl_bal_gt_0 num_sats num_tl_120dpd_2m num_tl_30dpd
    num_tl_90g_dpd_24m num_tl_op_past_12m pct_tl_nvr_dlq percent_bc_gt_75 pub_rec_bankruptcies tax_liens
    tot_hi_cred_lim total_bal_ex_mort total_bc_limit total_il_high_credit_limit revol_bal_joint
    sec_app_fico_range_low sec_app_fico_range_high sec_app_earliest_cr_line sec_app_inq_last_6mths
    sec_app_mort_acc sec_app_open_acc sec_app_revol_util sec_app_open_act_il sec_app_num_rev_accts
    sec_app_chargeoff_within_12_mths sec_app_collections_12_mths_ex_med sec_app_mths_since_last_major_derog
    hardship_flag hardship_type hardship_reason hardship_status deferral_term hardship_amount
    hardship_start_date hardship_end_date payment_plan_start_date hardship_length hardship_dpd
    hardship_loan_status orig_projected_additional_accrued_interest hardship_payoff_balance_amount
    hardship_last_payment_amount disbursement_method debt_settlement_flag debt_settlement_flag_date
    settlement_status settlement_date settlement_amount settlement_percentage settlement_term
    """.split()  # noqa: SIM905 - a list of 151 strings is twice as long to read
)
FIRST_MONTH, LAST_MONTH, SNAPSHOT = date(2007, 6, 1), date(2018, 12, 1), date(2019, 3, 1)
RECENT_ACCOUNTS_FROM = date(2015, 12, 1)  # from here on the file tells accounts opened in the last two years
OUTSIDE_POLICY_BEFORE = date(2011, 1, 1)  # until here some loans were granted outside the lender's own policy
URL = "https://lendingclub.com/browse/loanDetail.action?loan_id={}"
FOOTER = "Total amount funded in policy code 1: {}", "Total amount funded in policy code 2: 0"

# Loan statuses, in the order of LEVELS["loan_status"].
PAID, CHARGED_OFF, DEFAULTED, PAID_OFF_POLICY, CHARGED_OFF_POLICY, CURRENT, GRACE, LATE_16, LATE_31 = range(9)
REPAID, LOST = (PAID, PAID_OFF_POLICY), (CHARGED_OFF, DEFAULTED, CHARGED_OFF_POLICY)

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
# home ownership, from the poorest: (share, mean number of mortgages, log-odds of default)
HOMES: dict[str, tuple[float, float, float]] = {
    "ANY": (0.001, 1.0, 0.0),
    "RENT": (0.389, 0.45, 0.14),
    "OWN": (0.115, 1.2, 0.06),
    "MORTGAGE": (0.495, 2.5, -0.12),
}
# grade: (share, mean rate in percent) of each of its five sub-grades
GRADES: dict[str, tuple[tuple[float, float], ...]] = {
    "A": ((0.031, 5.49), (0.034, 6.49), (0.036, 7.12), (0.042, 7.52), (0.050, 8.09)),
    "B": ((0.057, 9.16), (0.056, 9.93), (0.060, 10.49), (0.064, 11.14), (0.063, 11.86)),
    "C": ((0.065, 12.69), (0.060, 13.44), (0.055, 14.08), (0.059, 14.85), (0.045, 15.77)),
    "D": ((0.033, 16.99), (0.032, 17.86), (0.028, 18.64), (0.026, 19.43), (0.022, 20.18)),
    "E": ((0.015, 20.99), (0.013, 21.67), (0.011, 22.45), (0.010, 23.33), (0.010, 24.24)),
    "F": ((0.005, 25.11), (0.004, 25.83), (0.004, 26.49), (0.003, 27.14), (0.003, 27.79)),
    "G": ((0.002, 28.38), (0.001, 28.86), (0.001, 29.27), (0.001, 29.64), (0.001, 29.99)),
}
# state, share in thousandths, lowest and highest first three digits of its postal codes
STATES = [
    entry.split(":")
    for entry in """
    CA:138:900:961 TX:83:750:799 NY:78:100:149 FL:76:320:349 IL:38:600:629 GA:35:300:319 PA:33:150:196
    NJ:32:070:089 OH:29:430:458 VA:29:220:246 NC:28:270:289 AZ:26:850:865 MI:26:480:499 MD:25:206:219
    MA:24:010:027 WA:19:980:994 CO:19:800:816 MN:18:550:567 IN:17:460:479 CT:17:060:069 TN:15:370:385
    MO:15:630:658 WI:14:530:549 NV:14:889:898 SC:13:290:299 AL:13:350:369 LA:12:700:714 OR:11:970:979
    KY:11:400:427 OK:8:730:749 KS:8:660:679 AR:8:716:729 MS:7:386:397 NM:7:870:884 RI:6:028:029
    UT:5:840:847 HI:4:967:968 NH:4:030:038 WV:4:247:268 SD:3:570:577 AK:3:995:999 VT:3:050:059
    DE:3:197:199 ID:2:832:838 WY:2:820:831 ME:2:039:049 MT:2:590:599 NE:2:680:693 DC:2:200:205 ND:2:580:588
    """.split()  # noqa: SIM905
]
STATE_TABLE = np.array([numbers for _, *numbers in STATES], dtype=float)
EMP_LENGTHS = {
    "< 1 year": 0.091, "1 year": 0.074, "2 years": 0.095, "3 years": 0.083, "4 years": 0.065,
    "5 years": 0.066, "6 years": 0.050, "7 years": 0.043, "8 years": 0.039, "9 years": 0.036,
    "10+ years": 0.358,
}  # fmt: skip
VERIFICATIONS = {"Not Verified": 0.34, "Source Verified": 0.39, "Verified": 0.27}
# Mean counts of what most credit files have none of.
RARE_COUNTS = {
    "acc_now_delinq": 0.005, "chargeoff_within_12_mths": 0.007, "collections_12_mths_ex_med": 0.015,
    "num_tl_30dpd": 0.004, "num_tl_120dpd_2m": 0.001, "num_tl_90g_dpd_24m": 0.08,
    "num_accts_ever_120_pd": 0.45,
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

STATUSES = (
    "Fully Paid", "Charged Off", "Default",
    "Does not meet the credit policy. Status:Fully Paid",
    "Does not meet the credit policy. Status:Charged Off",
    "Current", "In Grace Period", "Late (16-30 days)", "Late (31-120 days)",
)  # fmt: skip
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
MONTH_NAMES = tuple(f"{month}-{year}" for year in range(1900, 2100) for month in MONTHS)
MONTH_COLUMNS = (
    "issue_d", "earliest_cr_line", "last_pymnt_d", "next_pymnt_d", "last_credit_pull_d",
    "sec_app_earliest_cr_line", "hardship_start_date", "hardship_end_date", "payment_plan_start_date",
    "debt_settlement_flag_date", "settlement_date",
)  # fmt: skip
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
    "loan_status": STATUSES,
    "purpose": tuple(PURPOSES),
    "title": tuple(title for title, *_ in PURPOSES.values()),
    "addr_state": tuple(state for state, *_ in STATES),
    "zip_code": tuple(f"{prefix:03d}xx" for prefix in range(1000)),
    "initial_list_status": ("w", "f"),
    "application_type": ("Individual", "Joint App"),
    "disbursement_method": ("Cash", "DirectPay"),
    "pymnt_plan": ("n", "y"),
    "hardship_flag": ("N", "Y"),
    "hardship_type": ("INTEREST ONLY-3 MONTHS DEFERRAL",),
    "hardship_reason": ("MEDICAL", "UNEMPLOYMENT", "NATURAL_DISASTER", "INCOME_CURTAILMENT", "REDUCED_HOURS"),
    "hardship_status": ("COMPLETED", "BROKEN", "ACTIVE"),
    "hardship_loan_status": STATUSES,
    "debt_settlement_flag": ("N", "Y"),
    "settlement_status": ("COMPLETE", "ACTIVE", "BROKEN"),
    **dict.fromkeys(MONTH_COLUMNS, MONTH_NAMES),
}  # fmt: skip


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
    """Make `rows` loans issued between two months (both included), as their file would be at `snapshot`.

    The population is the same in every issue month; volume grows by half from the first month to the last.
    Loans whose term has ended by the snapshot are resolved, younger ones may be current or late. `shift` is how
    far the borrowers have moved: 0 is calm, 1 plainly drifted. The same arguments give the same frame; seeds
    that differ modulo 98 share no id (up to 2.5 million rows each).

    Raises ValueError where `rows` is not positive or the months are out of order.
    """
    return _loans(rows, seed, 0, (first_month, last_month, snapshot), shift)


def make_applications(rows: int, *, seed: int, month: date, shift: float = 0.0) -> pl.DataFrame:
    """Make a batch of one month's new applications: all are current, nothing that comes later is filled.

    How they ended is told by `make_loans` with the same rows, seed and shift, `month` as first and last month
    and a later snapshot: the same applications with their outcomes.
    """
    columns = _applications(np.random.default_rng((seed, 0)), rows, seed, 0, (month, month, month), shift)
    return _published(columns | {"loan_status": np.full(rows, float(CURRENT))})


def write_csv(frame: pl.DataFrame, path: Path, *, footer: bool = False) -> None:
    """Write loans as the published file looks, gzipped where `path` ends in `.gz`; replace it in one step.

    `footer` adds the lines of totals that follow the loans in the published file and are no loans.
    """
    _write_frames([frame], path, footer=footer)


def write_loans(
    path: Path, rows: int, *, seed: int, chunk_rows: int = 100_000, footer: bool = False, shift: float = 0.0
) -> None:
    """Make and write `rows` loans, `chunk_rows` of them at a time in memory; each chunk spans all months."""
    period = FIRST_MONTH, LAST_MONTH, SNAPSHOT
    starts = range(0, max(rows, 1), chunk_rows)
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


def _applications(rng: np.random.Generator, rows: int, seed: int, start: int, period: Period, shift: float) -> Columns:
    """Draw what is known when a loan is granted."""
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


def _ids(rng: np.random.Generator, rows: int, seed: int, start: int) -> Array:
    numbers = np.arange(start, start + rows, dtype=np.float64)
    return 10_000_000 * (1 + seed % 98) + 4 * numbers + rng.integers(4, size=rows)


def _issue_months(rng: np.random.Generator, rows: int, period: Period) -> Array:
    first, last = _month_number(period[0]), _month_number(period[1])
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
    employed = rng.random(rows) > 0.065
    home_shares, mortgages, _ = zip(*HOMES.values(), strict=True)
    home = _rank(0.45 * traits.wealth + 0.89 * rng.standard_normal(rows), home_shares)
    state = _pick(rng, rows, STATE_TABLE[:, 0])
    low, high = STATE_TABLE[state.astype(int), 1:].T
    income = 65_500 * np.exp(0.53 * traits.wealth) * np.where(employed, 1, 0.72)
    step = np.where(rng.random(rows) < 0.7, 1_000, 1)
    return {
        "emp_length": _only(_pick(rng, rows, list(EMP_LENGTHS.values())), employed),
        "emp_title": _only(_pick(rng, rows, 1 / np.arange(3, 3 + len(LEVELS["emp_title"]))), employed),
        "home_ownership": home,
        "mort_acc": _count(rng, _by_level(mortgages, home)),
        "annual_inc": np.maximum(np.round(income / step) * step, 4_000),
        "addr_state": state,
        "zip_code": np.floor(low + rng.random(rows) * (high - low + 1)),
    }


def _credit_standing(rng: np.random.Generator, traits: _Traits, shift: float) -> Columns:
    """FICO, revolving credit and debt to income: a good standing is a high score and a low use of limits."""
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
        "revol_util": _only(util, odd > 0.001),
        "total_rev_hi_lim": limit,
        "revol_bal": np.round(limit * util / 100),
        "dti": _only(np.where(odd > 0.9998, 999.0, np.round(np.abs(dti), 2)), abs(odd - 0.5) > 0.0004),
        "open_acc": open_accounts,
        "total_acc": open_accounts + np.round(np.exp(2.4 + 0.35 * traits.depth + 0.6 * noise[4])),
    }


def _recent_credit(rng: np.random.Generator, traits: _Traits, columns: Columns) -> Columns:
    """How old the credit file is, and how lately credit was sought and opened."""
    rows, appetite = len(traits.appetite), traits.appetite
    noise = rng.random((7, rows))
    age = np.exp(5.16 + 0.28 * traits.depth + 0.15 * traits.wealth + 0.3 * rng.standard_normal(rows))
    age = np.clip(np.round(age), 38, 720)
    newest = np.minimum(np.floor(rng.gamma(1.3, 6.3 * np.exp(-0.35 * appetite))), age)
    newest_revolving = np.minimum(newest + np.floor((noise[0] < 0.45) * rng.exponential(13, rows)), age)
    newest_card = np.minimum(newest_revolving + np.floor((noise[1] < 0.5) * rng.exponential(15, rows)), age)
    inquiries = _count(rng, 0.5 * np.exp(0.5 * appetite))
    sought_before = 6 + np.floor(rng.exponential(6.5 * np.exp(-0.2 * appetite)))
    sought = np.where(inquiries > 0, np.floor(6 * noise[2]), sought_before)
    return {
        "earliest_cr_line": columns["issue_d"] - age,
        "mo_sin_old_rev_tl_op": np.round(age * (1 - 0.3 * noise[3] ** 3)),
        "mo_sin_old_il_acct": _only(np.round(age * (0.35 + 0.6 * noise[4])), noise[5] < 0.97),
        "mo_sin_rcnt_tl": newest,
        "mo_sin_rcnt_rev_tl_op": newest_revolving,
        "mths_since_recent_bc": _only(newest_card, noise[5] > 0.01),
        "inq_last_6mths": inquiries,
        "mths_since_recent_inq": _only(sought, (sought < 25) & (noise[6] < 0.97)),
        "acc_open_past_24mths": _count(rng, 4.1 * np.exp(0.32 * appetite + 0.2 * traits.depth)),
    }


def _past_trouble(rng: np.random.Generator, traits: _Traits) -> Columns:
    """Delinquencies, public records and how long ago they were: empty where nothing ever happened."""
    rows, standing = len(traits.standing), traits.standing
    noise = rng.random((9, rows))
    delinquencies = (noise[0] < 0.19 * np.exp(-0.35 * standing)) * (1 + rng.poisson(0.6, rows))
    ever = (delinquencies > 0) | (noise[1] < 0.38)
    older = 24 + np.floor(rng.gamma(1.8, 12, rows))
    ago = np.where(delinquencies > 0, np.floor(24 * noise[2]), older)
    records = (noise[3] < 0.13 * np.exp(-0.45 * standing)) * (1 + rng.poisson(0.25, rows))
    bankruptcies = _part(rng, records, 0.65)
    rare = {name: _count(rng, mean * np.exp(-0.3 * standing)) for name, mean in RARE_COUNTS.items()}
    return rare | {
        "delinq_2yrs": delinquencies.astype(float),
        "mths_since_last_delinq": _only(ago, ever),
        "mths_since_last_major_derog": _only(ago + np.floor(14 * noise[4]), ever & (noise[4] < 0.5)),
        "mths_since_recent_bc_dlq": _only(ago, ever & (noise[5] < 0.45)),
        "mths_since_recent_revol_delinq": _only(ago, ever & (noise[5] < 0.66)),
        "pct_tl_nvr_dlq": np.where(ever, np.round(97 - 30 * noise[6] ** 2, 1), 100),
        "delinq_amnt": np.round(rare["acc_now_delinq"] * 2_400 * noise[2]),
        "tot_coll_amt": np.round((noise[4] > 0.86) * np.exp(4 + 4 * noise[7])),
        "pub_rec": records.astype(float),
        "mths_since_last_record": _only(np.floor(24 + 96 * np.sqrt(noise[8])), records > 0),
        "pub_rec_bankruptcies": _only(bankruptcies, noise[7] > 0.001),
        "tax_liens": _part(rng, records - bankruptcies, 0.6),
    }


def _account_counts(rng: np.random.Generator, columns: Columns) -> Columns:
    """How the open and closed accounts divide: a part never exceeds its whole."""
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
    """What is owed and what could be: cards are part of revolving credit, other debts come on top."""
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
        "bc_util": _only(card_util, has_card),
        "percent_bc_gt_75": _only(nearly_full, has_card),
        "total_bc_limit": card_limit,
        "bc_open_to_buy": _only(np.round(card_limit * np.maximum(1 - card_util / 100, 0)), has_card),
        "total_il_high_credit_limit": borrowed,
        "total_bal_ex_mort": owed,
        "tot_cur_bal": owed + mortgage,
        "tot_hi_cred_lim": columns["total_rev_hi_lim"] + borrowed + np.round(1.1 * mortgage),
        "avg_cur_bal": np.round((owed + mortgage) / columns["open_acc"]),
    }


def _recent_accounts(rng: np.random.Generator, traits: _Traits, columns: Columns) -> Columns:
    """Columns that the published file fills only from `RECENT_ACCOUNTS_FROM` on."""
    rows, owed, revolving = len(traits.appetite), columns["total_bal_ex_mort"], columns["revol_bal"]
    borrowed = columns["total_il_high_credit_limit"]
    limits = np.maximum(columns["total_rev_hi_lim"] + borrowed, 1)
    factor = np.exp(0.3 * traits.appetite - 0.045)
    recent = {name: _count(rng, mean * factor) for name, mean in RECENT_COUNTS.items()}
    recent |= {
        "open_il_24m": recent["open_il_12m"] + rng.poisson(0.9, rows),
        "open_rv_24m": recent["open_rv_12m"] + rng.poisson(1.45, rows),
        "mths_since_rcnt_il": _only(np.floor(rng.exponential(20, rows)), rng.random(rows) > 0.03),
        "total_bal_il": owed - revolving,
        "il_util": _only(np.round(100 * (owed - revolving) / np.maximum(borrowed, 1)), borrowed > 0),
        "max_bal_bc": np.round(revolving * rng.beta(3, 4, rows)),
        "all_util": np.round(100 * owed / limits),
    }
    told = columns["issue_d"] >= _month_number(RECENT_ACCOUNTS_FROM)
    return {name: _only(values, told) for name, values in recent.items()}


def _requested_loan(rng: np.random.Generator, traits: _Traits, columns: Columns, shift: float) -> Columns:
    rows = len(traits.wealth)
    noise = rng.standard_normal((2, rows))
    _, calm, drifted, factors, _ = zip(*PURPOSES.values(), strict=True)
    purpose = _pick(rng, rows, np.maximum((1 - shift) * np.array(calm) + shift * np.array(drifted), 0))
    usual = 13_000 * np.exp(0.26 * traits.wealth + 0.08 * traits.standing + 0.1 * traits.depth + 0.52 * noise[0])
    amount = np.minimum(usual * _by_level(factors, purpose), 0.45 * columns["annual_inc"])
    step = np.where(rng.random(rows) < 0.6, 1_000, 25)
    amount = np.clip(np.floor(amount / step) * step, 1_000, 40_000)
    return {
        "loan_amnt": amount,
        "funded_amnt": amount,
        "funded_amnt_inv": amount - 25 * (rng.random(rows) < 0.07) * rng.poisson(2, rows),
        "term": _rank(np.log(amount / 12_500) + 0.75 * noise[1], (0.72, 0.28)),
        "purpose": purpose,
        "title": _only(purpose, rng.random(rows) > 0.01),
        "initial_list_status": _pick(rng, rows, (0.68, 0.32)),
        "disbursement_method": _pick(rng, rows, (0.96, 0.04)),
        "policy_code": np.ones(rows),
    }


def _pricing(rng: np.random.Generator, traits: _Traits, columns: Columns) -> Columns:
    """Grade, rate and instalment: the lender's opinion of all that was drawn before."""
    noise = rng.standard_normal((3, len(traits.standing)))
    risk = 0.9 * (columns["term"] - 0.28) + 0.018 * (_known_dti(columns) - 18) + 0.2 * traits.appetite
    risk += -0.15 * traits.wealth - 0.5 * traits.standing + 0.65 * noise[0]
    shares, rates = zip(*(step for steps in GRADES.values() for step in steps), strict=True)
    sub_grade = _rank(risk, shares)
    rate = np.round(np.clip(_by_level(rates, sub_grade) * (1 + 0.02 * noise[1]), 5.31, 30.99), 2)
    return {
        "grade": np.floor(sub_grade / 5),
        "sub_grade": sub_grade,
        "int_rate": rate,
        "installment": np.round(_annuity(columns["loan_amnt"], rate, _term_months(columns)), 2),
        "verification_status": _rank(0.35 * risk + 0.94 * noise[2], list(VERIFICATIONS.values())),
    }


def _second_applicant(rng: np.random.Generator, columns: Columns) -> Columns:
    """The other borrower of one loan in eighteen; empty columns for the rest."""
    rows = len(columns["annual_inc"])
    noise = rng.random((9, rows))
    joint = noise[0] < 0.055
    factor = 1.25 + noise[1]
    fico = 570 + 5 * np.floor(20 * (noise[2] + noise[3]))
    counts = {f"sec_app_{name}": _count(rng, np.full(rows, mean)) for name, mean in SECOND_COUNTS.items()}
    second = counts | {
        "annual_inc_joint": np.round(columns["annual_inc"] * factor),
        "dti_joint": np.round(_known_dti(columns) / factor * (1 + 1.4 * noise[4]), 2),
        "verification_status_joint": np.floor(3 * noise[5] ** 2),
        "revol_bal_joint": np.round(columns["revol_bal"] * (1 + 1.5 * noise[6])),
        "sec_app_fico_range_low": fico,
        "sec_app_fico_range_high": fico + 4,
        "sec_app_earliest_cr_line": columns["issue_d"] - np.floor(40 + 260 * noise[7]),
        "sec_app_revol_util": np.round(100 * noise[8], 1),
        "sec_app_mths_since_last_major_derog": _only(np.floor(240 * noise[6]), noise[6] < 0.33),
    }
    return {"application_type": joint * 1.0} | {name: _only(values, joint) for name, values in second.items()}


def _log_odds(columns: Columns) -> Array:
    """Log-odds of default within the term, from what is known when the loan is granted; shape (rows,)."""
    income, dti = columns["annual_inc"], _known_dti(columns)
    *_, purpose_effects = zip(*PURPOSES.values(), strict=True)
    *_, home_effects = zip(*HOMES.values(), strict=True)
    odds: Array = (
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
        + _by_level(purpose_effects, columns["purpose"])
        + _by_level(home_effects, columns["home_ownership"])
    )
    return odds


def _outcome(rng: np.random.Generator, columns: Columns, elapsed: Array) -> Columns:
    """Status at the snapshot, `elapsed` months after issue, and how many instalments were paid until then."""
    rows, term = len(elapsed), _term_months(columns)
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
    outside = (columns["issue_d"] < _month_number(OUTSIDE_POLICY_BEFORE)) & (rng.random(rows) < 0.04)
    status = np.where(outside & (status <= CHARGED_OFF), status + PAID_OFF_POLICY, status)
    paid_months = np.where(fails, failed_after, repaid_after)
    return {"loan_status": status.astype(float), "paid_months": np.minimum(paid_months, elapsed - slow)}


def _payments(rng: np.random.Generator, columns: Columns, elapsed: Array) -> Columns:
    """What was paid and lost up to the snapshot: it agrees with the outcome, a trap for a careless model."""
    rows, status = len(elapsed), columns["loan_status"]
    amount, paid_months = columns["loan_amnt"], columns["paid_months"]
    repaid, lost, active = np.isin(status, REPAID), np.isin(status, LOST), status >= CURRENT
    # Balance after k of n payments: P ((1 + r)^n - (1 + r)^k) / ((1 + r)^n - 1), r the monthly rate.
    growth = 1 + columns["int_rate"] / 1200
    whole = growth ** _term_months(columns)
    balance = amount * (whole - growth**paid_months) / (whole - 1)
    interest = columns["installment"] * paid_months - (amount - balance)
    principal = np.where(repaid, amount, amount - balance)
    late_fee = (rng.random(rows) < np.where(lost, 0.14, 0.02)) * (15 + 30 * rng.random(rows))
    recovered = (lost & (rng.random(rows) < 0.71)) * balance * rng.beta(1.2, 8, rows)
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
        "last_pymnt_d": _only(columns["issue_d"] + paid_months, paid_months > 0),
        "next_pymnt_d": _only(columns["issue_d"] + elapsed + 1, active),
    }


def _last_credit_pull(rng: np.random.Generator, columns: Columns, elapsed: Array) -> Columns:
    """When the lender last looked, and the FICO it saw: some 130 points lower where the loan was lost."""
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


def _settlements(rng: np.random.Generator, columns: Columns, elapsed: Array) -> Columns:
    """One lost loan in nine is settled, for about half of what is owed."""
    rows = len(elapsed)
    noise = rng.random((4, rows))
    settled = np.isin(columns["loan_status"], LOST) & (noise[0] < 0.11)
    flagged = columns["issue_d"] + np.minimum(columns["paid_months"] + 5 + np.floor(20 * noise[1]), elapsed)
    percentage = np.round(40 + 20 * noise[2], 2)
    owed = columns["loan_amnt"] - columns["total_rec_prncp"]
    settlement = {
        "debt_settlement_flag_date": flagged,
        "settlement_status": _pick(rng, rows, (0.5, 0.38, 0.12)),
        "settlement_date": flagged - np.floor(3 * noise[3]),
        "settlement_amount": np.round(percentage / 100 * owed, 2),
        "settlement_percentage": percentage,
        "settlement_term": np.floor(25 * noise[3]),
    }
    flag = {"debt_settlement_flag": settled * 1.0}
    return flag | {name: _only(values, settled) for name, values in settlement.items()}


def _hardships(rng: np.random.Generator, columns: Columns, elapsed: Array) -> Columns:
    """Plans of three interest-only months in the snapshot's last two years, mostly of loans in trouble."""
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
        "hardship_reason": _pick(rng, rows, (0.25, 0.25, 0.2, 0.2, 0.1)),
        "hardship_status": np.select([running, noise[2] < 0.2], [2.0, 1.0], 0.0),
        "deferral_term": np.full(rows, 3.0),
        "hardship_amount": np.round(interest, 2),
        "hardship_start_date": start,
        "hardship_end_date": start + 3,
        "payment_plan_start_date": start + (noise[4] < 0.5),
        "hardship_length": np.full(rows, 3.0),
        "hardship_dpd": np.floor(30 * noise[2]),
        "hardship_loan_status": np.select([noise[2] < 0.1, noise[2] < 0.5], [CURRENT, GRACE], LATE_16),
        "orig_projected_additional_accrued_interest": _only(np.round(3 * interest, 2), noise[4] < 0.85),
        "hardship_payoff_balance_amount": np.round(columns["loan_amnt"] * (0.4 + 0.5 * noise[3]), 2),
        "hardship_last_payment_amount": np.round(columns["installment"] * (0.1 + 0.9 * noise[4]), 2),
    }
    flags = {"hardship_flag": running * 1.0, "pymnt_plan": running * 1.0}
    return flags | {name: _only(values, planned) for name, values in plan.items()}


def _annuity(principal: Array, rate_percent: Array, months: Array) -> Array:
    """The constant monthly payment that repays `principal`: P r / (1 - (1 + r)^-n), r the monthly rate."""
    monthly = rate_percent / 1200
    return principal * monthly / (1 - (1 + monthly) ** -months)


def _term_months(columns: Columns) -> Array:
    return 36 + 24 * columns["term"]


def _known_dti(columns: Columns) -> Array:
    return np.nan_to_num(columns["dti"], nan=18.0).clip(0, 45)


def _month_number(month: date) -> int:
    return (month.year - 1900) * 12 + month.month - 1


def _pick(rng: np.random.Generator, rows: int, shares: npt.ArrayLike) -> Array:
    """Draw level numbers in proportion to `shares`."""
    bounds = np.cumsum(shares)
    return np.searchsorted(bounds / bounds[-1], rng.random(rows), side="right").astype(float)


def _rank(latent: Array, shares: npt.ArrayLike) -> Array:
    """Cut a standard normal variable into ordered levels that hold `shares` of the calm population."""
    bounds = np.cumsum(shares)
    cuts = [NormalDist().inv_cdf(bound) for bound in bounds[:-1] / bounds[-1]]
    return np.searchsorted(cuts, latent).astype(float)


def _by_level(values: npt.ArrayLike, levels: Array) -> Array:
    return np.take(np.asarray(values, dtype=np.float64), levels.astype(int))


def _count(rng: np.random.Generator, mean: Array) -> Array:
    return rng.poisson(mean).astype(float)


def _part(rng: np.random.Generator, whole: npt.NDArray[np.generic], share: float) -> Array:
    return rng.binomial(whole.astype(int), share).astype(float)


def _only(values: Array, where: npt.NDArray[np.bool_]) -> Array:
    """Leave the field empty for all other loans."""
    return np.where(where, values, np.nan)


def _published(columns: Columns) -> pl.DataFrame:
    """Turn level numbers and months into the file's texts; a column that is not given is empty."""
    rows, ids = len(columns["id"]), pl.Series(columns["id"]).cast(pl.Int64)
    series = {"id": ids, "url": pl.select(pl.format(URL, ids)).to_series()}
    for name in PUBLISHED_COLUMNS:
        if name not in columns and name not in series:
            dtype = pl.String if name in LEVELS or name in ("member_id", "desc") else pl.Float64
            series[name] = pl.repeat(None, rows, dtype=dtype, eager=True)
        elif name in LEVELS:
            series[name] = _texts(LEVELS[name], columns[name])
        elif name not in series:
            series[name] = pl.Series(columns[name]).fill_nan(None)
    return pl.DataFrame(series).select(PUBLISHED_COLUMNS)


def _texts(levels: Sequence[str], numbers: Array) -> pl.Series:
    positions = np.where(np.isnan(numbers), len(levels), numbers).astype(np.uint32)
    return pl.Series([*levels, None], dtype=pl.String).gather(positions)


def _write_frames(frames: Iterable[pl.DataFrame], path: Path, *, footer: bool) -> None:
    """Write frames one below the other under one header, first under a temporary name beside `path`."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as raw:
            # No name and no time in the archive: the same loans give the same bytes.
            packed = gzip.GzipFile("", "wb", 6, raw, mtime=0) if path.suffix == ".gz" else raw
            with cast(IO[bytes], packed) as file:
                _write_lines(frames, file, footer=footer)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _write_lines(frames: Iterable[pl.DataFrame], file: IO[bytes], *, footer: bool) -> None:
    funded = 0.0
    for number, frame in enumerate(frames):
        frame.write_csv(file, include_header=number == 0)
        funded += float(frame["funded_amnt"].sum())
    if footer:
        empty = "," * (len(PUBLISHED_COLUMNS) - 1)
        file.writelines(f"{line.format(int(funded))}{empty}\n".encode() for line in FOOTER)
