"""The code of assets, as Dagster shows it: where each is defined, and a version that changes with what computes it.

A version is a fingerprint of files: those of the asset, of its step, and of the floors of `risk` that the step works
with. Which floor that is, is said here. Dagster's `with_source_code_references` would name the file of the decorator
that is around each asset.
"""

from __future__ import annotations

import hashlib
import inspect
import re
import warnings
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.metadata import metadata
from pathlib import Path
from typing import Any

import dagster as dg

_PACKAGE = Path(__file__).parents[1]
_NO_TAG = "0.0.0"  # the version of a checkout without one
_FLOORS = ("contract", "data", "economics", "model", "validation", "monitoring", "value")  # of `risk`, lowest first
_HIGHEST = {  # of each group of assets
    "outcomes": "data",
    "data": "data",
    "training": "model",
    "registry": "value",
    "scoring": "model",
    "monitoring": "monitoring",
    "performance": "monitoring",
    "backtest": "validation",
    "provision": "value",
    "serving": "model",
}


def with_code(assets: Iterable[Any]) -> list[Any]:
    """Add to each asset that is computed here where its function is, and the version of its code."""
    return [_with_code(each) if isinstance(each, dg.AssetsDefinition) else each for each in assets]


def _with_code(assets: dg.AssetsDefinition) -> dg.AssetsDefinition:
    code = inspect.unwrap(assets.op.compute_fn.decorated_fn).__code__  # type: ignore[union-attr]
    group = Path(code.co_filename).stem
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)  # Dagster's version is pinned
        reference = code_reference(Path(code.co_filename), code.co_firstlineno, _PACKAGE)
        references = dg.CodeReferencesMetadataValue(code_references=[reference])

    def changed(spec: dg.AssetSpec) -> dg.AssetSpec:
        metadata = {**spec.metadata, "dagster/code_references": references}
        return spec.replace_attributes(code_version=code_version(group), metadata=metadata)

    return assets.map_asset_specs(changed)


def code_reference(path: Path, line: int, package: Path) -> dg.LocalFileCodeReference | dg.UrlCodeReference:
    """Refer to a line of the package: to the file in a checkout, else to the repository of what is installed."""
    if (package.parent / "pyproject.toml").exists():
        return dg.LocalFileCodeReference(file_path=str(path), line_number=line, label=path.stem)
    installed = metadata(package.name)
    pages = dict(entry.split(", ", 1) for entry in installed.get_all("Project-URL", ()))
    version = installed["Version"]
    tag = "main" if version == _NO_TAG or ".dev" in version else f"v{version}"
    address = f"{pages['Repository']}/blob/{tag}/{path.relative_to(package.parent).as_posix()}#L{line}"
    return dg.UrlCodeReference(url=address, label=path.stem)


@cache
def code_version(group: str) -> str:
    """Return 12 hexadecimal digits that change with any file that computes the assets of a group."""
    digest = hashlib.sha256()
    for path in _files(group):
        digest.update(path.relative_to(_PACKAGE).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def _files(group: str) -> Iterator[Path]:
    yield from sorted(_with_steps(_PACKAGE / "defs" / "assets" / f"{group}.py"))
    risk = _PACKAGE / "risk"
    yield from sorted(risk.glob("*.py"))
    for floor in _FLOORS[: _FLOORS.index(_HIGHEST[group]) + 1]:
        yield from sorted((risk / floor).rglob("*.py"))


def _with_steps(assets: Path) -> set[Path]:
    """Return a module of assets, and the steps that it imports, and these in turn."""
    modules, pending = set[Path](), [assets]
    while pending:
        modules.add(module := pending.pop())
        names = re.findall(r"from loan_default\.steps\.(\w+) import", module.read_text("utf-8"))
        pending += {_PACKAGE / "steps" / f"{name}.py" for name in names} - modules
    return modules
