"""Which version answers for a loan while a challenger is tried, stable for each loan and each challenger."""

from __future__ import annotations

from hashlib import blake2b

_WHOLE = 2**64


def is_challenged(loan_id: str | None, share: float) -> bool:
    """Whether a loan is among the share (0 to 1) that goes to the challenger; one without an id never is."""
    if not share or not loan_id:
        return False
    return int.from_bytes(blake2b(loan_id.encode(), digest_size=8).digest()) < share * _WHOLE
