"""Who looks at the pages, and what each may do: users with passwords, names that a proxy sends, or this machine alone.

Keeping foreign sites out is `security`'s; the pages of signing in are `pages.sign_in`'s.
"""

from __future__ import annotations

import functools
import hashlib
import ipaddress
import re
import secrets
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, get_args

from starlette.exceptions import HTTPException

from loan_default.risk.errors import BadInput
from loan_default.settings import WEB_PROXIES

if TYPE_CHECKING:
    from argon2 import PasswordHasher
    from itsdangerous import TimestampSigner
    from starlette.requests import HTTPConnection, Request
    from starlette.responses import Response

Role = Literal["viewer", "officer", "approver"]  # each may what those before it may
ROLES: tuple[Role, ...] = get_args(Role)
SESSION = "loan_default_session"
SESSION_SECONDS = 12 * 3600
_NAME = re.compile(r"[\w.@+-]{1,64}", re.ASCII)
_ALLOWED = "up to 64 letters, digits, '.', '_', '-', '+' and '@'"  # of a name
_ANYBODY = "*"  # of an entry: whoever the proxy names
_FAILURES, _FAILURE_SECONDS = 5, 300.0  # of one name or one address, after which it has to wait


@dataclass(frozen=True)
class Person:
    """Someone who looks: `name` is empty for anybody at this machine where there are no users."""

    name: str
    role: Role

    def may(self, role: Role) -> bool:
        """Tell whether the person has this role, or one that may more."""
        return ROLES.index(self.role) >= ROLES.index(role)


@dataclass(frozen=True)
class User:
    """A user of the settings; `password_hash` is empty for one whom a proxy signs in."""

    name: str
    role: Role
    password_hash: str = field(default="", repr=False)


def read_users(text: str, setting: str) -> dict[str, User]:
    """Read users by name: `name:role:hash` each, blanks or lines between them.

    Raises:
        BadInput: an entry is no user; it is named by its number, as it may hold a secret.
    """
    users: dict[str, User] = {}
    for number, entry in enumerate(text.split(), 1):
        name, _, rest = entry.partition(":")
        role, _, password_hash = rest.partition(":")
        valid_role = next((each for each in ROLES if each == role), None)
        if valid_role is None or not (_NAME.fullmatch(name) or name == _ANYBODY):
            raise BadInput(
                f"{setting}: entry {number} is no user; write NAME:ROLE:HASH with one of the roles {', '.join(ROLES)}, "
                "as loan-default web-user NAME --role ROLE prints it."
            )
        if password_hash and not password_hash.startswith("$argon2"):
            raise BadInput(
                f"{setting}: the password of entry {number} is no Argon2 hash; make the entry by loan-default "
                "web-user, and put the value into single quotes, as it holds $."
            )
        if name in users:
            raise BadInput(f"{setting}: {name} stands there twice; delete one.")
        users[name] = User(name, valid_role, password_hash)
    return users


def new_entry(name: str, role: Role, password: str) -> str:
    """Return what stands in the setting for a user with this password.

    Raises:
        BadInput: the name or the password cannot be used.
    """
    from argon2 import PasswordHasher

    if not _NAME.fullmatch(name):
        raise BadInput(f"{name!r} is no name of a user; use {_ALLOWED}.")
    if len(password) < 10:
        raise BadInput("The password has fewer than 10 characters; choose a longer one.")
    return f"{name}:{role}:{PasswordHasher().hash(password)}"


@dataclass(frozen=True)
class Proxy:
    """A proxy before the pages: the addresses that it comes from, and its header of who has signed in, if any."""

    header: str = ""
    addresses: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()

    def name_in(self, connection: HTTPConnection) -> str | None:
        """Return the name that the proxy sends; None where it sends none or several, or somebody else does."""
        names = connection.headers.getlist(self.header)
        usable = self._is_proxy(_peer(connection)) and len(names) == 1 and _NAME.fullmatch(names[0])
        return names[0] if usable else None

    def explain_refusal(self, connection: HTTPConnection) -> str:
        """Say why a connection has no `name_in` it."""
        peer, names = _peer(connection), ", ".join(connection.headers.getlist(self.header))
        if not self._is_proxy(peer):
            return f"A proxy says who has signed in, and {peer} is none: {WEB_PROXIES} names their addresses."
        if not names:
            return f"The proxy before these pages names nobody who has signed in: it sends no {self.header}."
        return f"The proxy before these pages sends {names[:100]!r} as {self.header}; a name is {_ALLOWED}."

    def address_of(self, connection: HTTPConnection) -> str:
        """Return the address that somebody asks from: of one whom a proxy lets in the address that the proxy sends."""
        peer = _peer(connection)
        forwarded = ",".join(connection.headers.getlist("X-Forwarded-For")).rpartition(",")[2].strip()
        return forwarded if forwarded and self._is_proxy(peer) else peer

    def _is_proxy(self, peer: str) -> bool:
        try:
            address = ipaddress.ip_address(peer)
        except ValueError:
            return False
        return any(address in network for network in self.addresses)


def _peer(connection: HTTPConnection) -> str:
    return connection.client.host if connection.client else ""


