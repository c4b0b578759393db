"""The page /score."""

from starlette.testclient import TestClient


def test_the_page_has_a_heading(client: TestClient) -> None:
    assert "<h1>" in client.get("/score").text
