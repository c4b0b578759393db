"""The registry: names that are known, models that are found by them, and the recipe for a further candidate."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import loan_default
from loan_default.risk.errors import BadInput
from loan_default.risk.model.candidates.lightgbm_trees import LightGBMTrees
from loan_default.risk.model.candidates.registry import CANDIDATES, boosted_class, candidate_class, load_model
from loan_default.risk.model.candidates.xgboost_trees import XGBoostTrees
from loan_default.risk.model.training import Candidate
from loan_default_tests.stores import new_tracking


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


# --- the recipe of docs/recipes.md ----------------------------------------------------------------------------

ROOT = Path(loan_default.__file__).parents[1]

_TRAIN_AND_REGISTER = """
import json, sys, warnings
from loan_default.adapters.tracking import Tracking
from loan_default.risk.model.candidates.registry import candidate_class
from loan_default.risk.model.search_space import load_search_space
from loan_default.risk.model.training import train_candidates
from loan_default.risk.policy import load_policy
from loan_default.risk.validation.model_card.page import model_card
from loan_default_tests.packages import applications, development, scorer
from loan_default_tests.risk.validation.model_card.cards import card_inputs
from loan_default_tests.stores import log_model, new_run

warnings.simplefilter("ignore", RuntimeWarning)  # a column that is empty has no mean
kinds = ["logistic_regression", "discriminant"]
ranked = train_candidates(development(), load_search_space(), load_policy().decision, seed=0, kinds=kinds)
tracking = Tracking(*sys.argv[1:])
run_id = new_run(tracking)
tracking.promote(tracking.register(run_id, log_model(tracking, run_id, "discriminant"), {}).version, {})
print(json.dumps({
    "enabled": load_search_space().enabled,
    "aucs": {candidate.kind: candidate.metrics["auc"].value for candidate in ranked},
    "parameters": {candidate.kind: candidate.parameters for candidate in ranked},
    "uri": tracking.tracking_uri,
    "applications": applications()[0],
    "pds": scorer("discriminant").score(applications()[1])["pd"].to_list(),
    "card": model_card(card_inputs(scorer=scorer("discriminant"))),
}))
"""

_ANSWER = """
import json, sys
import mlflow.pyfunc, pandas
model = mlflow.pyfunc.load_model("models:/loan_default_model@production")
print(json.dumps(model.predict(pandas.DataFrame(json.load(sys.stdin)), {"output": "pd"})))
"""


def run_script(script: str, folder: Path, *arguments: str, stdin: str = "", **env: str) -> Any:
    command = [sys.executable, "-P", "-c", script, *arguments]
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), **env}
    result = subprocess.run(
        command, input=stdin, cwd=folder, env=env, capture_output=True, text=True, timeout=300, check=False
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


@pytest.fixture
def extended_package(tmp_path: Path) -> Path:
    """Copy the package, changed as the recipe says and in nothing else."""
    package = tmp_path / "copy" / "loan_default"
    shutil.copytree(ROOT / "loan_default", package, ignore=shutil.ignore_patterns("__pycache__"))
    _, recipe = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8").split("## Add a candidate\n")
    path, module, section = (
        re.search(pattern, recipe, re.DOTALL)
        for pattern in ("`(risk/model/candidates/[a-z]+.py)`", "```python\n(.*?)```", "```yaml\n(.*?)```")
    )
    assert path and module and section
    (package / path[1]).write_text(module[1], encoding="utf-8")
    registry = package / "risk/model/candidates/registry.py"
    before = registry.read_text(encoding="utf-8")
    after = before.replace("    LightGBMTrees,\n)", "    LightGBMTrees,\n    Discriminant,\n)").replace(
        "CANDIDATES: ",
        "from loan_default.risk.model.candidates.discriminant import Discriminant\n\nCANDIDATES: ",
    )
    assert len(after.splitlines()) == len(before.splitlines()) + 3
    registry.write_text(after, encoding="utf-8")
    with (package / "conf/search_space.yaml").open("a", encoding="utf-8") as file:
        file.write(f"\n{section[1]}")
    return package


@pytest.mark.integration
def test_the_recipes_candidate_is_trained_ranked_registered_and_served_by_mlflow(
    extended_package: Path, tmp_path: Path
) -> None:
    path = f"{extended_package.parent}:{ROOT}"
    store = new_tracking(tmp_path / "store")
    arguments = (store.tracking_uri, store.artifact_root)
    result = run_script(_TRAIN_AND_REGISTER, tmp_path, *arguments, PYTHONPATH=path, LOAN_DEFAULT_HOME=str(tmp_path))
    assert "discriminant" in result["enabled"]
    assert list(result["aucs"]) == sorted(result["aucs"], key=lambda kind: -result["aucs"][kind])
    assert result["aucs"]["discriminant"] > 0.6
    assert result["parameters"]["discriminant"] == {"ridge": 0.01}
    (requirements,) = (tmp_path / "store").rglob("requirements.txt")
    names = {pin.partition("==")[0] for pin in requirements.read_text(encoding="utf-8").split()}
    assert "scipy" in names
    assert not {"xgboost", "scikit-learn", "lightgbm"} & names
    assert "Kind: a linear discriminant (SciPy), trained" in result["card"]
    assert "(size of the standardised weights). That PD rises or falls with a field is expected" in result["card"]
    answers = run_script(_ANSWER, tmp_path, stdin=json.dumps(result["applications"]), MLFLOW_TRACKING_URI=result["uri"])
    assert answers == pytest.approx(result["pds"], abs=1e-9)
