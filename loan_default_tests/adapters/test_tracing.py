"""What a caller's header names, when spans are sent at all, and that a process that is not traced pays nothing."""

import subprocess
import sys

import pytest

from loan_default.adapters.tracing import SpanId, context_of, is_traced, open_provider, parse_traceparent
from loan_default.risk.errors import BadInput
from loan_default_tests.traces import receiver

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def test_a_traceparent_is_read_as_w3c_writes_it() -> None:
    header = f"00-{TRACE}-{SPAN}-01".encode()
    parsed = parse_traceparent(header)
    assert parsed == SpanId(TRACE, SPAN, "01")
    assert parsed.header == header
    assert parse_traceparent(f"cc-{TRACE}-{SPAN}-00-later".encode()) == SpanId(TRACE, SPAN, "00")


@pytest.mark.parametrize(
    "header",
    [
        "",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-later",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-01, 00-{TRACE}-{SPAN}-01",
    ],
)
def test_what_is_no_traceparent_is_ignored(header: str) -> None:
    assert parse_traceparent(header.encode()) is None


def test_spans_are_sent_where_a_receiver_is_named_and_nothing_forbids_it() -> None:
    named = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}
    assert is_traced(named)
    assert is_traced({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"})
    assert not is_traced({})
    assert not is_traced({"OTEL_EXPORTER_OTLP_ENDPOINT": ""})
    assert not is_traced({**named, "OTEL_SDK_DISABLED": "true"})
    assert not is_traced({**named, "OTEL_TRACES_EXPORTER": "none"})


def test_another_protocol_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    with pytest.raises(BadInput, match="http/protobuf"):
        open_provider("service")


def test_an_exporter_that_is_not_installed_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318")
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(BadInput, match=r"OTEL_EXPORTER_OTLP_ENDPOINT asks for traces .* 'loan-default\[tracing\]'"):
        open_provider("service")


@pytest.mark.integration
@pytest.mark.parametrize(("variables", "service"), [({}, "scoring"), ({"OTEL_SERVICE_NAME": "ours"}, "ours")])
def test_a_span_reaches_its_receiver(variables: dict[str, str], service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with receiver() as received:
        for name, value in {"OTEL_EXPORTER_OTLP_ENDPOINT": received.url, **variables}.items():
            monkeypatch.setenv(name, value)
        provider = open_provider("scoring")
        tracer = provider.get_tracer("test")
        tracer.start_span("child", context_of(SpanId(TRACE, SPAN))).end()
        tracer.start_span("first", context_of(None)).end()
        provider.shutdown()
    child, first = received.spans
    assert (child.service, child.name, child.trace_id, child.parent_id) == (service, "child", TRACE, SPAN)
    assert first.parent_id == ""
    assert first.trace_id != TRACE


@pytest.mark.integration
def test_a_process_that_is_not_traced_does_not_import_opentelemetry() -> None:
    script = (
        "import sys; from loan_default.serving.request_spans import RequestSpans; RequestSpans();"
        "from loan_default.serving import app, connection, server, follower;"
        "print([name for name in sys.modules if name.partition('.')[0] == 'opentelemetry'])"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"
