"""What `search_space.yaml` may say, and when two searches are the same."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from loan_default.risk.contract import CONF
from loan_default.risk.errors import BadInput
from loan_default.risk.model.search_space import load_search_space


def written(folder: Path, **xgboost: Any) -> Path:
    """The shipped search space with parts of `xgboost` changed: mappings are merged."""
    space = yaml.safe_load((CONF / "search_space.yaml").read_text(encoding="utf-8"))
    for key, value in xgboost.items():
        merged = {**space["xgboost"][key], **value} if isinstance(value, dict) else value
        space["xgboost"][key] = merged
    path = folder / "space.yaml"
    path.write_text(yaml.safe_dump(space), encoding="utf-8")
    return path


def test_the_shipped_space_starts_inside_of_what_it_searches() -> None:
    boosted = load_search_space().xgboost
    assert set(boosted.search) <= set(boosted.start)
    assert all(span.low <= boosted.start[name] <= span.high for name, span in boosted.search.items())
    assert [name for name, span in boosted.search.items() if span.whole] == ["max_depth"]


def test_fingerprint_changes_with_the_search_and_with_nothing_else(tmp_path: Path) -> None:
    shipped = load_search_space()
    assert load_search_space(written(tmp_path)).fingerprint == shipped.fingerprint  # the order of keys says nothing
    changes: list[dict[str, Any]] = [
        {"rounds_at_most": 10},
        {"rounds_at_most": 20},
        {"start": {"max_depth": 3}},
        {"search": {"max_depth": {"low": 2, "high": 5}}},
        {"least_gain": 0.1},
    ]
    prints = {load_search_space(written(tmp_path, **change)).fingerprint for change in changes}
    assert len(prints | {shipped.fingerprint}) == len(changes) + 1
    assert len(shipped.fingerprint) == 8
    forest = shipped.random_forest.model_copy(update={"trees": 1})
    assert shipped.model_copy(update={"random_forest": forest}).fingerprint == shipped.fingerprint


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"search": {"max_depth": {"low": 5, "high": 5}}}, "low (5) must be below high (5)"),
        ({"search": {"reg_lambda": {"low": 0, "high": 9, "log": True}}}, "low (0) must be above 0 on a log scale"),
        ({"search": {"gamma": {"low": 0.0, "high": 1.0}}}, "gamma is searched but has no start"),
        ({"start": {"max_depth": 9}}, "max_depth starts at 9, outside of 3 to 5"),
        ({"start": {"max_depth": 3.5}}, "max_depth starts at 3.5, but only whole numbers are tried"),
        ({"start": {"max_depth": "deep"}}, "valid"),
        ({"search": {"max_depth": {"low": 3}}}, "Field required"),
        ({"search": {"max_depth": {"low": 3, "high": 5, "step": 1}}}, "Extra inputs are not permitted"),
        ({"rounds_at_most": 0}, "greater than or equal to 1"),
        ({"least_gain": -1}, "greater than or equal to 0"),
        ({"trees": 7}, "Extra inputs are not permitted"),
    ],
)
def test_a_mistake_is_one_sentence_that_names_its_place(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    space = yaml.safe_load((CONF / "search_space.yaml").read_text(encoding="utf-8"))["xgboost"]
    path = written(tmp_path, **{key: value for key, value in change.items() if key in space})
    for key in change.keys() - space.keys():
        path.write_text(path.read_text().replace("xgboost:\n", f"xgboost:\n  {key}: {change[key]}\n"))
    with pytest.raises(BadInput) as refused:
        load_search_space(path)
    sentence = str(refused.value)
    assert sentence.startswith(f"{path}: xgboost")
    assert said in sentence
    assert "\n" not in sentence
