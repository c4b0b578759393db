"""Which loans go to the challenger, and what it says of them unseen."""

import json
from pathlib import Path

import numpy as np
import pytest

from loan_default.serving.decision_records import DecidingVersion
from loan_default.serving.follower import FollowedAlias
from loan_default.serving.routing import RememberedVersion, ShadowScoring, is_challenged
from loan_default.serving.served_model import ServedModel
from loan_default_tests.packages import applications, package, scorer

LOANS = [f"loan-{number}" for number in range(4_000)]


def test_a_share_of_the_loans_stable_for_each() -> None:
    chosen = [is_challenged(loan, 0.2) for loan in LOANS]
    assert abs(sum(chosen) / len(LOANS) - 0.2) < 0.03
    assert chosen == [is_challenged(loan, 0.2) for loan in LOANS]


def test_a_larger_share_keeps_those_of_the_smaller() -> None:
    assert {loan for loan in LOANS if is_challenged(loan, 0.1)} <= {loan for loan in LOANS if is_challenged(loan, 0.3)}


def test_the_ends() -> None:
    assert not any(is_challenged(loan, 0.0) for loan in LOANS)
    assert all(is_challenged(loan, 1.0) for loan in LOANS)
    assert not is_challenged(None, 1.0)
    assert not is_challenged("", 1.0)


@pytest.fixture(scope="module")
def challenger(tmp_path_factory: pytest.TempPathFactory) -> FollowedAlias:
    folder = package(tmp_path_factory.mktemp("package"), "logistic_regression")
    return FollowedAlias("staging", model=ServedModel.load(folder, 2))


def test_the_shadow_scores_its_share_of_what_another_version_decided(challenger: FollowedAlias) -> None:
    deciding, model = DecidingVersion.of(1, scorer("xgboost")), challenger.model
    assert model is not None
    sent, _ = applications()
    body = str([{**application, "id": "a"} for application in sent]).replace("'", '"').replace("None", "null")
    read = model.read(f'{{"inputs": {body}}}'.encode(), "application/json", at_most=40).applications
    values, ids = np.asarray(read.values), LOANS[: len(sent)]
    version, pds = ShadowScoring(challenger, 0.5)(deciding, ids, values) or (0, [])
    assert version == 2
    chosen = [index for index, loan in enumerate(ids) if is_challenged(loan, 0.5)]
    assert 0 < len(chosen) < len(ids)
    assert [index for index, pd in enumerate(pds) if pd is not None] == chosen
    expected = model.predict(read).pds
    assert [pds[index] for index in chosen] == pytest.approx([expected[index] for index in chosen], abs=1e-9)
    fewer = DecidingVersion.of(1, scorer("xgboost")).fields[1:]
    assert ShadowScoring(challenger, 0.5)(DecidingVersion(1, fewer, None, 0.1, 0.2, "", ""), ids, values[:, 1:]) is None
    assert ShadowScoring(challenger, 0.5)(DecidingVersion.of(2, scorer("xgboost")), ids, values) is None, "its own"
    assert ShadowScoring(challenger, 0.0)(deciding, ids, values) is None
    assert ShadowScoring(challenger, 0.5)(deciding, [None], values[:1]) is None
    assert ShadowScoring(FollowedAlias("staging"), 0.5)(deciding, ids, values) is None


def test_the_version_that_a_server_remembers_is_loaded_when_it_changes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    last = tmp_path / "last-staging.json"
    remembered = RememberedVersion(last)
    assert remembered.model is None
    folder = package(tmp_path / "package", "logistic_regression")
    last.write_text(json.dumps({"version": 2, "package": str(folder)}))
    model = remembered.model
    assert model is not None
    assert (model.version, remembered.model) == (2, model)
    last.write_text(json.dumps({"version": 3, "package": str(folder)}))
    assert remembered.model is not None
    assert remembered.model.version == 3
    last.write_text(json.dumps({"version": 4, "package": str(tmp_path)}))
    assert (remembered.model, remembered.model) == (None, None)
    assert len(caplog.records) == 1
