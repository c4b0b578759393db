"""A real Postgres for tests: a cluster of its own on loopback, started and stopped by its process, in seconds."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp
from typing import TypedDict
from urllib.parse import quote

import psycopg2
from psycopg2.sql import SQL, Identifier

from loan_default.settings import Settings
from loan_default_tests.stores import free_port


class _Account(TypedDict, total=False):
    """Whom a process runs as, in the words of `subprocess`."""

    user: str
    group: str
    extra_groups: list[str]


USER = "lender"
_DEBIAN = Path("/usr/lib/postgresql")  # keeps them off the PATH, by version
# What is written need not outlive the machine.
_FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
# It refuses to run as root.
_UNPRIVILEGED: _Account = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}


def programs() -> Path | None:
    """Return the folder of the newest Postgres that is installed, if any is."""
    installed = sorted(_DEBIAN.glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    program = str(installed[-1]) if installed else shutil.which("initdb")
    return Path(program).parent if program else None


class Postgres:
    """A cluster and the server that runs it; a password is asked for, and holds what an address must quote."""

    def __init__(self, bin_folder: Path, folder: Path) -> None:
        self.bin, self.folder, self.port = bin_folder, folder, free_port()
        self.password = f"p@ss/w%rd-{secrets.token_hex(8)}"
        self.process: subprocess.Popen[bytes] | None = None
        self._filled: dict[str, str] = {}
        password_file = folder / "password"
        password_file.write_text(self.password, encoding="utf-8")
        password_file.chmod(0o644)
        options = [
            "--auth=scram-sha-256",
            f"--pwfile={password_file}",
            f"--username={USER}",
            "--encoding=UTF8",
            "--no-sync",
        ]
        command = [str(bin_folder / "initdb"), "--pgdata", str(self.data), *options]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, **_UNPRIVILEGED)
        assert done.returncode == 0, done.stderr

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def log(self) -> Path:
        return self.folder / "log"

    def start(self) -> None:
        """Start the server, and return as soon as it takes connections."""
        options = {"port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": "", **_FAST}
        command = [str(self.bin / "postgres"), "-D", str(self.data)]
        command += [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        with self.log.open("a") as output:
            self.process = subprocess.Popen(command, cwd=self.folder, stdout=output, stderr=output, **_UNPRIVILEGED)
        deadline = time.monotonic() + 60
        while True:
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            with suppress(psycopg2.OperationalError):
                self._connect("postgres").close()
                return
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop the server; whoever is connected is cut off."""
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(timeout=30)
            self.process = None

    def url(self, database: str, *, password: str | None = None) -> str:
        """Return a database's address as a user writes it."""
        login = f"{USER}:{quote(self.password if password is None else password, safe='')}"
        return f"postgresql://{login}@127.0.0.1:{self.port}/{database}"

    def open_url(self, database: str) -> str:
        """Return the address without its password, which is in PGPASSWORD then."""
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{database}"

    def create(self, database: str) -> str:
        """Make a database; return its name."""
        connection = self._connect("postgres")
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(SQL("create database {}").format(Identifier(database)))
        connection.close()
        return database

    def with_databases(self, settings: Settings, name: str) -> Settings:
        """Return settings that keep all records in new databases, whose names begin with this name."""
        dagster, mlflow, optuna = (self.create(f"{name}-{of}") for of in ("dagster", "mlflow", "optuna"))
        return replace(
            settings,
            dagster_storage=self.url(dagster),
            tracking_uri=self.open_url(mlflow),
            study_storage=self.url(optuna),
        )

    def environment(self, settings: Settings) -> dict[str, str]:
        """Return what a process of such a home finds in its environment."""
        return {
            "LOAN_DEFAULT_DAGSTER_STORAGE": settings.dagster_storage,
            "LOAN_DEFAULT_STUDY_STORAGE": settings.study_storage,
            "MLFLOW_TRACKING_URI": settings.tracking_uri,
            "PGPASSWORD": self.password,
        }

    def count(self, database: str, table: str) -> int:
        """Count the rows of a table."""
        connection = self._connect(database)
        with connection.cursor() as cursor:
            cursor.execute(SQL("select count(*) from {}").format(Identifier(table)))
            (rows,) = cursor.fetchone()
        connection.close()
        return int(rows)

    def _connect(self, database: str) -> psycopg2.extensions.connection:
        where = {"host": "127.0.0.1", "port": self.port, "dbname": database}
        return psycopg2.connect(**where, user=USER, password=self.password, connect_timeout=5)


@contextmanager
def started_postgres(bin_folder: Path) -> Iterator[Postgres]:
    """Start a cluster, and throw it away at the end."""
    folder = Path(mkdtemp(prefix="loan-default-postgres-"))  # whoever it runs as must get to it
    try:
        folder.chmod(0o755)
        if _UNPRIVILEGED:
            shutil.chown(folder, _UNPRIVILEGED["user"], _UNPRIVILEGED["group"])
        postgres = Postgres(bin_folder, folder)
        postgres.start()
        try:
            yield postgres
        finally:
            postgres.stop()
    finally:
        shutil.rmtree(folder)
