"""One refusal in each form, by its path and by what the caller reads."""

import json

import pytest

from loan_default.serving.problems import encode_refusal
from loan_default.serving.protocol import Refused

REFUSED = Refused(400, "INVALID_PARAMETER_VALUE", "Row 0: term is missing.")
MLFLOW = {"error_code": "INVALID_PARAMETER_VALUE", "message": "Row 0: term is missing."}
PROBLEM = {
    "type": "about:blank",
    "title": "Bad Request",
    "status": 400,
    "detail": "Row 0: term is missing.",
    "error_code": "INVALID_PARAMETER_VALUE",
}


@pytest.mark.parametrize(
    ("path", "accept", "body"),
    [
        ("/invocations", b"", MLFLOW),
        ("/invocations", b"*/*", MLFLOW),
        ("/invocations", b"application/json", MLFLOW),
        ("/invocations", b"application/json, Application/Problem+JSON;q=0.9", PROBLEM),
        ("/v2/models/loans/infer", b"*/*", {"error": "Row 0: term is missing."}),
        ("/v2/models/loans/infer", b"application/problem+json", PROBLEM),
        ("/v22", b"", MLFLOW),
    ],
)
def test_a_refusal_is_of_the_form_that_is_read(path: str, accept: bytes, body: object) -> None:
    encoded, ((name, kind),) = encode_refusal(REFUSED, path, {b"accept": accept} if accept else {})
    assert json.loads(encoded) == body
    assert (name, kind) == (
        b"content-type",
        b"application/problem+json" if body is PROBLEM else b"application/json",
    )
