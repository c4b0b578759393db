"""The home of an installation: settings read, what they must name required, folders made.

What the settings mean is `settings`'s; what is wrong with a home is `doctor`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from loan_default.homes import ENV_FILE, load_env_file, prepare_process, with_homes
from loan_default.settings import PLATFORM_NEEDS, Settings, load_settings, require


def open_home(needs: Sequence[str] = PLATFORM_NEEDS, *, data: str | None = None) -> Settings:
    """Read the settings, with `.env` of the working directory, and make the home folders.

    Args:
        needs: the variables that must be set in staging and prod.
        data: loan files that take the place of `LOAN_DEFAULT_DATA`.

    Raises:
        BadInput: a setting cannot be used, or one of `needs` is missing.
    """
    load_env_file()
    settings = load_settings()
    require(needs)
    if data:
        settings = replace(settings, data=data)
    prepare_process(settings)
    return settings


def write_env_file(settings: Settings) -> None:
    """Name both homes in `.env`, which every tool reads; what it names already stays."""
    text = ENV_FILE.read_text(encoding="utf-8") if ENV_FILE.exists() else ""
    ENV_FILE.write_text(with_homes(text, settings.home), encoding="utf-8")
