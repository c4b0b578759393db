"""The streams: JSON alone on stdout, and the command as it was typed."""

import json
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from loan_default.cli.terminal import errors, output, print_json, program


@dataclass(frozen=True)
class Event:
    time: datetime
    reasons: tuple[str, ...]


EVENT, PLAIN = (
    Event(datetime(2026, 1, 2, tzinfo=UTC), ("a", "b")),
    {"time": "2026-01-02T00:00:00+00:00", "reasons": ["a", "b"]},
)


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (EVENT, PLAIN),
        ((EVENT,), [PLAIN]),
        ({"events": [EVENT]}, {"events": [PLAIN]}),
        ({"markup": "[bold]", "path": Path("here")}, {"markup": "[bold]", "path": "here"}),
        (None, None),
    ],
)
def test_records_and_dataclasses_are_printed_as_json(
    capsys: pytest.CaptureFixture[str], record: object, expected: object
) -> None:
    print_json(record)
    assert json.loads(capsys.readouterr().out) == expected


def test_nan_is_refused() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        print_json({"auc": float("nan")})


def test_the_two_consoles_write_to_the_two_streams(capsys: pytest.CaptureFixture[str]) -> None:
    output().print("a result")
    errors().print("a mistake")
    assert tuple(capsys.readouterr()) == ("a result\n", "a mistake\n")


@pytest.mark.parametrize(
    ("started", "program_name"),
    [
        (".venv/bin/loan-default", ".venv/bin/loan-default"),
        ("{here}/.venv/bin/loan-default", ".venv/bin/loan-default"),
        ("/opt/elsewhere/loan-default", "/opt/elsewhere/loan-default"),
        ("/lib/python/loan_default/cli/__main__.py", "python -m loan_default.cli"),
        ("{here}/path/loan-default", "loan-default"),
    ],
)
def test_the_program_is_named_as_it_can_be_typed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, started: str, program_name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "path").mkdir()
    script = tmp_path / "path" / "loan-default"
    script.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setattr(sys, "argv", [started.format(here=tmp_path)])
    assert program() == program_name
