"""Checks what a person has set: settings, reviewed files, and the loan file that they name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from loan_default.adapters import file_listing
from loan_default.adapters.gcs import BucketError
from loan_default.operations.doctor.check import ASK_SECONDS, CheckContext, Diagnosis, diagnosis_of, size_of
from loan_default.risk.errors import BadInput
from loan_default.risk.text import plural
from loan_default.settings import Settings, missing_variables, unknown_variables


def check_settings(context: CheckContext) -> Iterator[Diagnosis]:
    """Check that the environment holds no setting that nobody reads, and that the reviewed files can be read."""
    settings = context.settings
    unknown = unknown_variables()
    for name, setting in sorted(unknown.items()):
        if setting:
            yield Diagnosis(
                "settings", "wrong", f"{name} is set and is no setting.", f"Call it {setting}, or unset it."
            )
        else:
            yield Diagnosis(
                "settings", "note", f"{name} is set and is no setting.", "Unset it, if nothing else needs it."
            )
    if missing := missing_variables():
        message = (
            f"Environment {settings.environment} leaves nothing to a default, and {', '.join(missing)} is not set."
        )
        yield Diagnosis("settings", "wrong", message, "Set what it names; until then no job runs.")
    if not unknown and not missing:
        yield Diagnosis("settings", "ok", f"Environment {settings.environment}, home {settings.home}.")
    yield from judge_reviewed_files(settings)


def judge_reviewed_files(settings: Settings) -> Iterator[Diagnosis]:
    """Read the contract, the policy and the search space, and say which cannot be used and why."""
    from loan_default.risk.contract.loading import load_contract
    from loan_default.risk.model.search_space import load_search_space
    from loan_default.risk.policy import load_policy

    loads: dict[str, tuple[Callable[[Path | None], Any], Path | None]] = {
        "CONTRACT": (load_contract, settings.contract),
        "POLICY": (lambda file: load_policy(file, load_contract(settings.contract)), settings.policy),
        "SEARCH_SPACE": (load_search_space, settings.search_space),
    }
    problems: set[str] = set()
    for name, (load, file) in loads.items():
        what = name.lower().replace("_", " ")
        try:
            load(file)
        except (BadInput, OSError, ValueError) as error:
            remedy = f"Correct the file, or unset LOAN_DEFAULT_{name} for the one that is shipped."
            if str(error) not in problems:  # without a contract, the policy cannot be read either
                yield Diagnosis("reviewed files", "wrong", str(error), remedy)
            problems.add(str(error))
        else:
            yield Diagnosis("reviewed files", "ok", f"The {what} is {file or 'the one that is shipped'}.")


def check_homes(context: CheckContext) -> Iterator[Diagnosis]:
    """Check that every tool keeps runs, models and data in one home, unless somebody meant otherwise."""
    settings, origins = context.settings, context.homes
    runs, home = settings.dagster_home, settings.home
    remedy = "Run loan-default init here, which writes both homes to .env."
    if origins.dagster_home is None:
        message = "DAGSTER_HOME is set neither in .env of this folder nor in the environment: dagster and dg would "
        yield Diagnosis("homes", "wrong", f"{message}keep their runs in a temporary folder.", remedy)
    elif runs == home / "dagster":
        yield Diagnosis("homes", "ok", f"Runs, models and data are kept in {home}.")
    elif (origins.dagster_home, origins.home) == (".env", "export"):
        message = f"Runs go to {runs} (.env), models and data to {home} (exported)."
        yield Diagnosis("homes", "wrong", message, remedy)
    else:
        yield Diagnosis("homes", "ok", f"Runs are kept in {runs} as DAGSTER_HOME says, models and data in {home}.")


def check_loan_data(context: CheckContext) -> Iterator[Diagnosis]:
    """Check that LOAN_DEFAULT_DATA names files that exist; scoring works without."""
    spec = context.settings.data
    if not spec:
        remedy = "Set LOAN_DEFAULT_DATA to train without --data, as schedules and retrainings do."
        yield Diagnosis("loan data", "note", "LOAN_DEFAULT_DATA is not set.", remedy)
        return
    remedy = "Correct LOAN_DEFAULT_DATA, or put the file there; nothing can be retrained until then."
    try:
        files = file_listing.match_files(spec, patience=ASK_SECONDS)
    except BucketError as error:
        yield diagnosis_of("loan data", error, remedy)
        return
    if files:
        size = size_of(sum(file.size for file in files))
        yield Diagnosis("loan data", "ok", f"{spec} names {plural(len(files), 'file')} of {size}.")
    else:
        yield Diagnosis("loan data", "wrong", f"{spec} names no file.", remedy)
