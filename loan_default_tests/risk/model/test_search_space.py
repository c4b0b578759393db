"""What `search_space.yaml` may say of candidates, and that a mistake is one sentence."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from loan_default.risk.errors import BadInput
from loan_default.risk.model.candidates.registry import CANDIDATES
from loan_default.risk.model.search_space import load_search_space
from loan_default.risk.reviewed_file import CONF
from loan_default_tests.packages import full_search_space


def shipped_content() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((CONF / "search_space.yaml").read_text(encoding="utf-8"))
    return content


def write(folder: Path, content: Any) -> Path:
    path = folder / "space.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def test_of_the_shipped_space_the_depth_alone_is_a_whole_number() -> None:
    boosted = load_search_space().tunable("xgboost")
    assert [name for name, span in boosted.search.items() if span.is_whole] == ["max_depth"]


def test_studies_of_the_shipped_space_go_on_under_their_name() -> None:
    assert load_search_space().tunable("xgboost").fingerprint == "e3e8f46c"


def test_candidates_that_need_more_than_is_installed_are_off_as_shipped() -> None:
    enabled = [candidate.name for candidate in CANDIDATES if not candidate.extra]
    assert list(load_search_space().enabled) == enabled == ["xgboost", "random_forest", "logistic_regression"]


def test_the_section_that_is_shown_in_comments_turns_lightgbm_on() -> None:
    search = full_search_space()
    assert search.enabled == tuple(candidate.name for candidate in CANDIDATES)
    assert search.tunable("lightgbm").start["num_leaves"] > 1


def test_a_section_may_be_left_out_or_turned_off(tmp_path: Path) -> None:
    content = shipped_content()
    del content["random_forest"]
    content["xgboost"]["enabled"] = False
    search = load_search_space(write(tmp_path, content))
    assert search.enabled == ("logistic_regression",)
    assert search.tunable("xgboost").rounds_at_most == 2000
    with pytest.raises(BadInput, match="The search space has no section random_forest; add one"):
        search.parameters("random_forest")


def test_values_are_replaced_in_one_section_alone() -> None:
    shipped = load_search_space()
    changed = shipped.replace("random_forest", trees=3)
    assert changed.parameters("random_forest").model_dump()["trees"] == 3
    assert changed.parameters("xgboost") == shipped.parameters("xgboost")
    assert shipped.parameters("random_forest").model_dump()["trees"] == 200


@pytest.mark.parametrize(
    ("section", "change", "sentence"),
    [
        ("xgboost", {"start": {"max_depth": 9}}, "xgboost: colsample_bynode is searched but has no start"),
        ("xgboost", {"rounds_at_most": 0}, "xgboost.rounds_at_most: 0 is not allowed; write a number of at least 1."),
        (
            "xgboost",
            {"trees": 7},
            "xgboost.trees: there is no such key; trees is a key of random_forest, so write it there.",
        ),
        (
            "xgboost",
            {"start": {"max_depth": "deep"}},
            "xgboost.start.max_depth: deep is a text, and it has to be a number; write a number.",
        ),
        ("xgboost", {"search": {"max_depth": {"low": 3}}}, "xgboost.search.max_depth.high: the key is missing"),
        (
            "xgboost",
            {"start": {"max_dept": 4}},
            "xgboost: max_dept is no parameter that may be set here; write max_",
        ),
        (
            "xgboost",
            {"start": {"booster": 1}},
            "xgboost: booster is no parameter that may be set here; delete it, or write one of max_depth, max_leaves,",
        ),
        ("xgboost", {"start": {"subsample": 1.5}}, "xgboost: start: subsample: 1.5 is not allowed; write 0.0001 to"),
        (
            "xgboost",
            {"start": {"max_depth": 4.0}},
            "xgboost: start: max_depth is a whole number; write it without",
        ),
        (
            "xgboost",
            {"search": {"learning_rate": {"low": 0.1, "high": 3}}},
            "xgboost: search: learning_rate: 3 is not allowed; write 0.0001 to 1.",
        ),
        (
            "lightgbm",
            {"start": {"min_child_samples": 5}},
            "lightgbm: min_child_samples is no parameter that may be set here; write min_data_in_leaf.",
        ),
        ("random_forest", {"subsample": 2}, "random_forest.subsample: 2 is not allowed; write a number of at most 1."),
        ("logistic_regression", {"C": 0}, "logistic_regression.C: 0 is not allowed; write a number of more than 0."),
        (
            "neural",
            {"layers": 2},
            "neural: there is no such key; those here are xgboost, random_forest, logistic_regression, lightgbm.",
        ),
    ],
)
def test_a_mistake_is_one_sentence_that_names_its_section(
    tmp_path: Path, section: str, change: dict[str, Any], sentence: str
) -> None:
    content = shipped_content()
    content[section] = {**content.get(section, {}), **change}
    path = write(tmp_path, content)
    with pytest.raises(BadInput) as refusal:
        load_search_space(path)
    assert re.search(rf"^{path}, line \d+: {re.escape(sentence)}", str(refusal.value), flags=re.MULTILINE)


def test_an_end_that_is_missing_is_held_against_nothing(tmp_path: Path) -> None:
    content = shipped_content()
    content["xgboost"]["search"]["learning_rate"] = {"low": 2}
    with pytest.raises(BadInput) as refusal:
        load_search_space(write(tmp_path, content))
    assert "learning_rate.high: the key is missing" in str(refusal.value)
    assert "must be below" not in str(refusal.value)


def test_a_file_that_turns_every_candidate_off_is_refused(tmp_path: Path) -> None:
    content = {name: {**section, "enabled": False} for name, section in shipped_content().items()}
    with pytest.raises(BadInput, match="every candidate is turned off, so none is fitted; write enabled: true in one"):
        load_search_space(write(tmp_path, content))


def test_a_file_without_sections_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="line 1: the file is a list; it has to be keys"):
        load_search_space(write(tmp_path, ["xgboost"]))
