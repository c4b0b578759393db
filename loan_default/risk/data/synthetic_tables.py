"""States the distributions and texts from which synthetic loans are drawn, in LendingClub's published layout.

They are calibrated to the published file's marginals. Drawing from them belongs in `synthetic_applications` and
`synthetic_outcomes`. Tested in `risk/data/test_synthetic.py`, which holds the figures to what they are for.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import numpy as np

from loan_default.risk.month_texts import MONTHS

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
