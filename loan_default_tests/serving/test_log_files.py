"""The files of the prediction log: what was decided is found again, whatever dies, and nothing stands twice."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import polars as pl
import polars.selectors as cs
import pytest
from upath import UPath

from loan_default.adapters import prediction_history
from loan_default.adapters.file_listing import list_files
from loan_default.adapters.layout import StorageLayout
from loan_default.risk.contract.book import Contract
from loan_default.risk.data.applications import clean_applications
from loan_default.risk.data.cleaning import clean_application_file
from loan_default.risk.model.features import FeatureSpace
from loan_default.risk.model.online_features import Applications, QuickReader, check
from loan_default.risk.model.reason_codes import ReasonCode
from loan_default.risk.model.scorer import VALUED, Predictions
from loan_default.risk.monitoring.drift import build_profile, profile_batch, psi
from loan_default.serving.decision_id import text_of
from loan_default.serving.decision_records import Entry, log_schema
from loan_default.serving.journal import list_segments
from loan_default.serving.log_files import LogFiles
from loan_default.serving.log_status import LogStatus
from loan_default.serving.prediction_log import PredictionLog
from loan_default_tests.buckets import objects_in
from loan_default_tests.packages import applications, contract, scorer
from loan_default_tests.risk.small_books import BY_PRODUCT, TERM_AS_SUPPORT
from loan_default_tests.serving.logged_entries import AT, FEATURES, entry
from loan_default_tests.waiting import within

CODE: ReasonCode = {"group": "debt", "field": "dti", "side": "high", "share": 0.25}


def expected(entry: Entry, row: int = 0, at: datetime = AT, number: float = 36, **named: Any) -> dict[str, Any]:
    """Return the row of such an entry as it is read again."""
    policy = scorer("xgboost").policy
    answered = {
        **{"decision_id": text_of(entry.first, row), "request_id": entry.request_id, "scored_at": at},
        **{"id": "loan-7", "pd": 0.125, "score": 604, "decision": "approve", "reasons": [], "reason_codes": []},
        **dict.fromkeys(VALUED),
        **{"model_version": 3, "approve_below": policy.approve_below, "decline_from": policy.decline_from},
        **{"decision_by": "pd", "approve_npv_from": 0.0, "decline_npv_below": 0.0},
        **{"contract_fingerprint": contract().fingerprint, "policy_fingerprint": policy.fingerprint},
        **{
            "output": "full",
            "caller": None,
            "on_behalf_of": None,
            "trace_id": None,
            "shadow_version": None,
            "shadow_pd": None,
        },
    }
    features = {field.name: number if field.kind == "number" else field.levels[0] for field in FEATURES}
    return {**answered, **features, **named}


class Log:
    """A worker's log whose segments become files when it is closed."""

    def __init__(self, folder: Path, root: str | Path, **options: Any) -> None:
        self.log = PredictionLog(folder, worker="5001-77", seconds=3600, fsync="never")
        self.files, self.logged = LogFiles(folder, str(root), **options), 0

    def append(self, *entries: Entry) -> None:
        self.log.append(entries)

    def close(self) -> None:
        self.log.close()
        self.logged += self.files.store_closed()


NewLog = Callable[..., Log]


def files_in(root: Path | UPath) -> list[UPath]:
    return sorted(UPath(root).rglob("*.parquet"), key=str)


def frames_in(root: Path | UPath) -> list[pl.DataFrame]:
    return [pl.read_parquet(path.read_bytes()).drop("issue_d") for path in files_in(root)]


def ids_in(root: Path | UPath) -> list[str]:
    return sorted(request_id for frame in frames_in(root) for request_id in frame["request_id"])


@pytest.fixture
def new_log(tmp_path: Path) -> NewLog:
    """Logs under `tmp_path / "root"` with a journal beside it."""

    def make(root: str | Path = tmp_path / "root", **options: Any) -> Log:
        return Log(tmp_path / "journal", root, **options)

    return make


# --- what a file holds ----------------------------------------------------------------------------------------


def test_rows_come_back_as_they_were_decided(new_log: NewLog, tmp_path: Path) -> None:
    def shadow(deciding: Any, ids: Any, values: Any) -> Any:
        assert (deciding.version, len(ids), values.shape) == (3, 5, (5, len(FEATURES)))
        return 4, [0.25, None, None, None, 0.5]

    log = new_log(shadow=shadow)
    nothing = Applications([None], [[math.nan] * len(FEATURES)])
    declined = Predictions([0.5], [-12], ["decline"], [["High."]], [[CODE]])
    first = entry("r1", caller="los", trace_id="ab" * 16, output="pd")
    second, third = entry("r2", number=13.99, count=2), entry("r3", applications=nothing, predictions=declined)
    part = entry("r4", positions=[7], on_behalf_of="Ann B.")
    log.append(first, second)
    log.append(third, part)
    log.close()
    (frame,) = frames_in(tmp_path)
    assert frame.schema == log_schema(contract())
    assert frame["decision_id"].is_sorted()
    rows = [
        expected(first, caller="los", trace_id="ab" * 16, output="pd", shadow_version=4, shadow_pd=0.25),
        expected(second, number=13.99),
        expected(second, 1, number=13.99),
        {
            **expected(third, id=None, pd=0.5, score=-12, decision="decline", reasons=["High."], reason_codes=[CODE]),
            **dict.fromkeys(contract().feature_names),
        },
        expected(part, 7, on_behalf_of="Ann B.", shadow_version=4, shadow_pd=0.5),
    ]
    assert frame.to_dicts() == sorted(rows, key=lambda row: str(row["decision_id"]))
    assert (log.logged, log.files.status) == (5, LogStatus(files=1, rows=5))
    assert not list((tmp_path / "journal").iterdir())


