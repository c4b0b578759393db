"""The server of the pages: where it listens, whom it lets in, and its run.

The settings of both are read by `settings`; what it answers is `app`'s.
"""

from __future__ import annotations

import ipaddress
from contextlib import suppress
from dataclasses import dataclass
from socket import socket

from loan_default.risk.errors import BadInput
from loan_default.serving.http import is_loopback
from loan_default.settings import WEB_KEY, WEB_PROXIES, WEB_USER_HEADER, WEB_USERS, Settings
from loan_default.web.people import People, Proxy, read_users

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class WebConfig:
    """Says where the pages answer, and whom.

    Raises:
        BadInput: other machines could reach them, and nobody is told apart.
    """

    host: str
    port: int
    people: People

    def __post_init__(self) -> None:
        if not (is_loopback(self.host) or self.people.are_known):
            raise BadInput(
                f"At {self.host} other machines reach the pages, and nobody has to sign in; set {WEB_USERS} by "
                f"loan-default web-user, or {WEB_USER_HEADER} behind a proxy that signs people in, or listen on "
                f"{LOOPBACK}."
            )

    @property
    def url(self) -> str:
        """The address for a browser of this machine."""
        host = LOOPBACK if self.host in ("0.0.0.0", "::") else self.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"


def plan(settings: Settings, host: str | None = None, port: int | None = None) -> WebConfig:
    """Plan the pages of a home, by default on this machine alone and on the port of the settings.

    Raises:
        BadInput: a setting of users or proxies cannot be used, or others could look unasked.
    """
    users = read_users(settings.secrets.get(WEB_USERS, ""), WEB_USERS)
    header = settings.web_user_header
    for user in users.values():
        if not (user.password_hash or header):
            raise BadInput(
                f"{WEB_USERS}: {user.name} has no password; make the entry by loan-default web-user, or set "
                f"{WEB_USER_HEADER} behind a proxy that signs people in."
            )
    proxy = Proxy(header, _networks(settings.web_proxies))
    key = settings.secrets.get(WEB_KEY, "")
    people = People(users, proxy, key.encode()) if key else People(users, proxy)
    return WebConfig(host or LOOPBACK, port or settings.web_port, people)


def _networks(texts: tuple[str, ...]) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    try:
        return tuple(ipaddress.ip_network(text) for text in texts)
    except ValueError as error:
        raise BadInput(f"{WEB_PROXIES} cannot be used: {error}; write addresses or networks, by commas.") from error


def run(settings: Settings, config: WebConfig, listener: socket) -> None:
    """Answer on a bound socket until the process is ended."""
    import uvicorn

    from loan_default.web.app import create_app, warm_up

    app = create_app(settings, config.people)
    warm_up(app)

    # The proxy's own word for who asks is read by `people`, from its address as it comes.
    uvicorn_config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, proxy_headers=False
    )
    with suppress(KeyboardInterrupt):  # which uvicorn raises again when it has stopped
        uvicorn.Server(uvicorn_config).run(sockets=[listener])
