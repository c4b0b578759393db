"""What GitHub's workflows may do: actions by commit, few rights, no secret, nothing of a stranger's run.

actionlint, zizmor and GitHub's own parser look at their grammar in CI; these are the rules that must hold whatever they
think.
"""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
IMAGES = ("platform", "mlflow", "scoring")
BY_NAME = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)

# What a job may do beside reading this repository.
SIGN = {("id-token", "write"), ("attestations", "write")}
RIGHTS = {
    "cd.yml": {name: {("id-token", "write")} for name in ("build", "staging", "prod")},
    "release.yml": {
        "distributions": SIGN,
        "images": SIGN | {("packages", "write")},
        "release": {("contents", "write")},
    },
}


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


def workflow_named(name: str) -> dict[str, Any]:
    return read(ROOT / ".github" / "workflows" / name)


def test_the_workflows_are_there() -> None:
    assert [path.name for path in WORKFLOWS] == ["cd.yml", "ci-integration.yml", "ci.yml", "long.yml", "release.yml"]


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
        rights = set(job["permissions"].items()) - {("contents", "read")}
        assert rights == RIGHTS.get(path.name, {}).get(name, set()), name
        if path.name == "cd.yml" and rights:  # becomes an account at Google
            assert job["environment"] in ("staging", "prod"), f"{name} deploys without anybody's yes"


@BY_NAME
def test_every_job_ends_and_none_runs_twice_at_once(path: Path) -> None:
    workflow = read(path)
    assert workflow["concurrency"]["group"]
    limit = 180 if path.name == "long.yml" else 90
    for name, job in workflow["jobs"].items():
        assert job.get("uses", "").startswith("./") or 0 < job["timeout-minutes"] <= limit, name


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
    workflow = workflow_named("cd.yml")
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
    build = workflow_named("cd.yml")["jobs"]["build"]["steps"]
    order = [step.get("with", {}).get("image") or step.get("id") for step in build]
    scans = [f"loan-default-{name}:local" for name in IMAGES]
    assert [image for image in order if image] == [*scans, "push"]
    release = workflow_named("release.yml")["jobs"]["images"]["steps"]
    scan = next(n for n, step in enumerate(release) if "scan-action" in step.get("uses", ""))
    push = next(n for n, step in enumerate(release) if step.get("id") == "push")
    assert scan < push
    assert all(step["with"]["fail-build"] for step in [*build, *release] if "scan-action" in step.get("uses", ""))


def test_a_release_is_a_tag_on_main_that_passed_ci_with_notes_sboms_and_attestations() -> None:
    workflow = workflow_named("release.yml")
    assert workflow["on"] == {"push": {"tags": ["v[0-9]+.[0-9]+.[0-9]+"]}}
    jobs = workflow["jobs"]
    assert jobs["distributions"]["needs"] == jobs["images"]["needs"] == "ci"
    assert jobs["release"]["needs"] == ["distributions", "images"]
    assert jobs["images"]["strategy"]["matrix"]["image"] == list(IMAGES)
    commands = "\n".join(step.get("run", "") for step in jobs["distributions"]["steps"])
    assert "git merge-base --is-ancestor HEAD origin/main" in commands
    assert "CHANGELOG.md has no section" in commands
    for name in ("distributions", "images"):
        attested = [step["with"] for step in jobs[name]["steps"] if "actions/attest@" in step.get("uses", "")]
        assert ["sbom-path" in options for options in attested] == [False, True], "where it was built, and of what"


CHANGELOG = """\
## Unreleased
- next

## 1.2.3 (2026-12-01)
- this

## 1.2.2
- old
"""


@pytest.mark.integration
def test_release_notes_are_the_changelogs_section(tmp_path: Path) -> None:
    (tmp_path / "CHANGELOG.md").write_text(CHANGELOG)
    (script,) = (step["run"] for step in steps(workflow_named("release.yml")) if "CHANGELOG" in step.get("run", ""))

    def run(tag: str) -> subprocess.CompletedProcess[str]:
        env = {"PATH": os.environ["PATH"], "GITHUB_REF_NAME": tag}
        command = ["bash", "-ec", script]
        return subprocess.run(command, cwd=tmp_path, env=env, text=True, capture_output=True, check=False)

    assert run("v1.2.3").returncode == 0
    assert (tmp_path / "release" / "notes.md").read_text() == "- this\n\n"
    assert run("v1.2.4").stderr == "CHANGELOG.md has no section '## 1.2.4'.\n"


def test_each_week_everything_runs() -> None:
    workflow = workflow_named("long.yml")
    assert len(workflow["on"]["schedule"]) == 1
    commands = "\n".join(step.get("run", "") for step in steps(workflow))
    assert "make test-all" in commands
    assert "make bench" in commands


def test_ci_knows_every_python_that_the_project_promises() -> None:
    jobs = workflow_named("ci.yml")["jobs"]
    pythons = jobs["test"]["strategy"]["matrix"]["python"]
    assert pythons == ["3.11", "3.12", "3.13"]
    assert f'requires-python = ">={pythons[0]}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert {"lint", "locks", "test", "terraform", "dependencies", "secrets", "workflows"} <= set(jobs)
    terraform = [step.get("run") for step in jobs["terraform"]["steps"]]
    assert "make terraform-check VALIDATE=true" in terraform, "attributes are held against the provider's schema"


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
    assert {update["package-ecosystem"] for update in updates} == {"github-actions", "docker", "terraform", "npm"}
    for update in updates:
        assert (ROOT / update["directory"].strip("/")).is_dir()
