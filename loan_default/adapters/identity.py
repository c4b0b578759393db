"""This process's identity to services on Cloud Run: an ID token of its service account, from Google's metadata server.

It goes into a header of its own, so that `Authorization` is left to what the service asks for itself: MLflow's log-in,
the scoring server's token. Who may call a service is IAM's business, in `infra/modules/services`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable

HEADER = "X-Serverless-Authorization"
_CLOUD_RUN = ".run.app"


class NoIdentity(RuntimeError):
    """The process has no service account to show; one sentence that names the address."""


def identity_header(url: str) -> dict[str, str]:
    """Return the header that Cloud Run wants to see; none for any other address. A token is used until it ends.

    Raises:
        NoIdentity: this process is nobody to Google.
    """
    host = urlsplit(url).hostname or ""
    if not host.endswith(_CLOUD_RUN):
        return {}
    from google.auth.exceptions import GoogleAuthError
    from google.auth.transport.requests import Request

    try:
        credentials = _credentials(f"https://{host}")
        if not credentials.valid:
            credentials.refresh(Request())
    except GoogleAuthError as error:
        raise NoIdentity(
            f"{url} asks who is calling, and this process has no service account to show "
            f"({str(error).splitlines()[0].rstrip('.')}); run it as one that may invoke the service."
        ) from error
    return {HEADER: f"Bearer {credentials.token}"}


@lru_cache(maxsize=8)
def _credentials(audience: str) -> Any:
    from google.oauth2.id_token import fetch_id_token_credentials

    return fetch_id_token_credentials(audience)


def identify_to_mlflow(url: str) -> None:
    """Have MLflow's client send the header with each request, from now on.

    An entry point would say the same, but is found only where this package is installed; the scoring image copies it.

    Raises:
        NoIdentity: as `identity_header`; MLflow would only log it, and ask as nobody.
    """
    identity_header(url)
    from mlflow.tracking.request_header import registry

    providers = registry._request_header_provider_registry
    if not any(isinstance(provider, _HeaderProvider) for provider in providers):
        providers.register(_HeaderProvider)
    _HeaderProvider.header = staticmethod(lambda: identity_header(url))


class _HeaderProvider:
    """A `RequestHeaderProvider` of MLflow's; deriving from it would import MLflow here."""

    header: Callable[[], dict[str, str]]

    def in_context(self) -> bool:
        return True

    def request_headers(self) -> dict[str, str]:
        return self.header()
