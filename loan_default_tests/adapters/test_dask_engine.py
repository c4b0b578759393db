"""Dask's workers against this process: the same results, also where a worker is killed in the middle."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pytest
from upath import UPath

from loan_default.adapters import dask_engine
from loan_default.adapters.dask_engine import DaskEngine, WorkersError, _call, _restart_waiting, _ShippedFunction
from loan_default.adapters.file_listing import local_copy, require_files
from loan_default.adapters.parquet_table import ParquetTable
from loan_default.risk.compute import Engine, LocalEngine
from loan_default.risk.contract.loading import load_contract
from loan_default.risk.data.as_of import as_of
from loan_default.risk.data.cleaning import clean_loans
from loan_default.risk.data.splits import Splits
from loan_default.risk.data.splitting import SplitPlan, split_loans, window_loans
from loan_default.risk.data.synthetic import make_loans, write_csv
from loan_default.risk.errors import BadInput
from loan_default.risk.metrics import auc_of
from loan_default.risk.model.batch_scoring import write_predictions
from loan_default.risk.model.development import development_on, on_windows
from loan_default.risk.model.open_label import HazardLabel
from loan_default.risk.model.search_space import SearchSpace
from loan_default.risk.model.training import Candidate, select_opinions, train_candidates
from loan_default.risk.model.tuning import TunedParams, tune
from loan_default.risk.monitoring.drift import feature_drift, judge_drift
from loan_default.risk.monitoring.reference_profile import profile_of, reference_of
from loan_default.risk.policy import load_policy
from loan_default_tests.engines import Cluster, cluster, kill_worker
from loan_default_tests.packages import full_search_space, scorer, timed_scorer
from loan_default_tests.waiting import within

CONTRACT, POLICY = load_contract(), load_policy()
LOANS, SEED = 60_000, 7
SOME = 15_000  # of those that a model is developed on
LOCAL = LocalEngine()
RESTARTED = "Restarting 1 worker, which would wait for ever for one that died."  # as it may, in a kill at that moment
OTHER_KINDS = ("random_forest", "logistic_regression", "lightgbm")


class Book(NamedTuple):
    loans: ParquetTable
    splits: Splits
    raw: Path


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Book:
    """60,000 synthetic loans of 2010 to 2013, oldest first as in a real file, in two raw files and cleaned."""
    folder = tmp_path_factory.mktemp("book")
    cleaned = folder / "cleaned.parquet"
    for seed, year in enumerate((2010, 2012)):
        loans = make_loans(LOANS // 2, seed=seed, first_month=date(year, 1, 1), last_month=date(year + 1, 12, 1))
        write_csv(loans.with_columns(pl.format("{}-{}", pl.lit(seed), "id").alias("id")), folder / f"{year}.csv")
    raw = sorted(folder.glob("*.csv"))
    report = clean_loans(raw, CONTRACT, cleaned=cleaned, rejected=folder / "rejected.parquet")
    assert report.snapshot
    splits = split_loans(
        pl.scan_parquet(cleaned), CONTRACT, SplitPlan(), snapshot=report.snapshot, data_fingerprint="d"
    )
    return Book(ParquetTable.of(UPath(cleaned), folder), splits, folder)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("dask")) as dask_cluster:
        yield dask_cluster


@pytest.fixture
def engine(running: Cluster) -> Iterator[DaskEngine]:
    dask_engine = DaskEngine(running.address)
    dask_engine.client.wait_for_workers(2, timeout=60)
    yield dask_engine
    dask_engine.close()


@pytest.fixture(scope="module")
def search() -> SearchSpace:
    search = full_search_space().replace("random_forest", trees=20)
    for name in ("xgboost", "lightgbm"):
        start = {**search.tunable(name).start, "learning_rate": 0.1}
        search = search.replace(name, start=start, rounds_at_most=120)
    return search


@pytest.mark.integration
def test_loans_that_have_not_matured_are_labelled_by_the_workers_alike(engine: DaskEngine, book: Book) -> None:
    month = date(2016, 1, 1)
    view = as_of(book.loans.scan(), CONTRACT, month).collect()
    view.write_parquet(path := book.raw / "view.parquet")
    table = ParquetTable.of(UPath(path), book.raw)
    splits = split_loans(view.lazy(), CONTRACT, SplitPlan(), snapshot=month, data_fingerprint="d", label="open")
    hazard = timed_scorer("xgboost").hazard
    assert hazard is not None and splits.open_loans is not None
    label = HazardLabel(hazard, CONTRACT, month)
    here, there = (development_on(each, table, CONTRACT, splits, label=label) for each in (LOCAL, engine))
    samples = [each.sample("both", 10**9, 0) for each in (here, there)]
    assert len(samples[0].y) == splits.development_rows
    assert np.array_equal(np.sort(samples[0].y), np.sort(samples[1].y))
    model = scorer("xgboost").model
    counted = [int(each.margins(model)[2].sum()) for each in (here, there)]
    assert counted == [splits.window("calibrate").rows] * 2


def fitted(engine: Engine, book: Book, search: SearchSpace, *kinds: str) -> tuple[Candidate, ...]:
    development = development_on(engine, book.loans, CONTRACT, book.splits)
    return train_candidates(development, search, POLICY.decision, seed=SEED, kinds=kinds)


@pytest.fixture(scope="module")
def boosted_here(book: Book, search: SearchSpace) -> Candidate:
    """What this process alone comes to."""
    (candidate,) = fitted(LOCAL, book, search, "xgboost")
    return candidate


def victims_of(engine: DaskEngine, task: str, *, after: float, killed: bool) -> AbstractContextManager[list[str]]:
    """Kill a worker at this task, or none; yield the addresses of victims."""
    return kill_worker(engine, task, after=after) if killed else nullcontext([])


def on_test(candidate: Candidate, book: Book) -> float:
    test = window_loans(book.loans.scan(), CONTRACT, book.splits, "test")
    raw = candidate.scorer.score(test, with_reasons=False)["raw_score"]
    return auc_of(test["outcome"].to_numpy().astype(float), raw.to_numpy())


class FillsCache:
    """A function that keeps what no process can send to another."""

    def __call__(self, item: int) -> int:
        self.lock = threading.Lock()
        return 2 * item


def test_a_worker_hands_a_function_on_that_it_has_used() -> None:
    from distributed.protocol.pickle import dumps, loads

    shipped = _ShippedFunction(dumps(FillsCache()))
    assert _call(shipped, 1) == 2
    assert _call(loads(dumps(shipped)), 2) == 4


# --- training -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "killed_after",
    [
        pytest.param(None, marks=pytest.mark.integration),
        pytest.param(0.0, marks=pytest.mark.long),  # before the workers have found each other
        pytest.param(1.0, marks=pytest.mark.long),
    ],
)
def test_boosted_trees_are_as_good_as_those_fitted_here(
    running: Cluster,
    engine: DaskEngine,
    book: Book,
    search: SearchSpace,
    boosted_here: Candidate,
    killed_after: float | None,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dask_engine, "_GATHER_SECONDS", 20)
    killed = killed_after is not None
    with victims_of(engine, "fn-", after=killed_after or 0.0, killed=killed) as victims:
        (distributed,) = fitted(engine, book, search, "xgboost")
    assert len(victims) == killed
    started = "function 'start_tracker'"  # in a process of its own: what fails in it cannot end the scheduler
    assert started in (running.folder / "dask.log").read_text(encoding="utf-8")
    warnings = [record.getMessage() for record in caplog.records if record.name.endswith("adapters.dask_engine")]
    assert [text for text in warnings if text != RESTARTED] == ["1 of 2 workers died in fit 1."] * killed
    assert on_test(distributed, book) == pytest.approx(on_test(boosted_here, book), abs=0.002)
    assert 10 < int(distributed.parameters["rounds"]) < search.tunable("xgboost").rounds_at_most  # it stopped early
    assert distributed.metrics["auc"].value == pytest.approx(boosted_here.metrics["auc"].value, abs=0.002)
    loans = book.loans.scan().head(2_000).collect()
    pds = [candidate.scorer.score(loans, with_reasons=False)["pd"].mean() for candidate in (distributed, boosted_here)]
    assert pds[0] == pytest.approx(pds[1], abs=0.003)  # calibrated alike


@pytest.mark.long
def test_every_other_candidate_too(engine: DaskEngine, book: Book, search: SearchSpace) -> None:
    distributed, local = (
        {candidate.kind: on_test(candidate, book) for candidate in fitted(executor, book, search, *OTHER_KINDS)}
        for executor in (engine, LOCAL)
    )
    assert distributed == pytest.approx(local, abs=0.004)


@pytest.mark.integration
def test_old_and_young_loans_are_shared_out_alike(engine: DaskEngine, book: Book) -> None:
    """Loans lie in the order of their months: in turn each worker gets of both windows."""
    development: Any = development_on(engine, book.loans, CONTRACT, book.splits)
    for window in ("train", "calibrate"):
        samples = development._samples[window]
        client: Any = engine.client
        total, rows = 0, dict.fromkeys(client.nthreads(), 0)
        for sample, count in zip(samples, engine.map(lambda sample: len(sample.y), samples), strict=True):
            total += count
            for worker in client.who_has([sample])[sample.key]:  # Dask may have copied a small one
                rows[worker] += count
        assert total == book.splits.window(window).rows
        assert min(rows.values()) > 0.3 * total


@pytest.mark.long
def test_a_sample_for_the_regression_is_of_bounded_size(engine: DaskEngine, book: Book) -> None:
    development = development_on(engine, book.loans, CONTRACT, book.splits)
    bounded, unbounded = (development.sample("train", at_most, SEED) for at_most in (3_000, 10**9))
    assert len(bounded.y) == pytest.approx(3_000, rel=0.1)
    assert len(unbounded.y) == book.splits.window("train").rows
    assert bounded.y.mean() == pytest.approx(unbounded.y.mean(), abs=0.03)


@pytest.mark.long
def test_the_reference_is_the_same(engine: DaskEngine, book: Book) -> None:
    distributed, local = (
        reference_of(executor, book.loans, CONTRACT, book.splits, [-1.0, 0.5], 500) for executor in (engine, LOCAL)
    )
    assert distributed.profile.to_json() == local.profile.to_json()
    assert distributed.sample.height == local.sample.height == 500


@pytest.mark.integration
def test_windows_come_in_their_order(engine: DaskEngine, book: Book) -> None:
    distributed, local = (
        pl.concat(on_windows(executor, book.loans, CONTRACT, book.splits, ["test"], partial(select_opinions, CONTRACT)))
        for executor in (engine, LOCAL)
    )
    assert distributed.equals(local)


@pytest.mark.long
def test_loans_of_too_few_months_are_cut_alike(engine: DaskEngine, book: Book) -> None:
    few = replace(book.splits, out_of_time=False)
    for window in ("train", "calibrate", "test"):
        distributed, local = (
            pl.concat(on_windows(executor, book.loans, CONTRACT, few, [window], partial(select_opinions, CONTRACT)))
            for executor in (engine, LOCAL)
        )
        assert distributed.equals(local)


# --- tuning ---------------------------------------------------------------------------------------------------


def tuned(
    engine: Engine, book: Book, search: SearchSpace, storage: str, trials: int, candidate: str = "xgboost"
) -> TunedParams:
    development = development_on(engine, book.loans, CONTRACT, book.splits, at_most=SOME)
    return tune(
        development, search, data_fingerprint="d", storage=storage, trials=trials, seed=SEED, candidate=candidate
    )


@pytest.mark.long
def test_lightgbm_is_tuned_by_several_on_the_loans_that_each_reads(
    engine: DaskEngine, book: Book, search: SearchSpace, tmp_path: Path
) -> None:
    search = search.replace("lightgbm", rounds_at_most=30, stop_after_rounds=30)
    by_several, by_one = (
        tuned(where, book, search, f"journal://{tmp_path / name}", 1, "lightgbm")
        for where, name in ((engine, "several.log"), (LOCAL, "one.log"))
    )
    assert by_several.start_log_loss == pytest.approx(by_one.start_log_loss, abs=0.001)


@pytest.mark.long
def test_of_many_loans_the_same_are_drawn(engine: DaskEngine, book: Book) -> None:
    here: Any = development_on(LOCAL, book.loans, CONTRACT, book.splits, at_most=SOME)
    there: Any = development_on(engine, book.loans, CONTRACT, book.splits, at_most=SOME)
    assert len(here.train.y) + len(here.calibrate.y) == pytest.approx(SOME, rel=0.03)
    for window in ("train", "calibrate"):
        samples = [sample.result() for sample in there._samples[window]]
        np.testing.assert_array_equal(np.concatenate([sample.X for sample in samples]), getattr(here, window).X)


def states(storage: Path, study: str) -> list[str]:
    import optuna
    from optuna.storages.journal import JournalFileBackend

    journal = optuna.storages.JournalStorage(JournalFileBackend(str(storage)))
    return [trial.state.name for trial in optuna.load_study(study_name=study, storage=journal).trials]


@pytest.mark.long
def test_a_search_by_several_keeps_its_start_and_prunes(
    engine: DaskEngine, book: Book, search: SearchSpace, tmp_path: Path
) -> None:
    search = search.replace("xgboost", rounds_at_most=40)
    params = tuned(engine, book, search, f"journal://{tmp_path / 'one'}", 6)
    alone = tuned(LOCAL, book, search, f"journal://{tmp_path / 'two'}", 1)
    assert params.trials == 6
    assert params.start_log_loss == pytest.approx(alone.start_log_loss, abs=1e-5), "the same loans were drawn"
    assert params.log_loss <= params.start_log_loss
    assert sorted(set(states(tmp_path / "one", params.study))) in (["COMPLETE"], ["COMPLETE", "PRUNED"])


@pytest.mark.long
def test_a_death_loses_its_trial_and_the_search_goes_on(
    engine: DaskEngine, book: Book, search: SearchSpace, tmp_path: Path
) -> None:
    with kill_worker(engine, "make_trial", after=3.0) as victims:
        params = tuned(engine, book, search, f"journal://{tmp_path / 'study'}", 8)
    assert len(victims) == 1
    assert params.trials == 8
    trial_states = states(tmp_path / "study", params.study)
    assert trial_states.count("RUNNING") == 0
    assert trial_states.count("FAIL") <= 1
    assert len(trial_states) == 8 + trial_states.count("FAIL")


# --- scoring, drift, cleaning ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "killed", [pytest.param(False, marks=pytest.mark.integration), pytest.param(True, marks=pytest.mark.long)]
)
def test_what_is_scored_is_the_same_to_the_last_bit(
    engine: DaskEngine, book: Book, tmp_path: Path, killed: bool
) -> None:
    xgboost_scorer, constants = scorer("xgboost"), {"model_version": 3}
    local = write_predictions(xgboost_scorer, book.loans, parquet=tmp_path / "here.parquet", constants=constants)
    with victims_of(engine, "score_part", after=0.2, killed=killed) as victims:
        distributed = write_predictions(
            xgboost_scorer, book.loans, parquet=tmp_path / "there.parquet", engine=engine, constants=constants
        )
    assert len(victims) == killed
    assert [(decision, rows) for decision, rows, _ in distributed] == [(decision, rows) for decision, rows, _ in local]
    assert pl.read_parquet(tmp_path / "there.parquet").equals(pl.read_parquet(tmp_path / "here.parquet"))


@pytest.mark.integration
def test_a_drift_verdict_is_the_same(engine: DaskEngine, book: Book) -> None:
    xgboost_scorer = scorer("xgboost")
    scores = xgboost_scorer.score(book.loans.scan().head(20_000).collect(), with_reasons=False)["raw_score"]
    reference = reference_of(LOCAL, book.loans, CONTRACT, book.splits, scores, 10).profile
    moved = book.loans.scan().with_columns(pl.col("dti") * 1.3).tail(20_000).collect()
    path = book.raw / "moved.parquet"
    raw = xgboost_scorer.score(moved, with_reasons=False)["raw_score"]
    moved.with_columns(raw).write_parquet(path)
    batch = ParquetTable.of(UPath(path), book.raw)
    verdicts = []
    for executor in (engine, LOCAL):
        profile = profile_of(executor, batch, reference)
        table = feature_drift(reference, profile, POLICY.drift)
        verdicts.append((table.to_dicts(), judge_drift(table, profile.rows, POLICY.drift)))
    assert verdicts[0] == verdicts[1]
    assert verdicts[0][1].drifted_features == ("dti",)


@pytest.mark.integration
def test_many_files_are_cleaned_as_one(engine: DaskEngine, book: Book, tmp_path: Path) -> None:
    files, written = require_files(f"{book.raw}/*.csv"), []
    for name, executor in (("here", LOCAL), ("there", engine)):
        cleaned, rejected = tmp_path / f"{name}.parquet", tmp_path / f"{name}.rejected.parquet"
        report = clean_loans(
            files, CONTRACT, cleaned=cleaned, rejected=rejected, fetch=partial(local_copy, tmp_path), engine=executor
        )
        written.append((report, pl.read_parquet(cleaned), pl.read_parquet(rejected)))
    assert written[0][0] == written[1][0]
    assert written[0][1].equals(written[1][1])
    assert written[0][2].equals(written[1][2])
    assert {path.suffix for path in tmp_path.iterdir()} == {".parquet"}


@pytest.mark.long
def test_a_file_that_is_none_is_told_as_here(engine: DaskEngine, book: Book, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    (tmp_path / "b.csv").write_bytes((book.raw / "2010.csv").read_bytes())
    with pytest.raises(BadInput, match=r"a\.csv has no header that names loan columns"):
        clean_loans(
            sorted(tmp_path.glob("*.csv")),
            CONTRACT,
            cleaned=tmp_path / "c.parquet",
            rejected=tmp_path / "r.parquet",
            engine=engine,
        )
    assert {path.name for path in tmp_path.iterdir()} == {"a.csv", "b.csv"}


# --- the engine itself ----------------------------------------------------------------------------------------


@pytest.mark.integration
def test_items_come_in_their_order_and_few_wait(engine: DaskEngine) -> None:
    pulls = []

    def items() -> Iterator[int]:
        for item in range(40):
            pulls.append(item)
            yield item

    for index, result in enumerate(engine.map(lambda item: item * item, items())):
        assert result == index * index
        assert len(pulls) <= index + 5
    assert len(pulls) == 40


@pytest.mark.integration
def test_an_error_is_raised_as_it_is(engine: DaskEngine) -> None:
    def refuses(item: int) -> int:
        raise BadInput(f"{item} is refused.")

    with pytest.raises(BadInput, match=r"^0 is refused\.$"):
        list(engine.map(refuses, range(5)))


def accept_a_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.accept()


@pytest.mark.integration
def test_a_worker_that_waits_for_one_that_died_is_restarted(engine: DaskEngine) -> None:
    client = engine.client
    before = client.run(os.getpid)
    waiting, other = before
    task = client.submit(accept_a_connection, workers=[waiting])
    assert within(30, lambda: waiting in [worker for worker, keys in client.processing().items() if keys])
    _restart_waiting(client, 0.5)
    client.wait_for_workers(2, timeout=60)
    after = client.run(os.getpid)
    assert after.pop(other) == before[other], "who waits for nothing goes on"
    assert before[waiting] not in after.values()
    task.cancel()
    _restart_waiting(client, 0.0)
    assert client.run(os.getpid).keys() == {other, *after}, "nobody waits"


@pytest.mark.long
def test_work_that_kills_every_worker_is_given_up_in_a_sentence(running: Cluster) -> None:
    engine = DaskEngine(running.address)
    code = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    with pytest.raises(BadInput, match=r"^4 Dask workers died one after the other at the same piece of work; "):
        list(engine.map(exec, [code]))
    engine.client.wait_for_workers(2, timeout=60)
    engine.close()


@pytest.mark.long
def test_a_scheduler_that_is_lost_in_the_middle_ends_the_work_in_a_sentence(tmp_path: Path) -> None:
    with cluster(tmp_path) as lost:
        engine = DaskEngine(lost.address)
        results = engine.map(time.sleep, [0.2] * 50)
        next(results)
        lost.started[0].kill()
        with pytest.raises(WorkersError, match=r"^The Dask scheduler was lost in the middle of work; see what"):
            list(results)
        engine.close()


@pytest.mark.integration
def test_a_scheduler_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loan_default.adapters.dask_engine._CONNECT_SECONDS", 1)
    for address in ("tcp://127.0.0.1:9", "nonsense://here"):
        with pytest.raises(WorkersError, match=f"No Dask scheduler answers at {address}"):
            _ = DaskEngine(address).client


@pytest.mark.integration
def test_a_scheduler_without_workers_is_told(tmp_path: Path) -> None:
    alone = Cluster(tmp_path)
    try:
        alone.start_scheduler()
        with pytest.raises(
            WorkersError, match=f"The Dask scheduler at {alone.address} has had no worker for 1 seconds"
        ):
            _ = DaskEngine(alone.address, patience=1).client
    finally:
        alone.stop()


@pytest.mark.integration
def test_without_dask_the_setting_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(BadInput, match=r"not installed here; install it with make dask or pip install 'loan-default\["):
        DaskEngine()


@pytest.mark.long
def test_workers_of_this_machine_end_with_the_engine() -> None:
    engine = DaskEngine(workers=2)
    pids = list(engine.map(_pid, range(4)))
    assert 1 <= len(set(pids)) <= 2
    assert engine.dashboard.startswith("http://127.0.0.1:")
    engine.close()
    for pid in set(pids):
        state = subprocess.run(["ps", "-p", str(pid), "-o", "stat="], capture_output=True, check=False).stdout
        assert state.strip()[:1] in (b"", b"Z")


def _pid(_: int) -> int:
    import os

    return os.getpid()
