"""A training's results in MLflow: names of artifacts, tags, candidates and profiles, to store and to find them.

`Tracking` speaks with MLflow; this module says what is stored under which name. Fitting and measuring are `risk`.
"""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from importlib.metadata import version as installed_version
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any

import polars as pl

import loan_default
from loan_default.adapters.layout import EVALUATION
from loan_default.adapters.tracking import (
    PREVIOUS,
    PRODUCTION,
    ModelVersion,
    Tracking,
    serving_requirements,
    signature_fields,
)
from loan_default.risk.data.splits import Splits
from loan_default.risk.errors import BadInput
from loan_default.risk.metrics import SHOWN_METRICS
from loan_default.risk.model import canary
from loan_default.risk.model.candidates import registry
from loan_default.risk.model.hazard import RECIPE
from loan_default.risk.model.scorer import Scorer
from loan_default.risk.model.training import Candidate
from loan_default.risk.monitoring.drift import ReferenceProfile
from loan_default.risk.monitoring.reference_profile import Reference, example_application
from loan_default.risk.validation.champion_challenger import Judgement

CANDIDATES, REFERENCE = "candidates", "reference"  # folders of a run
PROFILE = "reference_profile.json"
SAMPLE = "reference_sample.parquet"
DRAWS = "development_draws.parquet"  # of a book without a date
SPLITS = "windows.json"
TRAINING = "training.json"  # the record of the training, beside what it left
LIBRARIES = "libraries.json"  # their versions
PLOTS = "plots"  # the folder of pictures
EARLIER_LIBRARY = "version."  # began a tag for each library
# Tags of a version that say what it was made of.
ORIGIN = (
    *("data_fingerprint", "training_fingerprint", "contract_fingerprint", "policy_fingerprint", "code_fingerprint"),
    *("git_commit", "seed"),
)


@dataclass(frozen=True)
class ModelStore:
    """A tracking store with a local cache for what is downloaded from it."""

    tracking: Tracking
    cache: Path

    def register(
        self,
        run_id: str,
        candidates: Sequence[Candidate],
        variants: Mapping[str, Candidate] = MappingProxyType({}),
        *,
        reference: Reference,
        tags: Mapping[str, str],
    ) -> ModelVersion:
        """Store every candidate, and register the first as the next version, with its reference profile.

        Variants of the first, by name, are stored beside the candidates, to be compared with it.
        """
        best = candidates[0]
        with TemporaryDirectory(dir=_make_folder(self.cache)) as scratch:
            for candidate in candidates:
                candidate.scorer.save(Path(scratch, CANDIDATES, candidate.kind))
            for name, variant in variants.items():
                variant.scorer.save(Path(scratch, CANDIDATES, name))
            self.tracking.log_folder(run_id, Path(scratch, CANDIDATES), CANDIDATES)
            package = Path(scratch, CANDIDATES, best.kind)
            example = example_application(reference.profile, best.scorer.contract)
            canary.write(package, best.scorer, example)
            self._log_reference(run_id, reference, Path(scratch, REFERENCE))
            uri = self.tracking.log_model_package(
                run_id,
                package,
                input_example=example,
                fields=signature_fields(best.scorer.contract),
                requirements=serving_requirements(needed_by(best.scorer)),
                code=Path(loan_default.__file__).parent,
            )
        return self.tracking.register(run_id, uri, {"kind": best.kind, **tags})

    def _log_reference(self, run_id: str, reference: Reference, folder: Path) -> None:
        _make_folder(folder).joinpath(PROFILE).write_text(reference.profile.to_json(), encoding="utf-8")
        reference.sample.write_parquet(folder / SAMPLE)
        if reference.draws is not None:
            pl.DataFrame({"draw": reference.draws}).write_parquet(folder / DRAWS)
        self.tracking.log_folder(run_id, folder, REFERENCE)

    def log_evaluation(self, run_id: str, judgement: Judgement, figures: Mapping[str, bytes]) -> None:
        """Add the evaluation on the test window to the training run: the metrics that matter, all of it, pictures."""
        evaluation = judgement.evaluation
        metrics = {name: evaluation.metrics[name].value for name in SHOWN_METRICS}
        if evaluation.opinion_gain is not None:
            metrics["gain_over_opinion"] = evaluation.opinion_gain.value
        self.tracking.log_metrics(run_id, metrics)
        self.tracking.log_json(run_id, EVALUATION, judgement.to_dict())
        with TemporaryDirectory(dir=_make_folder(self.cache)) as scratch:
            for name, content in figures.items():
                Path(scratch, name).write_bytes(content)
            self.tracking.log_folder(run_id, Path(scratch), PLOTS)

    def record_decision(self, record: Mapping[str, Any]) -> None:
        """Record a decision with its version, and move the alias where the decision says so.

        The version in production keeps the tags of the decision that put it there: a later hold leaves them alone.
        """
        version = self.tracking.get(record["candidate"])
        tags = {
            "decision": record["verdict"],
            "decided_at": record["decided_at"],
            "decided_by": record["decided_by"],
            "decision_reasons": "\n".join(record["reasons"]),
        }
        self.tracking.log_json(version.run_id, "promotion.json", record)
        if record["verdict"] in ("promote", "rollback"):
            self.tracking.promote(version.version, tags)
        elif PRODUCTION not in version.aliases:
            self.tracking.set_version_tags(version.version, tags)

    def promote_by_hand(self, version: int, *, reason: str, by: str, now: datetime) -> dict[str, Any]:
        """Put a version into production whatever the policy says, and return the record of it."""
        champion = self.tracking.version_of(PRODUCTION)
        if champion is not None and champion.version == version:
            raise BadInput(f"Version {version} is in production already.")
        return self._by_hand("promote", version, champion, reason=reason, by=by, now=now)

    def roll_back(self, *, reason: str, by: str, now: datetime) -> dict[str, Any]:
        """Put back the version that production had before, which leaves the present one as the previous.

        Return the record of it.

        Raises:
            BadInput: no version was in production before.
        """
        champion, previous = self.tracking.version_of(PRODUCTION), self.tracking.version_of(PREVIOUS)
        if champion is None or previous is None:
            raise BadInput("No other version was in production before; there is nothing to go back to.")
        return self._by_hand("rollback", previous.version, champion, reason=reason, by=by, now=now)

    def _by_hand(
        self, verdict: str, version: int, champion: ModelVersion | None, *, reason: str, by: str, now: datetime
    ) -> dict[str, Any]:
        record = {
            "verdict": verdict,
            "candidate": version,
            "champion": champion.version if champion else None,
            "findings": [{"rule": "by_hand", "passed": True, "sentence": reason}],
            "reasons": [reason],
            "evidence": {"origin": origin_of(self.tracking.get(version))},
            "decided_at": now.isoformat(timespec="seconds"),
            "decided_by": by,
        }
        self.record_decision(record)
        return record

    def package(self, version: ModelVersion) -> Path:
        """Return the folder of a version's model package on this machine."""
        return self.tracking.download_package(version, self.cache)

    def scorer(self, version: ModelVersion) -> Scorer:
        """Load the scorer of a registered version."""
        return Scorer.load(self.package(version))

    def candidate(self, run_id: str, kind: str) -> Scorer:
        """Load a candidate that a training run stored."""
        return Scorer.load(self._download(run_id, CANDIDATES) / kind)

    def training(self, version: ModelVersion) -> Mapping[str, Any] | None:
        """Read the record of the training of a version; None where it left none, as trainings of before."""
        record: Mapping[str, Any] | None = self.tracking.find_json(version.run_id, TRAINING)
        return record

    def reference(self, version: ModelVersion) -> Reference:
        """Read the profile and the sample of the loans that a version was developed on."""
        folder = self._download(version.run_id, REFERENCE)
        profile = ReferenceProfile.from_json((folder / PROFILE).read_text(encoding="utf-8"))
        draws = pl.read_parquet(folder / DRAWS, glob=False)["draw"] if (folder / DRAWS).is_file() else None
        return Reference(profile, pl.read_parquet(folder / SAMPLE, glob=False), draws)

    def splits(self, version: ModelVersion) -> Splits:
        """Read the windows that a version was developed and tested on."""
        return Splits.from_dict(self.tracking.read_json(version.run_id, SPLITS))

    def _download(self, run_id: str, name: str) -> Path:
        return self.tracking.download_folder(run_id, name, self.cache / "runs" / run_id)


