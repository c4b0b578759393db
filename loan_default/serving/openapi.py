"""The OpenAPI 3.1 document of the scoring server, made from the contract and the policy of the version that answers.

It describes every route and every status; tests hold it to the routes of `app`, and send what it allows. The schema of
an application is `application_schema`'s, the page for people `docs_page`'s.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from importlib.metadata import version as installed_version
from typing import Any, NamedTuple, get_args

import orjson
import polars as pl

from loan_default.risk.contract.reasons import Side
from loan_default.risk.errors import BadInput
from loan_default.risk.model.offers import OFFERS_AT_MOST
from loan_default.risk.model.scorer import DECISIONS, Scorer
from loan_default.serving import docs_page
from loan_default.serving.application_schema import Schema, application_schema
from loan_default.serving.connection import ConnectionLimits
from loan_default.serving.decisions import Verdict
from loan_default.serving.idempotency import ANOTHER_REQUEST, IN_PROGRESS, LONGEST_KEY
from loan_default.serving.inference_protocol import BINARY, DATATYPES, OUTPUTS
from loan_default.serving.problems import CODES, PROBLEM_JSON, problem
from loan_default.serving.protocol import (
    CSV,
    EXPLAINED,
    FORMS,
    JSON,
    PARQUET,
    SPLIT,
    Output,
    Refused,
    encode,
)
from loan_default.serving.purpose import PERSON, WHAT_IF
from loan_default.serving.served_model import ServedModel

PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
_EXAMPLE_ID, EXAMPLE_DECISION = "example", "0192f0a1-b2c3-7d4e-8f5a-6b7c8d9e0000"
_TEXT: Schema = {"type": "string"}
_DECISION_ID = "^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$"  # a UUID of version 7
_NAME = {"name": "name", "in": "path", "required": True, "schema": _TEXT, "description": "Name of the model."}
_VERSION = {"name": "version", "in": "path", "required": True, "schema": _TEXT, "description": "Version of the model."}
_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "schema": {"type": "string", "pattern": f"^[!-~]{{1,{LONGEST_KEY}}}$"},
    "description": "The same request with the same key has the same decision for a day, and is not decided on twice.",
}
_PERSON = {
    "name": "X-On-Behalf-Of",
    "in": "header",
    "schema": {"type": "string", "pattern": f"^{PERSON}$"},
    "description": "The person for whom the caller asks, as the prediction log keeps it beside the caller's name.",
}
_PURPOSE = {
    "name": "X-Purpose",
    "in": "header",
    "schema": {"enum": [WHAT_IF.decode()]},
    "description": "A question that decides on nobody: what would be answered if an application were another. It has "
    "no decision_id, is counted apart (loan_default_what_if_rows), and is not in the prediction log.",
}
_SCORING_HEADERS = [_KEY, _PERSON, _PURPOSE]
_HEADERS = {
    "X-Request-Id": {"schema": _TEXT, "description": "The caller's id of the request, or else the server's."},
    "X-Decision-Id": {
        "schema": {"type": "string", "format": "uuid"},
        "description": "The decision on the first application; its last four digits count the others of the request.",
    },
    "X-Model-Version": {
        "schema": _TEXT,
        "description": "The version that answered; two, where a challenger took part.",
    },
    "WWW-Authenticate": {"schema": _TEXT, "description": "How to authenticate."},
    "Retry-After": {"schema": {"type": "integer"}, "description": "Seconds after which to send the request again."},
}
_OPEN_ERRORS = (400, 403, 408, 413, 431, 500, 503)  # of any request, of whatever route
_SCORING_ERRORS = (*_OPEN_ERRORS, 401, 409, 415, 422)


@dataclass(frozen=True)
class Service:
    """Holds what the document says beside the version that answers; `secured` where scoring needs a token."""

    model_name: str
    rows_at_most: int
    secured: bool


class Description(NamedTuple):
    """The document as JSON, and as a page."""

    document: bytes
    page: bytes


def describe(model: ServedModel, service: Service) -> Description:
    """Describe the server while this version answers, for programs and for people."""
    described = document(model, service)
    return Description(orjson.dumps(described), docs_page.page(described))


def document(model: ServedModel, service: Service) -> dict[str, Any]:
    """Describe the server while this version answers."""
    policy = model.scorer.policy
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Loan default scoring",
            "version": installed_version("loan-default"),
            "description": _introduction(model, service),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "x-model": {"name": service.model_name, "version": model.version, "kind": model.scorer.kind},
            "x-policy": policy.model_dump(mode="json"),
        },
        "servers": [{"url": "/"}],
        "tags": [
            {"name": "Scoring", "description": "MLflow's protocol, which SageMaker and Vertex AI speak too."},
            {"name": "Open Inference Protocol", "description": "KServe's V2 protocol: tensors named by fields."},
            {"name": "Operations", "description": "Health, metrics and this document."},
        ],
        "paths": {**_scoring_paths(model, service), **_inference_paths(model, service), **_operations_paths(service)},
        "components": {
            "schemas": _schemas(model, service),
            "responses": {_error_name(status): _error(status, *error) for status, error in errors(model).items()},
            "headers": _HEADERS,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _introduction(model: ServedModel, service: Service) -> str:
    policy = model.scorer.policy
    return (
        f"Version {model.version} of {service.model_name} answers. {' '.join(_rules(model.scorer))} "
        "A person reviews what lies between, and who lacks a value that hardly any loan of development lacked. "
        f"A decline or a review has at most {policy.reasons_at_most} reasons. The score rises with safety: "
        f"{policy.points_at_odds:g} points at "
        f"{policy.odds:g} repaid loans for one default, {policy.points_to_double_odds:g} more for twice the odds. "
        f"A request holds at most {service.rows_at_most:,} applications and {ConnectionLimits().body_bytes:,} bytes."
    )


def _rules(scorer: Scorer) -> Iterator[str]:
    """Say what a version decides by."""
    policy = scorer.policy
    if policy.by_pd:
        approved, declined = f"below {policy.approve_below:g} is approved", f"from {policy.decline_from:g} on declined"
        yield f"A PD (probability of default, 0 to 1) {approved}, {declined}."
    if policy.by_value:
        approved = f"of {policy.approve_npv_from:g} of the amount or more is approved"
        yield f"A net present value {approved}, one below {policy.decline_npv_below:g} declined."
    if policy.by == "both":
        yield "Of both rules the stricter counts."
    if policy.outside_population == "review":
        together = ", or two that hardly any had together," if scorer.population.apart else ""
        yield f"Who has a value that no loan of development had{together} is reviewed at best."


# --- paths


def _operation(
    summary: str, tag: str, answer: Mapping[str, Any], errors: Sequence[int], *, secured: bool = False, **more: Any
) -> dict[str, Any]:
    """Describe an operation: its own answers, and at other statuses the errors that it shares with others."""
    shared = {str(status): _ref("responses", _error_name(status)) for status in sorted(errors)}
    security: dict[str, Any] = {"security": [{"token": []}]} if secured else {}
    return {"summary": summary, "tags": [tag], **security, **more, "responses": {**shared, **answer}}


def _content(kind: str, schema: Schema, **more: Any) -> dict[str, Any]:
    return {kind: {"schema": schema, **more}}


def _answer(description: str, content: Mapping[str, Any], *headers: str) -> dict[str, Any]:
    names = ("X-Request-Id", *headers)
    return {"description": description, "headers": {name: _ref("headers", name) for name in names}, "content": content}


def _scoring_paths(model: ServedModel, service: Service) -> dict[str, Any]:
    examples = scoring_examples(model)
    table = {"type": "string", "description": "A header with the fields' names, and a row for each application."}
    answers = {name: {"value": _score(model, body)} for name, body in examples.items()}
    operation = _operation(
        "Score applications",
        "Scoring",
        {"200": _answer("The predictions, in the order of the applications.", _content(
            JSON, _ref("schemas", "Predictions"), examples=answers), "X-Model-Version", "X-Decision-Id")},
        _SCORING_ERRORS,
        secured=service.secured,
        operationId="score",
        parameters=_SCORING_HEADERS,
        requestBody={
            "required": True,
            "content": {
                **_content(JSON, _ref("schemas", "ScoringRequest"), examples={
                    name: {"value": body} for name, body in examples.items()}),
                **_content(CSV, table, example=_as_csv(examples["typical"])),
                PARQUET: {"schema": {}},
            },
        },
    )  # fmt: skip
    ping = _operation("Tell that the server runs", "Scoring", {"200": _answer("It runs.", _content(JSON, {}))},
                      _OPEN_ERRORS, operationId="ping")  # fmt: skip
    return {"/invocations": {"post": operation}, "/ping": {"get": ping}}


def _inference_paths(model: ServedModel, service: Service) -> dict[str, Any]:
    paths: dict[str, Any] = {
        "/v2": {"get": _inference("Describe the server", "ServerMetadata", "serverMetadata")},
        "/v2/health/live": {"get": _inference("Tell whether the server runs", "Live", "serverLive")},
        "/v2/health/ready": {"get": _inference("Tell whether a version is loaded", "Ready", "serverReady", 503)},
    }
    name = {**_NAME, "schema": {"enum": [service.model_name]}}
    version = {**_VERSION, "schema": {"enum": [str(model.version)]}}
    for suffix, parameters in (("", [name]), ("/versions/{version}", [name, version])):
        path, number = f"/v2/models/{{name}}{suffix}", "Version" if suffix else ""
        operations = {
            "": {"get": _inference("Describe the model's tensors", "ModelMetadata", f"modelMetadata{number}", 404)},
            "/ready": {"get": _inference("Tell whether it is loaded", "ModelReady", f"modelReady{number}", 404)},
            "/infer": {"post": _infer(model, service, f"infer{number}")},
        }
        paths |= {f"{path}{end}": {"parameters": parameters, **operation} for end, operation in operations.items()}
    return paths


def _inference(summary: str, schema: str, operation_id: str, *unusual: int) -> dict[str, Any]:
    """Describe an operation of the Open Inference Protocol that asks for something."""
    answers = {"200": _answer("The answer.", _content(JSON, _ref("schemas", schema)))}
    if 503 in unusual:
        answers["503"] = _answer("No version is loaded.", _content(JSON, _ref("schemas", schema)), "Retry-After")
    errors = (*_OPEN_ERRORS, *unusual)
    return _operation(summary, "Open Inference Protocol", answers, errors, operationId=operation_id)


def _infer(model: ServedModel, service: Service, operation_id: str) -> dict[str, Any]:
    tensors = {
        **_content(JSON, _ref("schemas", "InferenceRequest"), example=inference_example(model)),
        BINARY: {"schema": {}},
    }
    answer = {**_content(JSON, _ref("schemas", "InferenceAnswer")), BINARY: {"schema": {}}}
    return _operation(
        "Score applications that come as tensors",
        "Open Inference Protocol",
        {"200": _answer("The output tensors.", answer, "X-Model-Version", "X-Decision-Id")},
        (*_SCORING_ERRORS, 404),
        secured=service.secured,
        operationId=operation_id,
        parameters=_SCORING_HEADERS,
        requestBody={"required": True, "content": tensors},
    )


def _operations_paths(service: Service) -> dict[str, Any]:
    health = _content(JSON, _ref("schemas", "Health"))
    unready = {"503": _answer("No version is loaded, or the registry does not answer.", health)}
    html = _content("text/html; charset=utf-8", _TEXT)

    def operation(summary: str, operation_id: str, content: Mapping[str, Any], *errors: int, **more: Any) -> Any:
        answers = {"200": _answer("The answer.", content), **more.pop("answers", {})}
        return _operation(summary, "Operations", answers, (*_OPEN_ERRORS, *errors), operationId=operation_id, **more)

    return {
        "/health": {"get": operation("Tell which version answers", "health", health, answers=unready)},
        "/version": {"get": operation("Tell MLflow's version", "version", _content("text/plain", _TEXT))},
        "/metrics": {"get": operation("Show Prometheus' metrics", "metrics", _content(PROMETHEUS, _TEXT))},
        "/openapi.json": {"get": operation("Show this document", "openapi", _content(JSON, {"type": "object"}))},
        "/docs": {"get": operation("Show this document as a page", "docs", html)},
        "/decisions/{decision_id}": {
            "get": operation(
                "Show a decision, scored again",
                "decision",
                _content(JSON, _ref("schemas", "Decision")),
                401,
                404,
                secured=service.secured,
                parameters=[
                    {
                        "name": "decision_id",
                        "in": "path",
                        "required": True,
                        "schema": {"type": "string", "format": "uuid", "pattern": _DECISION_ID},
                        "description": "The X-Decision-Id or decision_id of an answer.",
                    }
                ],
            )
        },
        "/admin/reload": {
            "post": operation(
                "Look at the registry now", "reload", health, 401, answers=unready, secured=service.secured
            )
        },
    }


# --- schemas


def _schemas(model: ServedModel, service: Service) -> dict[str, Schema]:
    policy = model.scorer.policy
    return {
        "Application": application_schema(model.scorer.contract, model.canary.application),
        "ScoringRequest": _scoring_request(model, service),
        "Predictions": _object(
            predictions={"type": "array", "items": {"anyOf": [
                _ref("schemas", "Prediction"),
                {"type": "number", "description": "The PD, where params.output is pd."},
                {"enum": [0, 1], "description": "1 for a decline, where params.output is label."},
            ]}},
        ),
        "Prediction": _prediction(policy.reasons_at_most, model.scorer),
        "Offer": _offer(),
        "Decision": _object(
            row={"type": "object", "description": "What the prediction log keeps of it."},
            verdict={"enum": [*get_args(Verdict)]},
            sentence=_TEXT,
            again={"type": ["object", "null"], "description": "What the version that decided says now."},
        ),
        "ReasonCode": _object(
            group=_TEXT, field=_TEXT, side={"enum": [*get_args(Side)]},
            share={"type": "number", "description": "Of what all groups add that speak against it."},
        ),
        "Error": _object(error_code={"enum": [*CODES]}, message=_TEXT),
        "Problem": _object(
            type=_TEXT, title=_TEXT, status={"type": "integer"}, detail=_TEXT, error_code={"enum": [*CODES]}
        ),
        "InferenceError": _object(error=_TEXT),
        "Health": _health(),
        **_inference_schemas(model, service),
    }  # fmt: skip


def _prediction(reasons_at_most: int, scorer: Scorer) -> Schema:
    """Describe the full answer on an application; a question that decides on nobody has no id."""
    reasons = "What speaks most against the application, strongest first; none for an approval."
    answer = _object(
        pd={"type": "number", "minimum": 0, "maximum": 1, "description": "Probability of default."},
        score={"type": "integer", "description": "Points; higher is safer."},
        decision={"enum": [*DECISIONS]},
        reasons={"type": "array", "items": _TEXT, "maxItems": reasons_at_most, "description": reasons},
        reason_codes={
            "type": "array",
            "items": _ref("schemas", "ReasonCode"),
            "description": "The same for programs, in the same order.",
        },
    )
    identified = {"type": "string", "format": "uuid", "description": "What finds the decision again."}
    worth = {
        "expected_loss": {"type": ["number", "null"], "description": "Principal lost on average, in the book's money."},
        "npv": {"type": ["number", "null"], "description": "Expected net present value, in the book's money."},
    }
    offers = {"type": "array", "items": _ref("schemas", "Offer"), "description": "Where params.output is offers."}
    no_offer = {"type": ["string", "null"], "description": "Why there is no offer, where one was asked for."}
    optional = {"decision_id": identified, "offers": offers, "no_offer": no_offer}
    optional |= {**(worth if scorer.value else {}), **(_timing() if scorer.hazard else {})}
    return {**answer, "properties": {**answer["properties"], **optional}}


def _timing() -> Schema:
    """Describe what hazards add to an answer."""
    share, may_lack = {"minimum": 0, "maximum": 1}, "null where the term is missing."
    years = "PD by the end of each year on book, the last the PD;"
    return {
        "pd_12m": {"type": ["number", "null"], **share, "description": f"PD of the first twelve months; {may_lack}"},
        "pd_curve": {
            "type": ["array", "null"],
            "items": {"type": "number", **share},
            "description": f"{years} {may_lack}",
        },
        "pd_hazard": {
            "type": ["number", "null"],
            **share,
            "description": f"PD over the life of the loan by the hazards alone; {may_lack}",
        },
        "expected_life": {
            "type": ["number", "null"],
            "minimum": 0,
            "description": f"Months until the loan ends either way, on average; {may_lack}",
        },
    }


def _offer() -> Schema:
    """Describe other values of an application, and what is decided with them."""
    return _object(
        changes={"type": "object", "description": "Values by field."},
        decision={"enum": [*DECISIONS]},
        pd={"type": "number", "minimum": 0, "maximum": 1},
        npv={"type": ["number", "null"], "description": "Expected net present value, in the book's money."},
        earns_most={
            "type": "boolean",
            "description": "By these, of those tried and approved, the lender is expected to earn most.",
        },
    )


def _health() -> Schema:
    """Describe /health, which other parts of the server add to."""
    nullable = {"type": ["string", "null"]}
    described = _object(
        status={"enum": ["ready", "not ready"]}, model=_TEXT, alias=_TEXT, trouble=nullable,
        version={"type": ["integer", "null"]},
    )  # fmt: skip
    return {**described, "additionalProperties": True}


_OUTPUT = f"Predictions, PDs or labels; or predictions with offers, of at most {OFFERS_AT_MOST} applications."


def _scoring_request(model: ServedModel, service: Service) -> Schema:
    names = [field.name for field in model.scorer.contract.application_fields]
    most = {"minItems": 1, "maxItems": service.rows_at_most}
    output = {"enum": [*get_args(Output)], "default": "full", "description": _OUTPUT}
    params = {"type": ["object", "null"], "additionalProperties": False, "properties": {"output": output}}
    records = {"type": "array", "items": _ref("schemas", "Application"), **most}
    split = _object(
        columns={"type": "array", "items": {"enum": names}, "uniqueItems": True},
        data={"type": "array", "items": {"type": "array", "description": "A value for each column."}, **most},
    )
    forms = {name: split if name == SPLIT else records for name in FORMS}
    either = {"params": params, "parameters": params}  # Vertex AI's name
    params_of = {name: {"params": params} for name in FORMS} | {"instances": either}
    bodies = [
        {**_object(**{name: schema}), "properties": {name: schema, **params_of[name]}, "not": {"required": [*either]}}
        for name, schema in forms.items()
    ]
    return {"oneOf": bodies}


def _inference_schemas(model: ServedModel, service: Service) -> dict[str, Schema]:
    typed: dict[str, Schema] = {"name": _TEXT, "datatype": {"enum": [*DATATYPES]}}
    shape = {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1, "maxItems": 2}
    request = _object(inputs={"type": "array", "items": _ref("schemas", "Tensor"), "minItems": 1})
    outputs = {"type": "array", "items": _object(name={"enum": [*OUTPUTS]})}
    return {
        "Tensor": _object(**typed, shape=shape, data={"type": "array"}),
        "TensorMetadata": _object(**typed, shape={"type": "array", "items": {"type": "integer"}}),
        "InferenceRequest": {**request, "properties": {**request["properties"], "id": _TEXT, "outputs": outputs}},
        "InferenceAnswer": {
            "type": "object",
            "required": ["model_name", "outputs"],
            "properties": {
                **dict.fromkeys(("model_name", "model_version", "id"), _TEXT),
                "outputs": {"type": "array", "items": _ref("schemas", "Tensor")},
            },
        },
        "ServerMetadata": _object(name=_TEXT, version=_TEXT, extensions={"type": "array", "items": _TEXT}),
        "ModelMetadata": _object(
            name=_TEXT,
            versions={"type": "array", "items": _TEXT},
            platform=_TEXT,
            **{key: {"type": "array", "items": _ref("schemas", "TensorMetadata")} for key in ("inputs", "outputs")},
        ),
        "Live": _object(live={"type": "boolean"}),
        "Ready": _object(ready={"type": "boolean"}),
        "ModelReady": _object(name=_TEXT, ready={"type": "boolean"}),
    }


def _object(**properties: Schema) -> Schema:
    """Describe an object that has all of these properties and no other."""
    return {
        "type": "object",
        "properties": properties,
        "required": [*properties],
        "additionalProperties": False,
    }


def _ref(kind: str, name: str) -> Schema:
    return {"$ref": f"#/components/{kind}/{name}"}


# --- errors


def errors(model: ServedModel) -> dict[int, tuple[str, str]]:
    """Map each status of a refusal to its code and a sentence such as it comes with, at 400 a real one."""
    return {
        400: ("INVALID_PARAMETER_VALUE", _refusal(model)),
        401: ("UNAUTHENTICATED", "A valid token is needed: Authorization: Bearer TOKEN."),
        403: ("PERMISSION_DENIED", "The request comes from a page of another origin."),
        404: ("RESOURCE_DOES_NOT_EXIST", "There is no such model."),
        408: ("BAD_REQUEST", "The body did not come within 30 s, or too slowly."),
        413: ("BAD_REQUEST", "The body is larger than is taken; send fewer applications at once."),
        409: ("RESOURCE_CONFLICT", IN_PROGRESS),
        415: ("BAD_REQUEST", f"Content-Type is 'text/plain'; it must be {JSON}, {CSV} or {PARQUET}."),
        422: ("INVALID_PARAMETER_VALUE", ANOTHER_REQUEST),
        431: ("BAD_REQUEST", "The head of the request is too large."),
        500: ("INTERNAL_ERROR", "The server failed; its log tells why."),
        503: ("TEMPORARILY_UNAVAILABLE", "Too many requests at once; try again in a second."),
    }


def _error_name(status: int) -> str:
    return HTTPStatus(status).phrase.title().replace(" ", "")


def _error(status: int, code: str, sentence: str) -> dict[str, Any]:
    refused = Refused(status, code, sentence)
    content = {
        **_content(
            JSON,
            {"anyOf": [_ref("schemas", "Error"), _ref("schemas", "InferenceError")]},
            example=orjson.loads(refused.body),
        ),
        **_content(PROBLEM_JSON, _ref("schemas", "Problem"), example=problem(refused)),
    }
    return _answer(sentence, content, *{401: ["WWW-Authenticate"], 503: ["Retry-After"]}.get(status, []))


def _refusal(model: ServedModel) -> str:
    """Return the sentence that refuses an application with a value that is not allowed."""
    for name in model.canary.application:
        try:
            _score(model, {"inputs": [{**model.canary.application, name: "?"}]})
        except (BadInput, Refused) as refusal:
            return str(refusal)
    return "There is no application in the request; send at least one row."


# --- examples, which the server answers as it says here


def scoring_examples(model: ServedModel) -> dict[str, dict[str, Any]]:
    """Return a body for each thing that an example shows; nobody's applications, made of the typical one."""
    typical = dict(model.canary.application)
    risky = {**typical, **dict(_riskier(model)), model.scorer.contract.id_name: _EXAMPLE_ID}
    return {
        "typical": {"dataframe_records": [typical]},
        "with_reasons": {"dataframe_records": [risky]},
        "columns": {SPLIT: {"columns": [*typical], "data": [[*typical.values()]]}, "params": {"output": "pd"}},
        "vertex": {"instances": [typical], "parameters": {"output": "label"}},
    }


