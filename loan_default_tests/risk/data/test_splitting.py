"""Splits: windows of each term that are disjoint, ordered and made of whole months, of matured loans only."""

import json
from dataclasses import replace
from datetime import date

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loan_default.risk.contract.book import Contract
from loan_default.risk.data.splits import WINDOWS, Cut, OpenWindow, Splits
from loan_default.risk.data.splitting import SplitPlan, split_loans, window_loans
from loan_default.risk.errors import BadInput
from loan_default.risk.policy import TrainingLabel
from loan_default_tests.conftest import Cleaned
from loan_default_tests.risk.data.divided_books import (
    SNAPSHOT,
    book,
    months_of,
    small_loans,
    split_book,
    split_small,
    two_products,
)
from loan_default_tests.risk.data.loan_tables import Clean, extent
from loan_default_tests.risk.small_books import BY_WAVE, FINAL, TIMELESS


def test_windows_hold_every_matured_loan_once(cleaned: Cleaned, contract: Contract, split: Splits) -> None:
    loans = pl.scan_parquet(cleaned.path)
    parts = [window_loans(loans, contract, split, name) for name in WINDOWS]
    matured = loans.filter(pl.col("outcome").is_not_null(), pl.col("matures") <= SNAPSHOT).collect()
    assert sorted(pl.concat(parts)["id"]) == sorted(matured["id"])
    assert [part.height for part in parts] == [window.rows for window in split.windows]
    assert [int(part["outcome"].sum()) for part in parts] == [window.defaults for window in split.windows]
    assert matured.height == cleaned.report.matured
    everything = loans.select(pl.len()).collect().item()
    assert everything == matured.height + split.unresolved + split.immature
    assert split.immature == cleaned.report.resolved - cleaned.report.matured > 0
    for part in parts:
        assert part["id"].to_list() == matured.filter(pl.col("id").is_in(part["id"].implode()))["id"].to_list()


def test_windows_of_each_term_follow_each_other_by_whole_months(
    cleaned: Cleaned, contract: Contract, split: Splits
) -> None:
    parts = [window_loans(pl.scan_parquet(cleaned.path), contract, split, name) for name in WINDOWS]
    assert split.out_of_time
    assert [extent(part["issue_d"]) for part in parts] == [(w.first_month, w.last_month) for w in split.windows]
    for position, term in enumerate((36, 60)):
        of_term = [part.filter(term=term)["issue_d"] for part in parts]
        train, calibrate, test = map(extent, of_term)
        assert train[1] < calibrate[0] <= calibrate[1] < test[0]
        assert [(w.terms[position].term, w.terms[position].rows) for w in split.windows] == [
            (term, len(months)) for months in of_term
        ]
        assert [(w.terms[position].first_month, w.terms[position].last_month) for w in split.windows] == [
            train,
            calibrate,
            test,
        ]
    assert [sum(term.defaults for term in w.terms) for w in split.windows] == [w.defaults for w in split.windows]


def test_every_term_is_in_every_window_though_long_ones_mature_later(contract: Contract) -> None:
    """By one cut for all, as before, the newest windows held short loans only."""
    splits = split_book(two_products(), contract)
    for window in splits.windows:
        assert [term.term for term in window.terms] == [36, 60]
    test = splits.window("test")
    for term, share in zip(test.terms, (0.2, 0.2), strict=True):
        matured = sum(t.rows for w in splits.windows for t in w.terms if t.term == term.term)
        assert share <= term.rows / matured < share + 0.03
    assert [term.last_month for term in test.terms] == [date(2015, 10, 1), date(2013, 10, 1)]
    assert [(cut.term, cut.test_from) for cut in splits.cuts[:2]] == [(36, date(2014, 4, 1)), (60, date(2012, 11, 1))]


@pytest.mark.parametrize("change", [{"long_from": 2018}, {"long_rows": 0}])
def test_a_term_of_which_too_little_matured_shares_a_cut(contract: Contract, change: dict[str, int]) -> None:
    splits = split_book(two_products(**change), contract)
    assert [cut.term for cut in splits.cuts] == [36, None]
    few = pl.concat([two_products(long_rows=0), book(dict.fromkeys(months_of(2010, 8), 2), term=48)])
    splits = split_book(few, contract)
    assert [cut.term for cut in splits.cuts] == [36, None]
    assert [[(t.term, t.rows) for t in w.terms if t.term is None] for w in splits.windows] == [
        [(None, 8)],
        [(None, 4)],
        [(None, 4)],
    ]


