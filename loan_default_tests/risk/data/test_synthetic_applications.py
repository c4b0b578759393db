"""Synthetic applications: credit files agree with themselves, and the population stays or drifts as it should."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl

from loan_default.risk.data.synthetic import make_applications
from loan_default.risk.data.synthetic_tables import PUBLISHED_COLUMNS
from loan_default_tests.risk.data.loan_tables import months

AFTER_ORIGINATION = (
    "out_prncp", "out_prncp_inv", "total_pymnt", "total_pymnt_inv", "total_rec_prncp", "total_rec_int",
    "total_rec_late_fee", "recoveries", "collection_recovery_fee", "last_pymnt_d", "last_pymnt_amnt",
    "next_pymnt_d", "last_credit_pull_d", "last_fico_range_high", "last_fico_range_low", "pymnt_plan",
    "hardship_flag", "debt_settlement_flag", "settlement_amount",
)  # fmt: skip


ONLY_LATELY_PUBLISHED = (
    "open_acc_6m", "open_act_il", "open_il_12m", "open_il_24m", "mths_since_rcnt_il", "total_bal_il",
    "il_util", "open_rv_12m", "open_rv_24m", "max_bal_bc", "all_util", "inq_fi", "total_cu_tl",
    "inq_last_12m",
)  # fmt: skip


CATEGORIES = (
    "term", "grade", "emp_length", "home_ownership", "verification_status", "purpose", "addr_state",
    "application_type", "initial_list_status", "disbursement_method",
)  # fmt: skip


NUMBERS = (
    "loan_amnt", "int_rate", "installment", "annual_inc", "dti", "delinq_2yrs", "fico_range_low",
    "inq_last_6mths", "mths_since_last_delinq", "mths_since_last_record", "open_acc", "pub_rec", "revol_bal",
    "revol_util", "total_acc", "tot_cur_bal", "total_rev_hi_lim", "acc_open_past_24mths", "avg_cur_bal",
    "bc_open_to_buy", "bc_util", "mo_sin_old_il_acct", "mo_sin_old_rev_tl_op", "mo_sin_rcnt_tl", "mort_acc",
    "mths_since_recent_inq", "num_actv_rev_tl", "num_il_tl", "pct_tl_nvr_dlq", "percent_bc_gt_75",
    "pub_rec_bankruptcies", "tot_hi_cred_lim", "total_bal_ex_mort", "total_bc_limit",
    "total_il_high_credit_limit", "annual_inc_joint", "credit_age",
)  # fmt: skip


def test_the_instalment_repays_the_loan(book: pl.DataFrame) -> None:
    monthly = pl.col("int_rate") / 1200
    annuity = pl.col("loan_amnt") * monthly / (1 - (1 + monthly) ** (-pl.col("term_months")))
    assert book.select((pl.col("installment") - annuity).abs().max()).item() < 0.006


def test_credit_files_agree_with_themselves(book: pl.DataFrame) -> None:
    rules = {
        "FICO bands are five points wide": pl.col("fico_range_high") == pl.col("fico_range_low") + 4,
        "grade is in the sub-grade": pl.col("sub_grade").str.starts_with(pl.col("grade")),
        "amounts are multiples of 25": pl.col("loan_amnt") % 25 == 0,
        "open accounts are among all": pl.col("open_acc") <= pl.col("total_acc"),
        "active cards are among cards": pl.col("num_actv_bc_tl") <= pl.col("num_bc_sats"),
        "bankruptcies are public records": pl.col("pub_rec_bankruptcies") <= pl.col("pub_rec"),
        "a recent delinquency has a date": (pl.col("delinq_2yrs") == 0) | (pl.col("mths_since_last_delinq") < 24),
        "no record, no months": (pl.col("pub_rec") > 0) == pl.col("mths_since_last_record").is_not_null(),
        "joint columns are of joint loans": (pl.col("application_type") == "Joint App")
        == pl.col("sec_app_fico_range_low").is_not_null(),
    }
    broken = book.select(**{name: (~rule).sum() for name, rule in rules.items()}).row(0, named=True)
    assert not any(broken.values()), broken


def test_recent_accounts_are_empty_in_early_vintages(book: pl.DataFrame) -> None:
    early = book.filter(pl.col("issued") < date(2015, 12, 1)).select(ONLY_LATELY_PUBLISHED)
    late = book.filter(pl.col("issued") >= date(2015, 12, 1)).select("open_acc_6m", "all_util")
    assert early.null_count().row(0) == (early.height,) * len(ONLY_LATELY_PUBLISHED)
    assert late.null_count().row(0) == (0, 0)


def psi(expected: pl.Series, actual: pl.Series) -> float:
    """Measure the population stability index over the expected deciles, or the levels of a text; empty is a level."""
    if expected.dtype == pl.String:
        old, new = expected.fill_null(""), actual.fill_null("")
        edges = np.array(sorted(set(old)))
        positions = [np.searchsorted(edges, part.to_numpy()) for part in (old, new)]
    else:
        edges = np.unique(np.quantile(expected.drop_nulls().to_numpy(), np.arange(0.1, 1, 0.1)))
        positions = [
            np.where(part.is_null().to_numpy(), len(edges) + 1, np.searchsorted(edges, part.to_numpy()))
            for part in (expected, actual)
        ]
    counts = [np.bincount(part, minlength=len(edges) + 2) for part in positions]
    old_share, new_share = (np.maximum(count / count.sum(), 1e-4) for count in counts)
    return float(((new_share - old_share) * np.log(new_share / old_share)).sum())


def batch_psi(matured: pl.DataFrame, shift: float) -> dict[str, float]:
    """Measure the PSI of a batch of October 2018 against the oldest 60 % of the matured loans, the training window."""
    window = matured.head(int(0.6 * matured.height))
    batch = make_applications(6_000, seed=12, month=date(2018, 10, 1), shift=shift)
    batch = batch.with_columns(credit_age=(months("issue_d") - months("earliest_cr_line")).cast(pl.Float64))
    return {name: psi(window[name], batch[name]) for name in (*CATEGORIES, *NUMBERS)}


def test_a_stable_batch_is_like_the_training_window(matured: pl.DataFrame) -> None:
    stirred = {name: value for name, value in batch_psi(matured, shift=0).items() if value >= 0.05}
    assert not stirred


def test_a_shifted_batch_has_drifted(matured: pl.DataFrame) -> None:
    measured = batch_psi(matured, shift=1)
    expected = {"fico_range_low", "annual_inc", "revol_util", "dti", "int_rate", "purpose", "grade"}
    assert {name for name, value in measured.items() if value > 0.25} >= expected
    assert sum(value > 0.25 for value in measured.values()) < len(measured) / 2


def test_a_shift_lowers_fico_and_income_and_raises_the_rest() -> None:
    batches = [make_applications(4_000, seed=1, month=date(2018, 10, 1), shift=shift) for shift in (0, 1)]
    stable, shifted = (batch.mean().row(0, named=True) for batch in batches)
    falls = ("fico_range_low", "annual_inc")
    rises = ("revol_util", "dti", "int_rate", "inq_last_6mths")
    assert all(shifted[name] < stable[name] for name in falls)
    assert all(shifted[name] > stable[name] for name in rises)


def test_applications_tell_nothing_of_their_future() -> None:
    batch = make_applications(300, seed=2, month=date(2018, 10, 1))
    assert tuple(batch.columns) == PUBLISHED_COLUMNS
    assert batch["issue_d"].unique().to_list() == ["Oct-2018"]
    assert batch["loan_status"].unique().to_list() == ["Current"]
    assert batch.select(AFTER_ORIGINATION).null_count().row(0) == (300,) * len(AFTER_ORIGINATION)
