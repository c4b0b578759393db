"""The pages of one decision: what was asked and answered, and the same scored again.

Finding it is `operations.decisions`'s.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from loan_default.web.people import allow
from loan_default.web.rendering import render


@allow("officer")
def look_up(request: Request) -> Response:
    """Show the form by which a decision is found."""
    return render(request, "decisions.html")


routes = [Route("/decisions", look_up)]