def test_first_months_of_a_plan_hold_for_every_term(contract: Contract) -> None:
    loans = two_products()
    plan = SplitPlan(calibrate_from=date(2012, 1, 1), test_from=date(2013, 1, 1))
    splits = split_book(loans, contract, plan)
    assert {(cut.calibrate_from, cut.test_from) for cut in splits.cuts} == {(plan.calibrate_from, plan.test_from)}
    for window, months in zip(splits.windows, [("2009-01", "2011-12"), ("2012-01", "2012-12")], strict=False):
        assert {f"{term.last_month:%Y-%m}" for term in window.terms} == {months[1]}
    same = split_book(loans, contract, SplitPlan(test_from=date(2013, 1, 1))).cuts
    assert {cut.calibrate_from for cut in same} == {date(2012, 1, 1)}
    late = split_book(loans, contract, SplitPlan(calibrate_from=date(2014, 1, 1)))
    assert [term.term for term in late.window("calibrate").terms] == [36]  # no long loan had matured
    assert late.cuts[1] == Cut(60, date(2014, 1, 1), date(2014, 2, 1))
    young = SplitPlan(test_from=date(2015, 1, 1), calibrate_share=0.1)  # no long loan of 2014 had matured
    cuts = split_book(loans, contract, young).cuts
    assert [cut.calibrate_from for cut in cuts[:2]] == [date(2014, 1, 1), date(2013, 5, 1)]
    early = split_book(loans, contract, SplitPlan(test_from=date(2009, 2, 1)))
    assert early.cuts[1] == Cut(60, date(2009, 2, 1), date(2009, 2, 1))  # one month before: too few to calibrate


def test_shares_are_the_newest_months_that_hold_enough(contract: Contract) -> None:
    loans = book(dict.fromkeys(months_of(2010, 20), 10))
    rows = [
        window.rows for window in split_book(loans, contract, SplitPlan(calibrate_share=0.25, test_share=0.2)).windows
    ]
    assert rows == [120, 40, 40]
    rows = [
        window.rows for window in split_book(loans, contract, SplitPlan(calibrate_share=0.25, test_share=0.21)).windows
    ]
    assert rows == [110, 40, 50]


def test_a_crowded_month_leaves_the_other_windows_a_month_each(contract: Contract) -> None:
    first, second, third = months_of(2010, 3)
    for counts in (
        {first: 4, second: 4, third: 1000},
        {first: 1000, second: 4, third: 4},
        {first: 2, second: 900, third: 2},
    ):
        assert [window.rows for window in split_book(book(counts), contract).windows] == list(counts.values())


def test_explicit_months(contract: Contract) -> None:
    loans = book(dict.fromkeys(months_of(2010, 24), 4))
    plan = SplitPlan(calibrate_from=date(2011, 1, 1), test_from=date(2011, 7, 1))
    train, calibrate, test = split_book(loans, contract, plan).windows
    assert (train.first_month, train.last_month) == (date(2010, 1, 1), date(2010, 12, 1))
    assert (calibrate.first_month, calibrate.last_month) == (date(2011, 1, 1), date(2011, 6, 1))
    assert (test.first_month, test.last_month) == (date(2011, 7, 1), date(2011, 12, 1))


@pytest.mark.parametrize(
    "plan",
    [
        SplitPlan(test_from=date(2009, 1, 1)),
        SplitPlan(test_from=date(2010, 1, 1)),
        SplitPlan(test_from=date(2010, 2, 1)),
        SplitPlan(test_from=date(2012, 1, 1)),
        SplitPlan(calibrate_from=date(2010, 1, 1)),
        SplitPlan(calibrate_from=date(2011, 12, 1)),
    ],
)
def test_explicit_months_that_leave_a_window_empty_are_refused(contract: Contract, plan: SplitPlan) -> None:
    loans = book(dict.fromkeys(months_of(2010, 24), 4))
    with pytest.raises(
        BadInput, match=r"A window cannot start in 20\d\d-\d\d: of the \d+ issue months from 2010-01 to"
    ):
        split_book(loans, contract, plan)


@pytest.fixture(scope="module")
def divided(contract: Contract) -> tuple[pl.LazyFrame, Splits]:
    loans = book(dict.fromkeys(months_of(2010, 24), 100))
    return loans, split_book(loans, contract)


