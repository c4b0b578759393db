"""The prediction log with real files: what was appended is found again, what is lost is counted, nobody waits."""

from __future__ import annotations

import logging
import math
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import polars.selectors as cs
import pytest
from upath import UPath

from loan_default.adapters import prediction_history, storage
from loan_default.adapters.layout import StorageLayout
from loan_default.risk.contract.book import Contract
from loan_default.risk.data.applications import clean_applications
from loan_default.risk.data.cleaning import clean_application_file
from loan_default.risk.model.features import FeatureSpace
from loan_default.risk.model.online_features import Applications, QuickReader, check
from loan_default.risk.model.reason_codes import ReasonCode
from loan_default.risk.model.scorer import Predictions
from loan_default.risk.monitoring.drift import build_profile, profile_batch, psi
from loan_default.serving import prediction_log
from loan_default.serving.prediction_log import Entry, PredictionLog, log_schema
from loan_default_tests.buckets import objects_in
from loan_default_tests.packages import applications, contract
from loan_default_tests.risk.small_books import BY_PRODUCT, TERM_AS_SUPPORT
from loan_default_tests.waiting import within

AT = datetime(2026, 11, 3, 9, 59, 30, 123456, tzinfo=UTC)
FEATURES = contract().features
CODE: ReasonCode = {"group": "debt", "field": "dti", "side": "high", "share": 0.25}
NewLog = Callable[..., PredictionLog]


def entry(request_id: str = "r1", scored_at: datetime = AT, number: float = 36, count: int = 1) -> Entry:
    values = [number if field.kind == "number" else 1.0 for field in FEATURES]
    applications = Applications(["loan-7"] * count, [values] if count == 1 else np.array([values] * count))
    predictions = Predictions([0.125] * count, [604] * count, ["approve"] * count, [[]] * count, [[]] * count)
    return Entry(request_id, scored_at.timestamp(), 3, applications, predictions)


def logged(request_id: str = "r1", scored_at: datetime = AT, number: float = 36) -> tuple[Any, ...]:
    """Return the row of such an entry as it is read again."""
    features = (number if field.kind == "number" else field.levels[0] for field in FEATURES)
    return (request_id, scored_at, "loan-7", 0.125, 604, "approve", [], 3, None, None, *features)


def append(log: PredictionLog, count: int, **fields: Any) -> None:
    """Append entries of one row each."""
    log.append([entry(f"r{index}", **fields) for index in range(count)])


def files_in(root: Path | UPath) -> list[UPath]:
    return sorted(UPath(root).rglob("*.parquet"), key=str)


def frames_in(root: Path | UPath) -> list[pl.DataFrame]:
    return [pl.read_parquet(path.read_bytes()).drop("issue_d") for path in files_in(root)]


def ids_in(root: Path | UPath) -> list[str]:
    return sorted(request_id for frame in frames_in(root) for request_id in frame["request_id"])


def wait_for_rows(log: PredictionLog, rows: int) -> None:
    assert within(10, lambda: log.logged == rows)


@pytest.fixture
def new_log(tmp_path: Path) -> Iterator[NewLog]:
    """Logs under `tmp_path / "root"` that write when they are told to, closed at the end."""
    logs = []

    def make(root: str | Path = tmp_path / "root", **options: Any) -> PredictionLog:
        logs.append(PredictionLog(str(root), contract(), **{"worker": "5001-77", "seconds": 3600, **options}))
        return logs[-1]

    yield make
    for log in logs:
        log.close()


