"""Back-tests are asked for on loans that were cleaned."""

import shutil
from datetime import date
from pathlib import Path

import pytest

from loan_default.adapters.storage import write_json
from loan_default.operations.backtest import back_test
from loan_default.risk.errors import BadInput
from loan_default.settings import Settings
from loan_default_tests.conftest import Cleaned
from loan_default_tests.records import filled


def test_without_loans_there_is_nothing_to_test(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="No loans were cleaned yet; run loan-default clean --data FILE first"):
        back_test(Settings(home=tmp_path), None, 6)


def test_months_that_no_matured_loans_follow_are_refused_before_there_is_a_run(
    cleaned: Cleaned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(home=tmp_path)
    table = Path(str(settings.layout.table("cleaned_loans")))
    table.parent.mkdir(parents=True)
    shutil.copy(cleaned.path, table)
    write_json(settings.layout.record("cleaning_report"), filled("cleaning_report", {"snapshot": "2019-03"}))
    monkeypatch.delattr("loan_default.operations.backtest.run_job")
    with pytest.raises(BadInput, match="No month from 2018-06 to 2018-12 is followed by 100 loans that had matured by"):
        back_test(settings, date(2018, 6, 1), 6)
    with pytest.raises(NameError):  # one that can be judged is run
        back_test(settings, date(2014, 1, 1), 40)