@given(st.floats(0.05, 1), st.integers(0, 2_400))
def test_a_share_is_the_same_from_any_parts(
    contract: Contract, divided: tuple[pl.LazyFrame, Splits], share: float, first: int
) -> None:
    loans, splits = divided
    drawn = window_loans(loans, contract, splits, *WINDOWS, share=share)
    parts = [
        window_loans(part, contract, splits, *WINDOWS, offset=offset, share=share)
        for offset, part in ((0, loans.head(first)), (first, loans.slice(first)))
    ]
    assert pl.concat(parts).equals(drawn)
    for outcome in (0, 1):
        assert (drawn["outcome"] == outcome).sum() == pytest.approx(
            1_200 * share, abs=1 + 4 * (1_200 * share * (1 - share)) ** 0.5
        )


def test_what_a_number_of_loans_is_of_those_that_a_model_is_developed_on(contract: Contract) -> None:
    splits = split_book(book(dict.fromkeys(months_of(2010, 10), 100)), contract)
    rows = splits.window("train").rows + splits.window("calibrate").rows
    assert splits.share_of(rows // 4) == 0.25
    assert splits.share_of(rows) == splits.share_of(10 * rows) == splits.share_of(None) == 1


@pytest.mark.parametrize("months", [1, 2])
def test_loans_of_too_few_months_are_dealt_out(contract: Contract, months: int) -> None:
    loans = book(dict.fromkeys(months_of(2010, months), 100), outcomes=(0, 1, 1))
    splits = split_book(loans, contract)
    assert not splits.out_of_time
    assert [window.rows for window in splits.windows] == [60 * months, 20 * months, 20 * months]
    parts = [window_loans(loans, contract, splits, name) for name in WINDOWS]
    assert pl.concat(parts)["id"].n_unique() == 100 * months
    assert [part.height for part in parts] == [window.rows for window in splits.windows]


def test_only_matured_loans_count(contract: Contract) -> None:
    old, young = months_of(2010, 3), months_of(2015, 12)  # of 36 months and 5 of grace: up to October 2015
    splits = split_book(book(dict.fromkeys([*old, *young], 10)), contract)
    assert splits.window("test").last_month == date(2015, 10, 1)
    assert (splits.immature, splits.unresolved, splits.overdue) == (20, 0, 0)


def test_loans_past_maturity_without_outcome_are_counted(contract: Contract) -> None:
    loans = book(dict.fromkeys([*months_of(2010, 3), date(2018, 1, 1)], 12), outcomes=(0, 1, None))
    splits = split_book(loans, contract)
    assert (splits.immature, splits.unresolved, splits.overdue) == (8, 16, 12)


def test_default_rates_of_the_newest_months_are_not_those_of_defaults_that_are_not_booked_yet(
    contract: Contract, clean: Clean, few: pl.DataFrame
) -> None:
    """A third of these defaults is booked up to 4 months after the term: without grace the newest month has too few."""
    months = months_of(2012, 48)
    loans = few.sample(len(months) * 40, with_replacement=True, seed=1).with_columns(
        id=pl.int_range(pl.len()), term=pl.lit(" 36 months"), month=pl.int_range(pl.len()) // 40
    )
    end = pl.col("month") + 36
    default, booked_after = pl.int_range(pl.len()) % 4 == 0, pl.int_range(pl.len()) % 40 // 4 % 5
    booked = end + pl.when(pl.int_range(pl.len()) % 3 == 0).then(booked_after).otherwise(-6)
    snapshot_month = 48 + 36 - 1
    status = pl.when(~default).then(pl.lit("Fully Paid")).when(booked <= snapshot_month).then(pl.lit("Charged Off"))
    loans = loans.with_columns(
        loan_status=status.otherwise(pl.lit("Late (31-120 days)")),
        issue_d=pl.col("month").replace_strict(dict(enumerate(f"{month:%b-%Y}" for month in months))),
    ).drop("month")
    result = clean(loans, snapshot=date(2018, 12, 1))
    splits = split_loans(result.loans.lazy(), contract, SplitPlan(), snapshot=date(2018, 12, 1), data_fingerprint="a")
    assert (splits.window("test").last_month, splits.overdue) == (date(2015, 7, 1), 0)
    assert [window.default_rate for window in splits.windows] == [0.25] * 3


def test_windows_without_both_outcomes_are_refused(contract: Contract) -> None:
    first, second, third = months_of(2010, 3)
    for outcome, sentence in (
        (0, "12 matured loans of which 0 defaulted"),
        (1, "12 matured loans of which 12 defaulted"),
    ):
        loans = pl.concat([book({first: 12, second: 12}), book({third: 12}, outcomes=(outcome,))])
        with pytest.raises(BadInput, match=f"The test window holds {sentence}; a model needs both kinds"):
            split_book(loans, contract)
    with pytest.raises(BadInput, match="train window holds"):
        split_book(book({first: 1}), contract)


def test_no_matured_loan(contract: Contract) -> None:
    with pytest.raises(
        BadInput, match="the end of its term, and the 5 months of grace after it, by the snapshot month 2019-03"
    ):
        split_book(book({date(2018, 1, 1): 10}), contract)


def test_wrong_plans_are_refused() -> None:
    for share in (0, 1, -0.1, 1.5):
        with pytest.raises(BadInput, match=f"test_share is {share}; it must lie between 0 and 1"):
            SplitPlan(test_share=share)
    with pytest.raises(BadInput, match=r"calibrate_from \(2015-02\) must be before test_from \(2015-02\)"):
        SplitPlan(calibrate_from=date(2015, 2, 1), test_from=date(2015, 2, 1))


@given(
    counts=st.lists(st.integers(2, 40), min_size=3, max_size=30),
    calibrate=st.floats(0.01, 0.99),
    test=st.floats(0.01, 0.99),
)
def test_any_book_is_divided_without_rest(contract: Contract, counts: list[int], calibrate: float, test: float) -> None:
    months = months_of(2005, len(counts))
    plan = SplitPlan(calibrate_share=calibrate, test_share=test)
    # Both outcomes in every month, so that any cut by whole months is a good one.
    loans = pl.concat([book({month: count}) for month, count in zip(months, counts, strict=True)])
    windows = split_book(loans, contract, plan).windows
    assert sum(window.rows for window in windows) == sum(counts)
    spans = [(w.first_month, w.last_month) for w in windows if w.first_month and w.last_month]
    assert windows[2].rows >= test * sum(counts) or spans[0][0] == spans[0][1]
    shortest = windows[2].rows - counts[months.index(spans[2][0])]
    assert shortest < test * sum(counts) or spans[2][0] == spans[2][1]
    assert spans[0][1] < spans[1][0] <= spans[1][1] < spans[2][0]


# --- books without a date, and those of which all outcomes are final


def test_loans_without_a_date_are_drawn_by_their_ids_and_stay_in_their_window() -> None:
    splits = split_small(TIMELESS)
    assert (splits.cut_by, splits.out_of_time, splits.snapshot, splits.developed_until) == ("draw", False, None, None)
    assert [window.span for window in splits.windows] == ["", "", ""]
    assert [window.rows / 3_000 for window in splits.windows] == pytest.approx([0.64, 0.16, 0.2], abs=0.03)
    assert "say nothing about loans that come later" in " ".join(splits.remarks)
    more = pl.concat([small_loans(500, seed=2).with_columns(id="M" + pl.col("id")), small_loans()])
    other = split_small(TIMELESS, more, data_fingerprint="b")
    for name in WINDOWS:
        before = set(window_loans(small_loans(), TIMELESS, splits, name)["id"])
        assert before <= set(window_loans(more, TIMELESS, other, name)["id"]), name
    assert other.test_fingerprint != splits.test_fingerprint


def test_cohorts_are_cut_whole_the_older_first() -> None:
    splits = split_small(BY_WAVE)
    assert (splits.cut_by, splits.cohort, splits.out_of_time) == ("cohort", "wave", False)
    assert [window.span for window in splits.windows] == ["a to d", "e to f", "g to h"]
    assert not any("out of time," in sentence.replace("not called out of time,", "") for sentence in splits.remarks)
    test = window_loans(small_loans(), BY_WAVE, splits, "test")
    assert set(test["wave"]) == {"g", "h"}
    few = small_loans().with_columns(wave=pl.when(pl.col("wave") < "e").then(pl.lit("a")).otherwise(pl.lit("b")))
    drawn = split_small(BY_WAVE, few)
    assert drawn.cut_by == "draw"
    assert "wave has too few values to cut by" in drawn.remarks[0]


def test_where_outcomes_are_final_every_loan_with_an_outcome_and_a_date_counts() -> None:
    row = pl.int_range(pl.len())
    loans = small_loans().with_columns(
        issued=pl.when(row >= 10).then("issued"), outcome=pl.when(row < 2_900).then("outcome")
    )
    splits = split_small(FINAL, loans)
    assert sum(window.rows for window in splits.windows) == 2_890
    assert (splits.unresolved, splits.immature, splits.overdue, splits.labels_known_by) == (100, 10, None, None)
    assert splits.out_of_time
    assert splits.remarks == ()


def test_months_are_refused_where_loans_have_none() -> None:
    with pytest.raises(BadInput, match="test_from is 2014-01, and loans of this book have no date; leave it out"):
        split_small(TIMELESS, plan=SplitPlan(test_from=date(2014, 1, 1)))
    with pytest.raises(BadInput, match="No loan has an outcome; give loans that defaulted or were repaid"):
        split_small(TIMELESS, small_loans().with_columns(outcome=pl.lit(None, dtype=pl.Int8)))


def split_cleaned(cleaned: Cleaned, contract: Contract, label: TrainingLabel) -> Splits:
    snapshot = cleaned.report.snapshot
    loans = pl.scan_parquet(cleaned.path)
    return split_loans(loans, contract, SplitPlan(), snapshot=snapshot, data_fingerprint="a", label=label)


def test_open_loans_are_learned_from_and_test_nothing(cleaned: Cleaned, contract: Contract, split: Splits) -> None:
    loans, learning = pl.scan_parquet(cleaned.path), split_cleaned(cleaned, contract, "open")
    young = loans.filter(pl.col("matures") > SNAPSHOT).collect()
    assert learning.windows == split.windows
    assert learning.open_loans is not None
    since = learning.open_loans.calibrate_from
    first, last = young.select(pl.col("issue_d").min(), last=pl.col("issue_d").max()).row(0)
    assert learning.open_loans == OpenWindow(young.height, young["outcome"].count(), first, last, since)
    calibrates = young.filter(pl.col("issue_d") >= since)
    assert calibrates.height >= 0.2 * young.height > calibrates.filter(pl.col("issue_d") > since).height
    learned = {name: window_loans(loans, contract, learning, name, with_open=True) for name in WINDOWS}
    expected = {"train": young.filter(pl.col("issue_d") < since), "calibrate": calibrates, "test": young.head(0)}
    for name in WINDOWS:
        added = learned[name].join(window_loans(loans, contract, learning, name), on="id", how="anti")
        assert sorted(added["id"]) == sorted(expected[name]["id"])
    assert learning.development_rows == learned["train"].height + learned["calibrate"].height
    assert (learning.developed_until, learning.training_age_months) == (young["issue_d"].max(), 3)
    may_have_learned = loans.filter(learning.may_have_learned(contract)).select("id").collect()["id"]
    assert {*learned["train"]["id"], *learned["calibrate"]["id"]} <= {*may_have_learned}
    assert not {*learned["test"]["id"]} & {*may_have_learned}


def test_figures_of_what_learned_from_younger_loans_are_not_called_out_of_time(
    cleaned: Cleaned, contract: Contract, split: Splits
) -> None:
    learning = split_cleaned(cleaned, contract, "open")
    assert (split.tests_out_of_time, learning.tests_out_of_time) == (True, False)
    remarks = " ".join(learning.remarks)
    assert learning.open_loans is not None
    assert f"{learning.open_loans.rows:,} loans that had not matured by 2019-03" in remarks
    assert "neither out of time nor point in time" in remarks
    assert " 1 month before the snapshot" in " ".join(replace(learning, training_age_months=1).remarks)
    assert Splits.from_dict(json.loads(json.dumps(learning.to_dict()))) == learning
    assert learning.fingerprint != split.fingerprint
    assert learning.test_fingerprint == split.test_fingerprint


def test_open_loans_of_a_file_that_was_taken_later_than_it_is_said_are_not_learned_from(
    cleaned: Cleaned, contract: Contract
) -> None:
    loans, early = pl.scan_parquet(cleaned.path), date(2018, 6, 1)
    with pytest.raises(
        BadInput, match=r"By the files \d[\d,]* loans were paid after 2018-06, up to 2019-0\d: they were not"
    ):
        split_loans(loans, contract, SplitPlan(), snapshot=early, data_fingerprint="a", label="open")
    assert split_loans(loans, contract, SplitPlan(), snapshot=early, data_fingerprint="a").snapshot == early


def test_where_all_loans_have_matured_both_labels_are_one(contract: Contract) -> None:
    loans = book(dict.fromkeys(months_of(2010, 12), 30)).with_columns(term=pl.lit(36.0))
    labels: tuple[TrainingLabel, ...] = ("matured", "open")
    matured, learning = (
        split_loans(loans, contract, SplitPlan(), snapshot=SNAPSHOT, data_fingerprint="a", label=label)
        for label in labels
    )
    assert learning == matured
