"""The reviewed files of a loan book, read once for each state of the files: what a loan is, and what was decided.

What they may say is `risk.contract`'s and `risk.policy`'s.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
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
    return _contract(settings.contract, _changed_at(settings.contract))


def read_policy(settings: Settings) -> Policy:
    """Return the policy of the book; errors as `read_contract`."""
    contract, policy = settings.contract, settings.policy
    return _policy(contract, _changed_at(contract), policy, _changed_at(policy))


def _changed_at(path: Path | None) -> int:
    return path.stat().st_mtime_ns if path is not None and path.exists() else 0


@lru_cache(8)
def _contract(path: Path | None, changed_at: int) -> Contract:
    from loan_default.risk.contract.loading import load_contract

    return load_contract(path)


@lru_cache(8)
def _policy(contract: Path | None, contract_changed_at: int, policy: Path | None, changed_at: int) -> Policy:
    from loan_default.risk.policy import load_policy

    return load_policy(policy, _contract(contract, contract_changed_at))
