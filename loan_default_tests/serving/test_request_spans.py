"""The spans of a request: children of the caller's, in the order in which things were done."""

import time
from types import SimpleNamespace
from typing import Any, cast

import pytest

from loan_default.adapters.tracing import SpanId
from loan_default.serving.app import AnsweredRequest
from loan_default.serving.http import Reply, Request
from loan_default.serving.request_spans import RequestSpans, Times
from loan_default.serving.scoring import ScoringReply, VersionPredictions
from loan_default_tests.traces import receiver

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
HEADER = {b"traceparent": f"00-{TRACE}-{SPAN}-01".encode()}


def request(**headers: bytes) -> Request:
    return Request("POST", "/invocations", b"", {name.encode(): value for name, value in headers.items()}, "127.0.0.1")


def answered(request: Request, reply: Reply) -> AnsweredRequest:
    return AnsweredRequest(time.time(), 0.01, request, reply)


def scored(version: int, rows: int, began: float) -> VersionPredictions:
    model = cast(Any, SimpleNamespace(version=version))
    times = Times(began, began + 0.001, began + 0.003, began + 0.006)
    return VersionPredictions(model, cast(Any, None), cast(Any, None), range(rows), times)


def test_without_a_receiver_the_callers_trace_is_noted_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    spans, traced, plain, wrong = RequestSpans(), request(**_text(HEADER)), request(), request(traceparent=b"00-1-2-3")
    for each in (traced, plain, wrong):
        spans.begin(each)
    spans.end([answered(traced, Reply(200, b""))], lambda _: "/invocations", (0.0, 0.0))
    spans.close()
    assert (traced.trace, traced.trace_id, traced.span) == (SpanId(TRACE, SPAN, "01"), TRACE, None)
    assert (plain.trace, plain.trace_id) == (wrong.trace, wrong.trace_id) == (None, "")


@pytest.mark.integration
def test_each_step_of_a_request_is_a_span_below_the_callers(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiver() as received:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", received.url)
        spans, traced, first, never = RequestSpans(), request(**_text(HEADER)), request(), request()
        for each in (traced, first):
            spans.begin(each)
        began = time.perf_counter()
        spans.end(
            [
                answered(traced, ScoringReply(200, b"", parts=[scored(3, 2, began), scored(4, 1, began)])),
                answered(first, Reply(503, b"")),
                answered(never, Reply(400, b"")),  # it was no request yet
            ],
            lambda _: "/invocations",
            (began + 0.01, began + 0.02),
        )
        spans.close()
    of_traced = [span for span in received.spans if span.trace_id == TRACE]
    (root,) = [span for span in of_traced if span.name == "POST /invocations"]
    assert root.parent_id == SPAN
    assert traced.trace == SpanId(TRACE, root.span_id, "01")
    assert root.attributes["http.response.status_code"] == 200
    assert (root.attributes["loan_default.rows"], root.failed) == (3, False)
    steps = [span for span in of_traced if span is not root]
    assert {span.parent_id for span in steps} == {root.span_id}
    assert [span.name for span in steps] == ["read", "score", "explain", "read", "score", "explain", "log"]
    assert [span.attributes.get("loan_default.model_version") for span in steps] == [3, 3, 3, 4, 4, 4, None]
    lengths = [round(1000 * (span.ended - span.began)) for span in steps]
    assert lengths == [1, 2, 3, 1, 2, 3, 10]
    assert all(abs(span.began - time.time()) < 60 for span in received.spans)
    (failed,) = [span for span in received.spans if span.trace_id != TRACE]
    assert (failed.parent_id, failed.failed, first.trace_id) == ("", True, failed.trace_id)


def _text(headers: dict[bytes, bytes]) -> dict[str, bytes]:
    return {name.decode(): value for name, value in headers.items()}