class SlowDisk:
    """A storage that takes a file only when it is released."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.requested, self.released = threading.Event(), threading.Event()
        self._store = storage.store
        monkeypatch.setattr(storage, "store", self.store)

    def store(self, source: Path, target: UPath) -> None:
        self.requested.set()
        assert self.released.wait(10)
        self._store(source, target)


@pytest.fixture
def slow_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowDisk]:
    disk = SlowDisk(monkeypatch)
    yield disk
    disk.released.set()


@pytest.fixture
def turns_of_threads_are_short() -> Iterator[None]:
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


# --- what a file holds ----------------------------------------------------------------------------------------


def test_rows_come_back_as_they_were_appended(new_log: NewLog, tmp_path: Path) -> None:
    log = new_log()
    nothing = Applications([None], [[math.nan] * len(FEATURES)])
    log.append([entry("r1", number=36)])
    log.append([entry("r2", number=13.99, count=2)._replace(shadow_version=4, shadow_pds=[None, 0.25])])
    declined = Predictions([0.5], [-12], ["decline"], [["High."]], [[CODE]])
    log.append([Entry("r3", AT.timestamp(), 3, nothing, declined, 4, [0.625])])
    assert not files_in(tmp_path)
    log.flush()
    (frame,) = frames_in(tmp_path)
    assert frame.schema == log_schema(contract())
    assert frame.rows() == [
        logged("r1", number=36),
        logged("r2", number=13.99),
        (*logged("r2")[:8], 4, 0.25, *logged(number=13.99)[10:]),
        ("r3", AT, None, 0.5, -12, "decline", [CODE], 3, 4, 0.625, *[None] * len(FEATURES)),
    ]
    assert (log.logged, log.dropped) == (4, 0)


def test_columns_are_what_was_answered_and_then_the_features() -> None:
    schema = log_schema(contract())
    answered = ["request_id", "scored_at", "id", "pd", "score", "decision", "reason_codes", "model_version"]
    assert list(schema) == [*answered, "shadow_version", "shadow_pd", *contract().feature_names]
    assert [schema[name] for name in ("scored_at", "loan_amnt", "grade", "purpose")] == [
        pl.Datetime("us", "UTC"), pl.Float64(), pl.String(), pl.String(),
    ]  # fmt: skip


def test_each_hour_has_its_own_folder(new_log: NewLog, tmp_path: Path) -> None:
    log = new_log(now=lambda: AT + timedelta(days=9))
    times = [AT, AT + timedelta(minutes=1), AT + timedelta(seconds=1), AT + timedelta(hours=15)]
    for index, scored_at in enumerate(times):
        log.append([entry(f"r{index}", scored_at)])
    log.flush()
    folders = [path.parent.relative_to(UPath(tmp_path / "root")).as_posix() for path in files_in(tmp_path)]
    assert folders == ["prediction_log/2026-11-03/09", "prediction_log/2026-11-03/10", "prediction_log/2026-11-04/00"]
    assert [frame["request_id"].to_list() for frame in frames_in(tmp_path)] == [["r0", "r2"], ["r1"], ["r3"]]


def test_a_file_can_be_judged_like_any_batch(new_log: NewLog, tmp_path: Path) -> None:
    _, features = applications()
    log = new_log()
    positions = features.with_columns(cs.enum().to_physical().cast(pl.Float64) + 1).to_numpy()
    log.append(
        [entry(count=len(positions))._replace(applications=Applications(["loan-7"] * len(positions), positions))]
    )
    log.flush()
    (frame,) = frames_in(tmp_path)
    (file,) = files_in(tmp_path)
    batch, rejected = tmp_path / "batch.parquet", tmp_path / "rejected.parquet"
    report = clean_application_file(Path(file.path), contract(), cleaned=batch, rejected=rejected)
    assert (report.kept, report.rejected) == (1, features.height - 1), "these rows have one id"
    assert pl.read_parquet(batch)["issue_d"].to_list() == [AT.date().replace(day=1)]
    loans = frame.select(contract().feature_names)
    assert clean_applications(loans, contract()).equals(features)
    numeric = [field.name for field in FEATURES if field.kind == "number"]
    reference = build_profile(features, numeric=numeric, categorical=[n for n in loans.columns if n not in numeric])
    distances = psi(reference, profile_batch(loans, reference))
    assert set(distances) == set(contract().feature_names)
    assert {value for value in distances.values() if value is not None} == {0.0}


def test_what_was_answered_is_held_against_outcomes_later(new_log: NewLog, tmp_path: Path) -> None:
    log = new_log()
    append(log, 2)
    log.flush()
    for today in (AT.date(), AT.date() + timedelta(days=9)):  # from the log, and gathered
        rows = prediction_history.scan(StorageLayout(UPath(tmp_path / "root")), contract(), tmp_path, today).collect()
        assert rows.rows() == [("loan-7", date(2026, 11, 1), 36.0, 0.125, "approve", 3, AT)] * 2


IN_DOLLARS = {"kind": "number", "unit": "dollars", "description": "An amount."}
OWN_COLUMNS = Contract.model_validate(
    {
        **TERM_AS_SUPPORT.model_dump(),
        "files": {"separator": ";", "decimal": ","},
        "fields": [
            *(
                field.model_dump(exclude={"group"})
                | {"name": {"id": "loan"}.get(field.name, field.name), "column": field.name.upper()}
                | ({"required": True, "nullable": False} if field.name == "term" else {})
                for field in TERM_AS_SUPPORT.fields
            ),
            {**IN_DOLLARS, "name": "rent", "role": "support", "required": True},
            {**IN_DOLLARS, "name": "left_over", "role": "feature", "range": [0, 1e6], "derived": "income - rent"},
        ],
    }
)


def logged_application(tmp_path: Path, contract: Contract, *applications: Mapping[str, Any]) -> UPath:
    """Read applications as the server does, log them, and return the log's file."""
    reader, log = QuickReader(FeatureSpace(contract)), PredictionLog(str(tmp_path / "root"), contract, worker="1")
    names = tuple(applications[0])
    rows = [tuple(application.values()) for application in applications]
    for together in ([rows], [[row] for row in rows]):  # many at once, and one after the other
        for part in together:
            read = reader.read(names, part)
            assert read is not None
            assert read.terms is None or [*read.terms] == pytest.approx(check(names, part, contract).terms, nan_ok=True)
            log.append([entry(count=len(part))._replace(applications=read)])
    log.close()
    (file,) = files_in(tmp_path)
    return file


