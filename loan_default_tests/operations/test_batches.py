"""Batches: what a request may name, what is delivered, and what scoring returns."""

from datetime import date
from pathlib import Path

import polars as pl
import pytest

from loan_default.operations import batches
from loan_default.operations.batches import RescoringPlan, Selection
from loan_default.operations.runs import JobFailed
from loan_default.risk.data.synthetic import make_applications, write_csv
from loan_default.risk.errors import BadInput
from loan_default.settings import Settings
from loan_default_tests.operations.conftest import write_batch


@pytest.mark.parametrize(
    ("first", "last", "message"),
    [("", "2018-10", "needs a --from"), ("2018-11", "2018-10", "2018-10 comes before 2018-11")],
)
def test_a_range_that_is_none_is_refused(first: str, last: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        Selection(first=first, last=last)


def test_a_batch_replaces_its_other_forms(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home")
    settings.staging.mkdir(parents=True)
    plain = write_batch(tmp_path / "2014-07.csv")
    packed = write_batch(tmp_path / "2014-07.csv.gz", seed=2)
    for file in (plain, packed):
        assert batches.deliver(settings, file) == "2014-07"
        assert [path.name for path in settings.layout.inbox.iterdir()] == [file.name]
    assert list(batches.inbox_batches(settings)) == ["2014-07"]
    assert not list(settings.staging.iterdir())


def test_a_file_that_is_no_batch_is_not_delivered(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home")
    settings.staging.mkdir(parents=True)
    (tmp_path / "2014-07.csv").touch()
    with pytest.raises(BadInput, match="is empty"):
        batches.deliver(settings, tmp_path / "2014-07.csv")
    assert not settings.layout.inbox.exists()


@pytest.mark.integration
def test_a_scored_batch_tells_decisions_rejections_and_drift(home: Settings, tmp_path: Path) -> None:
    file = write_batch(tmp_path / "2014-07.csv", rows=200)
    lines = file.read_text("utf-8").splitlines()
    file.write_text("\n".join([*lines, lines[-1].replace(",", ",x", 3)]) + "\n", encoding="utf-8")
    scored = batches.score(home, file)
    assert (scored.batch, scored.model_version, scored.rejected) == ("2014-07", 1, 1)
    assert scored.applications == sum(count.applications for count in scored.decisions) == 200
    mean_pds = [count.mean_pd for count in scored.decisions]
    assert mean_pds == sorted(mean_pds)
    assert Path(scored.parquet).exists()
    assert Path(scored.csv).exists()
    assert scored.drift is not None
    assert scored.drift["rows"] == 200
    assert batches.compare(home, "2014-07")["batch"] == "2014-07"

    alone = batches.score(home, write_batch(tmp_path / "2014-08.csv"), compare=False)
    assert alone.drift is None
    with pytest.raises(BadInput, match=r"2014-09 is not scored yet"):
        batches.compare(home, "2014-09")


@pytest.mark.integration
def test_a_batch_that_lacks_a_field_altogether_is_scored_only_where_that_is_accepted(
    home: Settings, tmp_path: Path
) -> None:
    applications = make_applications(60, seed=1, month=date(2014, 9, 1)).drop("dti").with_columns(dti=pl.lit(None))
    file = tmp_path / "2014-09.csv"
    write_csv(applications, file)
    with pytest.raises(JobFailed, match=r"^No application of the batch has dti, .* by --accept-missing dti \("):
        batches.score(home, file)
    scored = batches.score(home, file, accept_missing=["dti"])
    assert scored.applications == 60
    assert "approve" not in {count.decision for count in scored.decisions}
    plan = RescoringPlan(("2014-09",), (), 1, resumable=True)
    assert batches.score_again(home, plan).failures["2014-09"].startswith("No application of the batch has dti")
    assert batches.score_again(home, plan, accept_missing=["dti"]).failures == {}


@pytest.mark.integration
def test_batches_that_fail_are_named_with_their_reasons(home: Settings) -> None:
    result = batches.score_again(home, RescoringPlan(("2015-01", "2015-02"), (), 1, resumable=True))
    assert result.drift == ()
    assert result.failures.keys() == {"2015-01", "2015-02"}
    with pytest.raises(JobFailed, match=r"^2 of 2 batches failed\. 2015-01: .* 2015-02: "):
        result.require_success()
