"""Lists of decisions hold the newest that match, each once, in order, wherever they lie; and end where much is read."""

import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import polars as pl
import pytest
from upath import UPath

from loan_default.adapters.file_listing import File
from loan_default.adapters.layout import StorageLayout
from loan_default.risk.errors import BadInput
from loan_default.serving import decision_list
from loan_default.serving.decision_id import DecisionIds, text_of
from loan_default.serving.decision_list import DecisionList, DecisionQuery, list_decisions
from loan_default.serving.decision_records import BRIEF
from loan_default.serving.served_model import ServedModel
from loan_default_tests.packages import package
from loan_default_tests.serving.test_decision_id import nanoseconds
from loan_default_tests.serving.test_decisions import Log

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
PEOPLE = ("Anna", "bo", None)


class Files:
    """Files of a log in a folder, and all that stands in them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.layout = folder, StorageLayout(UPath(folder / "storage"))
        self.rows = pl.DataFrame(schema=BRIEF)

    def add(self, moments: list[datetime], written_at: datetime, rng: Random) -> None:
        """Add decisions made at these moments, a file for each hour of them."""
        rows = pl.DataFrame([_decision(moment, rng) for moment in moments], schema=BRIEF).sort("decision_id")
        self.rows = pl.concat([self.rows, rows])
        for (hour,), part in rows.group_by(pl.col("scored_at").dt.truncate("1h")):
            assert isinstance(hour, datetime)
            name = f"1-{min(moments):%Y%m%dT%H%M%S}-{rng.getrandbits(32):08x}.parquet"
            file = Path(str(self.layout.prediction_log_hour(hour) / name))
            file.parent.mkdir(parents=True, exist_ok=True)
            part.write_parquet(file)
            os.utime(file, (written_at.timestamp(),) * 2)

    def page(self, query: DecisionQuery, *, rows: int, files: int = 200) -> DecisionList:
        return list_decisions(query, self.layout, self.folder / "journal", self.folder, rows=rows, files=files)

    def matching(self, query: DecisionQuery) -> list[str]:
        return self.rows.filter(query.condition).sort("decision_id", descending=True)["decision_id"].to_list()


def _decision(moment: datetime, rng: Random) -> dict[str, object]:
    return {
        "decision_id": text_of(DecisionIds(lambda: nanoseconds(moment)).draw()),
        "scored_at": moment,
        "id": f"loan-{rng.randrange(5)}",
        "pd": rng.random(),
        "score": 600,
        "decision": rng.choice(("approve", "review", "decline")),
        "model_version": rng.choice((1, 2)),
        "caller": rng.choice(("portal", None)),
        "on_behalf_of": rng.choice(PEOPLE),
    }


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """Two days of decisions of two workers, some of them stored late and some under one time of change."""
    files, rng = Files(tmp_path_factory.mktemp("log")), Random(3)
    for _ in range(30):
        began = NOON + timedelta(minutes=rng.randrange(2 * 1_440))
        moments = [began + timedelta(microseconds=rng.randrange(60_000_000)) for _ in range(rng.choice((1, 2, 7)))]
        late = rng.choice((0, 0, 0, 5_000))
        written_at = NOON + timedelta(days=5) if rng.random() < 0.1 else max(moments) + timedelta(seconds=1 + late)
        files.add(moments, written_at, rng)
    return files


@pytest.mark.parametrize(
    ("query", "rows", "most"),
    [
        (DecisionQuery(), 1_000, 200),
        (DecisionQuery(), 13, 200),
        (DecisionQuery(), 13, 1),
        (DecisionQuery(day=(NOON + timedelta(days=1)).date()), 9, 5),
        (DecisionQuery(decision="decline", version=2), 5, 200),
        (DecisionQuery(asked_by="ANN"), 5, 5),
        (DecisionQuery(asked_by="portal"), 50, 200),
        (DecisionQuery(application="loan-3", day=(NOON + timedelta(days=1)).date()), 50, 1),
        (DecisionQuery(application="nobody's"), 50, 5),
    ],
)
def test_one_list_after_another_holds_all_that_matches_once(
    files: Files, query: DecisionQuery, rows: int, most: int
) -> None:
    ids: list[str] = []
    page, before = files.page(query, rows=rows, files=most), ""
    while page.older:
        assert len(page.rows) <= rows
        assert page.older < before or not before, "each list goes further back"
        ids += [row["decision_id"] for row in page.rows]
        before = page.older
        page = files.page(replace(query, before=before), rows=rows, files=most)
    assert [*ids, *(row["decision_id"] for row in page.rows)] == files.matching(query)


def test_what_cannot_belong_into_the_list_is_not_read(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    names: list[str] = []
    read_file = decision_list._read_file

    def note(file: File, staging: Path, condition: pl.Expr) -> pl.DataFrame:
        names.append(file.name)
        return read_file(file, staging, condition)

    monkeypatch.setattr(decision_list, "_read_file", note)
    assert len(files.page(DecisionQuery(), rows=3).rows) == 3
    assert len(names) <= 4 + 8, "some were stored late"
    names.clear()
    ended = files.page(DecisionQuery(application="nobody's"), rows=3, files=4)
    assert (ended.rows, bool(ended.older)) == ([], True)
    assert ended.looked_until
    assert len(names) <= 4 + 8


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    log = Log(tmp_path, ServedModel.load(package(tmp_path / "package"), 3))
    yield log
    log.store()


def test_decisions_of_the_journal_and_of_files_stand_in_one_list(log: Log) -> None:
    def listed() -> DecisionList:
        return list_decisions(DecisionQuery(), log.layout, log.journal, log.folder, rows=50)

    ids = [*log.decide(1), *log.decide(12), *log.decide(2, output="pd")]
    from_journal = listed()
    assert [row["decision_id"] for row in from_journal.rows] == ids[::-1]
    recalled = log.recall(ids[0]).row
    assert from_journal.rows[-1] == {name: recalled[name] for name in BRIEF}
    log.store()
    assert listed() == from_journal
    log.log = log.log.__class__(log.journal, worker="2", fsync="decision")
    ids += log.decide(3)
    assert [row["decision_id"] for row in listed().rows] == ids[::-1]


def test_files_of_earlier_releases_are_passed_over_and_damaged_ones_named(tmp_path: Path) -> None:
    files = Files(tmp_path)
    files.add([NOON], NOON + timedelta(seconds=1), Random(1))
    folder = Path(str(files.layout.prediction_log_hour(NOON)))
    pl.DataFrame({"request_id": ["r1"]}).write_parquet(folder / "earlier.parquet")
    assert len(files.page(DecisionQuery(), rows=5).rows) == 1
    (folder / "damaged.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(BadInput, match=r"damaged.parquet cannot be read .*; move it out of the log"):
        files.page(DecisionQuery(), rows=5)


def test_a_log_that_is_not_there_holds_none(tmp_path: Path) -> None:
    assert Files(tmp_path).page(DecisionQuery(), rows=5) == DecisionList([])
