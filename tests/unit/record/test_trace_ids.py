"""Trace and span ids of a trial."""

import re

from opentelemetry.trace import get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from bakeoff.record import trace_ids


def test_the_header_is_read_by_opentelemetry() -> None:
    header = trace_ids.traceparent("run", "a/b/1", 2)
    context = TraceContextTextMapPropagator().extract({"traceparent": header})
    span = get_current_span(context).get_span_context()
    assert span.is_remote
    assert span.trace_flags.sampled
    assert f"{span.trace_id:032x}" == trace_ids.trace_id("run", "a/b/1")
    assert f"{span.span_id:016x}" == trace_ids.agent_span_id("run", "a/b/1", 2)


def test_every_part_of_the_name_counts() -> None:
    ids = {
        trace_ids.span_id("run", "a/b/1"),
        trace_ids.span_id("run", "a/b/2"),
        trace_ids.span_id("other", "a/b/1"),
        trace_ids.span_id("run", "a/b/1", 1),
        trace_ids.span_id("run", "a/b/1", 1, "agent"),
        trace_ids.span_id("run", "a/b/1", 11),
        trace_ids.span_id("run", "a/b/1", 1, 1),
    }
    assert len(ids) == 7
    assert all(re.fullmatch("[0-9a-f]{16}", one) for one in ids)
    assert trace_ids.trace_id("run", "a/b/1") != trace_ids.trace_id("run", "a/b/2")