@pytest.mark.parametrize(("second", "months"), [(1, {"2026-11"}), (2, {"2026-11", "2026-12"})])
def test_a_row_is_of_the_month_of_its_decision(new_log: NewLog, tmp_path: Path, second: int, months: set[str]) -> None:
    log, turn = new_log(), datetime(2026, 12, 1, tzinfo=UTC)
    log.append(entry(at=turn - timedelta(seconds=2)), entry(at=turn + timedelta(seconds=second - 2)))
    log.close()
    frames = [pl.read_parquet(path.read_bytes()) for path in files_in(tmp_path)]
    assert {month for frame in frames for month in frame["issue_d"]} == months
    for frame in frames:
        assert (frame["issue_d"] == frame["scored_at"].dt.strftime("%Y-%m")).all()


def test_each_hour_has_its_own_folder(new_log: NewLog, tmp_path: Path) -> None:
    log = new_log()
    times = [AT, AT + timedelta(minutes=1), AT + timedelta(seconds=1), AT + timedelta(hours=15)]
    log.append(*(entry(f"r{index}", at) for index, at in enumerate(times)))
    log.close()
    folders = [path.parent.relative_to(UPath(tmp_path / "root")).as_posix() for path in files_in(tmp_path)]
    assert folders == ["prediction_log/2026-11-03/09", "prediction_log/2026-11-03/10", "prediction_log/2026-11-04/00"]
    assert [frame["request_id"].to_list() for frame in frames_in(tmp_path)] == [["r0", "r2"], ["r1"], ["r3"]]
    assert len({path.name for path in files_in(tmp_path)}) == 1


def test_versions_of_two_contracts_share_a_journal(new_log: NewLog, tmp_path: Path) -> None:
    log, other = new_log(), replace(scorer("xgboost"), contract=TERM_AS_SUPPORT)
    applications = Applications(["b"], [[1.0] * len(TERM_AS_SUPPORT.features)], [24.0])
    log.append(entry("r1"))
    log.append(entry("r2", applications=applications, version=4, scorer=other))
    log.append(entry("r3", AT + timedelta(milliseconds=1)))
    log.close()
    frames = [pl.read_parquet(path.read_bytes()) for path in files_in(tmp_path)]
    assert sorted(frame["request_id"].to_list() for frame in frames) == [["r1", "r3"], ["r2"]]
    (small,) = [frame for frame in frames if "r2" in frame["request_id"].to_list()]
    assert small["contract_fingerprint"].to_list() == [TERM_AS_SUPPORT.fingerprint]


def test_a_file_can_be_judged_like_any_batch(new_log: NewLog, tmp_path: Path) -> None:
    _, features = applications()
    log = new_log()
    positions = features.with_columns(cs.enum().to_physical().cast(pl.Float64) + 1).to_numpy()
    log.append(entry(count=len(positions), applications=Applications(["loan-7"] * len(positions), positions)))
    log.close()
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
    log.append(entry(), entry("r2"))
    log.close()
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
    reader = QuickReader(FeatureSpace(contract))
    log = Log(tmp_path / "journal", tmp_path / "root")
    names = tuple(applications[0])
    rows = [tuple(application.values()) for application in applications]
    of_book = replace(scorer("xgboost"), contract=contract)
    moments = (AT + timedelta(milliseconds=number) for number in count())
    for together in ([rows], [[row] for row in rows]):  # many at once, and one after the other
        for part in together:
            read = reader.read(names, part)
            assert read is not None
            assert read.terms is None or [*read.terms] == pytest.approx(check(names, part, contract).terms, nan_ok=True)
            log.append(
                entry(at=next(moments), count=len(part), applications=read, scorer=of_book),
            )
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
    first, second = entry("r1"), entry("r2", AT + timedelta(hours=1))
    log.append(first, second)
    log.close()
    objects = {name: file for name, file in objects_in(layout.prediction_log).items() if name.endswith(".parquet")}
    assert [name.split("/")[1] for name in sorted(objects)] == ["09", "10"]
    frames = [pl.read_parquet(objects[name]).drop("issue_d") for name in sorted(objects)]
    assert pl.concat(frames).to_dicts() == [expected(first), expected(second, at=AT + timedelta(hours=1))]
    rows = prediction_history.scan(layout, contract(), tmp_path, AT.date() + timedelta(days=9)).collect()
    assert rows["id"].to_list() == ["loan-7"] * 2
    assert list(objects_in(layout.prediction_history)) == [f"log-{AT:%Y-%m-%d}.parquet"]
    assert objects_in(layout.prediction_log) == objects, "of what came late it is not told any more"


