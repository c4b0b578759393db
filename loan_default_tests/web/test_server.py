"""The server of the pages: on this machine alone unless people are told apart, and what its settings may be."""

import signal
import subprocess
import sys
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from loan_default.risk.errors import BadInput
from loan_default.settings import WEB_KEY, WEB_USERS, Settings, load_settings
from loan_default.web.server import plan
from loan_default_tests.stores import free_port
from loan_default_tests.waiting import within
from loan_default_tests.web.test_people import HASH


def test_without_settings_the_pages_are_of_this_machine_alone(tmp_path: Path) -> None:
    config = plan(Settings(tmp_path))
    assert (config.host, config.port, config.url) == ("127.0.0.1", 5002, "http://127.0.0.1:5002")
    assert not config.people.are_known


def test_others_reach_them_only_where_people_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(
        BadInput, match=r"^At 0\.0\.0\.0 other machines reach the pages, and nobody has to sign in; set"
    ):
        plan(Settings(tmp_path), "0.0.0.0")
    users = Settings(tmp_path, secrets={WEB_USERS: f"anna:officer:{HASH}"})
    assert plan(users, "0.0.0.0", 80).people.sign_in_here
    proxy = plan(Settings(tmp_path, web_user_header="X-User"), "0.0.0.0").people
    assert proxy.are_known
    assert not proxy.sign_in_here
    assert plan(Settings(tmp_path), "::1").url == "http://[::1]:5002"


def test_a_user_needs_a_password_unless_a_proxy_signs_in(tmp_path: Path) -> None:
    secrets = {WEB_USERS: "anna:officer"}
    with pytest.raises(BadInput, match="LOAN_DEFAULT_WEB_USERS: anna has no password"):
        plan(Settings(tmp_path, secrets=secrets))
    assert plan(Settings(tmp_path, web_user_header="X-User", secrets=secrets)).people.users["anna"].role == "officer"


def test_sessions_outlive_a_restart_where_their_key_is_set(tmp_path: Path) -> None:
    secrets = {WEB_KEY: "k" * 32}
    assert plan(Settings(tmp_path, secrets=secrets)).people.key == b"k" * 32
    assert plan(Settings(tmp_path)).people.key != plan(Settings(tmp_path)).people.key


def test_proxies_are_addresses_or_networks(tmp_path: Path) -> None:
    settings = load_settings({"LOAN_DEFAULT_WEB_PROXIES": "10.0.0.0/8, ::1", "LOAN_DEFAULT_WEB_USER_HEADER": "X-User"})
    assert [str(network) for network in plan(settings).people.proxy.addresses] == ["10.0.0.0/8", "::1/128"]
    with pytest.raises(BadInput, match="LOAN_DEFAULT_WEB_PROXIES cannot be used: 'proxy'"):
        plan(Settings(tmp_path, web_user_header="X-User", web_proxies=("proxy",)))


def answers(url: str) -> bool:
    try:
        with urlopen(url):
            return True
    except URLError:
        return False


@pytest.mark.integration
def test_the_command_answers_until_it_is_stopped(tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-m", "loan_default.cli", "web", "--port", str(port)]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        assert within(60, lambda: answers(f"http://127.0.0.1:{port}/ping"))
        with urlopen(f"http://127.0.0.1:{port}/ping") as answer:
            assert (answer.read(), answer.headers["Server"]) == (b"ok", None)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) in (0, 130)
        assert process.stderr
        assert process.stderr.read().startswith(f"Pages: http://127.0.0.1:{port}   Ctrl-C stops them.")
