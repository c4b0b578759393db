"""Performance: nothing to measure is one sentence, outcome files are taken in all or none."""

from pathlib import Path

import pytest

from loan_default.operations.batches import score
from loan_default.operations.performance import measure
from loan_default.risk.errors import BadInput
from loan_default.settings import Settings
from loan_default_tests.operations.conftest import write_batch

OUTCOMES = "id,loan_status,month\n1,Current,2019-03\n2,Unheard,2019-03\n"


def test_without_predictions_there_is_nothing_to_measure(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="Nothing has been scored yet"):
        measure(Settings(home=tmp_path))


def test_no_outcomes_are_taken_where_a_file_cannot_be_read(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home")
    (tmp_path / "good.csv").write_text(OUTCOMES, encoding="utf-8")
    (tmp_path / "bad.csv").write_text("id\n1\n", encoding="utf-8")
    with pytest.raises(BadInput, match=r"bad\.csv"):
        measure(settings, [tmp_path / "good.csv", tmp_path / "bad.csv"])
    assert not settings.layout.outcomes.exists()


@pytest.mark.integration
def test_every_version_that_predicted_is_measured(home: Settings, tmp_path: Path) -> None:
    score(home, write_batch(tmp_path / "2014-07.csv"), compare=False)
    (tmp_path / "2019-03.csv").write_text(OUTCOMES, encoding="utf-8")
    result = measure(home, [tmp_path / "2019-03.csv"])
    assert result.rejected == 1
    assert [version["loans"] for version in result.report["versions"]] == [60]
    assert result.report["told_until"] == "2019-03"
