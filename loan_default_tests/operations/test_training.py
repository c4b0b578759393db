"""Training: the request as run config, what is refused before a run exists, and the records of a run."""

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from loan_default.operations.training import TrainingRequest, clean, read_training, require_usable, run_pipeline
from loan_default.risk.data.synthetic import make_loans, write_csv
from loan_default.risk.errors import BadInput
from loan_default.settings import Settings


def month(text: str) -> date:
    return date.fromisoformat(f"{text}-01")


def test_a_request_names_only_what_it_asks_for() -> None:
    assert TrainingRequest().config == {}
    request = TrainingRequest(month("2019-03"), month("2014-01"), month("2015-02"), 3)
    assert request.config == {
        "clean_raw_loans": {"snapshot_month": "2019-03"},
        "loan_splits": {"calibrate_from": "2014-01", "test_from": "2015-02"},
        "tuned_params": {"trials": 3},
    }


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    write_csv(make_loans(20, seed=1), tmp_path / "loans.csv")
    return Settings(home=tmp_path / "home", data=str(tmp_path / "*.csv"))


def test_what_can_be_used_is_not_refused(settings: Settings) -> None:
    require_usable(settings, TrainingRequest(month("2019-03"), month("2014-01"), month("2019-03")))


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (TrainingRequest(None, month("2015-01"), month("2015-01")), "must be before test_from"),
        (TrainingRequest(month("2015-01"), None, month("2015-02")), r"test_from \(2015-02\) lies after the snapshot"),
        (TrainingRequest(month("2015-01"), month("2015-02")), r"calibrate_from \(2015-02\) lies after the snapshot"),
    ],
)
def test_months_that_contradict_each_other_are_refused(
    settings: Settings, request_: TrainingRequest, message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        require_usable(settings, request_)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("policy", "decision: {approve_below: 7}", r"approve_below: 7 is not allowed"),
        ("search_space", "trials: -1", "trials: there is no such key"),
        ("contract", "name: [1]", "name: "),
    ],
)
def test_a_mistake_in_a_reviewed_file_is_told_before_a_run(
    settings: Settings, tmp_path: Path, name: str, text: str, message: str
) -> None:
    (path := tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(BadInput, match=message):
        run_pipeline(replace(settings, **{name: path}), TrainingRequest())  # type: ignore[arg-type]
    assert not settings.home.exists(), "no record of a run"


def test_every_file_of_a_glob_is_looked_at(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "newer.csv").touch()
    with pytest.raises(BadInput, match=r"newer\.csv is empty"):
        require_usable(settings, TrainingRequest())


@pytest.mark.integration
def test_records_of_the_newest_run_are_returned(home: Settings) -> None:
    before = read_training(home)
    assert before.training is not None
    assert before.training["version"] == 1
    assert before.decision is not None
    assert before.decision["verdict"] == "promote"
    records = clean(home, TrainingRequest(test_from=month("2014-02")))
    assert records.splits is not None
    assert records.splits["windows"][-1]["first_month"] == "2014-02"
    assert records.splits != before.splits
    assert records.training == before.training
