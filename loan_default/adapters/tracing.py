"""OpenTelemetry: spans for the receiver that its standard variables name, and nothing at all where they name none.

Its SDK is imported only then, as a process that is not traced shall not pay for it. Which spans there are is the
callers' to say: `serving.request_spans` of requests, `defs.step_spans` of Dagster's steps.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from loan_default.risk.errors import BadInput

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_SERVICE_NAME = "OTEL_SERVICE_NAME"
_PROTOCOL = "http/protobuf"
# https://www.w3.org/TR/trace-context/#traceparent-header; a later version may have more at its end
_TRACEPARENT = re.compile(rb"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")


class SpanId(NamedTuple):
    """The ids of a span as W3C's Trace Context writes them: of its trace (32 hex digits) and its own (16)."""

    trace_id: str
    span_id: str
    flags: str = "01"

    @property
    def header(self) -> bytes:
        """Return the value of `traceparent` and `traceresponse`."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}".encode()


def parse_traceparent(value: bytes) -> SpanId | None:
    """Return what the header `traceparent` names; None where it is none, which is to be ignored."""
    match = _TRACEPARENT.fullmatch(value.strip())
    if match is None or (match[1] == b"00" and match[5] is not None):
        return None
    return SpanId(match[2].decode(), match[3].decode(), match[4].decode())


def is_traced(environment: Mapping[str, str] | None = None) -> bool:
    """Tell whether the standard variables ask for spans: a receiver is named, and nothing switches them off."""
    variables = os.environ if environment is None else environment
    switched_off = variables.get("OTEL_SDK_DISABLED", "").lower() == "true"
    exporter = variables.get("OTEL_TRACES_EXPORTER") or "otlp"
    return any(variables.get(name) for name in ENDPOINTS) and exporter == "otlp" and not switched_off


def open_provider(service: str, *, trace_id: str | None = None) -> TracerProvider:
    """Make what sends spans, by the standard variables; close it with `shutdown`.

    Args:
        service: the service's name, unless `OTEL_SERVICE_NAME` says another.
        trace_id: of all traces that begin here (32 hex digits); None for a new one each.

    Raises:
        BadInput: the exporter is not installed, or another protocol is asked for.
    """
    protocol = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL")
    if protocol not in (None, "", _PROTOCOL):
        raise BadInput(f"OTEL_EXPORTER_OTLP_PROTOCOL is {protocol!r}; spans are sent by {_PROTOCOL} only.")
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
    except ImportError as error:
        name = next(name for name in ENDPOINTS if os.environ.get(name))
        raise BadInput(
            f"{name} asks for traces ({error}); pip install 'loan-default[tracing]', or unset it."
        ) from error

    class OneTrace(RandomIdGenerator):
        def generate_trace_id(self) -> int:
            return int(trace_id, 16) if trace_id else super().generate_trace_id()

    named = os.environ.get(_SERVICE_NAME) or "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    resource = Resource.create({} if named else {SERVICE_NAME: service})
    provider = TracerProvider(resource=resource, id_generator=OneTrace(), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


def context_of(parent: SpanId | None) -> Context:
    """Return the context in which a span is a child of `parent`, or the first of a trace."""
    from opentelemetry.context import Context
    from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

    if parent is None:
        return Context()
    flags = TraceFlags(int(parent.flags, 16))
    remote = SpanContext(int(parent.trace_id, 16), int(parent.span_id, 16), is_remote=True, trace_flags=flags)
    return set_span_in_context(NonRecordingSpan(remote), Context())
