"""The page on which an officer scores one applicant, and sees why and what would have to change.

The form is made from the contract; the scoring server decides.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from loan_default.web.people import allow
from loan_default.web.rendering import render


@allow("officer")
def show(request: Request) -> Response:
    """Show the form of an application."""
    return render(request, "score.html")


routes = [Route("/score", show)]
