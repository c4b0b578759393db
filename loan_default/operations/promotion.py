"""Decide on versions: by policy, by a person against the policy, and back to the version before.

How the policy decides is `risk.validation`'s; moving the alias is `adapters.model_store`'s.
"""

from __future__ import annotations

import getpass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from loan_default.adapters import decision_log
from loan_default.operations.records import Record, read_record
from loan_default.operations.runs import run_job
from loan_default.operations.training import TrainingRecords, read_training
from loan_default.risk.errors import BadInput
from loan_default.settings import Settings

if TYPE_CHECKING:
    from loan_default.adapters.model_store import ModelStore


def open_models(settings: Settings) -> ModelStore:
    """Return the store of models, candidates and reference profiles."""
    from loan_default.adapters.model_store import ModelStore

    return ModelStore(settings.tracking, settings.models)


def promote(settings: Settings, version: int | None = None) -> TrainingRecords:
    """Measure the newest version on the test window and decide on it by policy.

    Args:
        settings: of the home.
        version: the version that is meant; it must be the newest.

    Raises:
        BadInput: no version was trained, or another than the newest is meant.
        JobFailed: a step failed.
    """
    newest = _newest_version(settings)
    if newest is None:
        raise BadInput("There is no trained model to decide on; run loan-default train first.")
    if version not in (None, newest):
        raise BadInput(
            f"The policy decides on the newest version, {newest}, which can be measured on the test window; "
            f"version {version} is promoted with --force and --reason TEXT only."
        )
    run_job(settings, "promotion_job")
    return read_training(settings)


def promote_by_hand(settings: Settings, version: int | None, reason: str) -> Record:
    """Put a version into production whatever the policy says; return the record of the decision.

    Raises:
        BadInput: no reason is named, there is no such version, or it is in production already.
    """
    chosen = version or _newest_version(settings)
    if chosen is None or not reason:
        raise BadInput("--force promotes against the policy: give --version N and --reason TEXT.")
    return _log(
        settings, open_models(settings).promote_by_hand(chosen, reason=reason, by=_person(), now=datetime.now(UTC))
    )


def roll_back(settings: Settings, reason: str) -> Record:
    """Put the version back into production that was there before; return the record of the decision.

    Raises:
        BadInput: no version was in production before.
    """
    return _log(settings, open_models(settings).roll_back(reason=reason, by=_person(), now=datetime.now(UTC)))


def _log(settings: Settings, record: Record) -> Record:
    decision_log.add(settings.layout, record)
    return record


def _newest_version(settings: Settings) -> int | None:
    training = read_record(settings, "trained_model") or {}
    return training.get("version")


def _person() -> str:
    return f"{getpass.getuser()}, by hand"
