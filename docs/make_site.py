"""Makes the documentation site: README, `docs/`, examples and the changelog, and pages of reference made from the code.

What a person has to say belongs in the Markdown files; what the code says of itself (commands, keys of reviewed files,
metrics, assets, functions) is read from it here. `make docs` runs it, and Zensical (`zensical.toml`) renders what it
writes. It fails on a link that leads nowhere, and on a page that would ask another server for anything.
"""

from __future__ import annotations

import json
import os
import posixpath
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping
from html.parser import HTMLParser
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).parents[1]
PAGES, SITE = ROOT / "build" / "docs", ROOT / "build" / "site"
CONF = "loan_default/conf"
# Pages made from the code, by what they are made of: a link to that leads to the page.
MADE_OF = {
    "loan_default/cli": "reference/commands.md",
    f"{CONF}/contract.schema.json": "reference/contract.md",
    f"{CONF}/policy.schema.json": "reference/policy.md",
    f"{CONF}/search_space.schema.json": "reference/search_space.md",
    "loan_default/serving/metrics.py": "reference/metrics.md",
    "loan_default/definitions.py": "reference/dagster.md",
    "loan_default/operations": "reference/api/operations.md",
}
# Rooms, or floors of one, whose functions are for others to call.
API = {
    "operations": "What people and programs ask for from outside, as functions that return records and print nothing.",
    "steps": "What each asset does, as functions that need no Dagster.",
    "risk": "The foundation of credit-risk modelling: contract, policy, metrics.",
    "risk/data": "From a file to windows.",
    "risk/economics": "What loans pay, cost and earn, by their PD.",
    "risk/model": "From windows to a scorer and its reasons.",
    "risk/validation": "May a version go to production?",
    "risk/monitoring": "Is it still good?",
    "risk/value": "What a decision earns.",
    "serving/client": "A client of the scoring server.",
}
FETCHED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}


# --- pages that people wrote


def written_pages() -> dict[str, str]:
    """Map each file of the repository that is a page, or a picture of one, to its path in the site."""
    pages = {"README.md": "index.md", "CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
    pages["SECURITY.md"] = "security.md"
    for folder, prefix in (("docs", ""), ("examples", "examples/")):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".md", ".png", ".css"):
                pages[path.relative_to(ROOT).as_posix()] = f"{prefix}{path.relative_to(ROOT / folder).as_posix()}"
    return pages


def with_links_of_the_site(text: str, source: str, pages: Mapping[str, str], repository: str) -> str:
    """Return a page with its relative links as they are in the site; to files that are no pages, in the repository.

    Args:
        text: Markdown.
        source: path of the page in the repository.
        pages: path in the site by path in the repository.
        repository: address of the files of the repository.
    """
    folder = posixpath.dirname(pages[source])

    def move(link: re.Match[str]) -> str:
        target, hash_sign, anchor = link[1].partition("#")
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        if "://" in target or not target or not (ROOT / path).exists():
            return link[0]
        address = posixpath.relpath(pages[path], folder) if path in pages else f"{repository}/{path}"
        return f"]({address}{hash_sign}{anchor})"

    return re.sub(r"\]\(([^)\s]+)\)", move, text)


def with_parted_lists(text: str) -> str:
    """Return a page with an empty line between a paragraph and its list, which GitHub does without and the site not."""
    blocks = re.split(r"(^ *```.*?^ *```$)", text, flags=re.M | re.S)  # those of code stay as they are
    blocks[::2] = [
        re.sub(r"^(?![-#|\s]|\d+\. )(.+\n)(?=- |\d+\. )", r"\1\n", block, flags=re.M) for block in blocks[::2]
    ]
    return "".join(blocks)


def write_written_pages() -> None:
    """Copy what people wrote to where the site is rendered from."""
    urls = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]
    pages = written_pages()
    for source, target in pages.items():
        (PAGES / target).parent.mkdir(parents=True, exist_ok=True)
        if source.endswith(".md"):
            text = (ROOT / source).read_text(encoding="utf-8")
            repository = f"{urls['Repository']}/blob/main"
            text = with_parted_lists(with_links_of_the_site(text, source, {**pages, **MADE_OF}, repository))
            (PAGES / target).write_text(text, encoding="utf-8")
        else:
            shutil.copy(ROOT / source, PAGES / target)


