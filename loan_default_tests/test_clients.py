"""Clients and platforms that speak their own protocols, against the real server; nothing but the platform is imitated.

What each form means is tested beside its module.
"""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tritonclient import http as triton
from tritonclient.utils import InferenceServerException

from loan_default.adapters.tracking import Tracking
from loan_default.serving.inference_protocol import BINARY
from loan_default.serving.protocol import CSV, FORMS, JSON, PARQUET
from loan_default_tests.packages import applications
from loan_default_tests.request_forms import as_applications
from loan_default_tests.serving.test_server import Running, promoted, running
from loan_default_tests.stores import new_tracking

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[1]
MODEL, TOKEN = "loan_default_model", "hush"
LOANS = applications()[0][:3]
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Tracking:
    tracking = new_tracking(tmp_path_factory.mktemp("registry") / "store")
    promoted(tracking)
    return tracking


@pytest.fixture(scope="module")
def server(tracking: Tracking, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    tokens: dict[str, Any] = {"LOAN_DEFAULT_API_TOKENS": TOKEN, "LOAN_DEFAULT_ADMIN_TOKENS": TOKEN}
    with running(tracking, tmp_path_factory.mktemp("server") / "home", **tokens) as server:
        server.until(lambda health: health["status"] == "ready")
        yield server


@pytest.fixture(scope="module")
def predictions(server: Running) -> Sequence[dict[str, Any]]:
    """What MLflow's protocol says of `LOANS`."""
    answer: Sequence[dict[str, Any]] = server.score({"instances": LOANS}, **BEARER).json()["predictions"]
    return answer


# Bounded: so many examples of each operation, the same in each run.
OPTIONS = ["--max-examples=6", "--seed=1", f"--header=Authorization: {BEARER['Authorization']}", "--no-color"]
# No schema says that a tensor has as many values as its shape, that a row of a dataframe_split has one for each column,
# or what stands in a table of texts: what is valid is tried of applications, below. And more is taken than the
# document says: a number as text, a date for a month, an empty text for a missing value. What a field may be is held to
# its schema in `test_application_schema.py`. /ping answers an empty line as JSON, as MLflow's server does.
SCHEMATHESIS = """
[[operations]]
include-path-regex = "/(infer|invocations)$"
checks.positive_data_acceptance.enabled = false
checks.negative_data_rejection.enabled = false

[[operations]]
include-path = "/ping"
checks.response_schema_conformance.enabled = false
"""
# Of the 2,600 requests 2,000 are values at the bounds of each field of /invocations in each form.
WITHOUT_BOUNDS = """
[[operations]]
include-path = "/invocations"
phases.coverage.enabled = false
"""


# --- the Open Inference Protocol, by Triton's client


@pytest.fixture
def client(server: Running) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(server.url.removeprefix("http://")) as client:
        yield client


def tensors(client: triton.InferenceServerClient, *, binary: bool) -> list[triton.InferInput]:
    """Return the tensors of `LOANS`, of the types that the model's metadata say."""
    inputs = []
    for described in client.get_model_metadata(MODEL)["inputs"]:
        values = [loan.get(described["name"]) for loan in LOANS]
        if any(value is not None for value in values):
            is_text = described["datatype"] == "BYTES"
            array = np.array([value or "" for value in values], dtype=object) if is_text else np.array(values, float)
            tensor = triton.InferInput(described["name"], [len(LOANS)], described["datatype"])
            inputs.append(tensor.set_data_from_numpy(array, binary_data=binary))
    return inputs


def test_a_client_learns_what_the_model_takes(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(MODEL)
    assert client.is_model_ready(MODEL, "1")
    assert not client.is_model_ready("another")
    assert client.get_server_metadata()["name"] == "loan-default"
    metadata = client.get_model_metadata(MODEL, "1")
    assert (metadata["name"], metadata["versions"]) == (MODEL, ["1"])


def test_a_client_gets_the_same_predictions(
    client: triton.InferenceServerClient, predictions: Sequence[dict[str, Any]]
) -> None:
    result = client.infer(MODEL, tensors(client, binary=True), headers=BEARER, request_id="42")
    assert result.get_response()["id"] == "42"
    assert result.as_numpy("pd").tolist() == [row["pd"] for row in predictions]
    assert result.as_numpy("score").tolist() == [row["score"] for row in predictions]
    assert [text.decode() for text in result.as_numpy("decision")] == [row["decision"] for row in predictions]
    reasons = [[text.decode() for text in row if text] for row in result.as_numpy("reasons")]
    assert reasons == [row["reasons"] for row in predictions]
    assert any(reasons)


def test_a_client_is_told_what_is_wrong(client: triton.InferenceServerClient) -> None:
    inputs = tensors(client, binary=True)
    with pytest.raises(InferenceServerException, match="A valid token is needed"):
        client.infer(MODEL, inputs)
    term = next(tensor for tensor in inputs if tensor.name() == "term")
    term.set_data_from_numpy(np.array([36.0, 3.61, 36.0]))
    with pytest.raises(InferenceServerException, match=r"Row 1: term '3.61' is outside of 6 to 120 months"):
        client.infer(MODEL, inputs, headers=BEARER)


# --- Vertex AI and SageMaker, as they run a container and call it


def entrypoint() -> list[str]:
    """Return the arguments that the image starts the command with."""
    dockerfile = Path(__file__).parents[1] / "docker" / "scoring.Dockerfile"
    (text,) = re.findall(r"^ENTRYPOINT (.*)$", dockerfile.read_text(encoding="utf-8"), re.MULTILINE)
    arguments: list[str] = json.loads(text)
    return arguments


def test_sagemaker_runs_the_image_with_one_argument() -> None:
    assert entrypoint() == ["python", "-m", "loan_default.cli"]


def test_vertex_ai_calls_its_own_paths_and_authenticates(tracking: Tracking, tmp_path: Path) -> None:
    predict, health = "/v1/endpoints/7/deployedModels/9:predict", "/v1/endpoints/7/deployedModels/9"
    routes: dict[str, Any] = {"AIP_HTTP_PORT": "8080", "AIP_PREDICT_ROUTE": predict, "AIP_HEALTH_ROUTE": health}
    routes["LOAN_DEFAULT_AUTHENTICATED_BY"] = "platform"
    with running(tracking, tmp_path / "home", "--host", "127.0.0.1", **routes) as server:
        server.until(lambda health: health["status"] == "ready")
        assert server.client.get(health).status_code == 200
        body = {"instances": LOANS, "parameters": {"output": "pd"}}
        answer = server.client.post(predict, json=body, headers={"Host": "10.0.0.7:8080"})
        assert (answer.status_code, len(answer.json()["predictions"])) == (200, 3)
        assert server.client.post("/admin/reload").status_code == 401
    access = [json.loads(line) for line in server.log.read_text().splitlines() if '"path"' in line]
    assert predict in [line["path"] for line in access]


def test_sagemaker_pings_and_invokes(tracking: Tracking, tmp_path: Path) -> None:
    variables: dict[str, Any] = {"SAGEMAKER_REGION": "eu-central-1", "LOAN_DEFAULT_AUTHENTICATED_BY": "platform"}
    with running(tracking, tmp_path / "home", "--host", "127.0.0.1", **variables) as server:
        server.until(lambda health: health["status"] == "ready")
        assert server.client.get("/ping").status_code == 200
        table = "\n".join(
            ",".join(map(str, row)) for row in ([*LOANS[0]], [value or "" for value in LOANS[0].values()])
        )
        answer = server.client.post("/invocations", content=table, headers={"Content-Type": "text/csv"})
        assert (answer.status_code, len(answer.json()["predictions"])) == (200, 1)


# --- whoever reads /openapi.json


@pytest.mark.parametrize(
    "options", [WITHOUT_BOUNDS, pytest.param("", marks=pytest.mark.long)], ids=["without bounds", "whole"]
)
def test_what_the_document_allows_is_answered_as_it_says(server: Running, tmp_path: Path, options: str) -> None:
    """Schemathesis' own command: its plugin for pytest does not know pytest 9.2."""
    (tmp_path / "schemathesis.toml").write_text(SCHEMATHESIS + options, encoding="utf-8")
    run_schemathesis(tmp_path, f"{server.url}/openapi.json")
    assert server.process.poll() is None


@pytest.mark.parametrize("examples", [24, pytest.param(200, marks=pytest.mark.long)])
def test_applications_are_scored_in_each_form_that_the_document_declares(
    server: Running, tmp_path: Path, examples: int
) -> None:
    document = as_applications(server.client.get("/openapi.json").json())
    (tmp_path / "applications.json").write_text(json.dumps(document), encoding="utf-8")
    (tmp_path / "hooks.py").write_text("from loan_default_tests.request_forms import register\n\nregister()\n")
    (tmp_path / "schemathesis.toml").write_text("checks.negative_data_rejection.enabled = false", encoding="utf-8")
    options = ["--url", server.url, "--phases=examples,fuzzing", "--mode=positive", f"--max-examples={examples}"]
    run_schemathesis(tmp_path, "applications.json", *options, "--report-har-path=sent.har", hooks="hooks.py")
    sent = json.loads((tmp_path / "sent.har").read_text(encoding="utf-8"))["log"]["entries"]
    assert {each["response"]["status"] for each in sent} == {200, 401}, "some are sent without a token, to see it"
    forms = Counter(form_of(each["request"]) for each in sent if each["response"]["status"] == 200)
    assert forms.keys() == {*FORMS, "inputs of tensors", CSV, PARQUET, BINARY}


def form_of(request: Mapping[str, Any]) -> str:
    kind = next(header["value"] for header in request["headers"] if header["name"] == "Content-Type")
    if kind != JSON:
        return str(kind)
    (form,) = {*FORMS} & json.loads(request["postData"]["text"]).keys()
    return f"{form} of tensors" if request["url"].endswith("/infer") else form


def run_schemathesis(folder: Path, *arguments: str, hooks: str = "") -> None:
    command = [sys.executable, "-m", "schemathesis.cli", "run", *OPTIONS, *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "SCHEMATHESIS_HOOKS": hooks}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
