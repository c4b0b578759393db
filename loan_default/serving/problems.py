"""The forms of a refusal: MLflow's, the Open Inference Protocol's, and RFC 9457's (`application/problem+json`).

A refusal is of the form that its path has, as MLflow's clients and those of the other protocol read it; whoever names
problem+json in the header Accept gets that on every path, with MLflow's error code in it. One body for all would change
what MLflow's clients are used to, and say each sentence three times.
"""

from __future__ import annotations

from http import HTTPStatus

import orjson

from loan_default.serving.http import JSON_HEADER, Headers, RawHeaders
from loan_default.serving.inference_protocol import PATH as INFERENCE
from loan_default.serving.inference_protocol import encode_error
from loan_default.serving.protocol import Refused

PROBLEM_JSON = "application/problem+json"
CODES = (
    "BAD_REQUEST",
    "ENDPOINT_NOT_FOUND",
    "INTERNAL_ERROR",
    "INVALID_PARAMETER_VALUE",
    "PERMISSION_DENIED",
    "RESOURCE_CONFLICT",
    "RESOURCE_DOES_NOT_EXIST",
    "TEMPORARILY_UNAVAILABLE",
    "UNAUTHENTICATED",
)
_PROBLEM_HEADER = (b"content-type", PROBLEM_JSON.encode())


def encode_refusal(refused: Refused, path: str, headers: Headers) -> tuple[bytes, RawHeaders]:
    """Encode a refusal in the form that its request reads; return the body and the header of its type."""
    if PROBLEM_JSON.encode() in headers.get(b"accept", b"").lower():
        return orjson.dumps(problem(refused)), (_PROBLEM_HEADER,)
    return encode_error(refused.sentence) if f"{path}/".startswith(f"{INFERENCE}/") else refused.body, (JSON_HEADER,)


def problem(refused: Refused) -> dict[str, str | int]:
    """Describe a refusal by the fields of RFC 9457; its type has no page of its own beside the status."""
    title = HTTPStatus(refused.status).phrase
    return {
        "type": "about:blank",
        "title": title,
        "status": refused.status,
        "detail": refused.sentence,
        "error_code": refused.code,
    }
