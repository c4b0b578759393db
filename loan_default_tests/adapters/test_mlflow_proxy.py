"""What a browser asks MLflow through the proxy, and what MLflow gets to see."""

from email.message import Message

import pytest

from loan_default.adapters import identity
from loan_default.adapters.mlflow_proxy import build_proxy
from loan_default_tests.adapters.test_identity import Metadata, metadata, service  # noqa: F401 - fixtures
from loan_default_tests.stores import free_port, serving


@pytest.mark.integration
def test_a_browser_gets_mlflows_answer_and_mlflow_its_log_in_and_who_asks(
    metadata: type[Metadata],  # noqa: F811
    service: tuple[str, list[Message]],  # noqa: F811
) -> None:
    import httpx

    url, sent = service
    proxy = build_proxy(url, "127.0.0.1", 0)
    with serving(proxy), httpx.Client(base_url=f"http://127.0.0.1:{proxy.server_port}") as browser:
        answer = browser.get("/version", auth=("ana", "password"), headers={"X-Other": "kept"})
        assert (answer.status_code, answer.text) == (200, "3.17.0")
        posted = browser.post("/api/2.0/mlflow/runs/create", json={"experiment_id": "1"})
        assert posted.json() == {"echo": '{"experiment_id":"1"}'}
        assert browser.head("/version").content == b""
    assert sent[0]["Authorization"].startswith("Basic ")
    assert sent[0]["X-Other"] == "kept"
    assert sent[0]["Host"] in url, "MLflow is asked by its own name"
    assert all(headers[identity.HEADER].startswith("Bearer ") for headers in sent)
    assert "Authorization" not in sent[1], "nobody is logged in by the proxy"


@pytest.mark.integration
def test_an_mlflow_that_does_not_answer_is_a_bad_gateway() -> None:
    import httpx

    proxy = build_proxy(f"http://127.0.0.1:{free_port()}", "127.0.0.1", 0)
    with serving(proxy):
        assert httpx.get(f"http://127.0.0.1:{proxy.server_port}/").status_code == 502
