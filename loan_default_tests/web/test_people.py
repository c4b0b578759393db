"""People: users of the settings, names that a proxy sends, sessions that end, and who may what."""

import ipaddress
from collections.abc import Mapping

import pytest
from argon2 import PasswordHasher
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from loan_default.risk.errors import BadInput
from loan_default.web.people import (
    SESSION,
    People,
    Person,
    Proxy,
    Role,
    SignInLimit,
    User,
    allow,
    new_entry,
    read_users,
)

PASSWORD = "a long password"
HASH = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
ANNA = User("anna", "officer", HASH)
LOOPBACK = (ipaddress.ip_network("127.0.0.1"),)


def connection(headers: Mapping[str, str | list[str]], client: str = "127.0.0.1") -> HTTPConnection:
    """Make a connection; a header with a list of values is sent as often."""
    sent = ((name, [values] if isinstance(values, str) else values) for name, values in headers.items())
    raw = [(name.lower().encode(), value.encode()) for name, values in sent for value in values]
    return HTTPConnection({"type": "http", "headers": raw, "client": (client, 1)})


def test_users_are_read_with_their_roles() -> None:
    text = f"anna:officer:{HASH}\nbob@bank:approver:{HASH} *:viewer"
    assert read_users(text, "USERS") == {
        "anna": ANNA,
        "bob@bank": User("bob@bank", "approver", HASH),
        "*": User("*", "viewer"),
    }


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("anna:boss:$argon2id$x", r"^USERS: entry 1 is no user; write NAME:ROLE:HASH with one of the roles viewer"),
        (f"anna:officer:{HASH} an,na:viewer", "^USERS: entry 2 is no user"),
        ("anna:officer:secret", r"^USERS: the password of entry 1 is no Argon2 hash; .*single quotes"),
        ("anna:viewer anna:officer", "^USERS: anna stands there twice; delete one"),
    ],
)
def test_what_is_no_user_is_refused_without_showing_a_secret(text: str, sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence) as refused:
        read_users(text, "USERS")
    assert "secret" not in str(refused.value)


@pytest.mark.slow
def test_a_new_entry_is_one_of_the_setting() -> None:
    users = read_users(new_entry("anna", "officer", PASSWORD), "USERS")
    assert People(users).sign_in("anna", PASSWORD)
    with pytest.raises(BadInput, match="fewer than 10 characters"):
        new_entry("anna", "officer", "short")
    with pytest.raises(BadInput, match="is no name of a user"):
        new_entry("an na", "officer", PASSWORD)


def test_a_session_is_of_who_signed_in_until_the_password_changes() -> None:
    people = People({"anna": ANNA})
    session = people.sign_in("anna", PASSWORD)
    assert session
    signed_in = connection({"Cookie": f"{SESSION}={session}"})
    assert people.identify(signed_in) == Person("anna", "officer")
    another = People({"anna": User("anna", "officer", HASH + "x")}, key=people.key)
    assert another.identify(signed_in) is None
    assert People({"anna": ANNA}).identify(signed_in) is None, "another key signs nothing of ours"
    assert people.identify(connection({"Cookie": f"{SESSION}=b{session[1:]}"})) is None
    assert people.identify(connection({})) is None


@pytest.mark.parametrize(("name", "password"), [("anna", "another password"), ("bob", PASSWORD), ("", "")])
def test_a_wrong_name_or_password_begins_no_session(name: str, password: str) -> None:
    assert People({"anna": ANNA}).sign_in(name, password) is None


def test_a_user_without_a_password_cannot_sign_in_by_one() -> None:
    assert People({"anna": User("anna", "officer")}).sign_in("anna", "") is None


def test_anybody_at_this_machine_may_all_where_there_are_no_users() -> None:
    assert People().identify(connection({})) == Person("", "approver")


def test_a_proxy_names_who_signed_in_and_nobody_else_does() -> None:
    people = People({"anna": User("anna", "officer")}, Proxy("X-User", LOOPBACK))
    assert people.identify(connection({"X-User": "anna"})) == Person("anna", "officer")
    assert people.identify(connection({"X-User": "bob"})) == Person("bob", "viewer")
    assert people.identify(connection({"X-User": "anna"}, client="10.0.0.7")) is None
    assert people.identify(connection({})) is None
    assert people.identify(connection({"X-User": "an na"})) is None
    assert people.identify(connection({"X-User": ["anna", "bob"]})) is None, "one of them may be the caller's own"
    everybody = People({"*": User("*", "officer")}, Proxy("X-User", LOOPBACK))
    assert everybody.identify(connection({"X-User": "bob"})) == Person("bob", "officer")


@pytest.mark.parametrize(
    ("headers", "client", "sentence"),
    [
        ({"X-User": "anna"}, "10.0.0.7", "10.0.0.7 is none: LOAN_DEFAULT_WEB_PROXIES names their addresses."),
        ({}, "127.0.0.1", "names nobody who has signed in: it sends no X-User."),
        ({"X-User": "BANK\\anna"}, "127.0.0.1", r"sends 'BANK\\anna' as X-User; a name is up to 64 letters, digits,"),
        ({"X-User": ["anna", "bob"]}, "127.0.0.1", "sends 'anna, bob' as X-User; a name is"),
    ],
)
def test_who_comes_by_a_proxy_without_a_name_learns_why(
    headers: Mapping[str, str | list[str]], client: str, sentence: str
) -> None:
    assert sentence in Proxy("X-User", LOOPBACK).explain_refusal(connection(headers, client))


@pytest.mark.parametrize(
    ("forwarded", "client", "address"),
    [
        ("9.9.9.9, 10.0.0.7", "127.0.0.1", "10.0.0.7"),  # the proxy adds to what the caller sent
        (["9.9.9.9", "10.0.0.7"], "127.0.0.1", "10.0.0.7"),
        ("10.0.0.7", "10.0.0.8", "10.0.0.8"),  # no proxy
        ([], "127.0.0.1", "127.0.0.1"),
    ],
)
def test_failures_count_for_the_address_behind_a_proxy(forwarded: str | list[str], client: str, address: str) -> None:
    assert Proxy(addresses=LOOPBACK).address_of(connection({"X-Forwarded-For": forwarded}, client)) == address


def test_too_many_failures_have_to_wait_and_others_do_not() -> None:
    now = [0.0]
    limit = SignInLimit(lambda: now[0])
    for _ in range(5):
        assert limit.seconds_to_wait(["anna", "address"]) == 0
        limit.record_failure(["anna", "address"])
        now[0] += 1
    assert limit.seconds_to_wait(["anna", "another address"]) == 296
    assert limit.seconds_to_wait(["bob", "another address"]) == 0
    now[0] = 301
    assert limit.seconds_to_wait(["anna", "address"]) == 0


@pytest.mark.parametrize(("role", "may"), [("viewer", False), ("officer", True), ("approver", True)])
def test_a_page_is_of_its_role_and_those_that_may_more(role: Role, may: bool) -> None:
    request = Request({"type": "http", "headers": [], "state": {"person": Person("anna", role)}})
    page = allow("officer")(lambda request: Response("page"))
    if may:
        assert page(request).body == b"page"
    else:
        with pytest.raises(HTTPException, match="This needs the role officer, and anna is a viewer"):
            page(request)
