"""What keeps foreign sites out of the pages: the names by which they answer, headers of each reply, and forms' tokens.

Who may do what is `people`'s.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from loan_default.serving.http import is_loopback_url
from loan_default.web.people import SESSION_SECONDS, People, person_of

if TYPE_CHECKING:
    from itsdangerous import URLSafeTimedSerializer
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

TOKEN = "form_token"  # the field of each form that only a page of ours can fill in
BODY_BYTES = 1_000_000
_OPEN = ("/static/", "/favicon.ico", "/sign-in", "/ping")  # beginnings of the paths that need no signing in
_SAFE_METHODS = ("GET", "HEAD")
# No script but our own files, no style but theirs, nothing from elsewhere; a page may send a stricter one itself.
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "frame-src 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # with no-referrer a browser hides the origin of our own forms too
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-store",  # pages tell of applicants
}

Form = Mapping[str, str]


class Security:
    """Refuses foreign requests, finds out who asks (`request.state.person`), and adds the headers to each reply."""

    def __init__(self, app: ASGIApp, people: People) -> None:
        self._app, self._people = app, people

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        connection = HTTPConnection(scope)
        answer = self._refusal(connection) or self._sign_in(connection)
        await (answer or self._app)(scope, receive, send_with_headers)

    def _refusal(self, connection: HTTPConnection) -> Response | None:
        """Refuse what a page of another site makes a browser send."""
        host = connection.headers.get("host", "")
        if not self._people.are_known and not is_loopback_url(f"//{host}".encode("latin-1")):
            return PlainTextResponse(
                f"Host is {host[:100]!r}; without users only this machine is answered, by its own names.", 403
            )
        if connection.scope["method"] in _SAFE_METHODS:
            return None
        site, origin = connection.headers.get("sec-fetch-site"), connection.headers.get("origin")
        is_foreign = site not in (None, "same-origin", "none") or (
            origin is not None and urlsplit(origin).netloc != host
        )
        return PlainTextResponse("A form of another site is not taken.", 403) if is_foreign else None

    def _sign_in(self, connection: HTTPConnection) -> Response | None:
        """Find out who asks; one who is not known is led to the page of signing in, or refused behind a proxy."""
        person = self._people.identify(connection)
        connection.state.person = person
        path = connection.url.path
        if person is not None or path.startswith(_OPEN):
            return None
        if not self._people.sign_in_here:
            return PlainTextResponse(self._people.proxy.explain_refusal(connection), 401)
        leads_back = connection.scope["method"] in _SAFE_METHODS and path != "/"
        page = f"{path}?{connection.url.query}" if connection.url.query else path
        return RedirectResponse(f"/sign-in?{urlencode({'next': page})}" if leads_back else "/sign-in", 303)


# --- forms


def form_token(request: Request) -> str:
    """Return the token of a form on a page for whoever asks."""
    return str(_serializer(request).dumps(_holder(request)))


def takes_form(handler: Callable[[Request, Form], Response]) -> Callable[[Request], Awaitable[Response]]:
    """Make an endpoint of a function that works with a form: one with its token, read to the end, in a thread."""

    async def endpoint(request: Request) -> Response:
        form = read_form(await request.body())
        _check_token(request, form.get(TOKEN, ""))
        return await run_in_threadpool(handler, request, form)

    return endpoint


def read_form(body: bytes) -> Form:
    """Return the fields of a form by name, without the blanks around a value; of several of one name the last.

    Raises:
        HTTPException: 400, it is no form.
    """
    try:
        return {name: value.strip() for name, value in parse_qsl(body.decode(), keep_blank_values=True)}
    except ValueError as error:
        raise HTTPException(400, f"This is no form that can be read: {error}.") from error


def safe_path(path: str) -> str:
    """Return a path of these pages, or else that of the first: no address of another site."""
    parts = urlsplit(path)
    is_ours = path.startswith("/") and not path.startswith(("//", "/\\")) and not parts.netloc and "\\" not in path
    return path if is_ours else "/"


def _check_token(request: Request, token: str) -> None:
    from itsdangerous import BadSignature

    try:
        holder = _serializer(request).loads(token, max_age=SESSION_SECONDS)
    except BadSignature:
        holder = None
    if holder != _holder(request):
        raise HTTPException(403, "This form is too old, or of another page; go back, load the page again and send it.")


def _holder(request: Request) -> str:
    person = person_of(request)
    return person.name if person else ""


def _serializer(request: Request) -> URLSafeTimedSerializer:
    from itsdangerous import URLSafeTimedSerializer

    people: People = request.app.state.people
    return URLSafeTimedSerializer(people.key, salt="form", signer_kwargs={"digest_method": hashlib.sha256})
