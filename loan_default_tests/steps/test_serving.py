"""A server that answers as the version in production must is served; one that does not is a failed gate.

A real server is started by the asset's test.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import pytest

from loan_default.adapters.scoring_server import ReadyServer, ScoringServer
from loan_default.risk.model import canary
from loan_default.steps.gates import GateFailed
from loan_default.steps.serving import CANARY_RULE, serve_production
from loan_default_tests.steps.book import Book

pytestmark = pytest.mark.integration


@dataclass
class ServerFake:
    """A server that answers every application alike."""

    pd: float
    version: int

    def ensure(self, command: Sequence[str], version: int, *, wait: float) -> ReadyServer:
        return ReadyServer("http://127.0.0.1:1", version, 7, True)

    def score(self, application: Mapping[str, Any]) -> tuple[Mapping[str, Any], int, float]:
        return {"pd": self.pd}, self.version, 1.5


def _canary_pd(book: Book) -> float:
    return canary.read(book.models.package(book.models.tracking.get(1))).pd


def test_the_version_in_production_is_served(trained_book: Book) -> None:
    server = cast(ScoringServer, ServerFake(_canary_pd(trained_book), 1))
    served = serve_production(trained_book.models, server, ["serve"], wait_seconds=1)
    assert (served.version, served.pid, served.started, served.canary_milliseconds) == (1, 7, True, 1.5)
    assert [(finding.rule, finding.passed) for finding in served.findings] == [(CANARY_RULE, True)]


@pytest.mark.parametrize(("shift", "version"), [(0.01, 1), (0.0, 2)], ids=["another PD", "another version"])
def test_a_server_that_answers_in_another_way_is_refused(trained_book: Book, shift: float, version: int) -> None:
    server = cast(ScoringServer, ServerFake(_canary_pd(trained_book) + shift, version))
    with pytest.raises(GateFailed, match=rf"does not answer as it should: version {version} gave PD") as raised:
        serve_production(trained_book.models, server, ["serve"], wait_seconds=1)
    assert (raised.value.asset, raised.value.findings[0].rule) == ("model_server", CANARY_RULE)
