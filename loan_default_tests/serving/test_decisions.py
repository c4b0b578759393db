"""Decisions that a real log holds are found by their ids and scored again to the bit; whatever is gone is said."""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import polars as pl
import pytest
from upath import UPath

from loan_default.adapters.layout import StorageLayout
from loan_default.adapters.tracking import TrackingError
from loan_default.risk.errors import BadInput
from loan_default.risk.model.scorer import VALUED, ApplicationValue
from loan_default.serving.decision_id import DecisionIds, decided_at, text_of
from loan_default.serving.decision_records import Entry
from loan_default.serving.decisions import Decision, compare, recall
from loan_default.serving.log_files import LogFiles
from loan_default.serving.prediction_log import PredictionLog
from loan_default.serving.served_model import ServedModel
from loan_default_tests.packages import KINDS, applications, package, valued_scorer
from loan_default_tests.waiting import within


class Log:
    """A log and its storage; what it holds may still be in the journal."""

    def __init__(self, folder: Path, model: ServedModel) -> None:
        self.folder, self.model, self.ids = folder, model, DecisionIds()
        self.layout, self.journal = StorageLayout(UPath(folder / "storage")), folder / "journal"
        self.log = PredictionLog(self.journal, worker="1", fsync="decision")

    def decide(self, rows: int, *, output: str = "full") -> list[str]:
        body = json.dumps({"inputs": (3 * applications()[0])[:rows]}).encode()
        batch = self.model.read(body, "application/json", at_most=rows).applications
        predictions = self.model.predict(batch, with_reasons=output == "full")
        first = self.ids.draw()
        durable: list[str | None] = []
        entry = Entry(first, self.model.version, self.model.scorer, batch, predictions, output)  # type: ignore[arg-type]
        self.log.append([entry], durable.append)
        assert within(10, lambda: durable == [None])
        return [text_of(first, row) for row in range(rows)]

    def store(self) -> None:
        """Close the log, and make files of its segments."""
        self.log.close()
        LogFiles(self.journal, str(self.folder / "storage")).store_closed()

    def recall(self, decision_id: str, load: Callable[[int], ServedModel] | None = None) -> Decision:
        return recall(decision_id, self.layout, self.journal, load or (lambda version: self.model), self.folder)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    log = Log(tmp_path, ServedModel.load(package(tmp_path / "package"), 3))
    yield log
    log.store()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.slow
def test_each_decision_is_the_same_again_to_the_bit(tmp_path: Path, kind: str) -> None:
    log = Log(tmp_path, ServedModel.load(package(tmp_path / "package", kind), 3))
    ids = [*log.decide(1), *log.decide(40), *log.decide(5, output="pd")]
    for stored in (False, True):
        if stored:
            log.store()
            assert not [*log.journal.iterdir()]
        recalled = [log.recall(decision_id) for decision_id in ids]
        assert {decision.verdict for decision in recalled} == {"same"}, [decision.sentence for decision in recalled]
        assert [decision.row["decision_id"] for decision in recalled] == ids
        assert {row["decision"] for row in (decision.row for decision in recalled)} > {"decline"}
        assert any(decision.answer["reasons"] for decision in recalled)
        assert not any(decision.row["reasons"] for decision in recalled[-5:]), "none were told"
    again = log.recall(ids[0]).again
    assert again == log.recall(ids[0]).answer


@pytest.mark.slow
def test_what_a_loan_is_worth_is_kept_and_computed_again(tmp_path: Path) -> None:
    log = Log(tmp_path, ServedModel.load(package(tmp_path / "package", of=valued_scorer), 3))
    value = log.model.scorer.value
    assert value is not None
    policy = value.policy.model_copy(update={"funding_rate": 0.2})
    dearer = replace(log.model, scorer=replace(log.model.scorer, value=replace(value, policy=policy)))
    ids = [*log.decide(1), *log.decide(120), *log.decide(2, output="label")]
    for stored in (False, True):
        if stored:
            log.store()
        for decision_id in ids:
            decision = log.recall(decision_id)
            assert decision.verdict == "same"
            assert decision.again is not None
            worth = [decision.row[name] for name in VALUED]
            assert worth == [decision.answer[name] for name in VALUED] == [decision.again[name] for name in VALUED]
            assert None not in worth
        assert log.recall(ids[0], lambda version: dearer).sentence == "Version 3 says another npv now."
    old = {name: value for name, value in log.recall(ids[0]).row.items() if name not in VALUED}
    assert compare(old, log.model).verdict == "same", "as files of earlier releases have it"
    assert not compare(old, log.model).answer.keys() & VALUED


