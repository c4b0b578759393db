"""A home without trouble, each trouble once, and checks that hang or fail themselves."""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from loan_default.cli import main
from loan_default.homes import prepare_process, with_homes
from loan_default.operations.doctor import Check, CheckContext, Diagnosis, examine
from loan_default.operations.doctor.registry import (
    check_registry,
)
from loan_default_tests.operations.doctor.conftest import (
    Installation,
    answering,
    diagnoses_of,
    health,
    heartbeats,
    wrong,
)
from loan_default_tests.stores import log_model, new_run, new_tracking

pytestmark = pytest.mark.integration


def test_a_sound_home_ends_with_zero_and_each_trouble_with_one(
    install: Installation, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "loans.csv").write_text("id\n1\n")
    settings = install(LOAN_DEFAULT_DATA=tmp_path / "loans.csv")
    prepare_process(settings)
    Path(settings.storage).mkdir()
    (settings.home / "mlflow").mkdir()
    tracking = replace(new_tracking(settings.home / "mlflow"), artifact_root=settings.artifacts)
    run = new_run(tracking)
    version = tracking.register(run, log_model(tracking, run), {})
    tracking.promote(version.version, {})
    heartbeats(settings, datetime.now(UTC))
    before = {str(path): path.stat().st_mtime_ns for path in settings.home.rglob("*") if path.is_file()}
    with answering(health(1)) as url:
        install(LOAN_DEFAULT_SERVING_URL=url, SLACK_WEBHOOK_URL="http://127.0.0.1:9/hush")
        code = main(["doctor", "--json"])
    text = json.loads(capfd.readouterr().out)
    assert (code, text["wrong"]) == (0, 0)
    assert [diagnosis["check"] for diagnosis in text["diagnoses"] if diagnosis["mark"] != "ok"] == []
    assert {path for path in before if not Path(path).exists()} == set()
    assert {str(path) for path in settings.home.rglob("*") if path.is_file()} == set(before)
    text = " ".join(diagnosis["message"] for diagnosis in text["diagnoses"])
    assert "Version 1 is in production, loads and answers its canary." in text
    assert "hush" not in text

    heartbeats(settings, datetime.now(UTC) - timedelta(hours=5))
    assert main(["doctor"]) == 1
    lines = capfd.readouterr().out.splitlines()
    assert len([line for line in lines if " wrong " in line and "daemons are silent" in line]) == 1
    assert lines[-1] == "1 wrong."
    assert "last heard of 5 hours ago. → Start it: make dev" in "\n".join(lines)

    for file in Path(settings.artifacts).rglob("canary.json"):
        file.write_text(json.dumps({**json.loads(file.read_text()), "pd": 0.9}))
    changed = wrong(diagnoses_of(check_registry, settings))
    assert "Version 1 gives its canary the PD" in changed.message
    assert changed.remedy == "Register it again."

    shutil.rmtree(settings.artifacts)
    (lost,) = [diagnosis for diagnosis in diagnoses_of(check_registry, settings) if diagnosis.mark == "wrong"]
    assert lost.check == "production"
    assert lost.message.startswith("Version 1 is in production and fails: ")


def test_a_new_home_has_nothing_wrong_and_stays_new(install: Installation, tmp_path: Path) -> None:
    settings = install()
    env_file = tmp_path / ".env"
    env_file.write_text(with_homes("", settings.home), encoding="utf-8")
    assert {diagnosis.mark for diagnosis in examine()} == {"ok", "note"}
    assert not settings.home.exists()
    assert list(tmp_path.iterdir()) == [env_file]


def test_settings_that_cannot_be_read_are_a_finding(install: Installation, capfd: pytest.CaptureFixture[str]) -> None:
    os.environ["LOAN_DEFAULT_ENV"] = "weird"
    assert main(["doctor", "--json"]) == 1
    (text,) = json.loads(capfd.readouterr().out)["diagnoses"]
    assert text["message"] == "LOAN_DEFAULT_ENV is 'weird'; it must be one of local, staging, prod."


def test_a_check_that_hangs_or_fails_is_a_line_and_the_next_follows(install: Installation) -> None:
    never = threading.Event()

    def hangs(_: CheckContext) -> Iterator[Diagnosis]:
        yield Diagnosis("hangs", "ok", "So far.")
        never.wait(20)

    def fails(_: CheckContext) -> Iterator[Diagnosis]:
        raise KeyError("//ann:hush@bank and T0/secret\nmore")
        yield

    def answers(_: CheckContext) -> Iterator[Diagnosis]:
        yield Diagnosis("answers", "ok", "Yes.", "T0/secret")

    install(SLACK_WEBHOOK_URL="T0/secret", LOAN_DEFAULT_API_TOKENS="more, T0/secret-2")
    checks = [Check("hangs", hangs, "Wake it.", 0.2), Check("fails", fails, "Mend it."), Check("answers", answers, "")]
    try:
        assert [*examine(checks=checks)] == [
            Diagnosis("hangs", "ok", "So far."),
            Diagnosis("hangs", "wrong", "There was no answer within 0.2 s.", "Wake it."),
            Diagnosis("fails", "wrong", "Looking failed: KeyError: '//bank and •••\\n•••'.", "Mend it."),
            Diagnosis("answers", "ok", "Yes.", "•••"),
        ]
    finally:
        never.set()


HANGS = """
import threading
from loan_default.operations.doctor import Check, examine
check = Check("x", lambda context: threading.Event().wait(), "", 0.1)
print([diagnosis.message for diagnosis in examine(checks=[check])])
"""


def test_a_check_that_hangs_does_not_keep_the_process(install: Installation) -> None:
    ended = subprocess.run([sys.executable, "-c", HANGS], capture_output=True, text=True, timeout=60, check=True)
    assert ended.stdout == "['There was no answer within 0.1 s.']\n"
