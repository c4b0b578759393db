"""What Vertex AI and SageMaker say of themselves, and who may answer for callers."""

import pytest

from loan_default.adapters.hosting import Hosting, read_authenticated_by, read_hosting
from loan_default.risk.errors import BadInput

VERTEX = {
    "AIP_HTTP_PORT": "8081",
    "AIP_PREDICT_ROUTE": "/v1/endpoints/1/deployedModels/2:predict",
    "AIP_HEALTH_ROUTE": "/v1/endpoints/1/deployedModels/2",
}
PLATFORM = {"LOAN_DEFAULT_AUTHENTICATED_BY": "platform"}


@pytest.mark.parametrize(
    ("variables", "hosting"),
    [
        ({}, Hosting()),
        ({"AIP_PREDICT_ROUTE": "/predict", "SAGEMAKER_SPACE_NAME": "a notebook"}, Hosting()),
        (VERTEX, Hosting(8081, VERTEX["AIP_PREDICT_ROUTE"], VERTEX["AIP_HEALTH_ROUTE"])),
        ({"SAGEMAKER_REGION": "eu-central-1"}, Hosting(8080)),
        ({"SAGEMAKER_BATCH": "true"}, Hosting(8080)),
        ({"SAGEMAKER_BIND_TO_PORT": "15001"}, Hosting(15001)),
    ],
)
def test_a_platform_says_what_it_calls(variables: dict[str, str], hosting: Hosting) -> None:
    assert read_hosting(variables) == hosting


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"AIP_HTTP_PORT": "http"}, "AIP_HTTP_PORT is 'http'; it must be a port"),
        ({"SAGEMAKER_BIND_TO_PORT": "0"}, "SAGEMAKER_BIND_TO_PORT is '0'"),
        ({**VERTEX, "AIP_HEALTH_ROUTE": "health"}, "AIP_HEALTH_ROUTE is 'health'; it must be a path"),
    ],
)
def test_a_value_that_cannot_be_used_is_named(variables: dict[str, str], sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        read_hosting(variables)


@pytest.mark.parametrize("variables", [VERTEX, {"SAGEMAKER_REGION": "eu-central-1"}])
def test_a_platform_may_authenticate(variables: dict[str, str]) -> None:
    hosting = read_hosting(variables)
    assert read_authenticated_by(variables, hosting) == "tokens"
    assert read_authenticated_by({**variables, **PLATFORM}, hosting) == "platform"


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        (PLATFORM, "no platform is here that authenticates.*; set LOAN_DEFAULT_API_TOKENS instead"),
        ({**PLATFORM, **VERTEX, "LOAN_DEFAULT_API_TOKENS": "one"}, "LOAN_DEFAULT_API_TOKENS is set; take one"),
        ({"LOAN_DEFAULT_AUTHENTICATED_BY": "nobody"}, "is 'nobody'; it must be tokens or platform"),
    ],
)
def test_nobody_else_may(variables: dict[str, str], sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        read_authenticated_by(variables, read_hosting(variables))