def test_a_value_that_was_not_learned_is_null(log: Log) -> None:
    parsed = log.model.read(json.dumps({"inputs": applications()[0][:2]}).encode(), "application/json", at_most=2)
    predictions = log.model.predict(parsed.applications)
    worth = [ApplicationValue(math.nan, math.nan), ApplicationValue(2.5, math.nan)]
    first = log.ids.draw()
    log.log.append([Entry(first, 3, log.model.scorer, parsed.applications, predictions._replace(values=worth))])
    log.store()
    rows = [log.recall(text_of(first, row)).row for row in range(2)]
    assert [[row[name] for name in VALUED] for row in rows] == [[None, None], [2.5, None]]


def test_what_differs_is_said(log: Log) -> None:
    (decision_id,) = log.decide(1)
    scorer = log.model.scorer
    calibration = replace(scorer.calibration, intercept=scorer.calibration.intercept + 1e-4)
    moved = replace(log.model, scorer=replace(scorer, calibration=calibration))
    decision = log.recall(decision_id, lambda version: moved)
    assert (decision.verdict, decision.sentence) == ("different", "Version 3 says another pd now.")
    assert decision.again is not None
    assert decision.again["pd"] == pytest.approx(decision.row["pd"], abs=1e-4)
    policy = scorer.policy.model_copy(update={"approve_below": 0.01})
    other = replace(log.model, scorer=replace(scorer, policy=policy))
    decision = log.recall(decision_id, lambda version: other)
    assert decision.sentence == "Version 3 has another policy here than the version 3 that decided."
    assert (decision.verdict, decision.again) == ("not scored again", None)


@pytest.mark.parametrize("error", [TrackingError("There is no version 3."), BadInput("It is gone."), OSError("Away.")])
def test_a_decision_is_shown_though_its_package_is_gone(log: Log, error: Exception) -> None:
    (decision_id,) = log.decide(1)

    def load(version: int) -> ServedModel:
        raise error

    decision = log.recall(decision_id, load)
    assert decision.row["decision_id"] == decision_id
    assert decision.verdict == "not scored again"
    assert decision.sentence == f"The package of version 3 cannot be had, so nothing is compared: {error}"


def test_what_is_not_there_is_said(log: Log) -> None:
    (decision_id,) = log.decide(1)
    for other in (text_of(DecisionIds().draw()), decision_id[:-1] + "1"):
        with pytest.raises(
            BadInput, match=f"There is no decision {other} in .*/prediction_log nor in the journal here"
        ):
            log.recall(other)
    with pytest.raises(BadInput, match="is no id of a decision"):
        log.recall("loan-7")


def test_files_of_earlier_releases_and_a_torn_segment_are_passed_over(log: Log) -> None:
    (decision_id,) = log.decide(1)
    log.store()
    moment = decided_at(int(decision_id.replace("-", ""), 16))
    folder = Path(log.layout.prediction_log_hour(moment).path)
    pl.DataFrame({"request_id": ["r1"]}).write_parquet(folder / f"5001-77-{moment:%Y%m%dT%H%M%S}-0123abcd.parquet")
    (log.journal / "dead.journal").write_bytes(b"torn")
    assert log.recall(decision_id.upper()).verdict == "same"


def test_a_decision_is_in_whichever_file_of_its_hour(log: Log) -> None:
    (decision_id,) = log.decide(1)
    log.store()
    moment = decided_at(int(decision_id.replace("-", ""), 16))
    folder = Path(log.layout.prediction_log_hour(moment).path)
    (file,) = folder.iterdir()
    rows = pl.read_parquet(file)
    file.rename(folder / "1-20200101T000000-00000000.parquet")
    rows.clear().write_parquet(folder / f"2-{moment:%Y%m%dT%H%M%S}-00000000.parquet")  # begun next before it
    assert log.recall(decision_id).verdict == "same"


def test_no_file_is_read_for_a_decision_that_the_journal_has(log: Log) -> None:
    (decision_id,) = log.decide(1)
    folder = Path(log.layout.prediction_log_hour(decided_at(int(decision_id.replace("-", ""), 16))).path)
    folder.mkdir(parents=True)
    (folder / "unreadable.parquet").write_bytes(b"no Parquet")
    assert log.recall(decision_id).verdict == "same"


def test_a_decision_is_written_as_json(log: Log) -> None:
    (decision_id,) = log.decide(1)
    written = msgspec.json.decode(msgspec.json.encode(log.recall(decision_id)))
    assert written.keys() == {"row", "verdict", "sentence", "again"}
    assert written["row"]["decision_id"] == decision_id
