"""Drafts of contracts, and the mistakes in them: shared by tests."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.loading import load_contract
from loan_default.risk.errors import BadInput

Fields = dict[str, dict[str, Any]]
Change = Callable[[dict[str, Any], Fields], object]
LoadChanged = Callable[[Change], Contract]

CONTRACT = """name: x
title: X
known_afterwards: [late_*]
outcome: {column: status, defaulted: [bad], repaid: [good]}
expect: {rejected_share_at_most: 0.05, default_rate_between: [0.01, 0.60]}
fields:
  - {name: id, kind: text, role: id, description: d}
  - {name: issued, kind: month, role: time, description: d}
  - {name: term, kind: number, role: feature, unit: months, range: [1, 600], description: d}
  - {name: amount, kind: number, role: feature, unit: dollars, range: [1, 1000000], description: d}
  - {name: job, kind: nominal, role: feature, levels: [A, B], description: d}
"""


def mistakes(folder: Path, text: str) -> list[str]:
    """Return what is wrong with a contract: each line of the refusal, without the file."""
    path = folder / "contract.yaml"
    path.write_text(text, encoding="utf-8")
    try:
        load_contract(path)
    except BadInput as refusal:
        lines = str(refusal).splitlines()
        assert all(line.startswith(f"{path}, line ") and line.endswith(".") for line in lines)
        return [line.removeprefix(f"{path}, line ")[:-1] for line in lines]
    return []


def mistakes_of_field(folder: Path, keys: str) -> list[str]:
    """Return what is wrong with a contract that has a field more, of these keys: sentences without their lines."""
    return sorted(line.partition(": ")[2] for line in mistakes(folder, f"{CONTRACT}  - {{name: a, {keys}}}"))
