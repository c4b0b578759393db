"""`contract init` and `contract check` at a terminal and for programs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from loan_default.cli.entry import main

HEADER = "id,issued,term,amount,status"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Loans with a date, in the working folder."""
    monkeypatch.chdir(tmp_path)
    lines = [f"{n},2012-{1 + n % 12:02d},{6 + n % 2},{1000 + n},{('Paid', 'Default')[n % 4 == 0]}" for n in range(48)]
    Path("loans.csv").write_text(f"{HEADER}\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return Path("loans.csv")


def draft(file: Path) -> None:
    """Draft a contract, and decide that the loans mature."""
    assert main(["contract", "init", str(file)]) == 0
    text = Path("loans.yaml").read_text(encoding="utf-8").replace("outcomes: final", "# outcomes: final")
    Path("loans.yaml").write_text(text, encoding="utf-8")


def test_a_draft_leads_on_to_its_check(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["contract", "init", str(file)]) == 0
    words = capsys.readouterr().out
    assert "Drafted loans.yaml" in words
    assert "contract check loans.yaml loans.csv" in words
    assert main(["contract", "check", "loans.yaml"]) == 0
    words = " ".join(capsys.readouterr().out.split())
    assert re.search(
        r"Of its draft \d+ guesses \(GUESS: lines \d+, .*\d+ decisions \(DECIDE: lines 6, .* are left:", words
    )
    assert main(["contract", "init", str(file)]) == 1
    assert "is there already" in capsys.readouterr().err


def test_a_check_shows_fields_statuses_and_ends_with_1_where_the_file_would_be_refused(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draft(file)
    capsys.readouterr()
    assert main(["contract", "check", "loans.yaml"]) == 0
    assert "It can be loaded." in capsys.readouterr().out
    assert main(["contract", "check", "loans.yaml", str(file)]) == 0
    words = capsys.readouterr().out
    assert "The file can be used." in words
    assert "2012-01 to 2012-12" in words
    Path("loans.csv").write_text(
        "id,issued,amount,status\n1,2012-01,ten,Default\n2,2012-01,20,Paid\n", encoding="utf-8"
    )
    assert main(["contract", "check", "loans.yaml", str(file)]) == 1
    assert "of the rows would be rejected" in " ".join(capsys.readouterr().out.split())


def test_programs_read_a_check_as_json(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draft(file)
    capsys.readouterr()
    assert main(["contract", "check", "loans.yaml", str(file), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["contract"] == "loans"
    assert [field["field"] for field in record["check"]["fields"]] == ["id", "issued", "term", "amount"]
    assert record["check"]["report"]["rows_read"] == 48
