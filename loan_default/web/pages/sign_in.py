"""The page on which people sign in by name and password, and what ends their session.

Checking a password is `people`'s.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from loan_default.risk.text import plural
from loan_default.web.people import SESSION, SESSION_SECONDS, People, SignInLimit
from loan_default.web.rendering import render
from loan_default.web.security import Form, safe_path, takes_form

_WRONG = "The name or the password is wrong."


def show(request: Request) -> Response:
    """Show the form of signing in; lead on where nobody signs in by a password."""
    people: People = request.app.state.people
    next_page = safe_path(request.query_params.get("next", "/"))
    return _page(request, next_page) if people.sign_in_here else RedirectResponse(next_page, 303)


def sign_in(request: Request, form: Form) -> Response:
    """Begin a session, and lead back to the page that was looked for."""
    people: People = request.app.state.people
    limit: SignInLimit = request.app.state.sign_in_limit
    name, next_page = form.get("name", ""), safe_path(form.get("next", "/"))
    keys = f"name {name}", f"address {people.proxy.address_of(request)}"
    if seconds := limit.seconds_to_wait(keys):
        sentence = f"There were too many wrong passwords; try again in {plural(seconds // 60 + 1, 'minute')}."
        return _page(request, next_page, sentence, 429, {"Retry-After": str(seconds)})
    session = people.sign_in(name, form.get("password", ""))
    if session is None:
        limit.record_failure(keys)
        return _page(request, next_page, _WRONG, 401, name=name)
    response = RedirectResponse(next_page, 303)
    secure = request.headers.get("origin", str(request.url)).startswith("https:")  # as the browser sees it
    response.set_cookie(SESSION, session, SESSION_SECONDS, httponly=True, samesite="strict", secure=secure)
    return response


def sign_out(request: Request, form: Form) -> Response:
    """End the session of this browser."""
    request.app.state.people.end(request.cookies.get(SESSION, ""))
    response = RedirectResponse("/sign-in", 303)
    response.delete_cookie(SESSION, httponly=True, samesite="strict")
    return response


def _page(
    request: Request,
    next_page: str,
    mistake: str = "",
    status: int = 200,
    headers: dict[str, str] | None = None,
    *,
    name: str = "",
) -> Response:
    page = render(request, "sign_in.html", status, next=next_page, mistake=mistake, name=name)
    page.headers.update(headers or {})
    return page


routes = [
    Route("/sign-in", show),
    Route("/sign-in", takes_form(sign_in), methods=["POST"]),
    Route("/sign-out", takes_form(sign_out), methods=["POST"]),
]
