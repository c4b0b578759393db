"""Addresses on which something of ours answers: the scoring server, the pages, the platform's metrics.

What answers there is `serving`'s, `web`'s and `operations.metrics`'s.
"""

from __future__ import annotations

import socket

from loan_default.risk.errors import BadInput


def bind(host: str, port: int) -> socket.socket:
    """Bind an address, on which nobody listens yet.

    Raises:
        BadInput: it cannot be bound.
    """
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        sentence = f"{host}:{port} cannot be bound, perhaps because another program uses it"
        raise BadInput(f"{sentence} ({error.strerror}); choose another --port.") from None
    return bound
