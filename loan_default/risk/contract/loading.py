"""Loads contracts: those that people review, and those that model packages carry.

The sentences about what is wrong belong in `file_mistakes` and the models, keys of earlier releases in `earlier`.
"""

from __future__ import annotations

from pathlib import Path

from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.earlier import upgraded
from loan_default.risk.contract.packaged import PackagedContract
from loan_default.risk.errors import BadInput
from loan_default.risk.reviewed_file import CONF, load_reviewed


def load_contract(path: Path | None = None) -> Contract:
    """Load the contract in `path`, by default the one that the package ships.

    Raises:
        BadInput: the file is absent, is no YAML, or contradicts itself.
    """
    return load_reviewed(path or CONF / "contract.yaml", Contract)


def load_packaged_contract(path: Path) -> Contract:
    """Load a contract of a model package, also of an earlier release, by the rules by which it was accepted.

    Raises:
        BadInput: the file is absent, or is no contract that this release reads.
    """
    if not path.is_file():
        raise BadInput(f"{path.parent} lacks {path.name}, the contract of its model; register it again.")
    return load_reviewed(path, PackagedContract, upgrade=upgraded)
