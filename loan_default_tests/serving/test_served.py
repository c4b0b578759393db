"""A loaded version: its canary, the form of its trees, and the same answer from every way in."""

import json
from pathlib import Path

import numpy as np
import pytest

from loan_default.risk import canary, onnx_trees
from loan_default.risk.errors import BadInput
from loan_default.serving import served
from loan_default.serving.served import ServedModel
from loan_default_tests.packages import applications, package, scorer


@pytest.mark.parametrize("kind", ["xgboost", "random_forest", "logistic_regression"])
def test_quick_careful_and_batch_say_the_same(tmp_path: Path, kind: str) -> None:
    model = ServedModel.load(package(tmp_path, kind), 3)
    sent, features = applications()
    quick = model.read(sent)
    assert quick is not None
    batch = scorer(kind).score(features).rows(named=True)
    for answers in (model.answers(quick), model.answers(model.check(sent))):
        assert [answer.pd for answer in answers] == pytest.approx([row["pd"] for row in batch], abs=1e-6)
        assert [answer.score for answer in answers] == [row["score"] for row in batch]
        assert [answer.decision for answer in answers] == [row["decision"] for row in batch]
        assert [answer.reasons for answer in answers] == [row["reasons"] for row in batch]
    assert model.quick_form == ("logistic_regression" if kind == "logistic_regression" else "onnx")


def test_many_rows_take_the_other_form_and_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = ServedModel.load(package(tmp_path), 1)
    rows = model.read(applications()[0])
    assert rows is not None
    few = model.answers(rows)
    monkeypatch.setattr(served, "_ROWS_FOR_ONNX", 1)
    assert [one.pd for one in model.answers(rows)] == pytest.approx([one.pd for one in few], abs=1e-6)


def test_trees_that_disagree_are_not_used(tmp_path: Path) -> None:
    package(tmp_path)
    (tmp_path / onnx_trees.FILE).write_bytes(onnx_trees.to_onnx(scorer("random_forest").model.booster))  # type: ignore[attr-defined]
    model = ServedModel.load(tmp_path, 1)
    assert model.quick_form == "xgboost"
    rows = model.read(applications()[0])
    assert rows is not None
    expected = scorer("xgboost").score(applications()[1])["pd"].to_list()
    assert [one.pd for one in model.answers(rows)] == pytest.approx(expected, abs=1e-12)


def test_a_package_that_forgot_its_canary_is_refused(tmp_path: Path) -> None:
    kept = json.loads((package(tmp_path) / canary.FILE).read_text())
    (tmp_path / canary.FILE).write_text(json.dumps({**kept, "pd": kept["pd"] + 0.01}))
    with pytest.raises(BadInput, match="Version 5 gives its canary the PD"):
        ServedModel.load(tmp_path, 5)


def test_trial_rows_reach_every_tree(tmp_path: Path) -> None:
    X = served._trial_rows(scorer("xgboost"))
    assert np.isnan(X).any(axis=0).all()
    assert scorer("xgboost").model.margins(X).std() > 0.1


@pytest.mark.parametrize(("given", "known"), [("A-1", "A-1"), (5, "5"), (5.0, "5"), (None, None)])
def test_an_id_is_text_whatever_it_came_as(tmp_path: Path, given: object, known: str | None) -> None:
    model = ServedModel.load(package(tmp_path), 1)
    application = {**applications()[0][0], "id": given}
    assert [row.id for row in model.check([application])] == [known]
    if not isinstance(given, float):
        assert [row.id for row in model.read([application]) or []] == [known]
