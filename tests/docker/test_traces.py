"""The trial's trace reaches into the container: a real OpenTelemetry SDK there, whose spans are kept with the run."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from bakeoff.record import trace_ids
from bakeoff.record.store import RunDirectory
from tests.docker.project import Project, call

pytestmark = pytest.mark.docker

AGENT = '''
import os

from langchain.agents import create_agent
from opentelemetry import propagate, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor


def look(where: str) -> str:
    """Look."""
    with trace.get_tracer("shop").start_as_current_span("look", context=PARENT) as span:
        span.set_attribute("shop.where", where)
    return "done"


def build_agent(model, context):
    global PARENT
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    PARENT = propagate.extract({"traceparent": context.traceparent})
    return create_agent(model, [look], system_prompt=os.environ["TRACEPARENT"])
'''


def spans(run: RunDirectory, trial_id: str) -> Iterator[Span]:
    """The harness's own spans of a trial's first attempt."""
    for export in run.spans(trial_id, 1):
        request = ExportTraceServiceRequest.FromString(base64.b64decode(export["body"]))
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                yield from scope.spans


@pytest.fixture
def traced(project: Project) -> Project:
    (project.root / "faulty_agent/agent.py").write_text(AGENT)
    project.config["harness"]["requirements"] = [
        "opentelemetry-sdk",
        "opentelemetry-exporter-otlp-proto-http",
    ]
    project.row("looks", call("look", "done", where="cellar"))
    project.row("looks-elsewhere", call("look", "done", where="attic"))
    return project


def test_spans_of_the_harness_join_the_trace_of_their_own_trial(traced: Project) -> None:
    traced.config["harness"]["traces"] = True
    outcome = traced.bake()
    assert outcome.code == 0, outcome.stderr
    run = outcome.run
    for example, trial in outcome.trials().items():
        assert trial.verdict == "passed", trial
        [span] = spans(run, trial.trial_id)
        assert span.name == "look"
        assert span.trace_id.hex() == trace_ids.trace_id(run.run_id, trial.trial_id)
        assert span.parent_span_id.hex() == trace_ids.agent_span_id(run.run_id, trial.trial_id, 1)
        [where] = [one.value.string_value for one in span.attributes]
        assert where == {"looks": "cellar", "looks-elsewhere": "attic"}[example]
        # the agent saw the same header: it is in the prompt that it sent
        first = next(run.calls(trial.trial_id))
        assert trace_ids.traceparent(run.run_id, trial.trial_id, 1) in json.dumps(
            first["request"]["messages"]
        )


def test_without_being_asked_for_the_spans_go_nowhere_and_cost_nothing(traced: Project) -> None:
    outcome = traced.bake("--example", "looks")
    assert outcome.trials()["looks"].verdict == "passed"
    assert not Path(outcome.run.path, "spans").exists()
