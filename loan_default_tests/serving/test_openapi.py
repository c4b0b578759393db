"""The document against the version that it describes: its examples score as it says, its references lead somewhere."""

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from loan_default.serving import inference_protocol
from loan_default.serving.openapi import EXAMPLE_DECISION, Service, describe, document, errors
from loan_default.serving.protocol import encode
from loan_default.serving.served_model import ServedModel
from loan_default_tests.packages import package


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ServedModel:
    return ServedModel.load(package(tmp_path_factory.mktemp("package") / "xgboost", "xgboost"), 3)


@pytest.fixture(scope="module")
def described(model: ServedModel) -> dict[str, Any]:
    return document(model, Service("loans", 100, secured=True))


def validator_of(described: dict[str, Any], name: str) -> jsonschema.Draft202012Validator:
    schema = {"$ref": f"#/components/schemas/{name}", "components": described["components"]}
    return jsonschema.Draft202012Validator(schema)


def parts_of(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from parts_of(part)


def test_each_example_scores_as_it_says(model: ServedModel, described: dict[str, Any]) -> None:
    operation = described["paths"]["/invocations"]["post"]
    content = operation["requestBody"]["content"]
    answers = operation["responses"]["200"]["content"]["application/json"]["examples"]
    examples = {name: example["value"] for name, example in content["application/json"]["examples"].items()}
    assert examples.keys() == answers.keys()
    for name, body in examples.items():
        validator_of(described, "ScoringRequest").validate(body)
        parsed = model.read(json.dumps(body).encode(), "application/json", at_most=1)
        predictions = model.predict(parsed.applications)
        assert json.loads(encode(predictions, parsed.output, [EXAMPLE_DECISION])) == answers[name]["value"]
        validator_of(described, "Predictions").validate(answers[name]["value"])
    assert answers["with_reasons"]["value"]["predictions"][0]["reasons"]
    table = content["text/csv"]["example"].encode()
    of_table = model.predict(model.read(table, "text/csv", at_most=1).applications)
    assert of_table.pds == [answers["typical"]["value"]["predictions"][0]["pd"]]


def test_the_example_in_tensors_scores(model: ServedModel, described: dict[str, Any]) -> None:
    operation = described["paths"]["/v2/models/{name}/infer"]["post"]
    example = operation["requestBody"]["content"]["application/json"]["example"]
    validator_of(described, "InferenceRequest").validate(example)
    request = inference_protocol.decode(json.dumps(example).encode(), None, at_most=1)
    predictions = model.predict(model.read_decoded(request.decoded).applications)
    assert predictions.pds == [pytest.approx(model.canary.pd, abs=1e-6)]
    answer = inference_protocol.encode(predictions, request, model_name="loans", version="3", reasons_at_most=4)
    validator_of(described, "InferenceAnswer").validate(json.loads(answer.body))


def test_each_reference_leads_somewhere_and_each_schema_is_one(described: dict[str, Any]) -> None:
    references = {part["$ref"] for part in parts_of(described) if "$ref" in part}
    named = {
        f"#/components/{kind}/{name}" for kind in described["components"] for name in described["components"][kind]
    }
    assert references <= named
    schemas = {reference for reference in named if "/schemas/" in reference}
    assert schemas <= references, "no schema stands there for nothing"
    for schema in described["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_each_operation_has_a_name_of_its_own_and_each_error_an_example(described: dict[str, Any]) -> None:
    operations = [part for part in parts_of(described["paths"]) if "operationId" in part]
    names = [operation["operationId"] for operation in operations]
    assert len(names) == len({*names})
    for response in described["components"]["responses"].values():
        for kind, schema in (("application/json", "Error"), ("application/problem+json", "Problem")):
            validator_of(described, schema).validate(response["content"][kind]["example"])


def test_it_says_which_version_answers_and_by_which_policy(model: ServedModel, described: dict[str, Any]) -> None:
    info = described["info"]
    assert info["x-model"] == {"name": "loans", "version": 3, "kind": "xgboost"}
    assert info["x-policy"]["approve_below"] == model.scorer.policy.approve_below
    assert "below 0.15 is approved, from 0.3 on declined" in info["description"]
    assert "at most 100 applications" in info["description"]


def test_tokens_are_described_where_they_are_needed(model: ServedModel, described: dict[str, Any]) -> None:
    secured = {path for path, methods in described["paths"].items() for part in parts_of(methods) if "security" in part}
    assert secured == {
        "/invocations",
        "/admin/reload",
        "/decisions/{decision_id}",
        "/v2/models/{name}/infer",
        "/v2/models/{name}/versions/{version}/infer",
    }
    unsecured = document(model, Service("loans", 100, secured=False))
    assert not [part for part in parts_of(unsecured["paths"]) if "security" in part]


def test_each_operation_that_decides_takes_an_idempotency_key(described: dict[str, Any]) -> None:
    keyed = {path for path, methods in described["paths"].items() for part in parts_of(methods)
             if part.get("name") == "Idempotency-Key"}  # fmt: skip
    assert keyed == {path for path in described["paths"] if path.endswith(("/invocations", "/infer"))}


def test_the_sentence_of_a_refusal_is_a_real_one(model: ServedModel) -> None:
    assert errors(model)[400][1].startswith("Row 0: loan_amnt '?' is no number; it must be 100 to 1,000,000 dollars.")


def test_it_is_told_to_programs_and_to_people(model: ServedModel, described: dict[str, Any]) -> None:
    both = describe(model, Service("loans", 100, secured=True))
    assert json.loads(both.document) == described
    assert both.page.startswith(b"<!doctype html>")