def test_the_log_of_a_book_with_columns_of_its_own_is_scored_as_a_batch(tmp_path: Path) -> None:
    application = {"loan": "007", "income": 50_000.0, "home": "own", "debt": 12.5, "rent": 9_000.0, "term": 24.0}
    file = logged_application(tmp_path, OWN_COLUMNS, application, {**application, "loan": "8", "term": None})
    batch, rejected = tmp_path / "batch.parquet", tmp_path / "rejected.parquet"
    report = clean_application_file(Path(file.path), OWN_COLUMNS, cleaned=batch, rejected=rejected)
    assert report.kept == 2
    columns = ["loan", "issued", "income", "home", "debt", "left_over", "term"]
    month = AT.date().replace(day=1)
    assert pl.read_parquet(batch).select(columns).rows() == [
        ("007", month, 50_000, "own", 12.5, 41_000, 24),
        ("8", month, 50_000, "own", 12.5, 41_000, None),
    ]
    for today in (AT.date(), AT.date() + timedelta(days=9)):  # from the log, and gathered
        history = prediction_history.scan(StorageLayout(UPath(tmp_path / "root")), OWN_COLUMNS, tmp_path, today)
        assert history.select("loan", "issued", "term").collect().rows() == [("007", month, 24), ("8", month, None)] * 2


def test_a_term_by_product_that_no_model_sees_is_logged(tmp_path: Path) -> None:
    file = logged_application(
        tmp_path, BY_PRODUCT, {"product": "L", "income": 50_000.0}, {"product": None, "income": 1.0}
    )
    assert pl.read_parquet(file.read_bytes())["product"].to_list() == ["L", None] * 2
    history = prediction_history.scan(StorageLayout(UPath(tmp_path / "root")), BY_PRODUCT, tmp_path, AT.date())
    assert history.collect()["term"].to_list() == [36, None] * 2