# --- what dies, and what refuses ------------------------------------------------------------------------------


def test_what_others_left_is_taken_over_once(new_log: NewLog, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "root").write_text("no folder")
    dead = new_log()
    dead.append(entry("r1"))
    dead.append(entry("torn"))
    dead.close()
    (segment,) = list_segments(tmp_path / "journal")
    segment.write_bytes(segment.read_bytes()[:-3])
    content = segment.read_bytes()
    (tmp_path / "root").unlink()
    for again in (False, True):  # as where one died between storing the file and deleting the segment
        if again:
            segment.write_bytes(content)
        caplog.clear()
        log = new_log()
        log.append(entry("own"))
        log.close()
        assert f"{segment} ends in the middle of a write: " in caplog.text
    assert ids_in(tmp_path) == ["own", "own", "r1"]


def test_a_storage_that_refuses_is_tried_again_and_costs_nothing(
    new_log: NewLog, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = tmp_path / "root"
    root.write_text("no folder")
    log = new_log()
    log.append(entry("r1"))
    log.close()
    log.files.store_closed()
    assert log.files.status.damaged_rows == 0
    assert f"{root}/prediction_log cannot be written to ([Errno 20] Not a directory" in (log.files.status.trouble or "")
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert f"Scored rows wait in {tmp_path}/journal until {root}/prediction_log can be written to" in caplog.text
    assert "Traceback" not in caplog.text
    assert (log.logged, ids_in(tmp_path)) == (0, [])
    root.unlink()
    refusals = log.files.status.failures
    assert refusals > 0
    assert (log.files.store_closed(), log.files.status) == (1, LogStatus(files=1, rows=1, failures=refusals))
    assert ids_in(tmp_path) == ["r1"]


def test_what_is_written_is_left_alone(new_log: NewLog, tmp_path: Path) -> None:
    log = new_log()
    log.append(entry())
    assert within(10, lambda: bool(list_segments(tmp_path / "journal")))
    assert log.files.store_closed() == 0
    log.close()
    assert log.logged == 1


def test_a_segment_that_is_none_stops_nothing(
    new_log: NewLog, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = new_log()
    log.append(entry(count=2), entry(applications=Applications(["loan-7"], [[1.0]])))
    log.close()
    assert "cannot be read; it stays as 5001-77-" in caplog.text
    assert (log.logged, log.files.status) == (0, LogStatus(damaged_rows=3))
    next_log = new_log()
    next_log.append(entry("r2"))
    next_log.close()
    assert ids_in(tmp_path) == ["r2"]
    (damaged,) = (tmp_path / "journal").iterdir()
    assert damaged.suffix == ".damaged"
    assert next_log.files.status.damaged_rows == 3, "until a person has looked"
    damaged.unlink()
    assert next_log.files.status == LogStatus(files=1, rows=1)


def test_rows_that_waited_for_days_count_in_the_day_of_their_decision(new_log: NewLog, tmp_path: Path) -> None:
    """Where a storage was away for so long, the day was gathered without them."""
    layout, today = StorageLayout(UPath(tmp_path / "root")), AT.date() + timedelta(days=9)
    for number in (1, 2):
        log = new_log()
        log.append(entry(f"r{number}"))
        log.close()
        assert prediction_history.scan(layout, contract(), tmp_path, today).collect().height == number
    log = new_log()
    log.append(entry(at=datetime.now(UTC)))
    log.close()
    assert not list_files(layout.prediction_log), "what comes in time needs no mark"


def test_days_beyond_the_retention_are_deleted(new_log: NewLog, tmp_path: Path) -> None:
    today = datetime.now(UTC).date()
    old, recent = today - timedelta(days=765), today - timedelta(days=755)
    folder = tmp_path / "root" / "prediction_log"
    for day in (old, recent):
        (folder / f"{day}" / "09").mkdir(parents=True)
    new_log().files.prune(today)
    assert len([*folder.iterdir()]) == 2
    files = new_log(retention_months=25).files
    files.prune(today)
    assert [path.name for path in folder.iterdir()] == [f"{recent}"]
    (folder / "2024-02-28").mkdir()
    (folder / "2024-02-27").mkdir()
    files.prune(date(2026, 3, 31))
    assert {"2024-02-28", "2024-02-27"} & {path.name for path in folder.iterdir()} == {"2024-02-28"}
