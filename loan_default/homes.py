"""One home for every tool: what `.env` names, and what a home and a process hold before Dagster runs in them."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from typing import Literal

from dotenv import dotenv_values, load_dotenv

from loan_default.adapters.layout import COMPUTE_LOGS
from loan_default.adapters.storage import is_remote
from loan_default.risk.errors import BadInput
from loan_default.risk.files import write_atomically
from loan_default.settings import DAGSTER_HOME, DAGSTER_STORAGE, DEFAULT_HOME, HOME, Settings

Origin = Literal[".env", "export"]

ENV_FILE = Path(".env")  # of the working folder, as for Dagster's commands

# Telemetry of every library is off, and no model is ever unpickled, whatever started the process. Waiting threads
# sleep: where other work shares the cores, spinning made a fit of XGBoost (OpenMP) cost six times the processor time,
# and a logistic regression on 2,000 loans eight times (OpenBLAS, which spins for 2 to the power of this in cycles).
_PROCESS = {
    "OMP_WAIT_POLICY": "PASSIVE",
    "OPENBLAS_THREAD_TIMEOUT": "4",
    "DAGSTER_DISABLE_TELEMETRY": "yes",
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MPLBACKEND": "Agg",
    "GIT_PYTHON_REFRESH": "quiet",
}

_DAGSTER_YAML = Path(__file__).parent / "conf" / "dagster.yaml"  # a new home gets a copy, and sections more
_IN_POSTGRES = f"""\
storage:  # of runs, events and schedules
  postgres:
    postgres_url: {{env: {DAGSTER_STORAGE}}}
"""
_LOGS_IN_BUCKET = """\
compute_logs:  # what steps print; the UI may run on another machine than they do
  module: dagster_gcp.gcs.compute_log_manager
  class: GCSComputeLogManager
  config: {{bucket: {}, prefix: {}, local_dir: {}, upload_interval: 30}}
"""


def load_env_file(path: Path = ENV_FILE) -> None:
    """Put what `.env` says into the environment, over what is exported: Dagster's commands do so before all else."""
    if not os.environ.get(HOME):
        os.environ.pop(HOME, None)  # to `.env`, a home that is exported empty would be one
    load_dotenv(path, override=True)


def with_homes(text: str, home: Path) -> str:
    """Return the text of an `.env` file that names both homes.

    The home follows an exported LOAN_DEFAULT_HOME, and Dagster's follows the home. A line that names another home on
    purpose stays; the line that earlier releases wrote, which fixed Dagster's home only, gives way.

    Args:
        text: what the file holds.
        home: absolute; where nothing is exported.
    """
    earlier = {f"{DAGSTER_HOME}={folder / 'dagster'}" for folder in (home, DEFAULT_HOME.resolve())}
    lines = [line for line in text.splitlines() if line not in earlier]
    names = {line.removeprefix("export ").partition("=")[0].strip() for line in lines}
    if HOME not in names:
        value = f"${{{HOME}:-{home}}}"
        quoted = value.replace("\\", "\\\\").replace('"', '\\"')
        lines.append(f'{HOME}="{quoted}"' if "#" in value else f"{HOME}={value}")  # a blank and # begin a comment
    if DAGSTER_HOME not in names:
        lines.append(f"{DAGSTER_HOME}=${{{HOME}}}/dagster")
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class HomeOrigins:
    """The origins of the two homes: `.env`, an export, or nothing that was set."""

    home: Origin | None
    dagster_home: Origin | None


def home_origins(path: Path = ENV_FILE) -> HomeOrigins:
    """Find out who names the homes; to be asked before `prepare_environment` exports Dagster's."""
    named = dotenv_values(path, interpolate=False)

    def origin(name: str) -> Origin | None:
        if named.get(name):
            return ".env"
        return "export" if os.environ.get(name) else None

    return HomeOrigins(origin(HOME), origin(DAGSTER_HOME))


def warn_of_temporary_home() -> None:
    """Warn where Dagster was started without a home: it makes a temporary one, and its runs vanish with that."""
    if not os.environ.get(DAGSTER_HOME):
        logging.getLogger("dagster").warning(
            "%s is set neither in .env of this folder nor in the environment: Dagster keeps this run in a temporary "
            "folder. Run loan-default init here.",
            DAGSTER_HOME,
        )


def dagster_yaml(settings: Settings) -> str:
    """Describe Dagster's instance in a new home: what every home has, and a section for each outside store."""
    sections = [_DAGSTER_YAML.read_text(encoding="utf-8")]
    if settings.dagster_storage:
        sections.append(_IN_POSTGRES)
    if is_remote(settings.storage):
        bucket, _, prefix = settings.storage.partition("://")[2].partition("/")
        values = bucket, f"{prefix.rstrip('/')}/{COMPUTE_LOGS}".lstrip("/"), f"{settings.dagster_home}/storage"
        sections.append(_LOGS_IN_BUCKET.format(*map(json.dumps, values)))
    return "".join(sections)


def prepare_environment(settings: Settings) -> None:
    """Put into the environment what Dagster and the libraries read from it.

    Raises:
        BadInput: Dagster would find no `dagster.yaml` in its home.
    """
    file = str(settings.dagster_home / "dagster.yaml")
    others = set(glob(file)) - {file}
    if letters := set(file) & set("[?*" if others else "[?"):  # `*` finds the file itself too
        raise BadInput(
            f"{settings.dagster_home} holds {' and '.join(sorted(letters))}, which Dagster takes for a pattern, and so "
            f"it finds no file there, or another's; give another folder by {HOME} or {DAGSTER_HOME}."
        )
    os.environ[DAGSTER_HOME] = str(settings.dagster_home)
    if settings.dagster_storage:
        os.environ[DAGSTER_STORAGE] = settings.dagster_storage  # `dagster.yaml` names the variable only
    os.environ.update({name: value for name, value in _PROCESS.items() if name not in os.environ})


def prepare_process(settings: Settings) -> None:
    """Make the home folders, and prepare the environment."""
    prepare_environment(settings)
    home = settings.dagster_home
    home.mkdir(parents=True, exist_ok=True)
    if not (home / "dagster.yaml").exists():
        # Another process of Dagster may be starting in the same home.
        with write_atomically(home / "dagster.yaml") as part:
            part.write_text(dagster_yaml(settings), encoding="utf-8")
    settings.staging.mkdir(parents=True, exist_ok=True)
