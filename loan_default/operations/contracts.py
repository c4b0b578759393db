"""Contracts of loan books: drafted from a table, and held against a file; no Dagster run.

What is guessed is `risk.data.contract_draft`'s, what is checked `risk.data.contract_check`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from loan_default.risk.errors import BadInput
from loan_default.settings import is_of_shipped_book

if TYPE_CHECKING:
    from loan_default.risk.contract.book import Contract
    from loan_default.risk.data.contract_check import ContractCheck
    from loan_default.risk.data.contract_draft import Draft


@dataclass(frozen=True)
class WrittenDraft:
    """A draft, where it was written, how many rows and columns it rests on, and its marks of either kind."""

    path: Path
    draft: Draft
    rows: int
    columns: int
    guesses: int
    decisions: int


def draft(file: Path, out: Path | None = None, *, name: str = "", overwrite: bool = False) -> WrittenDraft:
    """Draft a contract from a table and write it.

    Args:
        file: delimited text or Parquet, with a header.
        out: YAML to write; by default named after the file, in the working folder.
        name: of the book; by default the file's. One that is the shipped book's is made longer.
        overwrite: whether a file that is there is replaced.

    Raises:
        BadInput: the file is no table, or `out` is there already.
    """
    from loan_default.risk.data.contract_draft import draft_contract, guess_outcome, marked_lines, normalise
    from loan_default.risk.data.table_profile import labels, profile_table
    from loan_default.risk.data.unknown_table import read_unknown_table

    book = normalise(name or file.name.partition(".")[0])
    if is_of_shipped_book(book):
        book = f"{book}_book"
    target = out or Path(f"{book}.yaml")
    if target.exists() and not overwrite:
        raise BadInput(f"{target} is there already; give --out another file, or --overwrite.")
    table = read_unknown_table(file)
    profile = profile_table(table.texts)
    status = guess_outcome(profile)
    if status is not None:
        outcome = labels(table.texts[status.column], status.defaulted, status.repaid)
        profile = profile_table(table.texts, outcome)
    source = file.name if table.complete else f"the beginning of {file.name}"
    contract = draft_contract(
        profile, status, name=book, file=source, separator=table.separator, encoding=table.encoding
    )
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(contract.text, encoding="utf-8")
    marks = marked_lines(contract.text)
    return WrittenDraft(
        target, contract, table.texts.height, table.texts.width, len(marks["GUESS"]), len(marks["DECIDE"])
    )


@dataclass(frozen=True)
class CheckedContract:
    """A contract that loads, the policy and the search space that are found by it, and what a file has of it.

    `guesses` and `decisions` are the lines on which marks of its draft are left.
    """

    contract: Contract
    policy: Path | None
    search_space: Path | None
    check: ContractCheck | None
    guesses: Sequence[int]
    decisions: Sequence[int]


def check(path: Path, file: Path | None = None) -> CheckedContract:
    """Load a contract with what stands beside it, and hold it against a file where one is named.

    Raises:
        BadInput: the contract, its policy or its search space has mistakes, all of which it names; or the file cannot
            be opened by the contract.
    """
    from loan_default.risk.contract.loading import load_contract
    from loan_default.risk.data.contract_check import check_contract
    from loan_default.risk.data.contract_draft import marked_lines
    from loan_default.risk.model.search_space import load_search_space
    from loan_default.risk.policy import load_policy
    from loan_default.settings import find_beside

    contract = load_contract(path)
    policy, search_space = find_beside(path, "policy"), find_beside(path, "search_space")
    load_policy(policy, contract)
    load_search_space(search_space)
    checked = check_contract(contract, file, today=datetime.now(UTC).date()) if file else None
    marks = marked_lines(path.read_text(encoding="utf-8-sig"))
    return CheckedContract(contract, policy, search_space, checked, marks["GUESS"], marks["DECIDE"])
