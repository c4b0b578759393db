"""The registry: names that are known, and models that are found by them."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from loan_default.risk.errors import BadInput
from loan_default.risk.model.candidates.lightgbm_trees import LightGBMTrees
from loan_default.risk.model.candidates.registry import CANDIDATES, boosted_class, candidate_class, load_model
from loan_default.risk.model.candidates.xgboost_trees import XGBoostTrees
from loan_default.risk.model.training import Candidate


def test_each_candidate_has_a_name_of_its_own() -> None:
    assert [candidate_class(candidate.name) for candidate in CANDIDATES] == [*CANDIDATES]
    assert len({candidate.name for candidate in CANDIDATES}) == len(CANDIDATES)


def test_the_names_that_registered_versions_carry_stay() -> None:
    assert {"xgboost", "random_forest", "logistic_regression"} <= {candidate.name for candidate in CANDIDATES}


def test_an_unknown_name_is_refused_with_those_that_there_are() -> None:
    sentence = r"^neural is no candidate that this release knows; choose among xgboost, random_forest, .*, lightgbm\.$"
    with pytest.raises(BadInput, match=sentence):
        candidate_class("neural")


def test_boosted_trees_alone_can_be_tuned() -> None:
    assert boosted_class("xgboost") is XGBoostTrees
    assert boosted_class("lightgbm") is LightGBMTrees
    sentence = "^The candidate random_forest has no parameters to tune; choose among xgboost, lightgbm.$"
    with pytest.raises(BadInput, match=sentence):
        boosted_class("random_forest")


def test_a_model_is_read_by_the_class_of_its_kind(candidates: Mapping[str, Candidate], tmp_path: Path) -> None:
    candidates["random_forest"].scorer.model.save(tmp_path)
    assert type(load_model(tmp_path, "random_forest")) is candidate_class("random_forest")


def test_a_folder_without_its_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"lacks model\.skops, the file of its logistic_regression model; register it"):
        load_model(tmp_path, "logistic_regression")


def test_a_model_whose_library_is_absent_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LightGBMTrees, "requirements", {"lightgbm": "no_lightgbm"})
    with pytest.raises(BadInput, match=r"pip install 'loan-default\[lightgbm\]'\.$"):
        load_model(tmp_path, "lightgbm")
