"""Synthetic loans: do they look like the published file, agree with themselves, and stay calm or drift as told?"""

from __future__ import annotations

import gzip
import os
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from loan_default.risk.data.synthetic import PUBLISHED_COLUMNS, make_applications, make_loans, write_csv, write_loans

AFTER_ORIGINATION = (
    "out_prncp", "out_prncp_inv", "total_pymnt", "total_pymnt_inv", "total_rec_prncp", "total_rec_int",
    "total_rec_late_fee", "recoveries", "collection_recovery_fee", "last_pymnt_d", "last_pymnt_amnt",
    "next_pymnt_d", "last_credit_pull_d", "last_fico_range_high", "last_fico_range_low", "pymnt_plan",
    "hardship_flag", "debt_settlement_flag", "settlement_amount",
)  # fmt: skip
ONLY_LATELY_TOLD = (
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


def month(column: str) -> pl.Expr:
    return pl.col(column).str.to_date("%b-%Y")


def months(column: str) -> pl.Expr:
    return month(column).dt.year() * 12 + month(column).dt.month()


@pytest.fixture(scope="module")
def loans() -> pl.DataFrame:
    """30,000 loans with the month arithmetic that the tests share."""
    term = pl.col("term").str.extract(r"(\d+)").cast(pl.Int32)
    return make_loans(30_000, seed=11).with_columns(
        issued=month("issue_d"),
        term_months=term,
        matured=months("issue_d") + term <= 2019 * 12 + 3,
        defaulted=pl.col("loan_status").str.contains("Charged Off|Default"),
        credit_age=(months("issue_d") - months("earliest_cr_line")).cast(pl.Float64),
    )


@pytest.fixture(scope="module")
def matured(loans: pl.DataFrame) -> pl.DataFrame:
    return loans.filter("matured").sort("issued")


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    """The texts of a written file, nothing converted."""
    path = tmp_path_factory.mktemp("published") / "loans.csv"
    write_csv(make_loans(20_000, seed=5), path)
    return pl.read_csv(path, infer_schema=False)


def test_the_layout_is_the_published_one(lines: pl.DataFrame) -> None:
    assert len(PUBLISHED_COLUMNS) == len(set(PUBLISHED_COLUMNS)) == 151
    assert PUBLISHED_COLUMNS[:6] == ("id", "member_id", "loan_amnt", "funded_amnt", "funded_amnt_inv", "term")
    assert PUBLISHED_COLUMNS[-1] == "settlement_term"
    assert tuple(lines.columns) == PUBLISHED_COLUMNS
    empty = [name for name in lines.columns if lines[name].null_count() == lines.height]
    assert empty == ["member_id", "desc"]


@pytest.mark.real_data
def test_the_layout_is_that_of_the_real_file(lines: pl.DataFrame) -> None:
    folder = os.environ.get("LOAN_DEFAULT_REAL_DATA")
    if not folder:
        pytest.skip("LOAN_DEFAULT_REAL_DATA is not set")
    real = pl.read_csv(Path(folder) / "lendingclub" / "accepted_sample.csv", infer_schema=False)
    assert tuple(real.columns) == PUBLISHED_COLUMNS
    for name in ("term", "grade", "emp_length", "home_ownership", "verification_status", "hardship_type"):
        assert set(lines[name].unique()) == set(real[name].unique()), name


def test_the_same_seed_gives_the_same_loans() -> None:
    assert make_loans(500, seed=3).equals(make_loans(500, seed=3))
    assert not make_loans(500, seed=3).drop("id", "url").equals(make_loans(500, seed=4).drop("id", "url"))


@pytest.mark.parametrize(
    ("column", "form"),
    [
        ("id", r"\d{8,9}"),
        ("url", r"https://lendingclub\.com/browse/loanDetail\.action\?loan_id=\d{8,9}"),
        ("loan_amnt", r"\d{4,5}\.0"),
        ("term", " (36|60) months"),
        ("int_rate", r"\d{1,2}\.\d{1,2}"),
        ("installment", r"\d{2,4}\.\d{1,2}"),
        ("grade", "[A-G]"),
        ("sub_grade", "[A-G][1-5]"),
        ("emp_length", r"< 1 year|1 year|[2-9] years|10\+ years"),
        ("annual_inc", r"\d{4,7}\.0"),
        ("issue_d", r"[A-Z][a-z]{2}-20(0[7-9]|1[0-8])"),
        ("earliest_cr_line", r"[A-Z][a-z]{2}-(19|20)\d\d"),
        ("last_pymnt_d", r"[A-Z][a-z]{2}-20\d\d"),
        ("zip_code", r"\d{3}xx"),
        ("addr_state", "[A-Z]{2}"),
        ("dti", r"\d{1,3}\.\d{1,2}"),
        ("fico_range_low", r"(6[6-9]|7\d|8[0-4])[05]\.0"),
        ("mths_since_last_delinq", r"\d{1,3}\.0"),
        ("revol_util", r"\d{1,3}\.\d"),
        ("pymnt_plan", "n|y"),
        ("hardship_flag", "N|Y"),
        ("application_type", "Individual|Joint App"),
    ],
)
def test_texts_have_the_published_form(lines: pl.DataFrame, column: str, form: str) -> None:
    odd = lines.filter(~pl.col(column).str.contains(f"^({form})$"))[column]
    assert odd.is_empty(), odd.head(3).to_list()


@pytest.mark.parametrize(
    ("column", "low", "high"),
    [
        ("mths_since_last_delinq", 0.45, 0.55),
        ("mths_since_last_record", 0.80, 0.88),
        ("emp_length", 0.05, 0.08),
        ("revol_util", 0.0001, 0.004),
        ("dti", 0.0001, 0.004),
        ("annual_inc_joint", 0.90, 0.97),
        ("hardship_amount", 0.99, 0.9999),
        ("settlement_amount", 0.97, 0.995),
        ("tot_cur_bal", 0.0, 0.0),
    ],
)
def test_fields_are_as_often_empty_as_in_the_published_file(
    lines: pl.DataFrame, column: str, low: float, high: float
) -> None:
    assert low <= lines[column].null_count() / lines.height <= high


def test_the_instalment_repays_the_loan(loans: pl.DataFrame) -> None:
    monthly = pl.col("int_rate") / 1200
    annuity = pl.col("loan_amnt") * monthly / (1 - (1 + monthly) ** (-pl.col("term_months")))
    assert loans.select((pl.col("installment") - annuity).abs().max()).item() < 0.006


def test_credit_files_agree_with_themselves(loans: pl.DataFrame) -> None:
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
    broken = loans.select(**{name: (~rule).sum() for name, rule in rules.items()}).row(0, named=True)
    assert not any(broken.values()), broken


def test_recent_accounts_are_empty_in_early_vintages(loans: pl.DataFrame) -> None:
    early = loans.filter(pl.col("issued") < date(2015, 12, 1)).select(ONLY_LATELY_TOLD)
    late = loans.filter(pl.col("issued") >= date(2015, 12, 1)).select("open_acc_6m", "all_util")
    assert early.null_count().row(0) == (early.height,) * len(ONLY_LATELY_TOLD)
    assert late.null_count().row(0) == (0, 0)


def test_months_are_in_order(loans: pl.DataFrame) -> None:
    rows = loans.select(
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
    assert loans["next_pymnt_d"].drop_nulls().unique().to_list() == ["Apr-2019"]


def test_matured_loans_are_resolved_and_young_ones_may_not_be(loans: pl.DataFrame, matured: pl.DataFrame) -> None:
    resolved = r"Fully Paid$|Charged Off$|^Default$"
    assert matured.filter(~pl.col("loan_status").str.contains(resolved)).is_empty()
    young = set(loans.filter(~pl.col("matured"))["loan_status"])
    assert young >= {"Current", "Fully Paid", "Charged Off", "In Grace Period", "Late (31-120 days)"}
    outside = loans.filter(pl.col("loan_status").str.starts_with("Does not meet the credit policy. Status:"))
    assert 0 < outside.height < 0.03 * loans.height
    assert outside["issued"].max() < date(2011, 1, 1)


def test_payments_agree_with_the_outcome(loans: pl.DataFrame) -> None:
    paid = loans.filter(pl.col("loan_status").str.contains("Fully Paid"))
    assert (paid["total_rec_prncp"] == paid["loan_amnt"]).all()
    assert (paid["out_prncp"] == 0).all()
    assert (paid["recoveries"] == 0).all()
    lost = loans.filter("defaulted")
    assert (lost["total_rec_prncp"] < lost["loan_amnt"]).all()
    current = loans.filter(pl.col("loan_status") == "Current")
    owed = current["loan_amnt"] - current["total_rec_prncp"]
    assert (current["out_prncp"] - owed).abs().max() < 0.011
    parts = pl.sum_horizontal("total_rec_prncp", "total_rec_int", "total_rec_late_fee", "recoveries")
    assert loans.select((pl.col("total_pymnt") - parts).abs().max()).item() < 0.03
    assert loans.filter(~pl.col("defaulted") & (pl.col("debt_settlement_flag") == "Y")).is_empty()


def test_about_a_fifth_of_matured_loans_default_in_every_vintage(matured: pl.DataFrame) -> None:
    assert 0.175 < matured["defaulted"].mean() < 0.205
    of_36 = matured.filter(pl.col("term_months") == 36)
    rates = of_36.group_by(pl.col("issued").dt.year()).agg(pl.col("defaulted").mean(), pl.len())
    assert rates.filter(pl.col("len") > 1_000)["defaulted"].is_between(0.14, 0.20).all()


def auc(truth: pl.Series, score: pl.Series) -> float:
    """Chance that a defaulted loan has the higher score (Mann-Whitney)."""
    ranks = score.rank().to_numpy()
    bad = truth.to_numpy()
    return float((ranks[bad].sum() - bad.sum() * (bad.sum() + 1) / 2) / (bad.sum() * (~bad).sum()))


def test_grade_tells_something_features_more_and_later_fields_nearly_all(matured: pl.DataFrame) -> None:
    grade = auc(matured["defaulted"], matured["sub_grade"].rank("dense"))
    assert 0.65 < grade < 0.71
    names = ["int_rate", "fico_range_low", "dti", "acc_open_past_24mths", "avg_cur_bal", "annual_inc", "mort_acc"]
    table = matured.select(pl.col(names).rank() / pl.len()).fill_null(0.5).with_columns(one=1.0).to_numpy()
    early = np.arange(matured.height) < 0.6 * matured.height
    weights, *_ = np.linalg.lstsq(table[early], matured["defaulted"].to_numpy()[early] * 1.0)
    later = matured.filter(~early)
    linear = auc(later["defaulted"], pl.Series(table[~early] @ weights))
    assert auc(later["defaulted"], later["sub_grade"].rank("dense")) + 0.01 < linear < 0.75
    assert auc(matured["defaulted"], -matured["last_fico_range_high"]) > 0.95


def psi(expected: pl.Series, actual: pl.Series) -> float:
    """Population stability index over the expected deciles, or the levels of a text; empty is a level."""
    if expected.dtype == pl.String:
        old, new = expected.fill_null(""), actual.fill_null("")
        edges = np.array(sorted(set(old)))
        positions = [np.searchsorted(edges, part.to_numpy()) for part in (old, new)]
    else:
        edges = np.unique(np.quantile(expected.drop_nulls().to_numpy(), np.arange(0.1, 1, 0.1)))
        places = [np.searchsorted(edges, part.to_numpy()) for part in (expected, actual)]
        empties = [part.is_null().to_numpy() for part in (expected, actual)]
        positions = [np.where(e, len(edges) + 1, p) for e, p in zip(empties, places, strict=True)]
    counts = [np.bincount(part, minlength=len(edges) + 2) for part in positions]
    old_share, new_share = (np.maximum(count / count.sum(), 1e-4) for count in counts)
    return float(((new_share - old_share) * np.log(new_share / old_share)).sum())


def batch_psi(matured: pl.DataFrame, shift: float) -> dict[str, float]:
    """PSI of a batch of October 2018 against the oldest 60 % of the matured loans, the training window."""
    window = matured.head(int(0.6 * matured.height))
    batch = make_applications(6_000, seed=12, month=date(2018, 10, 1), shift=shift)
    batch = batch.with_columns(credit_age=(months("issue_d") - months("earliest_cr_line")).cast(pl.Float64))
    return {name: psi(window[name], batch[name]) for name in (*CATEGORIES, *NUMBERS)}


def test_a_calm_batch_is_like_the_training_window(matured: pl.DataFrame) -> None:
    stirred = {name: value for name, value in batch_psi(matured, shift=0).items() if value >= 0.05}
    assert not stirred


def test_a_shifted_batch_has_drifted(matured: pl.DataFrame) -> None:
    measured = batch_psi(matured, shift=1)
    expected = {"fico_range_low", "annual_inc", "revol_util", "dti", "int_rate", "purpose", "grade"}
    assert {name for name, value in measured.items() if value > 0.25} >= expected
    assert sum(value > 0.25 for value in measured.values()) < len(measured) / 2


def test_a_shift_lowers_fico_and_income_and_raises_the_rest() -> None:
    calm, shifted = (make_applications(4_000, seed=1, month=date(2018, 10, 1), shift=s) for s in (0, 1))
    falls = ("fico_range_low", "annual_inc")
    rises = ("revol_util", "dti", "int_rate", "inq_last_6mths")
    assert all(shifted[name].mean() < calm[name].mean() for name in falls)
    assert all(shifted[name].mean() > calm[name].mean() for name in rises)


def test_applications_tell_nothing_of_their_future() -> None:
    batch = make_applications(300, seed=2, month=date(2018, 10, 1))
    assert tuple(batch.columns) == PUBLISHED_COLUMNS
    assert batch["issue_d"].unique().to_list() == ["Oct-2018"]
    assert batch["loan_status"].unique().to_list() == ["Current"]
    assert batch.select(AFTER_ORIGINATION).null_count().row(0) == (300,) * len(AFTER_ORIGINATION)


def test_outcomes_of_applications_come_later_under_the_same_ids() -> None:
    day = date(2012, 10, 1)
    batch = make_applications(300, seed=2, month=day, shift=0.5)
    ended = make_loans(300, seed=2, first_month=day, last_month=day, snapshot=date(2018, 1, 1), shift=0.5)
    known = [name for name in batch.columns if batch[name].null_count() < 300 and name != "loan_status"]
    assert ended.select(known).equals(batch.select(known))
    assert set(ended["loan_status"]) >= {"Fully Paid", "Charged Off"}


def test_ids_are_unique_within_and_across_seeds() -> None:
    ids = pl.concat([make_loans(2_000, seed=seed)["id"] for seed in range(20)])
    assert ids.n_unique() == 40_000
    assert ids.min() >= 10_000_000
    assert make_loans(10, seed=97)["id"].max() <= 999_999_999


def test_volume_grows_mildly(loans: pl.DataFrame) -> None:
    first, last = (loans.filter(pl.col("issued").dt.year() == year).height for year in (2008, 2018))
    assert 1.25 < last / first < 1.7


def test_the_footer_follows_the_loans(tmp_path: Path) -> None:
    frame = make_loans(50, seed=1)
    write_csv(frame, tmp_path / "loans.csv", footer=True)
    lines = (tmp_path / "loans.csv").read_text().splitlines()
    assert len(lines) == 53
    total = int(frame["funded_amnt"].sum())
    assert lines[-2] == f"Total amount funded in policy code 1: {total}" + "," * 150
    assert lines[-1] == "Total amount funded in policy code 2: 0" + "," * 150


def test_a_gzipped_file_holds_the_same_lines_and_the_same_bytes_each_time(tmp_path: Path) -> None:
    frame = make_loans(200, seed=1)
    paths = [tmp_path / "loans.csv", tmp_path / "loans.csv.gz", tmp_path / "again.csv.gz"]
    for path in paths:
        write_csv(frame, path)
    plain, packed, again = (path.read_bytes() for path in paths)
    assert gzip.decompress(packed) == plain
    assert packed == again
    assert packed[4:8] == bytes(4), "the archive tells when it was made"
    assert pl.read_csv(paths[1], infer_schema=False).height == 200


def test_a_large_book_is_written_in_chunks(tmp_path: Path) -> None:
    write_loans(tmp_path / "book.csv", 2_500, seed=4, chunk_rows=1_000, footer=True)
    book = pl.read_csv(tmp_path / "book.csv", infer_schema=False)
    assert book.height == 2_502
    assert book["id"].n_unique() == 2_502
    assert book["annual_inc"][:1_000].to_list() != book["annual_inc"][1_000:2_000].to_list()
    write_csv(make_loans(1_000, seed=4), tmp_path / "first.csv")
    first = (tmp_path / "first.csv").read_text()
    assert (tmp_path / "book.csv").read_text().startswith(first)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "loans.csv"
    path.write_text("old")
    with pytest.raises(pl.exceptions.ColumnNotFoundError):
        write_csv(make_loans(5, seed=1).drop("funded_amnt"), path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_wrong_arguments_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="rows must be at least 1, not 0"):
        make_loans(0, seed=1)
    with pytest.raises(ValueError, match="rows must be at least 1, not 0"):
        write_loans(tmp_path / "none.csv", 0, seed=1)
    with pytest.raises(ValueError, match=r"snapshot 2018-01-01 must be in this order"):
        make_loans(10, seed=1, snapshot=date(2018, 1, 1))
    assert not list(tmp_path.iterdir())
