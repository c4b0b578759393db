"""Commands that watch: an empty home, and what cannot be shown yet."""

import json
from pathlib import Path

import pytest

from loan_default_tests.cli.conftest import Run, sentence


@pytest.mark.integration
def test_an_empty_home_is_one_sentence(command: Run) -> None:
    code, text, errors = command("status")
    assert (code, errors) == (0, "")
    (line,) = text.splitlines()
    assert line.startswith("Nothing has been trained or scored here yet; begin with ")
    assert line.endswith(" run --data FILE.")
    assert command("history") == (0, "Nothing has been decided yet.\n", "")
    assert sentence(command("performance")) == (
        "Nothing has been scored yet that could be measured; run loan-default score FILE first."
    )


@pytest.mark.integration
def test_an_empty_home_as_json(command: Run) -> None:
    code, text, errors = command("status", "--json")
    assert (code, errors) == (0, "")
    status = json.loads(text)
    assert [version["alias"] for version in status["versions"]] == ["production", "previous", "staging"]
    assert status["batches"] == status["waiting"] == status["runs"] == []
    assert status["server"]["status"] is None
    assert command("history", "--json") == (0, "[]\n", "")


def test_outcomes_that_cannot_be_read_are_refused_before_any_is_taken(folder: Path, command: Run) -> None:
    folder.joinpath("good.csv").write_text("id,loan_status,month\n1,Current,2019-03\n")
    folder.joinpath("bad.csv").write_text("id,loan_status\n1,Current\n")
    assert sentence(command("performance", "good.csv", "bad.csv")) == "bad.csv lacks the column month; add it."
    assert not (folder / "var" / "storage" / "outcomes").exists()


def test_drift_needs_a_scored_batch(command: Run) -> None:
    assert sentence(command("drift", "2018-10")) == (
        "Batch 2018-10 is not scored yet; run loan-default score FILE first."
    )