@pytest.mark.integration
def test_a_bucket_holds_the_same_files(new_log: NewLog, bucket: UPath, tmp_path: Path) -> None:
    layout = StorageLayout(bucket / "prefix")
    log = new_log(str(layout.root))
    log.append([entry("r1")])
    log.append([entry("r2", AT + timedelta(hours=1))])
    log.flush()
    objects = objects_in(layout.prediction_log)
    assert [name.split("/")[1] for name in sorted(objects)] == ["09", "10"]
    frames = [pl.read_parquet(objects[name]).drop("issue_d") for name in sorted(objects)]
    assert pl.concat(frames).rows() == [logged("r1"), logged("r2", AT + timedelta(hours=1))]
    rows = prediction_history.scan(layout, contract(), tmp_path, AT.date() + timedelta(days=9)).collect()
    assert rows["id"].to_list() == ["loan-7"] * 2
    assert list(objects_in(layout.prediction_history)) == [f"log-{AT:%Y-%m-%d}.parquet"]


def test_logs_of_one_worker_name_keep_out_of_each_others_way(new_log: NewLog, tmp_path: Path) -> None:
    for request_id in ("r1", "r2", "r3"):
        log = new_log(now=lambda: AT)
        log.append([entry(request_id)])
        log.flush()
    assert ids_in(tmp_path) == ["r1", "r2", "r3"]
    assert all(path.name.startswith("5001-77-20261103T095930-") for path in files_in(tmp_path))


# --- when it is written ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{"rows_per_file": 3}, {"seconds": 0.05}], ids=["enough rows", "enough time"])
def test_it_writes_by_itself(new_log: NewLog, tmp_path: Path, options: dict[str, Any]) -> None:
    log = new_log(**options)
    for turn in (1, 2):
        append(log, 2)
        append(log, 1)
        wait_for_rows(log, 3 * turn)
    assert ids_in(tmp_path) == ["r0", "r0", "r0", "r0", "r1", "r1"]


def test_it_waits_again_for_enough_rows(new_log: NewLog) -> None:
    log = new_log(rows_per_file=3)
    append(log, 3)
    wait_for_rows(log, 3)
    append(log, 2)
    time.sleep(0.05)
    assert log.logged == 3


def test_a_file_holds_no_more_rows_than_it_may(new_log: NewLog, tmp_path: Path) -> None:
    log = new_log(rows_per_file=200)
    append(log, 450)
    log.flush()
    assert sorted(frame.height for frame in frames_in(tmp_path)) == [50, 200, 200]
    assert log.logged == 450


def test_closing_writes_what_waits(new_log: NewLog, tmp_path: Path) -> None:
    log = new_log()
    append(log, 250)
    log.close()
    assert len(set(ids_in(tmp_path))) == log.logged == 250
    append(log, 2)
    log.close()
    assert (log.logged, log.dropped) == (250, 2)
    assert not any(thread.name == "prediction-log" for thread in threading.enumerate())


def test_closing_writes_what_came_during_the_last_write(new_log: NewLog, tmp_path: Path, slow_disk: SlowDisk) -> None:
    log = new_log(rows_per_file=1)
    log.append([entry("r1")])
    assert slow_disk.requested.wait(10)
    log.append([entry("r2")])
    threading.Timer(0.05, slow_disk.released.set).start()
    log.close()
    assert ids_in(tmp_path) == ["r1", "r2"]


