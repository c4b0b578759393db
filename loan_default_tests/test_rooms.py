"""The rooms: who may import whom, that each module says what it is for, and that tests mirror the sources.

A rule is one test of all modules, which lists those that break it.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PACKAGE = TESTS.parent / "loan_default"
MODULES = {path.relative_to(PACKAGE).as_posix(): path for path in sorted(PACKAGE.rglob("*.py"))}
WITH_CHARTER = [name for name in MODULES if not name.endswith("__init__.py")]

# Each room may import itself and those before it, lowest first; `settings` and `homes` may be read from `defs` on.
ROOMS = ("risk", "adapters", "serving", "steps", "defs", "operations", "web", "cli")
MAY_IMPORT = {
    importer: {*ROOMS[:number], *(["settings", "homes"] if number >= ROOMS.index("defs") else [])}
    for number, importer in enumerate(ROOMS)
}
MAY_IMPORT["operations"].add("definitions")  # the front door, to run a job
# The floors of `risk`, lowest first; the empty one is its foundation.
FLOORS = ("", "data", "economics", "model", "validation", "monitoring", "value")
# What a room must not speak, however deep inside a function.
FOREIGN = {
    "risk": {
        "dagster", "mlflow", "google", "gcsfs", "fsspec", "upath", "os", "dotenv", "subprocess", "socket",
        "http", "urllib", "requests", "httpx", "starlette", "fastapi", "uvicorn", "rich",
    },
    "adapters": {"dagster"},
    "serving": {"dagster"},
    "steps": {"dagster"},
    "web": {"dagster", "mlflow"},
    "cli": {"dagster"},
}  # fmt: skip
# Seconds of import each: nothing that `loan_default.definitions` loads may ask for one outside of a function.
HEAVY = {
    "xgboost",
    "sklearn",
    "skops",
    "evidently",
    "mlflow",
    "optuna",
    "matplotlib",
    "pandas",
    "scipy",
    "dagster_gcp",
    "dask",
    "distributed",
}
# Imported when loaded by none of the others: by MLflow in the process that serves, and where somebody opens a page.
MAY_BE_HEAVY = {"serving/pyfunc_model.py", "risk/monitoring/evidently_report.py"}
LINES_OF_AN_ASSET = 30  # its resources and inputs, one a line, included
# Of Polars, those that take a path for a pattern.
READERS = {"scan_csv", "scan_parquet", "read_parquet"}
# Tests of no single module; what does not begin with `test_` is shared by tests.
OF_NO_MODULE = {
    "defs/test_pipeline.py",
    "test_benchmarks.py",
    "test_browser.py",
    "test_clients.py",
    "test_containers.py",
    "test_docs.py",
    "test_examples.py",
    "test_attack.py",
    "test_faults.py",
    "test_half_year.py",
    "test_infra.py",
    "test_load.py",
    "test_loop.py",
    "test_observability.py",
    "test_on_dask.py",
    "test_on_gcs.py",
    "test_postgres.py",
    "test_project.py",
    "test_rooms.py",
    "test_runs.py",
    "test_secrets.py",
    "test_subsets.py",
    "test_tiers.py",
    "test_workflows.py",
}


def imports(tree: ast.AST, *, on_loading: bool = False) -> Iterator[str]:
    """Yield dotted names imported in a module, `a.b` for `from a import b`; or only those that loading it imports."""
    nodes = [tree]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        later = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or (
            isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
        )
        if not (later and on_loading):
            nodes.extend(ast.iter_child_nodes(node))


@cache
def tree_of(name: str) -> ast.Module:
    return ast.parse(MODULES[name].read_text(encoding="utf-8"))


@cache
def imported_by(name: str) -> tuple[str, ...]:
    return tuple(imports(tree_of(name)))


def room_of(name: str) -> str:
    return name.split("/")[0] if "/" in name else "."


@cache
def rooms_and_files() -> set[str]:
    return {name.removesuffix(".py").split("/")[0] for name in MODULES}


def may_import(room: str, imported: str) -> bool:
    top, _, rest = imported.partition(".")
    if {top, top.split("_")[0]} & FOREIGN.get(room, set()):  # dagster_gcp is Dagster too
        return False
    target = rest.split(".")[0]
    of_ours = top == "loan_default" and room in MAY_IMPORT and target in rooms_and_files()
    return not of_ours or target in {room, *MAY_IMPORT[room]}


@pytest.mark.slow
def test_imports_go_one_way() -> None:
    imported = [(name, imported) for name in MODULES for imported in imported_by(name)]
    assert not [f"{name} imports {each}" for name, each in imported if not may_import(room_of(name), each)]


def test_assets_are_thin() -> None:
    """What an asset does beside reading its configuration and calling one step belongs to the step or to metadata."""
    functions = [
        (f"{name}: {node.name}", (node.end_lineno or 0) - node.lineno + 1)
        for name in MODULES
        if name.startswith("defs/assets/")
        for node in tree_of(name).body
        if isinstance(node, ast.FunctionDef) and any("asset" in ast.unparse(each) for each in node.decorator_list)
    ]
    assert functions
    assert not [(name, lines) for name, lines in functions if lines > LINES_OF_AN_ASSET]


def floor_of(path: str) -> str:
    """Return the floor of a path such as `risk/data/cleaning`."""
    parts = path.split("/")
    return parts[1] if parts[1] in FLOORS else ""


def is_higher(imported: str, name: str) -> bool:
    path = imported.removeprefix("loan_default.").replace(".", "/")
    return path.startswith("risk/") and FLOORS.index(floor_of(path)) > FLOORS.index(floor_of(name))


def test_no_floor_of_risk_imports_a_higher_one() -> None:
    of_risk = [name for name in MODULES if name.startswith("risk/")]
    imported = [(name, imported) for name in of_risk for imported in imported_by(name)]
    assert not [f"{name} imports {each}, on a higher floor" for name, each in imported if is_higher(each, name)]


def test_loading_a_module_loads_nothing_heavy() -> None:
    """What is heavy is imported inside of the function that needs it."""
    loaded = [(name, loaded) for name in MODULES for loaded in imports(tree_of(name), on_loading=True)]
    heavy = {f"{name} imports {each}" for name, each in loaded if each.split(".")[0] in HEAVY}
    assert not {each for each in heavy if each.split()[0] not in MAY_BE_HEAVY}


def test_only_defs_operations_and_the_front_door_speak_dagster() -> None:
    others = [name for name in MODULES if room_of(name) not in ("defs", "operations")]
    speakers = [name for name in others if any(used.startswith("dagster") for used in imported_by(name))]
    assert speakers == ["definitions.py"]


def test_only_the_clock_asks_the_time() -> None:
    """Elsewhere in `defs` a simulation could not set the time."""
    readers = {
        name
        for name in MODULES
        if room_of(name) == "defs"
        for node in ast.walk(tree_of(name))
        if isinstance(node, ast.Attribute) and node.attr in {"now", "utcnow", "today"}
        if isinstance(node.value, ast.Name) and node.value.id in {"datetime", "date"}
    }
    assert readers == {"defs/resources.py"}


def charter_of(name: str) -> str:
    return " ".join((ast.get_docstring(tree_of(name)) or "").split())


def test_a_charter_opens_every_module() -> None:
    """It says what belongs there, and in more than a few words."""
    assert not [name for name in WITH_CHARTER if len(charter_of(name)) <= 40]


def test_tests_mirror_the_sources() -> None:
    for path in TESTS.rglob("test_*.py"):
        name = path.relative_to(TESTS).as_posix()
        source = name.replace("test_", "", 1)
        assert name in OF_NO_MODULE or source in MODULES, f"{name} tests {source}, which does not exist"


def mirrors_of(name: str) -> list[str]:
    """Return the test files that a module's charter names (Tested in `….py`), or else the one that mirrors it."""
    folder, _, file = name.rpartition("/")
    return re.findall(r"`([\w/]*test_\w+\.py)`", charter_of(name)) or [f"{folder}/test_{file}".removeprefix("/")]


def test_a_module_has_its_test_file_or_names_another() -> None:
    tests = [(name, test) for name in WITH_CHARTER for test in mirrors_of(name)]
    assert not [f"{name} has no {test}" for name, test in tests if not (TESTS / test).is_file()]


def calls_with_a_pattern(name: str) -> Iterator[str]:
    for node in ast.walk(tree_of(name)):
        if (
            isinstance(node, ast.Call)
            and getattr(node.func, "attr", "") in READERS
            and ast.unparse(node.func).startswith("pl.")
            and list(map(ast.unparse, node.args)) != ["body"]  # of a request
            and "glob=False" not in map(ast.unparse, node.keywords)
        ):
            yield f"{name}, line {node.lineno}: {ast.unparse(node)}"


def test_polars_takes_no_path_for_a_pattern() -> None:
    """A file may be called `loans [1].csv`, and a home `a*b`."""
    assert not [call for name in MODULES for call in calls_with_a_pattern(name)]
