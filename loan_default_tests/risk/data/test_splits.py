"""The record of how loans were divided: read again as it was, its fingerprint, and what a model may have seen."""

import json
from dataclasses import replace
from datetime import date

import polars as pl
import pytest

from loan_default.risk.contract.book import Contract
from loan_default.risk.data.population import Population
from loan_default.risk.data.splits import WINDOWS, Splits
from loan_default.risk.data.splitting import SplitPlan, split_loans, window_loans
from loan_default_tests.risk.data.divided_books import (
    book,
    months_of,
    small_loans,
    split_book,
    split_small,
    two_products,
)
from loan_default_tests.risk.small_books import BY_WAVE, FINAL, TIMELESS


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
    assert (recorded["snapshot"], recorded["overdue"]) == ("2019-03", split.overdue)
    assert split.population.typical["term"] in (36, 60)
    assert split.windows[0].default_rate == pytest.approx(split.windows[0].defaults / split.windows[0].rows)


def test_a_record_from_before_the_population_was_measured_is_read(split: Splits) -> None:
    recorded = json.loads(json.dumps(split.to_dict()))
    del recorded["population"]
    old = Splits.from_dict(recorded)
    assert (old.population, old.windows) == (Population(), split.windows)
    assert old.fingerprint == split.fingerprint