def test_closing_does_not_wait_for_ever(
    new_log: NewLog, slow_disk: SlowDisk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(prediction_log, "_CLOSE_SECONDS", 0.05)
    log = new_log()
    log.append([entry()])
    log.close()
    assert "prediction_log does not answer; the scored rows that wait for it are given up." in caplog.text
    append(log, 2)
    assert log.dropped == 2


# --- what is lost ---------------------------------------------------------------------------------------------


def test_nobody_waits_and_memory_is_bounded_while_the_disk_hangs(
    new_log: NewLog, tmp_path: Path, slow_disk: SlowDisk
) -> None:
    log = new_log(capacity=5, rows_per_file=3)
    append(log, 3)
    assert slow_disk.requested.wait(10)
    started = time.perf_counter()
    log.append([entry("a", count=2)])
    log.append([entry("b", count=2)])
    for _ in range(1_000):
        log.append([entry("e")])
    assert time.perf_counter() - started < 1
    assert (log.logged, log.dropped) == (0, 1_002)
    slow_disk.released.set()
    log.flush()
    assert ids_in(tmp_path) == ["a", "a", "r0", "r1", "r2"]
    append(log, 5)
    log.flush()
    assert (log.logged, log.dropped) == (10, 1_002)


def test_a_disk_that_refuses_costs_rows_and_one_warning_until_it_is_well(
    new_log: NewLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    root = tmp_path / "root"
    log = new_log()
    for outage in (1, 2):
        root.write_text("no folder")
        log.append([entry("r1")])
        log.append([entry("r2", AT + timedelta(hours=1))])
        log.flush()
        log.append([entry("r3")])
        log.flush()
        assert (log.logged, log.dropped) == (outage - 1, 3 * outage)
        assert len(caplog.records) == outage
        root.unlink()
        log.append([entry(f"well {outage}")])
        log.flush()
        assert ids_in(root) == [f"well {outage}"]
        root.rename(tmp_path / f"kept {outage}")
    assert (log.logged, log.dropped) == (2, 6)
    assert caplog.records[0].levelno == logging.WARNING
    assert f"until {root}/prediction_log can be written to ([Errno 20] Not a directory" in caplog.text
    assert "Traceback" not in caplog.text
    assert not list((tmp_path / "temporary").iterdir())


def test_a_bucket_that_refuses_in_its_own_words_is_an_outage_too(
    new_log: NewLog, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(source: Path, target: UPath) -> None:
        raise RuntimeError("503 Backend Error")  # whatever it is

    monkeypatch.setattr(storage, "store", refuse)
    log = new_log()
    for _ in range(2):
        append(log, 2)
        log.flush()
    assert (log.logged, log.dropped) == (0, 4)
    assert len(caplog.records) == 1
    assert "(503 Backend Error)" in caplog.text
    assert "Traceback" in caplog.text  # it may be no outage after all


def test_rows_that_are_none_stop_nothing(new_log: NewLog, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log = new_log(rows_per_file=300)
    append(log, 299)
    log.append([entry()._replace(applications=Applications(["loan-7"], [[1.0]]))])
    assert within(10, lambda: log.dropped > 0)
    assert "scored rows that do not fit the prediction log are dropped" in caplog.text
    assert "ValueError" in caplog.text
    assert (log.logged, log.dropped) == (0, 300)
    append(log, 300, scored_at=AT + timedelta(hours=1))
    wait_for_rows(log, 300)
    assert len(set(ids_in(tmp_path))) == 300


@pytest.mark.parametrize("capacity", [200_000, 150], ids=["room for all", "room for few"])
def test_rows_of_several_threads_are_all_logged_or_counted(
    new_log: NewLog, tmp_path: Path, capacity: int, turns_of_threads_are_short: None
) -> None:
    log = new_log(rows_per_file=100, capacity=capacity)
    threads, calls = 6, 300

    def answer(thread: int) -> None:
        for call in range(calls):
            log.append([entry(f"{thread} {call}", count=1 + call % 2)])

    answering = [threading.Thread(target=answer, args=(number,)) for number in range(threads)]
    for thread in answering:
        thread.start()
    for thread in answering:
        thread.join()
    log.close()
    ids = ids_in(tmp_path)
    assert len(ids) == log.logged > 0
    assert all(ids.count(request_id) == 1 + int(request_id.split()[1]) % 2 for request_id in set(ids))
    assert log.logged + log.dropped == threads * calls * 1.5
    assert (log.dropped == 0) == (capacity == 200_000)
