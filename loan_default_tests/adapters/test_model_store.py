"""What a training leaves in a real SQLite store, and that it is found again as it was."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pytest
from upath import UPath

from loan_default.adapters import decision_log
from loan_default.adapters.layout import StorageLayout
from loan_default.adapters.model_store import ModelStore, libraries, libraries_of, needed_by, provenance
from loan_default.adapters.tracking import PREVIOUS, PRODUCTION, STAGING, ModelVersion
from loan_default.risk.evaluation import WindowDesign
from loan_default.risk.metrics import Bootstrap, Interval
from loan_default.risk.model.scorer import Scorer
from loan_default.risk.model.training import Candidate
from loan_default.risk.monitoring.drift import profile_batch, psi
from loan_default.risk.monitoring.reference_profile import reference_part, scored_features, with_scores
from loan_default.risk.policy import load_policy
from loan_default.risk.validation.champion_challenger import Judgement, judge_on_test, score_test
from loan_default.steps.promotion import decide_on_version
from loan_default_tests.conftest import Cleaned
from loan_default_tests.packages import contract, scorer, timed_scorer
from loan_default_tests.stores import client_of, new_run, new_tracking

KINDS = ("xgboost", "logistic_regression")  # best first
SAMPLE_ROWS = 150


class Registered(NamedTuple):
    store: ModelStore
    version: ModelVersion
    loans: pl.DataFrame

    @property
    def elsewhere(self) -> ModelStore:
        """The same store, asked from where nothing has been downloaded yet."""
        return ModelStore(self.store.tracking, self.store.cache.with_name("empty"))


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory, cleaned: Cleaned) -> Registered:
    """The first version of two candidates, developed on 400 loans."""
    folder = tmp_path_factory.mktemp("models")
    store = ModelStore(new_tracking(folder / "store"), folder / "not" / "there")
    loans = pl.read_parquet(cleaned.path).head(400)
    candidates = [Candidate(kind, scorer(kind), {}, {}, np.empty(0), np.empty(0)) for kind in KINDS]
    run_id = new_run(store.tracking)
    tags = {"seed": "7"}
    features = reference_part(contract(), months_of(loans), SAMPLE_ROWS / loans.height, loans)
    reference = with_scores(features, scorer("xgboost").score(loans)["raw_score"])
    version = store.register(run_id, candidates, reference=reference, tags=tags)
    return Registered(store, version, loans)


def months_of(loans: pl.DataFrame) -> tuple[str, str]:
    """Return the first and the last issue month, as YYYY-MM."""
    months = loans["issue_d"].dt.strftime("%Y-%m")
    return str(months.min()), str(months.max())


def same_scores(actual: Scorer, expected: Scorer, loans: pl.DataFrame) -> bool:
    return actual.kind == expected.kind and actual.score(loans).equals(expected.score(loans))


@pytest.mark.integration
def test_the_best_is_registered_and_every_candidate_kept(registered: Registered) -> None:
    store, version, loans = registered.elsewhere, registered.version, registered.loans
    assert version.version == 1
    assert version.aliases == (STAGING,)
    assert version.tags == {"kind": "xgboost", "seed": "7"}
    assert same_scores(store.scorer(version), scorer("xgboost"), loans)
    for kind in KINDS:
        assert same_scores(store.candidate(version.run_id, kind), scorer(kind), loans)
    assert list(registered.store.cache.iterdir()) == []  # no scratch files stay


@pytest.mark.integration
def test_the_reference_is_what_the_version_was_developed_on(registered: Registered) -> None:
    reference = registered.elsewhere.reference(registered.version)
    profile, sample = reference.profile, reference.sample
    loans = registered.loans
    assert profile.rows == loans.height
    assert profile.months == months_of(loans)
    assert profile.score == "raw_score"
    assert set(profile.columns) == {*contract().feature_names, "raw_score"}
    scored = scored_features(scorer("xgboost"), loans)
    moved = psi(profile, profile_batch(scored, profile))
    assert max(value or 0 for value in moved.values()) < 1e-9
    assert sample.height == SAMPLE_ROWS
    assert sample.columns == scored.columns
    features = list(contract().feature_names)
    assert sample.join(scored, on=features, how="anti", nulls_equal=True).is_empty()


def judged(cleaned: Cleaned) -> Judgement:
    """Judge both candidates on the newest loans whose outcome is known."""
    resolved = pl.read_parquet(cleaned.path).filter(pl.col("outcome").is_not_null()).tail(300)
    candidates = {kind: scorer(kind) for kind in KINDS}
    policy = load_policy().promotion
    test = score_test(candidates, None, policy, resolved)
    return judge_on_test(
        test, candidates, "xgboost", None, policy, design=WindowDesign(out_of_time=True), bootstrap=Bootstrap(0, 3)
    )[0]


@pytest.mark.integration
def test_an_evaluation_joins_the_training_run(registered: Registered, cleaned: Cleaned) -> None:
    judgement = judged(cleaned)
    run_id = registered.version.run_id
    registered.store.log_evaluation(run_id, judgement, {"roc.png": b"picture"})
    metrics = client_of(registered.store.tracking).get_run(run_id).data.metrics
    for name in ("auc", "ks", "brier", "ece"):
        assert metrics[name] == pytest.approx(judgement.evaluation.metrics[name].value)
    assert isinstance(judgement.leaderboard["xgboost"]["auc"], Interval)
    record = registered.store.tracking.read_json(run_id, "evaluation.json")
    assert record == json.loads(json.dumps(judgement.to_dict()))
    plots = registered.store.tracking.download_folder(run_id, "plots", registered.elsewhere.cache / "plots")
    assert [(path.name, path.read_bytes()) for path in plots.iterdir()] == [("roc.png", b"picture")]


def decided(version: ModelVersion, verdict: str) -> Mapping[str, Any]:
    reasons = ["Out of time.", "AUC 0.70."]
    by = {"decided_at": "2018-12-01T00:00:00+00:00", "decided_by": "policy", "champion": None}
    return {"candidate": version.version, "verdict": verdict, "reasons": reasons, **by}


@pytest.mark.integration
def test_only_a_promotion_moves_production(registered: Registered) -> None:
    store, version = registered.store, registered.version
    for verdict, aliases in (("hold", {STAGING}), ("promote", {STAGING, PRODUCTION})):
        store.record_decision(decided(version, verdict))
        now = store.tracking.get(version.version)
        assert set(now.aliases) == aliases
        assert now.tags["decision"] == verdict
        assert now.tags["decided_by"] == "policy"
        assert now.tags["decided_at"] == "2018-12-01T00:00:00+00:00"
        assert now.tags["decision_reasons"] == "Out of time.\nAUC 0.70."
        assert store.tracking.read_json(version.run_id, "promotion.json") == decided(version, verdict)
    assert store.tracking.version_of(PREVIOUS) is None


@pytest.mark.integration
def test_a_hold_leaves_the_promotion_beside_the_version_in_production(
    registered: Registered, cleaned: Cleaned, tmp_path: Path
) -> None:
    store, version, layout = registered.store, registered.version, StorageLayout(UPath(tmp_path))
    store.record_decision(decided(version, "promote"))
    promotion = store.tracking.get(version.version).tags
    evaluation = {"version": version.version, "champion_version": None, "judgement": judged(cleaned).to_dict()}
    for day in (1, 2):  # promotion_job, run again on the version in production
        now = datetime(2019, 1, day, tzinfo=UTC)
        decide_on_version(evaluation, store, load_policy(), layout, now=now, decided_by="policy, run 7")
        production = store.tracking.version_of(PRODUCTION)
        assert production is not None
        assert (production.version, production.tags) == (version.version, promotion)
        assert production.tags["decision"] == "promote"
    reviews = decision_log.read(layout)
    assert [(review["verdict"], review["decided_by"]) for review in reviews] == [("hold", "policy, run 7")] * 2
    assert store.tracking.read_json(version.run_id, "promotion.json") == reviews[-1]


@pytest.mark.integration
def test_provenance_names_the_code_and_libraries_their_versions() -> None:
    tags = provenance()
    assert tags.keys() == {"git_commit", "code_fingerprint"}
    assert re.fullmatch(r"[0-9a-f]{16}", tags["code_fingerprint"])
    assert libraries()["polars"] == pl.__version__
    assert {"loan-default", "xgboost", "mlflow"} <= libraries().keys()
    assert all([*tags.values(), *libraries().values()])


def test_libraries_of_an_earlier_training_are_read_from_its_own_entries() -> None:
    assert libraries_of({"kind": "xgboost", "version.polars": "2.0"}) == {"polars": "2.0"}
    assert libraries_of({"kind": "xgboost", "libraries": {"polars": "2.1"}}) == {"polars": "2.1"}


@pytest.mark.slow
def test_a_version_with_hazards_needs_their_library_too() -> None:
    assert needed_by(scorer("logistic_regression")) == [*needed_by(timed_scorer("logistic_regression"))][:-1]
    assert needed_by(timed_scorer("logistic_regression"))[-1] == "xgboost"
    assert needed_by(timed_scorer("xgboost")) == needed_by(scorer("xgboost")) == ["xgboost"]