def _riskier(model: ServedModel) -> Iterator[tuple[str, Any]]:
    """Yield values whose risk is known to be higher: twice or half the typical number, the second next level."""
    for field in model.scorer.contract.features:
        value = model.canary.application.get(field.name)
        if value is None or not field.risk or field.derived:
            continue
        if field.levels:
            position = field.levels.index(value) + (2 if field.risk == "rising" else -2)
            yield field.name, field.levels[min(max(position, 0), len(field.levels) - 1)]
        elif field.range:
            low, high = field.range
            yield field.name, min(max(max(2 * value, value + 2) if field.risk == "rising" else value / 2, low), high)


def inference_example(model: ServedModel) -> dict[str, Any]:
    """Return a request to infer for the typical application, in JSON."""
    tensors = [
        {"name": name, "shape": [1], "datatype": "FP64" if isinstance(value, int | float) else "BYTES", "data": [value]}
        for name, value in model.canary.application.items()
        if value is not None
    ]
    return {"id": _EXAMPLE_ID, "inputs": tensors}


def _score(model: ServedModel, body: Mapping[str, Any]) -> Any:
    parsed = model.read(orjson.dumps(body), JSON, at_most=1)
    explained = parsed.output in EXPLAINED
    predictions = model.predict(parsed.applications, with_reasons=explained)
    return orjson.loads(encode(predictions, parsed.output, [EXAMPLE_DECISION]))


def _as_csv(body: Mapping[str, Any]) -> str:
    (application,) = body["dataframe_records"]
    return pl.DataFrame([application]).write_csv()
