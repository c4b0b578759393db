"""An application whose PD is known, kept with a model package: what a server scores before it trusts a version.

The application is made of medians (`monitoring.reference_profile`), so it is nobody's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from loan_default.risk.data.applications import clean_applications
from loan_default.risk.errors import BadInput
from loan_default.risk.model.scorer import Scorer

FILE = "canary.json"


@dataclass(frozen=True)
class Canary:
    """`application` in natural units, by field name; `pd` as the version gave it when it was registered."""

    application: Mapping[str, Any]
    pd: float


def write(folder: Path, scorer: Scorer, application: Mapping[str, Any]) -> None:
    """Score the application and keep both in the package's folder."""
    loans = clean_applications(pl.DataFrame([application]), scorer.contract)
    (pd,) = scorer.score(loans, with_reasons=False)["pd"].to_list()
    text = json.dumps({"application": dict(application), "pd": pd}, indent=1)
    (folder / FILE).write_text(text, encoding="utf-8")


def read(folder: Path) -> Canary:
    """Read what `write` stored.

    Raises:
        BadInput: the folder holds none.
    """
    try:
        return Canary(**json.loads((folder / FILE).read_text(encoding="utf-8")))
    except (FileNotFoundError, json.JSONDecodeError, TypeError) as error:
        raise BadInput(f"{folder} has no {FILE} that can be read; register the model again.") from error
