"""Batches that failed, were refused or had rows rejected, as a person reads them and as JSON."""

import json
from dataclasses import asdict
from pathlib import Path

import polars as pl
import pytest
from upath import UPath

from loan_default.adapters import storage
from loan_default.adapters.layout import StorageLayout
from loan_default.cli import main
from loan_default.homes import prepare_process
from loan_default.operations.batch_status import BatchStatus
from loan_default.operations.doctor import CheckContext, Diagnosis
from loan_default.operations.doctor.batches import check_batches, judge_batches
from loan_default.operations.runs import JobFailed, run_job
from loan_default.settings import Settings
from loan_default_tests.operations.doctor.conftest import Installation, diagnoses_of, wrong

pytestmark = pytest.mark.integration

LAYOUT = StorageLayout(UPath("/somewhere"))
RUN_ID = "1234abcd-0000-4000-8000-000000000000"
SCORED = BatchStatus("2018-10", "scored", 2_000, 0, 3, "stable", ("PSI 0.01",))


def test_a_failed_batch_is_named_with_its_run_and_reason() -> None:
    failed = BatchStatus("2018-11", "failed", reasons=("predictions failed:\nThe disk is full.",), run_id=RUN_ID)
    diagnosis = wrong([*judge_batches([SCORED, failed], LAYOUT)])
    assert diagnosis.message == "Batch 2018-11 failed in run 1234abcd: predictions failed: The disk is full."
    assert diagnosis.remedy == "Mend what it names, then run loan-default score-again 2018-11 --force."


def test_a_refused_file_is_named_with_its_own_remedy() -> None:
    reason = "A.csv: batch a differs only by case; rename the file."
    assert [*judge_batches([BatchStatus("A.csv", "refused", reasons=(reason,)), SCORED], LAYOUT)] == [
        Diagnosis("batches", "wrong", "A.csv: batch a differs only by case.", "Rename the file.")
    ]


@pytest.mark.parametrize(
    ("rejected", "message"), [(1, "1 row of batch 2018-10 could"), (1_200, "1,200 rows of batch 2018-10 could")]
)
def test_rejected_rows_are_a_note_of_each_batch(rejected: int, message: str) -> None:
    note, ok = judge_batches([BatchStatus("2018-10", "scored", 2_000, rejected, 3)], LAYOUT)
    assert (note.mark, note.message) == ("note", f"{message} not be scored.")
    assert note.remedy == f"{LAYOUT.batch_table('rejected_applications', '2018-10')} says why."
    assert (ok.mark, ok.message) == ("ok", "None is known to have failed, none was refused.")


def test_a_storage_that_cannot_be_used_has_no_batches_to_judge(install: Installation) -> None:
    settings = install()
    storage.write_text(settings.layout.inbox / "late october.csv", "id\n1\n")
    assert diagnoses_of(check_batches, settings) == []
    assert wrong(diagnoses_of(check_batches, CheckContext(settings, storage_works=True))).check == "batches"


def test_a_record_that_cannot_be_read_is_wrong_and_has_its_own_remedy(install: Installation) -> None:
    settings = install()
    report = settings.layout.batch_record("drift_report", "2018-10")
    predictions = Path(settings.layout.batch_table("predictions", "2018-10").path)
    predictions.parent.mkdir(parents=True)
    pl.DataFrame({"model_version": [1], "input_fingerprint": ["0" * 16]}).write_parquet(predictions)
    storage.write_text(report, '{"batch": ')
    diagnosis = wrong(diagnoses_of(check_batches, CheckContext(settings, storage_works=True)))
    assert diagnosis.message.startswith(f"The record {report} is no JSON (")
    assert diagnosis.remedy == ("Run loan-default drift 2018-10, which writes it again, or restore it from a backup.")


def test_the_command_says_which_batches_failed_and_which_files_were_refused(
    install: Installation, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = _failed_home(install)
    with pytest.raises(JobFailed) as failed:
        run_job(settings, "batch_prediction_job", batch="2018-10")
    capfd.readouterr()
    assert main(["doctor", "--json"]) == 1
    diagnoses = [line for line in json.loads(capfd.readouterr().out)["diagnoses"] if line["check"] == "batches"]
    failure, refusal = diagnoses
    assert failure["message"].startswith("Batch 2018-10 failed in run ")
    sentence, _, advice = str(failed.value).partition("; ")
    assert failure["message"].endswith(f": {sentence}.")
    assert failure["remedy"].lower() == advice.lower()
    assert refusal == asdict(
        Diagnosis(
            "batches",
            "wrong",
            "late october.csv: a batch's name may hold letters, figures, '.', '-' and '_' only.",
            "Rename the file.",
        )
    )


def _failed_home(install: Installation) -> Settings:
    settings = install()
    prepare_process(settings)
    inbox = Path(settings.storage) / "applications"
    inbox.mkdir(parents=True)
    for name in ("2018-10.csv", "late october.csv"):
        (inbox / name).write_text("id\n1\n")
    return settings
