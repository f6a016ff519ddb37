"""The harness's own spans: a real OpenTelemetry SDK in the harness, and what comes over the wire of it."""

import base64
import json
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from bakeoff_runner import traces, wire
from tests.unit.runner.test_runner import AGENT, Runner, ai, result, said

TRACED = """
import atexit
from opentelemetry import propagate, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

def build_traced(model, context):
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    parent = propagate.extract({"traceparent": os.environ["TRACEPARENT"]})
    with trace.get_tracer("mine").start_as_current_span("build", context=parent):
        assert context.traceparent == os.environ["TRACEPARENT"]
        return build_agent(model, context)
"""


class Traced(Runner):
    def __init__(self, root: Path, *, traces: bool = True) -> None:
        super().__init__(root, "build_traced")
        (root / "agent_under_test.py").write_text(AGENT + TRACED)
        self.task["harness"]["traces"] = traces


@pytest.mark.slow
def test_spans_of_a_real_sdk_reach_the_host_under_the_trials_trace(tmp_path: Path) -> None:
    lines = Traced(tmp_path).play([ai("3")])
    assert "result" in result(lines)
    # a batching SDK holds its spans until it is flushed: they come after the answer, and none of its time is taken
    methods = [line.get("method") for line in lines]
    assert methods.index("trace/export") > [line.get("id") for line in lines].index(wire.RUN_ID)
    [export] = said(lines, "trace/export")
    assert export["content_type"] == "application/x-protobuf"
    [sent] = ExportTraceServiceRequest.FromString(base64.b64decode(export["body"])).resource_spans
    [span] = sent.scope_spans[0].spans
    assert span.name == "build"
    assert span.trace_id.hex() == "a" * 32
    assert span.parent_span_id.hex() == "b" * 16


@pytest.mark.slow
def test_without_being_asked_for_nothing_is_received(tmp_path: Path) -> None:
    lines = Traced(tmp_path, traces=False).play([ai("3")])
    assert "result" in result(lines)
    assert said(lines, "trace/export") == []


class _Channel:
    """Takes notifications."""

    def __init__(self) -> None:
        self.said: list[tuple[str, dict[str, str]]] = []

    def notify(self, method: str, params: dict[str, str]) -> None:
        self.said.append((method, params))


def post(receiver: traces.Receiver, path: str, body: bytes, **headers: str) -> int:
    request = urllib.request.Request(
        receiver.environment()["OTEL_EXPORTER_OTLP_ENDPOINT"] + path, body, headers=headers
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:
            return reply.status
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "size", "status"), [("/v1/metrics", 10, 404), ("/v1/traces", traces.MAX_BODY + 1, 413)]
)
def test_what_is_no_export_or_too_large_is_refused(path: str, size: int, status: int) -> None:
    channel = _Channel()
    with traces.Receiver(channel) as receiver:
        assert post(receiver, path, b"x" * size) == status
        receiver.shutdown()
    assert channel.said == []


@pytest.mark.slow
def test_a_flood_of_spans_stops_at_the_bound_and_not_the_trial() -> None:
    channel = _Channel()
    with traces.Receiver(channel) as receiver:
        statuses = [post(receiver, "/v1/traces", b"x" * 2**20, **{"Content-Type": "a/b"}) for _ in range(5)]
        receiver.shutdown()
    assert statuses == [200, 200, 413, 413, 413]
    assert sum(len(json.dumps(params)) for _, params in channel.said) <= wire.MAX_SPANS
