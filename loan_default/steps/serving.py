"""Step of group `serving`: have the scoring server answer by the version in production, and see that it does.

Starting and reaching the server is `adapters.scoring_server`'s; the server itself is the room `serving`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median_high
from typing import TYPE_CHECKING

from loan_default.risk.policy import Finding
from loan_default.steps.gates import require_passed
from loan_default.steps.promotion import version_in_production

if TYPE_CHECKING:
    from loan_default.adapters.model_store import ModelStore
    from loan_default.adapters.scoring_server import ScoringServer

CANARY_RULE = "answers_the_canary_with_the_promoted_version"
_CANARY_TIMES = 20
_TOLERANCE = 1e-6  # of a PD


@dataclass(frozen=True)
class ServedVersion:
    """The server as it answers by the version in production; `pid` is its process."""

    url: str
    version: int
    pid: int
    started: bool
    canary_pd: float
    canary_milliseconds: float
    findings: tuple[Finding, ...]


def serve_production(
    models: ModelStore, server: ScoringServer, command: Sequence[str], *, wait_seconds: float
) -> ServedVersion:
    """Start the server by `command` if none runs, have it follow to the version in production, and score the canary.

    Raises:
        BadInput: no version is in production.
        ServerError: the server does not answer within `wait_seconds`.
        GateFailed: it answers by another version, or with another PD than the version must give.
    """
    from loan_default.risk.model import canary

    version = version_in_production(models.tracking)
    expected = canary.read(models.package(version))
    served = server.ensure(command, version.version, wait=wait_seconds)
    answers = [server.score(expected.application) for _ in range(_CANARY_TIMES)]
    answer, answered_by, _ = answers[-1]
    passed = answered_by == version.version and abs(answer["pd"] - expected.pd) < _TOLERANCE
    figures = f"version {answered_by} gave PD {answer['pd']:.6f}; version {version.version} must give {expected.pd:.6f}"
    sentence = figures if passed else f"The server at {served.url} does not answer as it should: {figures}."
    findings = (Finding(CANARY_RULE, passed, sentence),)
    require_passed("model_server", findings)
    milliseconds = median_high(milliseconds for *_, milliseconds in answers)
    return ServedVersion(served.url, version.version, served.pid, served.started, answer["pd"], milliseconds, findings)
