"""Each asset says where its code is, and by which version it was computed."""

import re
from email.message import Message
from pathlib import Path

import dagster as dg
import pytest

from loan_default.defs import code
from loan_default.defs.code import code_version
from loan_default.settings import Settings
from loan_default_tests.homes import definitions_of
from loan_default_tests.test_rooms import FLOORS


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


@pytest.mark.filterwarnings("ignore:Class `UrlCodeReference` is")  # Dagster's version is pinned
def test_what_is_installed_points_at_the_repository_in_its_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "loan_default"
    path = package / "defs" / "assets" / "scoring.py"
    for version, tag in (("0.0.0", "main"), ("0.0.1.dev5+gabc", "main"), ("1.2.0", "v1.2.0")):
        installed = Message()
        installed["Version"] = version
        for entry in ("Documentation, https://docs.example", "Repository, https://git.example/loans"):
            installed["Project-URL"] = entry
        monkeypatch.setattr(code, "metadata", {"loan_default": installed}.get)
        reference = code.code_reference(path, 7, package)
        assert isinstance(reference, dg.UrlCodeReference)
        assert reference.url == f"https://git.example/loans/blob/{tag}/loan_default/defs/assets/scoring.py#L7"


def test_versions_differ_by_what_computes() -> None:
    versions = {group: code_version(group) for group in ("data", "training", "scoring", "monitoring")}
    assert len({*versions.values()}) == len(versions)
    assert all(re.fullmatch("[0-9a-f]{12}", version) for version in versions.values())


def test_a_version_covers_every_floor_and_every_step_below_its_assets() -> None:
    assert ("contract", *FLOORS[1:]) == code._FLOORS
    files = {path.relative_to(code._PACKAGE).as_posix() for path in code._files("registry")}
    assert {"steps/evaluation.py", "steps/strategy.py", "steps/examination.py", "risk/economics/loss.py"} <= files
    assert "risk/value/strategy.py" in files
    assert "steps/monitoring.py" not in files


def test_a_computed_asset_is_found_stale_by_its_version(tmp_path: Path) -> None:
    spec = next(s for s in definitions_of(Settings(home=tmp_path)).resolve_all_asset_specs() if s.key == KEY)
    assert spec.code_version == code_version("monitoring")


KEY = dg.AssetKey("drift_report")
