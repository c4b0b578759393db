"""A contract is drafted, written and checked with what stands beside it."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pytest

from loan_default.operations import contracts
from loan_default.risk.data import unknown_table
from loan_default.risk.errors import BadInput
from loan_default.risk.reviewed_file import CONF


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A table of loans without a date."""
    path = tmp_path / "Home loans.2019.csv"
    rows = [{"amount": 1_000 + 7.5 * n, "home": "rent" if n % 3 else "own", "BAD": int(n % 4 == 0)} for n in range(60)]
    pl.DataFrame(rows).write_csv(path)
    return path


def test_a_draft_is_written_once_and_can_be_checked(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    written = contracts.draft(file)
    assert written.path == Path("home_loans.yaml")
    assert (written.rows, written.columns, written.draft.outcome) == (60, 3, "BAD")
    assert written.guesses > 3
    assert written.decisions > 3
    with pytest.raises(BadInput, match=r"home_loans\.yaml is there already; give --out another file, or --overwrite"):
        contracts.draft(file)
    assert contracts.draft(file, overwrite=True).path == written.path
    checked = contracts.check(written.path)
    assert (checked.contract.name, checked.check, checked.policy) == ("home_loans", None, None)


def test_a_draft_of_a_file_that_is_named_as_the_shipped_books_model_has_a_name_of_its_own(
    file: Path, tmp_path: Path
) -> None:
    loans = file.rename(tmp_path / "Loan_Default.csv")
    written = contracts.draft(loans, tmp_path / "homes.yaml")
    assert contracts.check(written.path).contract.name == "loan_default_book"


def test_marks_that_are_left_of_a_draft_are_counted_by_line(file: Path, tmp_path: Path) -> None:
    path = tmp_path / "homes.yaml"
    written = contracts.draft(file, path)
    checked = contracts.check(path)
    assert (len(checked.guesses), len(checked.decisions)) == (written.guesses, written.decisions)
    lines = path.read_text(encoding="utf-8").splitlines()
    assert all("GUESS" in lines[number - 1] for number in checked.guesses)
    assert all("DECIDE" in lines[number - 1] for number in checked.decisions)
    explanation = "marked GUESS, what only a person can know DECIDE"
    header = [line for line in lines if explanation in line]
    assert len(header) == 1
    path.write_text("\n".join(header + [re.sub("#.*", "", line) for line in lines]), encoding="utf-8")
    checked = contracts.check(path)
    assert (checked.guesses, checked.decisions) == ([], [])


def test_a_draft_says_when_it_saw_the_beginning_of_a_file_only(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    complete = contracts.draft(file, tmp_path / "whole.yaml").path.read_text(encoding="utf-8")
    assert "# Drafted from Home loans.2019.csv: 60 rows, 3 columns." in complete
    monkeypatch.setattr(unknown_table, "_MOST_BYTES", file.stat().st_size // 2)
    part = contracts.draft(file, tmp_path / "part.yaml")
    assert 20 < part.rows < 40
    text = part.path.read_text(encoding="utf-8")
    assert f"# Drafted from the beginning of Home loans.2019.csv: {part.rows} rows, 3 columns." in text


def test_what_stands_beside_a_contract_is_checked_with_it(file: Path, tmp_path: Path) -> None:
    path = contracts.draft(file, tmp_path / "deep" / "homes.yaml", name="homes").path
    (path.parent / "homes.search_space.yaml").write_bytes((CONF / "search_space.yaml").read_bytes())
    assert contracts.check(path).search_space == path.parent / "homes.search_space.yaml"
    (path.parent / "search_space.yaml").write_text("xgboost: {}\n", encoding="utf-8")
    assert contracts.check(path).search_space == path.parent / "homes.search_space.yaml"
    (path.parent / "homes.search_space.yaml").unlink()
    with pytest.raises(BadInput, match="search_space"):
        contracts.check(path)
