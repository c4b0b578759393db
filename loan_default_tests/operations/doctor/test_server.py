"""What answers at the scoring server's address, and what does not."""

from collections.abc import Mapping

import pytest

from loan_default.adapters import scoring_server
from loan_default.adapters.tracking import ModelVersion
from loan_default.operations.doctor import CheckContext
from loan_default.operations.doctor.server import check_server
from loan_default_tests.operations.doctor.conftest import (
    Installation,
    answering,
    diagnoses_of,
    health,
    production,
    silent,
    wrong,
)

pytestmark = pytest.mark.integration


@pytest.mark.parametrize(
    ("answer", "version", "mark", "text"),
    [
        (health(3), production(), "ok", "Version 3, which is in production, answers"),
        (health(2), production(), "wrong", "Version 2 answers, and version 3 is in production."),
        (health(3, "The registry is away."), production(), "wrong", " says: The registry is away."),
        (health(None), production(), "wrong", " says: no version is loaded."),
        (health(3), None, "note", "which is in production is not known"),
        (health(3, model="homes_model"), production(), "wrong", "answers by homes_model, and the model of this loan"),
        ({}, production(), "wrong", "Another program than the scoring server answers"),
    ],
    ids=["right", "other version", "trouble", "no version", "registry unknown", "other book", "foreign"],
)
def test_what_answers_at_the_servers_address_is_told(
    install: Installation, answer: Mapping[str, tuple[int, bytes]], version: ModelVersion | None, mark: str, text: str
) -> None:
    with answering(answer) as url:
        context = CheckContext(install(LOAN_DEFAULT_SERVING_URL=url), production=version)
        (diagnosis,) = diagnoses_of(check_server, context)
    assert (diagnosis.mark, text in diagnosis.message) == (mark, True), diagnosis
    assert diagnosis.mark != "wrong" or diagnosis.remedy


def test_a_server_of_this_home_is_asked_on_the_port_that_it_serves(install: Installation) -> None:
    settings = install(LOAN_DEFAULT_SERVING_URL="http://127.0.0.1:9")
    with answering(health(3)) as url, scoring_server.record_process(settings.serving, url):
        (diagnosis,) = diagnoses_of(check_server, CheckContext(settings, production=production()))
    assert diagnosis.message == f"Version 3, which is in production, answers at {url}."


def test_a_port_that_is_taken_by_something_silent_is_told(
    install: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring_server, "_HEALTH_SECONDS", 0.2)
    with silent() as url:
        diagnosis = wrong(diagnoses_of(check_server, install(LOAN_DEFAULT_SERVING_URL=url)))
    assert diagnosis.message == f"The port of {url} is taken by something that does not answer."


def test_no_server_is_a_note_unless_one_should_run(install: Installation) -> None:
    settings = install()
    assert [diagnosis.mark for diagnosis in diagnoses_of(check_server, settings)] == ["note"]
    settings.serving.mkdir(parents=True)
    (settings.serving / "server.pid").write_text("1\n")
    assert "a server ran that was not stopped" in wrong(diagnoses_of(check_server, settings)).message
    supervised = install(LOAN_DEFAULT_SERVING_SUPERVISED="true")
    assert "another service is to run it" in wrong(diagnoses_of(check_server, supervised)).message
