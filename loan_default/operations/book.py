"""The reviewed files of a loan book: what a loan is, what was decided on loans, and what a training searches.

What they may say is `risk.contract`'s, `risk.policy`'s and `risk.model.search_space`'s; `risk.reviewed_file` reads each
text once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from loan_default.settings import Settings

if TYPE_CHECKING:
    from loan_default.risk.contract.book import Contract
    from loan_default.risk.model.search_space import SearchSpace
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


def read_search_space(settings: Settings) -> SearchSpace:
    """Return what a training searches; errors as `read_contract`."""
    from loan_default.risk.model.search_space import load_search_space

    return load_search_space(settings.search_space)
