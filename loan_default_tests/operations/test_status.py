"""Status: every kind of batch, with its reason; what waits; what an empty home is."""

from pathlib import Path
from threading import Event
from typing import Any

import dagster as dg
import pytest
from requests import PreparedRequest, Response, Session
from upath import UPath

from loan_default.adapters import storage
from loan_default.defs.instance import open_instance
from loan_default.defs.run_tags import PARTITION_TAG
from loan_default.operations import status
from loan_default.operations.batch_figures import BatchArchive
from loan_default.operations.batch_status import explain_not_scored
from loan_default.operations.batches import score
from loan_default.operations.runs import BatchRuns, JobFailed, run_job
from loan_default.operations.status import PerformanceStatus, ServerStatus, Status, VersionStatus, read_status
from loan_default.settings import Settings
from loan_default_tests.operations.conftest import write_batch
from loan_default_tests.operations.doctor.conftest import answering, health
from loan_default_tests.records import filled

NOTHING = BatchRuns((), ())


def test_a_home_is_empty_until_something_is_trained_or_delivered() -> None:
    versions, server = (VersionStatus("production"), VersionStatus("staging")), ServerStatus("http://127.0.0.1:5001")
    assert Status(versions, (), (), (), server, None).empty
    assert not Status(versions, (), ("2018-10",), (), server, None).empty
    assert not Status((VersionStatus("staging", 1),), (), (), (), server, None).empty


def test_the_storage_is_asked_while_the_registry_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    request = Event()
    monkeypatch.setattr(status, "read_batch_runs", lambda settings: NOTHING)
    monkeypatch.setattr(status, "runs_under_way", lambda settings: [])
    monkeypatch.setattr(status, "_server", lambda settings: ServerStatus("http://127.0.0.1:5001"))
    monkeypatch.setattr(status, "_performance", lambda settings, damages: request.set())
    monkeypatch.setattr(
        status, "_versions", lambda settings: (VersionStatus("production"),) if request.wait(10) else ()
    )
    assert read_status(Settings(tmp_path)).versions


@pytest.mark.integration
def test_what_answers_and_is_not_the_books_server_is_no_version_of_it(tmp_path: Path) -> None:
    for answer in (health(3, model="homes_model"), {}):
        with answering(answer) as url:
            server = status._server(Settings(tmp_path, serving_url=url))
        assert (server.url, server.status, server.version) == (url, None, None)
        assert url in (server.trouble or "")


@pytest.mark.integration
def test_what_is_asked_of_a_bucket_does_not_grow_with_the_batches(
    bucket: UPath, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = {"read_batch_runs": NOTHING, "runs_under_way": [], "_server": ServerStatus("http://a"), "_versions": ()}
    for name, answer in answers.items():
        monkeypatch.setattr(status, name, lambda settings, answer=answer: answer)
    requests: list[str | None] = []
    send = Session.send

    def count(self: Session, request: PreparedRequest, **options: Any) -> Response:
        requests.append(request.url)
        return send(self, request, **options)

    monkeypatch.setattr(Session, "send", count)
    settings = Settings(tmp_path, storage=str(bucket))
    layout, archive, counts = settings.layout, BatchArchive(settings.layout), []
    for batches in (["a"], ["b", "c", "d"]):
        for batch in batches:
            storage.write_json(layout.batch_record("prediction_report", batch), filled("prediction_report", {}))
            storage.write_text(layout.batch_table("predictions", batch), "")
            storage.write_json(
                layout.batch_record("drift_report", batch), filled("drift_report", {"verdict": "stable"})
            )
        read_status(settings, archive)
        requests.clear()
        assert {batch.verdict for batch in read_status(settings, archive).batches} == {"stable"}
        counts.append(len(requests))
    # The inbox, predictions, both reports on batches, the one on performance, and, as that is missing, the bucket.
    assert counts == [6, 6]


@pytest.mark.integration
def test_each_batch_is_shown_with_what_came_of_it(home: Settings, tmp_path: Path) -> None:
    inbox = Path(home.storage) / "applications"
    score(home, write_batch(tmp_path / "2014-07.csv"))
    score(home, write_batch(tmp_path / "2014-06.csv"), compare=False)
    write_batch(inbox / "2014-08.csv").write_text("id\n1\n")
    with pytest.raises(JobFailed) as failed:
        run_job(home, "batch_prediction_job", batch="2014-08")
    write_batch(inbox / "2014-09.csv")
    write_batch(inbox / "late october.csv")
    report = {"model_version": 1, "verdict": "sound", "measured_at": "2019-04-01T00:00:00", "told_until": None}
    storage.write_json(home.layout.record("performance_report"), filled("performance_report", report))

    now = read_status(home)
    by_name = {batch.batch: batch for batch in now.batches}
    assert {name: batch.state for name, batch in by_name.items()} == {
        "2014-07": "scored",
        "2014-06": "scored",
        "2014-08": "failed",
        "late october.csv": "refused",
    }
    scored, not_compared, failure, refusal = by_name.values()
    assert (scored.applications, scored.rejected, scored.model_version) == (60, 0, 1)
    assert scored.verdict == "not enough rows"
    assert (not_compared.applications, not_compared.model_version, not_compared.verdict) == (60, 1, None)
    assert failure.reasons == (str(failed.value),)
    assert failure.run_id
    assert refusal.reasons[0].endswith("rename the file.")
    assert now.waiting == ("2014-09",)
    assert now.runs == ()
    assert now.performance == PerformanceStatus(1, "healthy", "2019-04-01T00:00:00", None), "of an earlier release"
    production, previous, staging = now.versions
    assert (production.version, production.decision) == (1, "promote")
    assert (production.decided_by or "").startswith("policy, run ")
    assert production.reasons
    assert previous == VersionStatus("previous")
    assert staging.version == 1
    assert not now.empty

    assert explain_not_scored(home, "2014-08") == f"Batch 2014-08 could not be scored: {failure.reasons[0]}"
    assert (explain_not_scored(home, "2014-09") or "").startswith("Batch 2014-09 waits to be scored")
    assert explain_not_scored(home, "2013-01") is None
    tags = {PARTITION_TAG: "2014-09"}
    run = dg.DagsterRun(job_name="batch_prediction_job", status=dg.DagsterRunStatus.STARTED, tags=tags)
    with open_instance(home) as instance:
        instance.add_run(run)
    sentence = f"Batch 2014-09 is being scored (run {run.run_id[:8]}, started); look again in a while."
    assert explain_not_scored(home, "2014-09") == sentence
    assert read_status(home).in_progress == ("2014-09",)


@pytest.mark.integration
def test_a_batch_that_is_scored_again_has_not_failed(home: Settings) -> None:
    write_batch(Path(home.storage) / "applications" / "2014-08.csv")
    run_job(home, "batch_prediction_job", batch="2014-08")
    assert {batch.batch: batch.state for batch in read_status(home).batches}["2014-08"] == "scored"
