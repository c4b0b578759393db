"""Routing to a challenger that is tried: the same loan always goes to the same version."""

from __future__ import annotations

from hashlib import blake2b

_ALL_HASHES = 2**64


def is_challenged(loan_id: str | None, share: float) -> bool:
    """Tell whether a loan is among the share (0 to 1) that goes to the challenger; one without an id never is."""
    if not loan_id:
        return False
    return int.from_bytes(blake2b(loan_id.encode(), digest_size=8).digest()) < share * _ALL_HASHES
