"""Each asset says where its code is, and by which version it was computed."""

import re
from pathlib import Path

import dagster as dg

from loan_default.defs.code import code_version
from loan_default.settings import Settings
from loan_default_tests.homes import definitions_of


def test_every_asset_that_is_computed_points_at_its_function_and_has_a_version(tmp_path: Path) -> None:
    graph = definitions_of(Settings(home=tmp_path)).resolve_asset_graph()
    for node in graph.asset_nodes:
        if not node.is_executable:
            continue
        (reference,) = node.metadata["dagster/code_references"].code_references
        path, name = Path(reference.file_path), node.key.to_user_string()
        lines = path.read_text("utf-8").splitlines()[reference.line_number - 1 :]
        function = next(line for line in lines if line.startswith("def "))
        assert path.parent.name == "assets", name
        assert f'"{name}"' in path.read_text("utf-8") or function.startswith(f"def {name}("), name
        assert node.code_version == code_version(path.stem), name


def test_versions_differ_by_what_computes() -> None:
    versions = {group: code_version(group) for group in ("data", "training", "scoring", "monitoring")}
    assert len({*versions.values()}) == len(versions)
    assert all(re.fullmatch("[0-9a-f]{12}", version) for version in versions.values())


def test_a_computed_asset_is_found_stale_by_its_version(tmp_path: Path) -> None:
    spec = next(s for s in definitions_of(Settings(home=tmp_path)).resolve_all_asset_specs() if s.key == KEY)
    assert spec.code_version == code_version("monitoring")


KEY = dg.AssetKey("drift_report")
