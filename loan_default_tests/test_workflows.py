"""What GitHub's workflows may do: actions by commit, few rights, no secret, nothing of a stranger's run.

actionlint and zizmor look at their grammar in CI; these are the rules that must hold whatever they think.
"""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
BY_NAME = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)


class Loader(yaml.SafeLoader):
    """YAML 1.1 takes `on` for true; GitHub does not."""


Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool" or first not in "oO"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"), Loader)
    return document


def steps(workflow: dict[str, Any]) -> list[dict[str, Any]]:
    return [step for job in workflow["jobs"].values() for step in job.get("steps", [])]


def test_the_three_workflows_are_there() -> None:
    assert [path.name for path in WORKFLOWS] == ["cd.yml", "ci-integration.yml", "ci.yml"]


@BY_NAME
def test_every_action_is_pinned_by_commit_and_names_its_version(path: Path) -> None:
    used = re.findall(r"uses:\s*(.+)", path.read_text(encoding="utf-8"))
    assert used
    for action in used:
        assert re.fullmatch(r"[\w-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action) or action.startswith("./"), action


def test_an_action_is_the_same_commit_everywhere() -> None:
    used = {action for path in WORKFLOWS for action in re.findall(r"uses:\s*([^.]\S+@.+)", path.read_text())}
    assert len(used) == len({action.split("@")[0] for action in used})


@BY_NAME
def test_jobs_have_the_rights_that_they_need_and_workflows_none(path: Path) -> None:
    workflow = read(path)
    assert workflow["permissions"] == {}
    for name, job in workflow["jobs"].items():
        rights = job["permissions"]
        assert set(rights) <= {"contents", "id-token"}, name
        assert rights.get("contents", "read") == "read", name
        if "id-token" in rights:  # becomes an account at Google
            assert path.name == "cd.yml"
            assert job["environment"] in ("staging", "prod"), f"{name} deploys without anybody's yes"


@BY_NAME
def test_every_job_ends_and_none_runs_twice_at_once(path: Path) -> None:
    workflow = read(path)
    assert workflow["concurrency"]["group"]
    for name, job in workflow["jobs"].items():
        assert job.get("uses", "").startswith("./") or 0 < job["timeout-minutes"] <= 90, name


@BY_NAME
def test_a_strangers_change_runs_with_nothing_worth_stealing(path: Path) -> None:
    workflow, text = read(path), path.read_text(encoding="utf-8")
    assert not {"pull_request_target", "workflow_run", "issue_comment"} & set(workflow["on"])
    assert "secrets." not in text
    assert "secrets: inherit" not in text
    for step in steps(workflow):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False
        assert "${{" not in step.get("run", ""), "a name that somebody else chose may be a command; pass it by env"


def test_only_main_is_deployed_and_only_after_ci() -> None:
    workflow = read(ROOT / ".github" / "workflows" / "cd.yml")
    assert workflow["on"] == {"push": {"branches": ["main"]}}
    assert workflow["concurrency"]["cancel-in-progress"] is False, "a deployment is not cut off in the middle"
    jobs = workflow["jobs"]
    assert (jobs["build"]["needs"], jobs["staging"]["needs"]) == ("ci", "build")
    assert jobs["prod"]["needs"] == ["build", "staging"]
    assert jobs["build"]["if"] == "vars.DEPLOY == 'true'", "a fork or a new copy deploys nothing"
    for name in ("staging", "prod"):
        deploys = next(step["run"] for step in jobs[name]["steps"] if "services update" in step.get("run", ""))
        assert "loan-default-$service" in deploys, "by digest: service is name@sha256:…"


def test_images_are_scanned_before_they_are_pushed() -> None:
    steps = read(WORKFLOWS[0])["jobs"]["build"]["steps"]
    order = [step.get("with", {}).get("image") or step.get("id") for step in steps]
    scans = [f"loan-default-{name}:local" for name in ("platform", "mlflow", "scoring")]
    assert [step for step in order if step] == [*scans, "push"]
    assert all(step["with"]["fail-build"] for step in steps if "image" in step.get("with", {}))


def test_ci_knows_every_python_that_the_project_promises() -> None:
    jobs = read(ROOT / ".github" / "workflows" / "ci.yml")["jobs"]
    pythons = jobs["test"]["strategy"]["matrix"]["python"]
    assert pythons == ["3.11", "3.12", "3.13"]
    assert f'requires-python = ">={pythons[0]}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert {"lint", "test", "terraform", "dependencies", "secrets", "workflows"} <= set(jobs)


@BY_NAME
def test_targets_and_files_that_workflows_name_are_there(path: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for step in steps(read(path)):
        for target in re.findall(r"\bmake ([a-z-]+)", step.get("run", "")):
            assert re.search(rf"^{target}:", makefile, re.M), f"make {target}"
    for lock in re.findall(r"requirements/[\w.-]+\.lock", path.read_text(encoding="utf-8")):
        assert (ROOT / lock).is_file(), lock


def test_dependabot_keeps_pins_fresh() -> None:
    updates = read(ROOT / ".github" / "dependabot.yml")["updates"]
    assert {update["package-ecosystem"] for update in updates} == {"github-actions", "docker", "terraform"}
    for update in updates:
        assert (ROOT / update["directory"].strip("/")).is_dir()
