"""Makes the JSON Schemas by which editors complete and check reviewed files, from the types that load them.

They ship beside the files (`conf/*.schema.json`) and hold what a schema can: the rest is told when a file is loaded.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from loan_default.risk.contract.book import Contract
from loan_default.risk.model.search_space import search_space_file
from loan_default.risk.policy import Policy
from loan_default.risk.reviewed_file import CONF
from loan_default.risk.section import Section


def schema_texts() -> dict[str, str]:
    """Return the text of each schema, by the name of its file."""
    kinds: dict[str, type[Section]] = {"contract": Contract, "policy": Policy, "search_space": search_space_file()}
    schemas = {f"{name}.schema.json": kind.model_json_schema() for name, kind in kinds.items()}
    schemas["policy.schema.json"] = _without_required(schemas["policy.schema.json"])
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return {
        name: json.dumps(dialect | _plain(schema), indent=1, ensure_ascii=False) + "\n"
        for name, schema in schemas.items()
    }


def write_schemas(folder: Path = CONF) -> None:
    """Write the schemas anew, after a change of what the files may say."""
    for name, text in schema_texts().items():
        (folder / name).write_text(text, encoding="utf-8")


def _without_required(schema: dict[str, Any]) -> dict[str, Any]:
    """Ask for no key: where a policy says nothing, the shipped one holds."""
    definitions = {name: _without_required(section) for name, section in schema.get("$defs", {}).items()}
    optional = {name: value for name, value in schema.items() if name not in ("required", "$defs")}
    return {**optional, "$defs": definitions} if definitions else optional


def _plain(schema: Any) -> Any:
    """Leave out titles, which repeat the keys."""
    if isinstance(schema, list):
        return [_plain(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {name: _plain(value) for name, value in schema.items() if name != "title" or not isinstance(value, str)}
