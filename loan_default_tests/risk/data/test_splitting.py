"""Splits: windows that are disjoint, ordered and made of whole months, of matured loans only."""

import json
from datetime import date

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loan_default.risk.contract import Contract
from loan_default.risk.data.population import Population
from loan_default.risk.data.splitting import WINDOWS, SplitPlan, Splits, split_loans, window_loans
from loan_default.risk.errors import BadInput
from loan_default_tests.conftest import Cleaned
from loan_default_tests.risk.data.loan_tables import extent

SNAPSHOT = date(2019, 3, 1)


def book(counts: dict[date, int], *, outcomes: tuple[int | None, ...] = (0, 1), term: int = 36) -> pl.LazyFrame:
    """Make loans of these issue months, `outcomes` in turn."""
    months = [month for month, count in counts.items() for _ in range(count)]
    return pl.LazyFrame({"id": [str(number) for number in range(len(months))], "issue_d": months}).with_columns(
        pl.Series("outcome", [outcomes[row % len(outcomes)] for row in range(len(months))], dtype=pl.Int8),
        matures=pl.col("issue_d").dt.offset_by(f"{term}mo"),
    )


def months_of(year: int, count: int) -> list[date]:
    return [date(year + month // 12, month % 12 + 1, 1) for month in range(count)]


@pytest.fixture(scope="module")
def split(cleaned: Cleaned, contract: Contract) -> Splits:
    assert cleaned.report.snapshot
    return split_loans(
        pl.scan_parquet(cleaned.path), contract, SplitPlan(), snapshot=cleaned.report.snapshot, data_fingerprint="a"
    )


def split_book(
    loans: pl.LazyFrame, contract: Contract, plan: SplitPlan | None = None, fingerprint: str = "a"
) -> Splits:
    return split_loans(loans, contract, plan or SplitPlan(), snapshot=SNAPSHOT, data_fingerprint=fingerprint)


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


def test_windows_follow_each_other_by_whole_months(cleaned: Cleaned, contract: Contract, split: Splits) -> None:
    parts = [window_loans(pl.scan_parquet(cleaned.path), contract, split, name)["issue_d"] for name in WINDOWS]
    assert split.out_of_time
    train, calibrate, test = map(extent, parts)
    assert train[1] < calibrate[0] <= calibrate[1] < test[0]
    assert [(window.first_month, window.last_month) for window in split.windows] == [train, calibrate, test]


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


@given(st.floats(0.05, 1), st.integers(0, 2_400))
def test_a_share_is_the_same_from_any_parts(contract: Contract, share: float, first: int) -> None:
    loans = book(dict.fromkeys(months_of(2010, 24), 100))
    splits = split_book(loans, contract)
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
    old, young = months_of(2010, 3), months_of(2016, 12)  # of 36 months: loans up to March 2016 are matured
    splits = split_book(book(dict.fromkeys([*old, *young], 10)), contract)
    assert splits.window("test").last_month == date(2016, 3, 1)
    assert (splits.immature, splits.unresolved) == (90, 0)
    unresolved = split_book(book(dict.fromkeys(old, 12), outcomes=(0, 1, None)), contract)
    assert (unresolved.immature, unresolved.unresolved) == (0, 12)


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
    with pytest.raises(BadInput, match="No loan had reached the end of its term by the snapshot month 2019-03"):
        split_book(book({date(2018, 1, 1): 10}), contract)


def test_wrong_plans_are_refused() -> None:
    for share in (0, 1, -0.1, 1.5):
        with pytest.raises(BadInput, match=f"test_share is {share}; it must lie between 0 and 1"):
            SplitPlan(test_share=share)
    with pytest.raises(BadInput, match=r"calibrate_from \(2015-02\) must be before test_from \(2015-02\)"):
        SplitPlan(calibrate_from=date(2015, 2, 1), test_from=date(2015, 2, 1))


def test_the_fingerprint_changes_with_data_and_windows(contract: Contract) -> None:
    loans = book(dict.fromkeys(months_of(2010, 20), 10))
    first = split_book(loans, contract)
    assert first.fingerprint == split_book(loans, contract).fingerprint
    others = {
        split_book(loans, contract, fingerprint="b").fingerprint,
        split_book(loans, contract, SplitPlan(test_share=0.3)).fingerprint,
        split_loans(loans, contract, SplitPlan(), snapshot=date(2019, 4, 1), data_fingerprint="a").fingerprint,
    }
    assert len({first.fingerprint, *others}) == 4
    assert len(first.fingerprint) == 16


def test_a_record_gives_the_splits_back(split: Splits) -> None:
    recorded = json.loads(json.dumps(split.to_dict()))
    assert Splits.from_dict(recorded) == split
    assert recorded["snapshot"] == "2019-03"
    assert split.population.typical["term"] in (36, 60)
    assert split.windows[0].default_rate == pytest.approx(split.windows[0].defaults / split.windows[0].rows)


def test_a_record_from_before_the_population_was_measured_is_read(split: Splits) -> None:
    recorded = json.loads(json.dumps(split.to_dict()))
    del recorded["population"]
    old = Splits.from_dict(recorded)
    assert (old.population, old.windows) == (Population(), split.windows)
    assert old.fingerprint == split.fingerprint


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
    assert windows[2].rows >= test * sum(counts) or windows[0].first_month == windows[0].last_month
    shortest = windows[2].rows - counts[months.index(windows[2].first_month)]
    assert shortest < test * sum(counts) or windows[2].first_month == windows[2].last_month
    assert windows[0].last_month < windows[1].first_month <= windows[1].last_month < windows[2].first_month