@dataclass(frozen=True)
class People:
    """Everybody who may look: by name and password, by a proxy's header, or anybody where there is neither."""

    users: Mapping[str, User] = field(default_factory=dict)
    proxy: Proxy = Proxy()
    key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    _ended: dict[str, float] = field(default_factory=dict, repr=False, compare=False)  # sessions, and when

    @property
    def are_known(self) -> bool:
        """Tell whether people are told apart."""
        return bool(self.users or self.proxy.header)

    @property
    def sign_in_here(self) -> bool:
        """Tell whether people sign in by a password."""
        return bool(self.users) and not self.proxy.header

    def identify(self, connection: HTTPConnection) -> Person | None:
        """Return who asks; None for one who has to sign in first."""
        if not self.are_known:
            return Person("", "approver")
        if self.proxy.header:
            name = self.proxy.name_in(connection)
            if name is None:
                return None
            user = self.users.get(name) or self.users.get(_ANYBODY)
            return Person(name, user.role if user else "viewer")
        return self._of_session(connection.cookies.get(SESSION, ""))

    def sign_in(self, name: str, password: str) -> str | None:
        """Return the session of a user, as its cookie holds it; None where name or password are wrong."""
        from argon2.exceptions import Argon2Error, InvalidHashError

        user = self.users.get(name)
        hasher, absent = _hasher()
        with _ONE_BY_ONE:  # a check takes 64 MB
            try:
                hasher.verify(user.password_hash if user and user.password_hash else absent, password)
            except (Argon2Error, InvalidHashError):
                return None
        session = f"{name}:{_fingerprint(user)}:{secrets.token_hex(8)}" if user else ""
        return self._signer().sign(session).decode() if user else None

    def end(self, cookie: str) -> None:
        """Let nobody use a session any more, who may have copied its cookie."""
        now = time.monotonic()
        for ended in [ended for ended, ended_at in self._ended.items() if now - ended_at > SESSION_SECONDS]:
            del self._ended[ended]  # it has expired
        if self._of_session(cookie) is not None:
            self._ended[cookie] = now

    def _of_session(self, cookie: str) -> Person | None:
        from itsdangerous import BadSignature

        try:
            name, fingerprint, *_ = self._signer().unsign(cookie, max_age=SESSION_SECONDS).decode().split(":")
        except (BadSignature, ValueError):
            return None
        user = self.users.get(name)
        valid = user is not None and fingerprint == _fingerprint(user) and cookie not in self._ended
        return Person(name, user.role) if user and valid else None

    def _signer(self) -> TimestampSigner:
        from itsdangerous import TimestampSigner

        return TimestampSigner(self.key, salt="session", digest_method=hashlib.sha256)


_ONE_BY_ONE = threading.Lock()


@functools.cache
def _hasher() -> tuple[PasswordHasher, str]:
    """Return the hasher, and the hash of nobody's password, so that an unknown name takes as long as another."""
    from argon2 import PasswordHasher

    hasher = PasswordHasher()
    return hasher, hasher.hash(secrets.token_hex())


def _fingerprint(user: User) -> str:
    """Return what changes with the password, so that a new one ends the sessions of the old."""
    return hashlib.sha256(user.password_hash.encode()).hexdigest()[:16]


class SignInLimit:
    """Counts failures of signing in, by name and by address; who has too many has to wait."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now, self._failures = now, defaultdict[str, deque[float]](deque)

    def seconds_to_wait(self, keys: Iterable[str]) -> int:
        """Return after how many seconds these may try again; 0 where they may now."""
        return max((self._wait(key) for key in keys), default=0)

    def record_failure(self, keys: Iterable[str]) -> None:
        """Record that a sign-in failed."""
        for key in keys:
            self._failures[key].append(self._now())
        for key in [key for key, times in self._failures.items() if self._now() - times[-1] > _FAILURE_SECONDS]:
            del self._failures[key]

    def _wait(self, key: str) -> int:
        times = self._failures.get(key, deque())
        while times and self._now() - times[0] > _FAILURE_SECONDS:
            times.popleft()
        return 0 if len(times) < _FAILURES else int(times[-_FAILURES] + _FAILURE_SECONDS - self._now()) + 1


def person_of(request: Request) -> Person:
    """Return who asks, as `security` has found out."""
    person: Person = request.state.person
    return person


Endpoint = Callable[..., "Response"]


def allow(role: Role) -> Callable[[Endpoint], Endpoint]:
    """Let a page be seen by people of this role, and of those that may more."""

    def decorate(endpoint: Endpoint) -> Endpoint:
        @functools.wraps(endpoint)
        def guarded(request: Request, *arguments: object) -> Response:
            require(request, role)
            return endpoint(request, *arguments)

        return guarded

    return decorate


def require(request: Request, role: Role) -> None:
    """Refuse who has not this role.

    Raises:
        HTTPException: 403.
    """
    person = person_of(request)
    if not person.may(role):
        raise HTTPException(
            403, f"This needs the role {role}, and {person.name} is {_article(person.role)} {person.role}."
        )


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"
