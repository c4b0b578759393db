"""Platforms that host the scoring server's container and call it: Vertex AI and SageMaker, by their own variables.

They say which port and paths they call, and may answer for who calls. Sources: Vertex AI, "Custom container
requirements for inference"; SageMaker, "Custom inference code with hosting services". `settings` reads the environment.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from loan_default.risk.errors import BadInput

AuthenticatedBy = Literal["tokens", "platform"]

AUTHENTICATED_BY, _TOKENS = "LOAN_DEFAULT_AUTHENTICATED_BY", "LOAN_DEFAULT_API_TOKENS"
VERTEX_PORT, PREDICT_ROUTE, HEALTH_ROUTE = "AIP_HTTP_PORT", "AIP_PREDICT_ROUTE", "AIP_HEALTH_ROUTE"
# SageMaker tells a container of its own that it is there only in pipelines and batches; its SDK does so by the region.
SAGEMAKER = ("SAGEMAKER_BIND_TO_PORT", "SAGEMAKER_BATCH", "SAGEMAKER_REGION")
_SAGEMAKER_PORT = "8080"
_ROUTE = re.compile(r"/[!-~]+")


@dataclass(frozen=True)
class Hosting:
    """Names what the platform calls: a port, and paths beside the usual ones; no port where there is no platform."""

    port: int | None = None
    predict_route: str = ""
    health_route: str = ""


NO_PLATFORM = Hosting()


def read_hosting(variables: Mapping[str, str]) -> Hosting:
    """Read what the platform says, if there is one.

    Raises:
        BadInput: names a variable whose value cannot be used.
    """
    routes = {name: variables.get(name, "") for name in (PREDICT_ROUTE, HEALTH_ROUTE)}
    on_sagemaker = [name for name in SAGEMAKER if variables.get(name)]
    if variables.get(VERTEX_PORT):
        for name, route in routes.items():
            if route and not _ROUTE.fullmatch(route):
                raise BadInput(f"{name} is {route!r}; it must be a path that begins with /.")
        return Hosting(read_port(VERTEX_PORT, variables[VERTEX_PORT]), routes[PREDICT_ROUTE], routes[HEALTH_ROUTE])
    if on_sagemaker:
        return Hosting(read_port(SAGEMAKER[0], variables.get(SAGEMAKER[0]) or _SAGEMAKER_PORT))
    return NO_PLATFORM


def read_authenticated_by(variables: Mapping[str, str], hosting: Hosting) -> AuthenticatedBy:
    """Read who says that a caller may score: the server by its tokens, or the platform that calls it for others.

    Raises:
        BadInput: it is neither, or the platform where there is none, or both at once.
    """
    name = variables.get(AUTHENTICATED_BY) or "tokens"
    chosen = next((allowed for allowed in get_args(AuthenticatedBy) if allowed == name), None)
    if chosen is None:
        raise BadInput(f"{AUTHENTICATED_BY} is {name!r}; it must be tokens or platform.")
    if chosen == "platform" and hosting.port is None:
        raise BadInput(
            f"{AUTHENTICATED_BY} is platform, and no platform is here that authenticates: Vertex AI would set "
            f"{VERTEX_PORT}, SageMaker one of {', '.join(SAGEMAKER)}; set {_TOKENS} instead."
        )
    if chosen == "platform" and variables.get(_TOKENS):
        raise BadInput(f"{AUTHENTICATED_BY} is platform, and {_TOKENS} is set; take one of them away.")
    return chosen  # type: ignore[no-any-return]


def read_port(name: str, text: str) -> int:
    """Read the port that a variable holds.

    Raises:
        BadInput: it is none.
    """
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise BadInput(f"{name} is {text!r}; it must be a port from 1 to 65535.")
    return int(text)
