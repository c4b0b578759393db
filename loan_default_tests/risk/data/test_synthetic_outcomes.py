"""Synthetic outcomes: months, payments and statuses agree, and features tell what they should of them."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl

from loan_default.risk.data.synthetic import make_applications, make_loans
from loan_default.risk.metrics import auc_of
from loan_default_tests.risk.data.loan_tables import extent, month


def test_months_are_in_order(book: pl.DataFrame) -> None:
    rows = book.select(
        opened=month("earliest_cr_line"),
        issued="issued",
        paid=month("last_pymnt_d"),
        pulled=month("last_credit_pull_d"),
    )
    assert rows.filter(pl.col("opened") >= pl.col("issued")).is_empty()
    assert rows.filter(pl.col("paid") <= pl.col("issued")).is_empty()
    assert rows["issued"].min() == date(2007, 6, 1)
    assert rows["issued"].max() == date(2018, 12, 1)
    assert rows["paid"].max() == rows["pulled"].max() == date(2019, 3, 1)
    assert book["next_pymnt_d"].drop_nulls().unique().to_list() == ["Apr-2019"]


def test_matured_loans_are_resolved_and_young_ones_may_not_be(book: pl.DataFrame, matured: pl.DataFrame) -> None:
    resolved = r"Fully Paid$|Charged Off$|^Default$"
    assert matured.filter(~pl.col("loan_status").str.contains(resolved)).is_empty()
    young = set(book.filter(~pl.col("matured"))["loan_status"])
    assert young >= {"Current", "Fully Paid", "Charged Off", "In Grace Period", "Late (31-120 days)"}
    outside = book.filter(pl.col("loan_status").str.starts_with("Does not meet the credit policy. Status:"))
    assert 0 < outside.height < 0.03 * book.height
    assert extent(outside["issued"])[1] < date(2011, 1, 1)


def test_payments_agree_with_the_outcome(book: pl.DataFrame) -> None:
    paid = book.filter(pl.col("loan_status").str.contains("Fully Paid"))
    assert (paid["total_rec_prncp"] == paid["loan_amnt"]).all()
    assert (paid["out_prncp"] == 0).all()
    assert (paid["recoveries"] == 0).all()
    defaulted = book.filter("defaulted")
    assert (defaulted["total_rec_prncp"] < defaulted["loan_amnt"]).all()
    current = book.filter(pl.col("loan_status") == "Current")
    owed = current["loan_amnt"] - current["total_rec_prncp"]
    assert extent((current["out_prncp"] - owed).abs())[1] < 0.011
    parts = pl.sum_horizontal("total_rec_prncp", "total_rec_int", "total_rec_late_fee", "recoveries")
    assert book.select((pl.col("total_pymnt") - parts).abs().max()).item() < 0.03
    assert book.filter(~pl.col("defaulted") & (pl.col("debt_settlement_flag") == "Y")).is_empty()


def test_about_a_fifth_of_matured_loans_default_in_every_vintage(matured: pl.DataFrame) -> None:
    assert 0.175 < matured["defaulted"].sum() / matured.height < 0.205
    of_36 = matured.filter(pl.col("term_months") == 36)
    rates = of_36.group_by(pl.col("issued").dt.year()).agg(pl.col("defaulted").mean(), pl.len())
    assert rates.filter(pl.col("len") > 1_000)["defaulted"].is_between(0.14, 0.20).all()


def test_grade_tells_something_features_more_and_later_fields_nearly_all(matured: pl.DataFrame) -> None:
    grade = auc_of(matured["defaulted"], matured["sub_grade"].rank("dense"))
    assert 0.65 < grade < 0.71
    names = ["int_rate", "fico_range_low", "dti", "acc_open_past_24mths", "avg_cur_bal", "annual_inc", "mort_acc"]
    table = matured.select(pl.col(names).rank() / pl.len()).fill_null(0.5).with_columns(one=1.0).to_numpy()
    early = np.arange(matured.height) < 0.6 * matured.height
    weights, *_ = np.linalg.lstsq(table[early], matured["defaulted"].to_numpy()[early] * 1.0)
    later = matured.filter(~early)
    linear = auc_of(later["defaulted"], table[~early] @ weights)
    assert auc_of(later["defaulted"], later["sub_grade"].rank("dense")) + 0.01 < linear < 0.75
    assert auc_of(matured["defaulted"], -matured["last_fico_range_high"]) > 0.95


def test_outcomes_of_applications_come_later_under_the_same_ids() -> None:
    day = date(2012, 10, 1)
    batch = make_applications(300, seed=2, month=day, shift=0.5)
    ended = make_loans(300, seed=2, first_month=day, last_month=day, snapshot=date(2018, 1, 1), shift=0.5)
    applied_with = [name for name in batch.columns if batch[name].null_count() < 300 and name != "loan_status"]
    assert ended.select(applied_with).equals(batch.select(applied_with))
    assert set(ended["loan_status"]) >= {"Fully Paid", "Charged Off"}
