"""One module knows where files lie: it agrees with the IO managers, and no other module spells its names."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import dagster as dg
import pytest
from upath import UPath

import loan_default
from loan_default.adapters import layout
from loan_default.adapters.layout import (
    BatchRecordName,
    BatchTableName,
    RecordName,
    StorageLayout,
    TableName,
    batch_name,
    is_verdict,
)
from loan_default.definitions import build_definitions
from loan_default.risk.errors import BadInput
from loan_default.settings import Settings

PACKAGE = Path(loan_default.__file__).parent
BATCH = "2018-10"
BESIDE_ASSETS = {
    "prediction_report",
    "field_distributions",
    "provision",
}  # stored by the steps, with the asset that they tell of


def paths_of_assets() -> dict[str, UPath]:
    """Return the path of each asset by the layout."""
    here = StorageLayout(UPath("memory://bucket/root"))
    return {
        **{name: here.record(name) for name in get_args(RecordName)},
        **{name: here.batch_record(name, BATCH) for name in get_args(BatchRecordName) if name not in BESIDE_ASSETS},
        **{name: here.table(name) for name in get_args(TableName) if name not in BESIDE_ASSETS},
        **{name: here.batch_table(name, BATCH) for name in get_args(BatchTableName)},
        "model_card": here.model_card,
    }


def stored_paths(settings: Settings) -> Iterator[tuple[str, UPath]]:
    """Yield the path of each asset by the IO manager that stores it."""
    definitions = build_definitions(settings)
    managers: dict[str, Any] = dict(definitions.resources or {})
    for node in definitions.resolve_asset_graph().asset_nodes:
        manager = managers.get(getattr(node, "io_manager_key", ""))
        if isinstance(manager, dg.UPathIOManager) and node.is_materializable:
            yield node.key.to_user_string(), path_of(manager, node.key, partitioned=node.is_partitioned)


def path_of(manager: dg.UPathIOManager, key: dg.AssetKey, *, partitioned: bool) -> UPath:
    if not partitioned:
        return manager._get_path(dg.build_output_context(asset_key=key))
    batches = dg.StaticPartitionsDefinition([BATCH])  # dynamic ones would ask an instance
    context = dg.build_output_context(asset_key=key, partition_key=BATCH, asset_partitions_def=batches)
    return manager._get_paths_for_partitions(context)[BATCH]


def test_the_io_managers_store_each_asset_where_the_layout_says() -> None:
    stored = dict(stored_paths(Settings(home=Path("/nowhere"), storage="memory://bucket/root")))
    assert stored == paths_of_assets()


def test_folders_of_batches_hold_what_is_made_for_each_batch() -> None:
    here = StorageLayout(UPath("/root"))
    assert here.batch_table("predictions", BATCH).parent == here.predictions == here.predictions_csv(BATCH).parent
    assert here.batch_record("drift_report", BATCH).parent == here.drift_reports == here.drift_sample(BATCH).parent
    assert not [path for path in (here.drift_sample(BATCH), *here.earlier_drift_pages(BATCH)) if is_verdict(path.name)]
    assert is_verdict(here.batch_record("drift_report", BATCH).name)


# --- nobody else spells them

BY_BATCH = {*get_args(BatchRecordName), *get_args(BatchTableName)}
FOLDERS = {value for name, value in vars(layout).items() if name.isupper() and isinstance(value, str)} | BY_BATCH
FILES = {f"{record}.json" for record in get_args(RecordName)} | {f"{table}.parquet" for table in get_args(TableName)}
PARTS = FILES | {layout.MODEL_CARD} | {f"{folder}/" for folder in FOLDERS}
MENTIONED = re.compile(rf"(?<![\w-])(?:(?:{'|'.join(FOLDERS)})[\"'/]|{'|'.join(PARTS)})")


def texts(tree: ast.AST) -> Iterator[ast.Constant]:
    """Yield the texts of a module that are no docstrings."""
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node


def spelled(source: str) -> set[str]:
    """Return the names of files and folders that a module joins to paths itself; a sentence for people may have one."""
    if not MENTIONED.search(source):
        return set()
    tree = ast.parse(source)
    joined = {id(part) for node in ast.walk(tree) for part in joined_parts(node)}
    own = [*texts(tree)]
    alone = {str(text.value) for text in own if id(text) in joined and text.value in FOLDERS}
    pairs = [(part, path) for text in own if " " not in (path := str(text.value)) for part in PARTS if part in path]
    return alone | {part for part, path in pairs if re.search(rf"(?<![\w-]){part}(?!/)", path)}


def joined_parts(node: ast.AST) -> list[ast.expr]:
    """Return what is joined to a path there; folders of the home, which is no storage, may have the same names."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        return [] if ast.unparse(node.left).endswith("home") else [node.right]
    called = getattr(node.func, "attr", "") if isinstance(node, ast.Call) else ""
    return node.args if isinstance(node, ast.Call) and called in ("path", "joinpath", "with_name") else []


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ('root / "predictions" / name', {"predictions"}),
        ('storage.joinpath("history")', {"history"}),
        ('f"{root}/drift_report/{batch}.html"', {"drift_report/"}),
        ('read(settings, "loan_splits.json")', {"loan_splits.json"}),
        ('"""Of predictions/x."""\nlayout.record("loan_splits")\ntable(["applications", "outcomes"])', set()),
    ],
)
def test_a_name_that_is_spelled_is_seen(source: str, names: set[str]) -> None:
    assert spelled(source) == names


@pytest.mark.slow
def test_no_other_module_spells_a_name() -> None:
    modules = [path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "adapters/layout.py"]
    names = {path.as_posix(): spelled(path.read_text(encoding="utf-8")) for path in modules}
    assert not {path: spelled_in for path, spelled_in in names.items() if spelled_in}


# --- batches


@pytest.mark.parametrize(
    ("file", "batch"),
    [
        ("2018-10.csv", "2018-10"),
        ("2018-10.csv.gz", "2018-10"),
        ("2018_Q4.v2.parquet", "2018_Q4.v2"),
        ("october.csv.csv", "october.csv"),
        ("LOANS.CSV", "LOANS"),
    ],
)
def test_a_batch_is_named_after_its_file(file: str, batch: str) -> None:
    assert batch_name(file) == batch
    assert file in [path.name for path in StorageLayout(UPath("/root")).batch_files(batch)]


@pytest.mark.parametrize("file", ["2018 10.csv", "a/b.csv", "märz.csv", "a,b.parquet", ".csv", "..csv", "x\n.csv"])
def test_odd_characters_are_refused(file: str) -> None:
    with pytest.raises(BadInput, match=r"may hold letters, figures, '\.', '-' and '_' only; rename the file\.$"):
        batch_name(file)


@pytest.mark.parametrize("file", ["2018-10", "2018-10.xlsx", "2018-10.Csv", "csv"])
def test_other_suffixes_are_refused(file: str) -> None:
    with pytest.raises(BadInput, match=r"a batch file ends in \.csv, \.csv\.gz or \.parquet\.$"):
        batch_name(file)