# --- pages made from the code


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table of Markdown."""
    lines = [[*header], *([cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def commands_page() -> str:
    """Return what `--help` says of each command, by group."""
    import loan_default.cli.entry  # noqa: F401 - registers the commands
    from loan_default.cli.app import app

    text = app.generate_docs(heading_level=1)
    text = re.sub(r"^## Table of Contents\n.*?(?=^\*\*)", "", text, flags=re.M | re.S)
    text = re.sub(r", --no-[\w-]+`", "`", text)
    return re.sub(r' \*\[default: (False|"")\]\*', "", text).replace("# loan-default\n", "# Commands\n", 1)


def keys_page(title: str, introduction: str, schema: Mapping[str, Any], shipped: Mapping[str, Any]) -> str:
    """Return the keys of a reviewed file, a table for each section, as its JSON Schema has them.

    Args:
        title: of the page.
        introduction: a sentence.
        schema: of the file.
        shipped: the file whose values hold where another says nothing.
    """
    sections = schema.get("$defs", {})
    headings = headings_of(sections, schema)
    parts = [f"# {title}\n\n{introduction}\n"]
    for name, section in ({"": schema} | sections).items():
        values = shipped.get(headings.get(name, "")) or {} if name else {}
        rows = (
            (f"`{key}`", type_of(value, headings), default_of(value, values.get(key)), value.get("description", ""))
            for key, value in section.get("properties", {}).items()
        )
        heading = f"## {headings[name]}\n\n{section['description']}\n\n" if name else ""
        parts.append(heading + table(("key", "type", "default", "meaning"), rows))
    return "\n".join(parts)


def headings_of(sections: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, str]:
    """Name each section of a schema by the key that holds it; several of one key by their own names."""
    headings: dict[str, str] = {}
    for section in (schema, *sections.values()):
        for key, value in section.get("properties", {}).items():
            names = re.findall(r'"#/\$defs/(\w+)"', json.dumps(value))
            headings |= {name: key if len(names) == 1 else name for name in names if name not in headings}
    return headings


def type_of(value: Mapping[str, Any], headings: Mapping[str, str]) -> str:
    """Say what may stand for a key: its types, values, bounds, or the section that describes it."""
    if "$ref" in value:
        heading = headings[value["$ref"].rpartition("/")[2]]
        return f"[{heading}](#{heading.lower()})"
    for several in ("anyOf", "oneOf"):
        if several in value:
            return " or ".join(
                dict.fromkeys(type_of(each, headings) for each in value[several] if each != {"type": "null"})
            )
    if "enum" in value or "const" in value:
        return ", ".join(f"`{word}`" for word in value.get("enum", [value.get("const")]))
    kind = {"null": "nothing", "object": "mapping", "array": "list"}.get(
        value.get("type", ""), value.get("type", "any")
    )
    if kind == "list" and isinstance(value.get("items"), dict):
        return f"list of {type_of(value['items'], headings)}"
    if kind == "mapping" and isinstance(value.get("additionalProperties"), dict):
        return f"mapping to {type_of(value['additionalProperties'], headings)}"
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    bounds = [f"{sign} {value[bound]:,}" for bound, sign in signs.items() if bound in value]
    return " ".join([kind, ", ".join(bounds)]).strip()


def default_of(value: Mapping[str, Any], shipped: Any) -> str:
    """Return the default of a key as YAML writes it; nothing where it has none, or a whole section is one."""
    default = value.get("default") if shipped is None else shipped
    return "" if default in (None, "", [], {}) or isinstance(default, dict) else f"`{json.dumps(default)}`"


def metrics_page() -> str:
    """Return the metrics of the scoring server and of the platform, with their labels."""
    import dagster as dg

    from loan_default.defs.instance_status import InstanceStatus
    from loan_default.operations.metrics import instance_metrics, run_metrics, status_metrics
    from loan_default.operations.status import ServerStatus, Status
    from loan_default.serving.metrics import Metrics

    described = re.findall(r"^# HELP (\S+) (.+)\n# TYPE \S+ (\S+)", Metrics().text().decode(), re.M)
    server = ((f"`{name}`", kind, text) for name, text, kind in described)
    with dg.DagsterInstance.ephemeral() as instance:
        metrics = [
            *run_metrics(instance),
            *instance_metrics(InstanceStatus((), (), None, 0, (), None, True, True, True)),
            *status_metrics(Status((), (), (), (), ServerStatus(""), None)),
        ]
    platform = ((f"`{m.name}{'_total' if m.type == 'counter' else ''}`", m.type, m.documentation) for m in metrics)
    header = ("metric", "kind", "what it measures")
    return (
        "# Metrics\n\n[Watching the platform](../observability.md) tells which raise an alert, and what to do then.\n\n"
        f"## Scoring server\n\n`GET /metrics`, of all workers together.\n\n{table(header, server)}\n"
        f"## Platform\n\n`loan-default metrics`.\n\n{table(header, platform)}"
    )


def dagster_page() -> str:
    """Return the assets by group, with their checks, and the jobs, sensors and schedules."""
    from loan_default.definitions import defs

    repository = defs.get_repository_def()
    definitions = {id(each): each for each in repository.assets_defs_by_key.values()}.values()
    specs = {spec.key: spec for definition in definitions for spec in definition.specs}
    assets = sorted(
        (spec.group_name or "", spec.key.to_user_string(), spec.description or "") for spec in specs.values()
    )
    checking = {id(each): each for each in (*definitions, *repository.asset_checks_defs_by_key.values())}.values()
    checks = {spec.key: spec for each in checking for spec in each.check_specs}.values()
    jobs = ((f"`{job.name}`", job.description or "") for job in repository.get_all_jobs() if job.name[0] != "_")
    sensors = ((f"`{sensor.name}`", sensor.description or "") for sensor in repository.sensor_defs)
    schedules = (
        (f"`{each.name}`", f"`{each.cron_schedule}`", each.description or "") for each in repository.schedule_defs
    )
    named = ((f"`{spec.asset_key.to_user_string()}`", f"`{spec.name}`", spec.description or "") for spec in checks)
    return "\n".join(
        [
            "# Assets, jobs and sensors\n\nAs Dagster's own pages show them. Of another book than the shipped one the "
            "assets have its name before theirs.\n",
            f"## Assets\n\n{table(('group', 'asset', 'what it is'), ((g, f'`{n}`', d) for g, n, d in assets))}",
            f"## Checks\n\n{table(('asset', 'check', 'what it asks'), sorted(named))}",
            f"## Jobs\n\n{table(('job', 'what it does'), jobs)}",
            f"## Sensors\n\n{table(('sensor', 'what it does'), sensors)}",
            f"## Schedules\n\n{table(('schedule', 'when', 'what it does'), schedules)}",
        ]
    )


def api_page(room: str, introduction: str) -> str:
    """Return the page from which mkdocstrings renders the modules of a room, or of a floor, that are for others."""
    path = ROOT / "loan_default" / room
    files = sorted(path.rglob("*.py")) if room.startswith("risk/") else sorted(path.glob("*.py"))
    if room == "risk":
        files += sorted((path / "contract").glob("*.py"))
    files = [file for file in files or [path.with_suffix(".py")] if not file.name.startswith("_")]
    names = [".".join(file.relative_to(ROOT).with_suffix("").parts) for file in files]
    return f"# {room.replace('/', '.')}\n\n{introduction}\n\n" + "\n".join(f"::: {name}\n" for name in names)


def made_pages() -> dict[str, str]:
    """Return the text of each page that is made from the code, by its path in the site."""
    from loan_default.risk.model.file_schemas import schema_texts
    from loan_default.risk.policy import load_policy

    schemas = {name: json.loads(text) for name, text in schema_texts().items()}
    pages = {
        "commands.md": commands_page(),
        "contract.md": keys_page("Keys of a contract", CONTRACT, schemas["contract.schema.json"], {}),
        "policy.md": keys_page(
            "Keys of a policy", POLICY, schemas["policy.schema.json"], load_policy().model_dump(mode="json")
        ),
        "search_space.md": keys_page("Keys of a search space", SEARCH_SPACE, schemas["search_space.schema.json"], {}),
        "metrics.md": metrics_page(),
        "dagster.md": dagster_page(),
    }
    pages |= {f"api/{room.replace('/', '_')}.md": api_page(room, text) for room, text in API.items()}
    return {f"reference/{name}": text for name, text in pages.items()}


CONTRACT = "What a loan is: `conf/contract.yaml`, or the file that `LOAN_DEFAULT_CONTRACT` names."
POLICY = (
    "What the lender has decided: `conf/policy.yaml`, or the file that `LOAN_DEFAULT_POLICY` names; where that says "
    "nothing, the default holds."
)
SEARCH_SPACE = (
    "How candidates are fitted and tuned: `conf/search_space.yaml`, or the file that `LOAN_DEFAULT_SEARCH_SPACE` names."
)


# --- the site


class _Resources(HTMLParser):
    """Collects what a browser fetches for a page by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the address of a script, a picture, a frame or a style sheet."""
        address = dict(attrs).get(FETCHED.get(tag, ""))
        if address and dict(attrs).get("rel") not in ("canonical", "prev", "next"):
            self.addresses.append(address)


def outside_requests(site: Path) -> dict[str, list[str]]:
    """Map each page for which a browser would ask another server to what it would ask for."""
    outside: dict[str, list[str]] = {}
    for page in sorted(site.rglob("*.html")):
        resources = _Resources()
        resources.feed(page.read_text(encoding="utf-8"))
        addresses = [address for address in resources.addresses if re.match(r"(https?:)?//", address)]
        if addresses:
            outside[page.relative_to(site).as_posix()] = addresses
    return outside


def main() -> int:
    """Write all pages, render them, and hold the site to its promises; return the exit code."""
    shutil.rmtree(PAGES, ignore_errors=True)
    write_written_pages()
    with TemporaryDirectory() as home:  # the code location makes one where it is loaded
        os.environ |= {"LOAN_DEFAULT_HOME": home, "DAGSTER_HOME": home}
        for name, text in made_pages().items():
            (PAGES / name).parent.mkdir(parents=True, exist_ok=True)
            (PAGES / name).write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean", "-f", "zensical.toml"]
    if code := subprocess.run(command, cwd=ROOT, env={**os.environ, "NO_COLOR": "1"}, check=False).returncode:
        return code
    if outside := outside_requests(SITE):
        sys.stderr.write(f"The site would ask other servers: {outside}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
