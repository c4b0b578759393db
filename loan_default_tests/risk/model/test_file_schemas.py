"""The JSON Schemas that ship: those of the types that load the files, and true of the files that ship."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from loan_default.risk.model.file_schemas import schema_texts, write_schemas
from loan_default.risk.reviewed_file import CONF

FILES = ("contract", "policy", "search_space")


def errors(name: str, content: Any) -> list[str]:
    schema = json.loads((CONF / f"{name}.schema.json").read_text(encoding="utf-8"))
    plain = json.loads(json.dumps(content, default=str))
    return [error.message for error in jsonschema.Draft202012Validator(schema).iter_errors(plain)]


def content_of(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((CONF / f"{name}.yaml").read_text(encoding="utf-8"))
    return content


def test_the_schemas_are_those_of_the_types() -> None:
    for name, text in schema_texts().items():
        assert (CONF / name).read_text(encoding="utf-8") == text, "make schemas writes them anew"


def test_writing_them_is_all_that_a_change_needs(tmp_path: Path) -> None:
    write_schemas(tmp_path)
    assert {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()} == schema_texts()


@pytest.mark.parametrize("name", FILES)
def test_every_key_is_described(name: str) -> None:
    schema = json.loads(schema_texts()[f"{name}.schema.json"])
    sections = {name: schema, **schema["$defs"]}
    keys = {f"{section}.{key}": value for section in sections for key, value in sections[section]["properties"].items()}
    assert len(keys) > 20
    assert [key for key, value in keys.items() if not value.get("description", "").endswith(".")] == []
    assert [section for section, value in sections.items() if len(value["description"]) < 20] == []


@pytest.mark.parametrize("name", FILES)
def test_the_shipped_file_names_its_schema_and_keeps_to_it(name: str) -> None:
    first, *_ = (CONF / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    assert first == f"# yaml-language-server: $schema={name}.schema.json"
    assert errors(name, content_of(name)) == []
    assert errors(name, {**content_of(name), "colour": "red"})


def test_a_schema_knows_the_forms_of_a_value() -> None:
    contract = content_of("contract")
    field: dict[str, Any] = {"name": "a", "kind": "month", "role": "support", "description": "d"}
    allowed: list[dict[str, Any]] = [{"format": "%Y"}, {"format": ["%Y%m", "%b-%y"]}, {"words": {"x": None}}]
    refused: list[dict[str, Any]] = [{"rnge": [0, 1]}, {"kind": "date"}, {"format": 5}, {"derived_as_numbers": True}]
    for more in allowed:
        assert errors("contract", {**contract, "fields": [*contract["fields"], field | more]}) == []
    for term in (36, {"by": "grade", "months": {"A": 36}}, {"horizon": 12}):
        assert errors("contract", {**contract, "term": term}) == []
    for more in refused:
        assert errors("contract", {**contract, "fields": [*contract["fields"], field | more]})
