"""Checks that the scoring server answers by the version in production, and that nothing else holds its port."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from loan_default.adapters import probes
from loan_default.adapters.scoring_server import ScoringServer, ServerError
from loan_default.operations.doctor.check import ASK_SECONDS, CheckContext, Diagnosis, diagnosis_of
from loan_default.operations.scoring_server import address
from loan_default.settings import Settings


def check_server(context: CheckContext) -> Iterator[Diagnosis]:
    """Check that the scoring server answers by the version in production, and nothing else holds its port."""
    yield from judge_server(context.settings, context.production.version if context.production else None)


def judge_server(settings: Settings, production: int | None) -> Iterator[Diagnosis]:
    """Name what is wrong with the scoring server; `production` is the version that should answer, where it is known."""
    url = address(settings)
    server = ScoringServer(url, settings.serving, settings.model_name)
    try:
        health = server.health()
    except ServerError as error:
        yield diagnosis_of("scoring server", error, "Correct LOAN_DEFAULT_SERVING_URL.")
        return
    if health is None:
        yield _silent_server(settings, url)
        return
    if health.trouble or health.version is None:
        message = f"The scoring server at {url} says: {health.trouble or 'no version is loaded.'}"
        yield Diagnosis(
            "scoring server", "wrong", message, f"See {server.log}, or the log of the service that runs it."
        )
    elif production is None:
        message = f"Version {health.version} answers at {url}; which is in production is not known."
        yield Diagnosis("scoring server", "note", message, "See what is said of the registry.")
    elif health.version != production:
        message = f"Version {health.version} answers, and version {production} is in production."
        yield Diagnosis("scoring server", "wrong", message, "Run serving_job; if it fails, its log says why.")
    else:
        message = f"Version {health.version}, which is in production, answers at {url}."
        yield Diagnosis("scoring server", "ok", message)


def _silent_server(settings: Settings, url: str) -> Diagnosis:
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    if probes.accepts(parts.hostname or "127.0.0.1", port, seconds=ASK_SECONDS):
        message = f"The port of {url} is taken by something that does not answer."
        return Diagnosis("scoring server", "wrong", message, "Stop what holds it, or serve on another port.")
    if settings.serving_supervised:
        message = f"Nothing answers at {url}, where another service is to run it."
        return Diagnosis("scoring server", "wrong", message, "Start that service.")
    if (settings.serving / "server.pid").exists():  # a server that is stopped takes it along
        message = f"Nothing answers at {url}, where a server ran that was not stopped."
        log = settings.serving / "server.log"
        return Diagnosis("scoring server", "wrong", message, f"See {log}, then start it: loan-default serve.")
    message = f"Nothing answers at {url}."
    return Diagnosis(
        "scoring server", "note", message, "loan-default serve starts one, and so does the running daemon."
    )
