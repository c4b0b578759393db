"""The scoring server of a home: planned from its settings, stopped, and asked for a file."""

from pathlib import Path
from socket import socket
from typing import cast

import polars as pl
import pytest

from loan_default.adapters.tracking import TrackingError
from loan_default.operations import scoring_server
from loan_default.operations.scoring_server import answers_file, score_by_rest
from loan_default.serving.registry_client import RegistryClient
from loan_default.settings import Settings
from loan_default_tests.operations.conftest import write_batch
from loan_default_tests.serving.test_client import ROWS, standing_in


def test_the_plan_follows_the_settings(tmp_path: Path) -> None:
    settings = Settings(
        home=tmp_path, secrets={"LOAN_DEFAULT_API_TOKENS": "web:a, b", "LOAN_DEFAULT_ADMIN_TOKENS": "c"}
    )
    config = scoring_server.plan(settings, "127.0.0.1", 5002, 3, 2.5)
    assert (config.host, config.port, config.workers, config.seconds) == ("127.0.0.1", 5002, 3, 2.5)
    assert (config.tokens, config.admin_tokens) == ({"a": "web", "b": "token-2"}, {"c": "token-1"})
    assert config.home == settings.serving


@pytest.mark.parametrize(
    ("url", "port"), [("http://127.0.0.1:5003", 5003), ("http://scoring", 5001), ("http://127.0.0.1:5001", 5001)]
)
def test_it_serves_on_the_port_of_the_address_at_which_others_look_for_it(tmp_path: Path, url: str, port: int) -> None:
    settings = Settings(home=tmp_path, serving_url=url)
    assert scoring_server.plan(settings, "127.0.0.1", None, 1, 5).port == port
    assert scoring_server.address(settings) == url


@pytest.mark.parametrize(
    ("host", "url"),
    [("0.0.0.0", "http://127.0.0.1:5002"), ("10.1.1.1", "http://10.1.1.1:5002"), ("::1", "http://[::1]:5002")],
)
def test_while_it_serves_on_another_port_it_is_found_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, url: str
) -> None:
    settings = Settings(home=tmp_path, secrets={"LOAN_DEFAULT_API_TOKENS": "a", "LOAN_DEFAULT_ADMIN_TOKENS": "b"})
    addresses = []
    monkeypatch.setattr(
        "loan_default.serving.server.serve", lambda *_: addresses.append(scoring_server.address(settings))
    )
    plan = scoring_server.plan(settings, host, 5002, 1, 5)
    scoring_server.run(settings, plan, cast(socket, None))  # on which a unit test cannot listen
    assert addresses == [url]
    assert scoring_server.address(settings) == settings.serving_url


def test_a_server_asks_the_registry_while_it_is_planned_and_workers_for_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aliases: list[str] = []
    monkeypatch.setattr(RegistryClient, "_submit", lambda client, ask, alias: aliases.append(alias))
    settings = Settings(home=tmp_path)
    with scoring_server.asking_registry(settings, 3) as registry:
        assert (registry, aliases) == (None, [])
    with scoring_server.asking_registry(settings, 1) as registry:
        assert aliases == ["production"]
    assert registry is not None
    with pytest.raises(TrackingError, match="The server stops"):
        monkeypatch.undo()
        registry.version_of("staging")


def test_nothing_is_stopped_where_nothing_runs(tmp_path: Path) -> None:
    assert scoring_server.stop(Settings(home=tmp_path, serving_url="http://127.0.0.1:9")) is None


@pytest.mark.parametrize(
    ("file", "answers"),
    [("in/2018.10.csv", "in/2018.10-scored.csv"), ("2018-10.csv.gz", "2018-10-scored.csv")],
)
def test_answers_stand_beside_the_file(file: str, answers: str) -> None:
    assert answers_file(Path(file)) == Path(answers)


@pytest.mark.integration
def test_a_file_is_answered_by_the_server_that_is_named(tmp_path: Path) -> None:
    file = write_batch(tmp_path / "2018-10.csv", rows=ROWS)
    with standing_in() as server:
        report = score_by_rest(Settings(home=tmp_path), file, tmp_path / "answers.csv", url=server.url)
    assert report.rows == pl.read_csv(tmp_path / "answers.csv").height == ROWS