def needed_by(scorer: Scorer) -> list[str]:
    """Name the distributions that a version needs to answer: its model's, and its hazards'."""
    kinds = [scorer.kind, *([RECIPE] if scorer.hazard else [])]
    return [*dict.fromkeys(name for kind in kinds for name in registry.candidate_class(kind).requirements)]


def origin_of(version: ModelVersion) -> dict[str, str]:
    """Return the fingerprints of what a version was made of, and its seed, as far as its training recorded them."""
    return {tag: version.tags[tag] for tag in ORIGIN if tag in version.tags}


@lru_cache
def provenance() -> dict[str, str]:
    """Return the code that ran: its fingerprint, and the git commit where there is one."""
    return {"git_commit": _git_commit(), "code_fingerprint": _code_fingerprint()}


@lru_cache
def libraries() -> dict[str, str]:
    """Return the versions of the platform and of the libraries that a training runs on."""
    of_candidates = dict.fromkeys(name for candidate in registry.CANDIDATES for name in candidate.requirements)
    names = ("loan-default", *of_candidates, "polars", "optuna", "mlflow", "dagster")
    return {name: _version(name) for name in names}


def libraries_of(training: Mapping[str, Any]) -> dict[str, str]:
    """Return the libraries that the record of a training names; earlier ones named each in an entry of its own."""
    earlier = {
        key.removeprefix(EARLIER_LIBRARY): text for key, text in training.items() if key.startswith(EARLIER_LIBRARY)
    }
    named: dict[str, str] = training.get("libraries", earlier)
    return named


def _code_fingerprint() -> str:
    """Return 16 hexadecimal digits that change with any module of the package, also where no git is."""
    package, digest = Path(loan_default.__file__).parent, hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _version(name: str) -> str:
    from importlib.metadata import PackageNotFoundError

    try:
        return installed_version(name)
    except PackageNotFoundError:  # run from a source tree that is not installed
        return "not installed"


def _git_commit() -> str:
    command = ["git", "-C", str(Path(loan_default.__file__).parent), "rev-parse", "HEAD"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except FileNotFoundError:  # no git on this machine
        return "unknown"
    return answer.stdout.strip() or "unknown"


def _make_folder(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
