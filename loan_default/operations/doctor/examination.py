"""Runs the checks of the doctor one after the other, each within its own time.

A check is a small function that yields diagnoses, and stands in `CHECKS`. What hangs is left behind, what fails is a
diagnosis too, and secrets are taken out of what people read.
"""

from __future__ import annotations

import queue
import re
import threading
import time
from collections.abc import Iterator, Sequence
from urllib.parse import unquote, urlsplit

from loan_default.homes import home_origins, prepare_environment
from loan_default.operations.doctor.alerts import check_alerts, send_test_message
from loan_default.operations.doctor.batches import check_batches
from loan_default.operations.doctor.check import Check, CheckContext, Diagnosis
from loan_default.operations.doctor.clock import check_clock
from loan_default.operations.doctor.installation import check_homes, check_loan_data, check_settings
from loan_default.operations.doctor.instance import check_dagster
from loan_default.operations.doctor.pages import check_pages
from loan_default.operations.doctor.registry import check_registry, check_studies, check_workers
from loan_default.operations.doctor.server import check_server
from loan_default.operations.doctor.storage import check_disk, check_storage
from loan_default.risk.errors import BadInput
from loan_default.settings import ADMIN_TOKENS, API_TOKENS, STUDY_STORAGE, Settings, load_settings

CHECKS = (
    Check("settings", check_settings, "Correct what it names."),
    Check("homes", check_homes, "Correct LOAN_DEFAULT_HOME and DAGSTER_HOME."),
    Check("loan data", check_loan_data, "See whether what LOAN_DEFAULT_DATA names can be reached."),
    Check("storage", check_storage, "See whether what LOAN_DEFAULT_STORAGE names can be reached, and by whom."),
    Check("disk", check_disk, "See whether the file systems answer."),
    Check("registry", check_registry, "See whether what MLFLOW_TRACKING_URI names can be reached.", seconds=60),
    Check("tuning studies", check_studies, f"See whether the database that {STUDY_STORAGE} names answers."),
    Check("workers", check_workers, "See what answers at LOAN_DEFAULT_DASK_ADDRESS.", seconds=40),
    Check("scoring server", check_server, "See what answers at LOAN_DEFAULT_SERVING_URL."),
    Check("pages", check_pages, "See what answers on the port that LOAN_DEFAULT_WEB_PORT names."),
    Check(
        "dagster",
        check_dagster,
        "See whether dagster.yaml in its home is sound, and its database answers.",
        seconds=30,
    ),
    Check("batches", check_batches, "See whether the storage and Dagster's records can be read.", seconds=40),
    Check("clock", check_clock, "See what time it is."),
    Check("alerts", check_alerts, "Correct the settings of mail."),
)
TEST_ALERT = Check("test alert", send_test_message, "Correct the settings of mail and Slack.", seconds=40)


def examine(*, send_test_alert: bool = False, checks: Sequence[Check] | None = None) -> Iterator[Diagnosis]:
    """Yield the diagnoses of every check as it ends; secrets are left out."""
    try:
        settings = load_settings()
    except BadInput as error:
        yield Diagnosis("settings", "wrong", str(error), "Correct it in the environment or in .env.")
        return
    homes = home_origins()
    prepare_environment(settings)
    context, extra = CheckContext(settings, homes), [TEST_ALERT] if send_test_alert else []
    for check in [*(CHECKS if checks is None else checks), *extra]:
        for diagnosis in _within_its_time(check, context):
            yield _without_secrets(diagnosis, settings)


def _within_its_time(check: Check, context: CheckContext) -> Iterator[Diagnosis]:
    """Yield the diagnoses of a check; what hangs is left behind, what fails is a diagnosis too."""
    diagnoses: queue.SimpleQueue[Diagnosis | None] = queue.SimpleQueue()

    def run() -> None:
        try:
            for diagnosis in check.run(context):
                diagnoses.put(diagnosis)
        except Exception as error:  # noqa: BLE001 - whatever it is, a person reads a line and the next check follows
            message = (str(error).strip().splitlines() or ["without a word"])[0].rstrip(".")
            diagnoses.put(
                Diagnosis(check.name, "wrong", f"Looking failed: {type(error).__name__}: {message}.", check.remedy)
            )
        diagnoses.put(None)

    threading.Thread(target=run, name=f"check {check.name}", daemon=True).start()
    deadline = time.monotonic() + check.seconds
    while True:
        try:
            diagnosis = diagnoses.get(timeout=max(deadline - time.monotonic(), 0))
        except queue.Empty:
            yield Diagnosis(check.name, "wrong", f"There was no answer within {check.seconds:g} s.", check.remedy)
            return
        if diagnosis is None:
            return
        yield diagnosis


def _without_secrets(diagnosis: Diagnosis, settings: Settings) -> Diagnosis:
    secrets = {*settings.secrets.values(), *settings.tokens(API_TOKENS), *settings.tokens(ADMIN_TOKENS)}
    for address in (settings.dagster_storage, settings.study_storage):
        if password := urlsplit(address).password:
            secrets |= {address, password, unquote(password)}

    def without(text: str) -> str:
        for secret in sorted(secrets, key=len, reverse=True):
            text = text.replace(secret, "•••")
        return re.sub(r"//[^/@\s]+@", "//", text)

    return Diagnosis(diagnosis.check, diagnosis.mark, without(diagnosis.message), without(diagnosis.remedy))
