"""XGBoost's tracker: a process of its own, found by workers, gone with the fit or with the scheduler."""

import pytest
from xgboost import collective
from xgboost.core import XGBoostError

from loan_default.adapters.xgboost_tracker import start_process, start_tracker, tracker_apart

pytestmark = pytest.mark.integration
NOWHERE = "203.0.113.1"  # of no machine: RFC 5737


def test_a_worker_joins_and_it_ends_when_the_worker_leaves() -> None:
    process, for_workers = start_process(1, [(NOWHERE, 0), ("127.0.0.1", 0)], 30)
    with collective.CommunicatorContext(**for_workers):
        assert collective.get_world_size() == 1
    assert process.wait(30) == 0


def test_a_worker_that_waits_for_one_that_died_is_let_go() -> None:
    process, for_workers = start_process(2, [("127.0.0.1", 0)], 1)
    with pytest.raises(XGBoostError), collective.CommunicatorContext(**for_workers):
        pass
    assert process.wait(30) == 1


def test_it_ends_with_the_process_that_started_it() -> None:
    process, _ = start_process(1, [("127.0.0.1", 0)], 0)
    assert process.stdin
    process.stdin.close()
    assert process.wait(30) == 0


def test_where_it_cannot_listen_the_error_says_so() -> None:
    with pytest.raises(RuntimeError, match=f"can listen at none of .*{NOWHERE}"):
        start_tracker(1, NOWHERE, (NOWHERE, 0), 30)


def test_fits_by_dask_start_it() -> None:
    from xgboost import dask as xgboost_dask  # loads all of Dask, which no process needs that runs other tests

    own = xgboost_dask._start_tracker
    with tracker_apart():
        assert xgboost_dask._start_tracker is start_tracker
    assert xgboost_dask._start_tracker is own
