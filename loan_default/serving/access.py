"""Who may ask the scoring server: tokens of named callers, and without tokens this machine alone.

Tested in `serving/test_app.py`.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field

from loan_default.serving.http import Headers, is_loopback_url
from loan_default.serving.protocol import Refused


@dataclass(frozen=True)
class Tokens:
    """Names of callers by their bearer tokens; none of a kind means that its routes are open."""

    scoring: Mapping[str, str] = field(default_factory=dict, repr=False)
    admin: Mapping[str, str] = field(default_factory=dict, repr=False)


def authorise(headers: Headers, tokens: Mapping[str, str]) -> str:
    """Return the name of the caller, or refuse one without a token; each is compared, in constant time."""
    scheme, _, token_sent = headers.get(b"authorization", b"").partition(b" ")
    matches = [name for token, name in tokens.items() if hmac.compare_digest(token_sent.strip(), token.encode())]
    if scheme.lower() == b"bearer" and matches:
        return matches[0]
    sentence = "A valid token is needed: Authorization: Bearer TOKEN."
    raise Refused(401, "UNAUTHENTICATED", sentence, headers=((b"www-authenticate", b'Bearer realm="loan-default"'),))


def refuse_foreign(headers: Headers) -> None:
    """Refuse what a page of the web makes a browser send: without tokens it would be let in as this machine's."""
    host, origin = headers.get(b"host"), headers.get(b"origin")
    if host is not None and not is_loopback_url(b"//" + host):
        header, value = "Host", host
    elif origin is not None and not is_loopback_url(origin):
        header, value = "Origin", origin
    else:
        return
    sentence = (
        f"{header} is {value.decode('latin-1')[:100]!r}; without tokens only this machine is answered, by its own "
        "names; set LOAN_DEFAULT_API_TOKENS and LOAN_DEFAULT_ADMIN_TOKENS to answer others."
    )
    raise Refused(403, "PERMISSION_DENIED", sentence)
