"""Measurements against the real thing: folders, a bucket in memory, ports, databases of MLflow."""

import os
import sqlite3
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from upath import UPath

from loan_default.adapters import file_listing, probes
from loan_default.adapters.storage import DOWNLOADS, write_text
from loan_default_tests.stores import free_port, new_tracking, serving


def read_only(folder: Path) -> Path:
    """Return a folder in which this user may not write; root may everywhere but where the system itself refuses."""
    if os.geteuid() == 0:
        return Path("/proc/self")
    folder.chmod(0o555)
    return folder


# --- storage


@pytest.mark.parametrize("root", ["folder", pytest.param("bucket", marks=pytest.mark.integration)])
def test_a_storage_is_probed_and_left_as_it_was(request: pytest.FixtureRequest, tmp_path: Path, root: str) -> None:
    root_path = UPath(tmp_path) if root == "folder" else request.getfixturevalue("bucket") / "prefix"
    write_text(root_path / "kept.json", "{}")
    probe = probes.probe_storage(str(root_path), patience=1)
    assert (probe.listed, probe.same, probe.removed) == (True, True, True)
    assert abs(probe.changed_at - probe.written_at) < timedelta(seconds=5)
    assert [file.name for file in file_listing.list_all_files(root_path)] == ["kept.json"]


def test_a_storage_that_refuses_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for root in (tmp_path / "none", tmp_path / "file", read_only(tmp_path)):
        with pytest.raises(OSError):
            probes.probe_storage(str(root), patience=1)


def test_only_old_files_of_dead_runs_are_left_over(tmp_path: Path) -> None:
    staging, models, storage = (tmp_path / name for name in ("staging", "models", "storage"))
    leftovers = [
        staging / "run-cleaned.parquet",
        staging / DOWNLOADS / "0a1b2c3d" / ".2018-10.csv.0a1b2c3d.part",
        models / "tmpab12" / "package" / "model.ubj",
        storage / "predictions" / ".2018-10.csv.0a1b2c3d.part",
        storage / ".doctor-0a1b2c3d",
    ]
    others = [
        staging / DOWNLOADS / "0a1b2c3d" / "2018-10.csv",
        models / "loan_default_model-1-run" / "model.ubj",
        storage / "predictions" / "2018-10.csv",
        storage / ".env",
    ]
    for file in [*leftovers, *others]:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("1234")
    later = datetime.now(UTC) + timedelta(days=2)
    count = probes.count_leftovers(str(storage), staging, models, later)
    assert count == probes.Leftovers(len(leftovers), 4 * len(leftovers))
    assert probes.count_leftovers(str(storage), staging, models, datetime.now(UTC)) == probes.Leftovers(0, 0)
    assert probes.count_leftovers("gs://bucket", tmp_path / "no", tmp_path / "none", later).files == 0


def test_space_is_that_of_the_folder_that_will_hold_it(tmp_path: Path) -> None:
    there, later = probes.free_space(tmp_path), probes.free_space(tmp_path / "not" / "there")
    assert there.free > 0
    assert abs(there.free - later.free) < 1_000_000_000
    assert not (tmp_path / "not").exists()


# --- network


@pytest.mark.integration
def test_a_port_accepts_or_not() -> None:
    with serving(HTTPServer(("127.0.0.1", port := free_port()), BaseHTTPRequestHandler)):
        assert probes.accepts("127.0.0.1", port, seconds=5)
    assert not probes.accepts("127.0.0.1", port, seconds=5)


@pytest.mark.integration
def test_a_tracking_server_tells_its_version_and_its_time() -> None:
    yesterday = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)

    class Server(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response_only(200 if self.path == "/version" else 404)
            self.send_header("Date", format_datetime(yesterday, usegmt=True))
            self.end_headers()
            self.wfile.write(b"3.17.2")

        def log_message(self, *_: object) -> None: ...

    with serving(server := HTTPServer(("127.0.0.1", 0), Server)):
        url = f"http://127.0.0.1:{server.server_port}"
        answer = probes.ask_tracking_server(f"{url}/", seconds=5)
        assert probes.ask_tracking_server(f"{url}/elsewhere", seconds=5) is None
    assert answer is not None
    assert (answer.version, answer.server_time) == ("3.17.2", yesterday)
    assert probes.ask_tracking_server(url, seconds=5) is None


# --- MLflow's database


@pytest.mark.integration
def test_a_database_tells_its_revision(tmp_path: Path) -> None:
    uri, file = new_tracking(tmp_path / "store").tracking_uri, tmp_path / "store" / "mlflow.db"
    current = probes.read_schema(uri)
    assert current.revision == current.expected
    assert not current.older
    for revision, older in (("451aebb31d03", True), ("f00000000000", False)):  # MLflow's first, and none of its own
        with sqlite3.connect(file) as database:
            database.execute("update alembic_version set version_num = ?", [revision])
        before = file.read_bytes()
        assert probes.read_schema(uri) == probes.SchemaRevision(revision, current.expected, older)
        assert file.read_bytes() == before
    sqlite3.connect(tmp_path / "empty.db").close()
    assert probes.read_schema(f"sqlite:///{tmp_path}/empty.db").revision is None


@pytest.mark.integration
def test_a_database_tells_its_tables_or_why_it_cannot(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "some.db") as database:
        database.execute("create table runs (id int)")
    assert probes.read_tables(f"sqlite:///{tmp_path}/some.db") == {"runs"}
    with pytest.raises(ConnectionError, match="Connection refused") as refused:
        probes.read_tables(f"postgresql+psycopg2://me:secret@127.0.0.1:{free_port()}/db")
    assert "secret" not in str(refused.value)


def test_the_file_of_an_address(tmp_path: Path) -> None:
    assert probes.database_file(f"sqlite:///{tmp_path}/mlflow.db") == tmp_path / "mlflow.db"
    assert probes.database_file("postgresql://host/db") is None
