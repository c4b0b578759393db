"""What tests of files share: a folder of applications, and files whose time of change is said."""

import os
from pathlib import Path

import pytest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    applications = tmp_path / "applications"
    applications.mkdir()
    return applications


def write(path: Path, text: str, mtime: int = 1_000) -> None:
    path.write_text(text)
    os.utime(path, (mtime, mtime))