def test_a_record_of_before_that_had_one_cut_is_still_read_and_has_its_fingerprint(contract: Contract) -> None:
    months = [("2010-01", "2011-02", 140), ("2011-03", "2011-05", 30), ("2011-06", "2011-08", 30)]
    record = {
        "snapshot": "2019-03",
        "windows": [
            {"name": name, "first_month": first, "last_month": last, "rows": rows, "defaults": rows // 2}
            for name, (first, last, rows) in zip(WINDOWS, months, strict=True)
        ],
        "out_of_time": True,
        "data_fingerprint": "a",
        "unresolved": 3,
        "immature": 4,
    }
    splits = Splits.from_dict(record)
    assert {name: value for name, value in splits.to_dict().items() if name != "population"} == record
    assert splits.fingerprint == "87741e49abe83f98"
    assert (splits.overdue, splits.remarks) == (None, ())
    loans = pl.concat(
        [book(dict.fromkeys(months_of(2010, 20), 6)), book(dict.fromkeys(months_of(2010, 20), 4), term=60)]
    )
    assert [window_loans(loans, contract, splits, name).height for name in WINDOWS] == [140, 30, 30]


def test_what_was_known_when_is_told(contract: Contract) -> None:
    splits = split_book(two_products(), contract)
    assert splits.labels_known_by == date(2018, 3, 1)
    assert splits.training_age_months == 60
    assert splits.remarks == (
        "The newest outcome that the model learned from was known by 2018-03; the newest loan that it was developed on "
        "was issued in 2014-03, 60 months before the snapshot of 2019-03. The test loans were issued from 2012-11 on, "
        "before that was known: figures on them are out of time, not point in time.",
        "Every loan whose outcome had to be known by 2019-03 has one.",
    )
    assert replace(splits, overdue=1).remarks[-1] == "1 loan has no outcome although it had to be known by 2019-03."
    later = pl.concat([book(dict.fromkeys(months_of(2008, 12), 10)), book({date(2012, 6, 1): 20})])
    remark, _ = split_book(later, contract, SplitPlan(test_from=date(2012, 6, 1))).remarks
    assert remark.endswith("123 months before the snapshot of 2019-03.")


def test_loans_that_a_champion_was_developed_on_are_not_unseen_by_it(contract: Contract) -> None:
    loans = two_products()
    champion = split_book(loans, contract)
    candidate = split_book(loans, contract, SplitPlan(test_from=date(2011, 6, 1)))
    learned = window_loans(loans, contract, champion, "train", "calibrate")
    for splits in (champion, Splits.from_dict(json.loads(json.dumps(champion.to_dict())))):
        assert loans.filter(splits.may_have_learned(contract)).collect().equals(learned)
    test = window_loans(loans, contract, candidate, "test")
    unseen = test.filter(candidate.unseen_by(champion, contract))
    assert unseen.equals(test.join(learned, on=["id", "issue_d", "matures"], how="anti", maintain_order="left"))
    assert unseen.equals(window_loans(loans, contract, champion, "test"))
    again = window_loans(loans, contract, champion, "test")
    assert again.filter(champion.unseen_by(candidate, contract)).equals(again)


def test_a_loan_that_matured_after_the_champions_snapshot_is_unseen_by_it(contract: Contract) -> None:
    loans = two_products()
    champion = split_loans(loans, contract, SplitPlan(), snapshot=date(2014, 1, 1), data_fingerprint="a")
    test = window_loans(loans, contract, split_book(loans, contract), "test")
    unseen = test.filter(split_book(loans, contract).unseen_by(champion, contract))
    assert unseen.equals(test)


def test_of_loans_of_few_months_only_another_deal_or_younger_ones_are_unseen(contract: Contract) -> None:
    loans = book(dict.fromkeys(months_of(2010, 2), 100))
    champion = split_book(loans, contract)
    assert loans.filter(champion.unseen_by(split_book(loans, contract), contract)).collect().height == 200
    other = split_book(loans, contract, fingerprint="b")
    assert loans.filter(other.unseen_by(champion, contract)).collect().is_empty()
    more = book(dict.fromkeys(months_of(2010, 20), 10))
    candidate = split_book(more, contract, fingerprint="b")
    unseen = more.filter(candidate.unseen_by(champion, contract)).collect()
    assert unseen["issue_d"].min() == date(2010, 3, 1)


def test_loans_that_a_drawn_champion_learned_are_known_in_other_data_unless_they_have_no_id() -> None:
    champion, loans = split_small(TIMELESS), small_loans()
    candidate = split_small(TIMELESS, loans, plan=SplitPlan(test_share=0.5), data_fingerprint="b")
    test = window_loans(loans, TIMELESS, candidate, "test")
    unseen = test.filter(candidate.unseen_by(champion, TIMELESS))
    assert set(unseen["id"]) == set(window_loans(loans, TIMELESS, champion, "test")["id"])
    unnamed = split_small(TIMELESS, without_id=5)
    assert "5 loans have no id of their own" in " ".join(unnamed.remarks)
    assert test.filter(candidate.unseen_by(unnamed, TIMELESS)).is_empty()
    same = window_loans(loans, TIMELESS, unnamed, "test")
    assert same.filter(unnamed.unseen_by(unnamed, TIMELESS)).height == same.height


def test_a_champion_that_was_cut_by_what_the_book_no_longer_has_may_have_learned_any_loan() -> None:
    loans = small_loans()
    for champion, contract in ((FINAL, TIMELESS), (BY_WAVE, TIMELESS), (BY_WAVE, FINAL), (FINAL, BY_WAVE)):
        learned = split_small(champion).may_have_learned(contract)
        assert loans.filter(~learned).collect().is_empty(), (champion.cohort_name, contract.cohort_name)
    assert not loans.filter(~split_small(BY_WAVE).may_have_learned(BY_WAVE)).collect().is_empty()


@pytest.mark.parametrize("contract", [TIMELESS, BY_WAVE, FINAL], ids=["drawn", "by-cohort", "final"])
def test_splits_of_such_books_are_read_as_they_were_written(contract: Contract) -> None:
    splits = split_small(contract)
    again = Splits.from_dict(json.loads(json.dumps(splits.to_dict())))
    assert again == splits
    assert again.fingerprint == splits.fingerprint
    parts = [window_loans(small_loans(), contract, again, name) for name in WINDOWS]
    assert sum(part.height for part in parts) == 3_000
    assert [part.height for part in parts] == [window.rows for window in splits.windows]
