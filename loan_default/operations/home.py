"""The home of an installation: settings read, what they must name required, folders made.

What the settings mean is `settings`'s; what is wrong with a home is `doctor`'s.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from dotenv import load_dotenv

from loan_default.settings import PLATFORM_NEEDS, Settings, load_settings, prepare_process, require

ENV_FILE = Path(".env")


def open_home(needs: Sequence[str] = PLATFORM_NEEDS, *, data: str | None = None) -> Settings:
    """Read the settings, with `.env` of the working directory, and make the home folders.

    Args:
        needs: the variables that must be set in staging and prod.
        data: loan files that take the place of `LOAN_DEFAULT_DATA`.

    Raises:
        BadInput: a setting cannot be used, or one of `needs` is missing.
    """
    load_dotenv(ENV_FILE)
    settings = load_settings()
    require(needs)
    if data:
        settings = replace(settings, data=data)
    prepare_process(settings)
    return settings


def write_env_file(settings: Settings) -> None:
    """Tell Dagster's own commands, which read `.env`, where the home is, unless it says so already."""
    lines = ENV_FILE.read_text(encoding="utf-8") if ENV_FILE.exists() else ""
    if not re.search(r"^DAGSTER_HOME=", lines, re.MULTILINE):
        ENV_FILE.write_text(f"{lines}DAGSTER_HOME={settings.dagster_home}\n", encoding="utf-8")
