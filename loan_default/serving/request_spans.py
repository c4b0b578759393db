"""The spans of requests: one for each, and in it reading, scoring, explaining and logging.

The trace of a caller's `traceparent` is noted without OpenTelemetry too; spans are sent only where its variables name
a receiver (`adapters.tracing`). Steps are timed while they are done, and become spans after the answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import msgspec

from loan_default.adapters.tracing import SpanId, context_of, is_traced, open_provider, parse_traceparent

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

    from loan_default.serving.app import AnsweredRequest
    from loan_default.serving.http import Request

SERVICE = "loan-default-scoring"


class Times(msgspec.Struct, frozen=True, gc=False):
    """When one version began to read, had read, had scored and had explained, in seconds of `time.perf_counter`."""

    began: float
    read: float
    scored: float
    explained: float


class RequestSpans:
    """Notes the trace of each request, and sends its spans where that is asked for."""

    def __init__(self) -> None:
        self._provider = open_provider(SERVICE) if is_traced() else None
        self._tracer: Tracer | None = self._provider.get_tracer("loan_default.serving") if self._provider else None

    def begin(self, request: Request) -> None:
        """Note the trace of a request whose head has come."""
        header = request.headers.get(b"traceparent")
        request.trace = None if header is None else parse_traceparent(header)
        if self._tracer is not None:
            _begin_span(self._tracer, request)

    def end(
        self, answered: Iterable[AnsweredRequest], route_of: Callable[[Request], str], logged: tuple[float, float]
    ) -> None:
        """Send the spans of requests; `logged` is when logging began and ended, in seconds of `time.perf_counter`."""
        if self._tracer is not None:
            zero = time.time() - time.perf_counter()
            for answer in answered:
                if answer.request.span is not None:  # else it was refused before it was one
                    _end_span(self._tracer, answer.request.span, answer, route_of(answer.request), logged, zero)

    def close(self) -> None:
        """Send what waits."""
        if self._provider is not None:
            self._provider.shutdown()


def _begin_span(tracer: Tracer, request: Request) -> None:
    from opentelemetry.trace import SpanKind, format_span_id, format_trace_id

    request.span = tracer.start_span(request.method, context_of(request.trace), SpanKind.SERVER)
    own = request.span.get_span_context()
    request.trace = SpanId(format_trace_id(own.trace_id), format_span_id(own.span_id), f"{own.trace_flags:02x}")


def _end_span(
    tracer: Tracer, span: Span, answer: AnsweredRequest, route: str, logged: tuple[float, float], zero: float
) -> None:
    """Name a request's span by its route, add the steps, and send them; `zero` turns `perf_counter` into time."""
    from opentelemetry.context import Context
    from opentelemetry.trace import StatusCode, set_span_in_context

    request, context = answer.request, set_span_in_context(span, Context())
    for name, began, ended, attributes in _steps(answer, logged):
        step = tracer.start_span(name, context, attributes=attributes, start_time=_nanoseconds(began + zero))
        step.end(_nanoseconds(ended + zero))
    span.update_name(f"{request.method} {route}")
    span.set_attributes(
        {
            "http.request.method": request.method,
            "http.route": route,
            "http.response.status_code": answer.reply.status,
            "client.address": request.client,
            "loan_default.request_id": request.id,
            "loan_default.rows": sum(len(part.positions) for part in answer.parts),
        }
    )
    if answer.reply.status >= 500:
        span.set_status(StatusCode.ERROR)
    span.end(_nanoseconds(answer.answered_at))


def _steps(answer: AnsweredRequest, logged: tuple[float, float]) -> Iterator[tuple[str, float, float, dict[str, int]]]:
    """Yield name, begin, end and attributes of each step; where nothing was scored there are none."""
    for part in answer.parts:
        times = part.times
        attributes = {"loan_default.model_version": part.model.version, "loan_default.rows": len(part.positions)}
        yield "read", times.began, times.read, attributes
        yield "score", times.read, times.scored, attributes
        yield "explain", times.scored, times.explained, attributes
    if answer.parts:
        yield "log", *logged, {"loan_default.rows": sum(len(part.positions) for part in answer.parts)}


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)
