"""The reviewed files of a loan book: what a loan is, and what was decided on loans.

What they may say is `risk.contract`'s and `risk.policy`'s; `risk.reviewed_file` reads each text once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from loan_default.settings import Settings

if TYPE_CHECKING:
    from loan_default.risk.contract.book import Contract
    from loan_default.risk.policy import Policy


def read_contract(settings: Settings) -> Contract:
    """Return the contract of the book.

    Raises:
        BadInput: the file cannot be used.
    """
    from loan_default.risk.contract.loading import load_contract

    return load_contract(settings.contract)


def read_policy(settings: Settings) -> Policy:
    """Return the policy of the book; errors as `read_contract`."""
    from loan_default.risk.policy import load_policy

    return load_policy(settings.policy, read_contract(settings))
