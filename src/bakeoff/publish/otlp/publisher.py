"""Publishes a run to an OpenTelemetry back end: one trace a trial, over OTLP.

Ids are derived from the run's, so a span that is sent twice is the same span. A back end cannot be asked what it has:
the run directory keeps a journal of the trials that were acknowledged whole, and only the others are sent.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

import bakeoff
from bakeoff.clients import quiet, variables
from bakeoff.errors import InputError, NotPublished
from bakeoff.publish.journal import Journal
from bakeoff.publish.otlp import spans
from bakeoff.publish.otlp.destination import LOG, Destination, destination, seen_by_sdk
from bakeoff.publish.otlp.exporter import Exporter
from bakeoff.publish.otlp.replies import Failure
from bakeoff.publish.otlp.settings import Settings
from bakeoff.publish.otlp.spans import SpanData, Tracing
from bakeoff.publish.source import Source
from bakeoff.publish.table import Publication, Say

SCOPE = "bakeoff"
# A gRPC server takes 4 MiB at once unless it is told otherwise, and the SDK's own batches have 512 spans.
MAX_REQUEST_BYTES = 3 * 2**20
MAX_REQUEST_SPANS = 512
SAY_EVERY = 1000  # trials

PROJECT = "openinference.project.name"  # by which Phoenix groups traces; others ignore it

CODES = {"unset": StatusCode.UNSET, "ok": StatusCode.OK, "error": StatusCode.ERROR}
KINDS = {
    "internal": SpanKind.INTERNAL,
    "server": SpanKind.SERVER,
    "client": SpanKind.CLIENT,
    "producer": SpanKind.PRODUCER,
    "consumer": SpanKind.CONSUMER,
}


def publish(source: Source, settings: Settings, environ: Mapping[str, str], say: Say) -> Publication:
    """Send every trial that the journal of this address does not have.

    Raises:
        InputError: the address, the headers or a variable is wrong; nothing was sent.
        NotPublished: some trials are missing there; says how many.
    """
    to = destination(settings, environ)
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        raise InputError(
            "switches off the SDK that would send the spans", key="OTEL_SDK_DISABLED", hint="Unset it."
        )
    plain = Journal(source.run, "otlp", to.shown)
    full = Journal(source.run, "otlp-content", to.shown)
    _check_content(plain, to, content=settings.content)
    journal, present = (full, full.taken) if settings.content else (plain, plain.taken | full.taken)
    secrets = to.secrets(environ)
    total = source.report.n
    tracing = Tracing(source, content=settings.content, secrets=secrets)
    spans = _SdkSpans(source, environ)
    exporter = Exporter(to, environ)
    outbox = _Outbox(exporter, journal)
    there = len(present)
    try:
        with quiet(LOG):  # it logs attributes that are over a limit too
            for number, trial in enumerate(source.trials(), start=1):
                if trial.trial_id not in present:
                    for data in tracing.spans(source.timeline(trial)):
                        outbox.put(spans.make(trial.candidate, data))
                    outbox.whole(trial.trial_id)
                if number % SAY_EVERY == 0:
                    say(f"otlp: {number} of {total} trials")
            outbox.send()
    except _NotTaken as error:
        raise _told(
            error.failure, to, total - there - outbox.traces, total, any_sent=outbox.traces > 0
        ) from None
    finally:
        exporter.close()
    return Publication(
        where=to.shown,
        sent={"traces": outbox.traces, "spans": outbox.spans},
        present={"traces": there},
        warnings=_warnings(exporter, spans, tracing, full_too=bool(full.taken) and not settings.content),
    )


# --- to the server ----------------------------------------------------------------------------------


class _NotTaken(Exception):  # noqa: N818 - becomes one of bakeoff's own
    def __init__(self, failure: Failure) -> None:
        self.failure = failure


@dataclass
class _Outbox:
    """Spans on their way, at most one request of them; a trial is written down once all of its spans were taken."""

    exporter: Exporter
    journal: Journal
    traces: int = 0
    spans: int = 0
    _waiting: list[ReadableSpan] = field(default_factory=list)
    _bytes: int = 0
    _whole: list[str] = field(default_factory=list)

    def put(self, span: tuple[ReadableSpan, int]) -> None:
        """Add one span of so many bytes. Raises _NotTaken."""
        made, size = span
        full = self._bytes + size > MAX_REQUEST_BYTES or len(self._waiting) >= MAX_REQUEST_SPANS
        if self._waiting and full:
            self.send()
        self._waiting.append(made)
        self._bytes += size

    def whole(self, trial_id: str) -> None:
        """All spans of the trial were put."""
        self._whole.append(trial_id)

    def send(self) -> None:
        """Send what waits. Raises _NotTaken."""
        if self._waiting:
            failure = self.exporter.send(self._waiting)
            if failure is not None:
                raise _NotTaken(failure)
        if self._whole:
            self.journal.acknowledge(self._whole)
        self.spans += len(self._waiting)
        self.traces += len(self._whole)
        self._waiting, self._whole, self._bytes = [], [], 0


def _told(
    failure: Failure, to: Destination, missing: int, total: int, *, any_sent: bool
) -> InputError | NotPublished:
    """The failure as its user can fix it."""
    if not any_sent and failure.trouble == "address":
        return InputError(
            f"{to.shown} is not where spans are taken: {failure.reason}",
            key=to.setting,
            hint="Correct the address or the protocol; nothing was published.",
        )
    if not any_sent and failure.trouble == "nobody":
        return InputError(
            f"{to.shown} cannot be reached: {failure.reason}",
            key=to.setting,
            hint="Is it running, and is the address right? Nothing was sent.",
        )
    if not any_sent and failure.trouble == "key":
        return InputError(
            f"{to.shown} does not let us in: {failure.reason}",
            key=to.headers_setting,
            hint="Give it as name=value, for example authorization=Bearer%20KEY; nothing was published.",
        )
    stays = "what has arrived stays, and is not sent twice"
    hint = {
        "nobody": f"Is it still running? Then publish again: {stays}.",
        "unreachable": f"Is it running, and is {to.setting} right? Then publish again: {stays}.",
        "busy": f"Publish again later: {stays}.",
        "refused": f"Look into its log, and publish again: {stays}.",
    }.get(failure.trouble, f"Correct that and publish again: {stays}.")
    return NotPublished(f"{missing} of {total} trials are missing at {to.shown}: {failure.reason}", hint=hint)


def _check_content(plain: Journal, to: Destination, *, content: bool) -> None:
    """A span cannot be changed once it was sent, so content cannot be added to it."""
    if content and plain.taken:
        raise InputError(
            f"{len(plain.taken)} trials are at {to.shown} without content, and a span that was sent cannot be changed",
            key="publish.otlp.content",
            hint=f"Delete their traces there and {plain.path} here, or publish elsewhere.",
        )


def _warnings(exporter: Exporter, spans: _SdkSpans, tracing: Tracing, *, full_too: bool) -> list[str]:
    warnings = []
    if full_too:
        warnings.append("some traces are there with content, as an earlier publication sent them")
    if tracing.own_left_out:
        warnings.append(
            f"the harness's own spans of {tracing.own_left_out} attempts were not sent, since prompts may be in them: "
            "--content sends them"
        )
    if tracing.own_refused:
        warnings.append(
            f"{tracing.own_refused} of the harness's own spans were not sent: of another trace, or not to be read"
        )
    if spans.shortened:
        warnings.append(
            f"{spans.shortened} spans went without their content: they would not have fitted into one request"
        )
    if spans.dropped:
        warnings.append(
            f"{spans.dropped} attributes are over the limits of OTEL_SPAN_ATTRIBUTE_* and were left out"
        )
    if exporter.warning:
        warnings.append(f"the server says: {exporter.warning}")
    return warnings


# --- from the run -----------------------------------------------------------------------------------


class _Ids(IdGenerator):
    """Ids that are known before the span is."""

    def __init__(self) -> None:
        self.trace, self.span = "", ""

    def generate_trace_id(self) -> int:
        return int(self.trace, 16)

    def generate_span_id(self) -> int:
        return int(self.span, 16)


class _Ended(SpanProcessor):
    """Keeps the span that ended last."""

    def __init__(self) -> None:
        self.span: ReadableSpan | None = None

    def on_end(self, span: ReadableSpan) -> None:
        self.span = span


class _SdkSpans:
    """Spans as the SDK makes them, each with its candidate's resource and within the SDK's limits.

    Attributes:
        shortened: spans that went without their content, since they would not have fitted into a request.
        dropped: attributes over the SDK's limits.
    """

    def __init__(
        self,
        source: Source,
        environ: Mapping[str, str],
    ) -> None:
        self.shortened = self.dropped = 0
        self._ids, self._ended = _Ids(), _Ended()
        self._tracers = {}
        with variables(seen_by_sdk(environ)), quiet(LOG):
            for candidate, limits in source.effective_limits().items():
                attributes = spans.resource(source, candidate, limits.most_common())
                # OTEL_RESOURCE_ATTRIBUTES may name another project
                if PROJECT not in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", ""):
                    attributes[PROJECT] = attributes["service.name"]
                provider = TracerProvider(
                    sampler=ALWAYS_ON,
                    resource=Resource.create(attributes),
                    shutdown_on_exit=False,
                    id_generator=self._ids,
                )
                provider.add_span_processor(self._ended)
                self._tracers[candidate] = provider.get_tracer(SCOPE, bakeoff.__version__)

    def make(self, candidate: str, data: SpanData) -> tuple[ReadableSpan, int]:
        """The span, and its size in a request; bytes."""
        span = self._make(candidate, data, {**data.attributes, **data.content})
        size = _size(span)
        if data.content and size > MAX_REQUEST_BYTES:
            self.shortened += 1
            span = self._make(candidate, data, {**data.attributes, "bakeoff.content_left_out": True})
            size = _size(span)
        self.dropped += span.dropped_attributes
        return span, size

    def _make(self, candidate: str, data: SpanData, attributes: spans.Attributes) -> ReadableSpan:
        self._ids.trace, self._ids.span = data.trace_id, data.span_id
        span = self._tracers[candidate].start_span(
            data.name,
            context=_parent(data),
            kind=KINDS[data.kind],
            attributes=attributes,
            start_time=data.start,
        )
        for event in data.events:
            span.add_event(event.name, event.attributes, event.time)
        if data.status != "unset":
            span.set_status(Status(CODES[data.status], data.description))
        span.end(data.end)
        assert self._ended.span is not None
        return self._ended.span


def _size(span: ReadableSpan) -> int:
    """Bytes of the span in a request; its resource is there once for all of a candidate's."""
    (of_resource,) = encode_spans([span]).resource_spans
    return int(of_resource.scope_spans[0].ByteSize())


def _parent(data: SpanData) -> Context:
    """The context that the span is started in: empty for a root, so that nothing of this process becomes its parent."""
    if data.parent_id is None:
        return Context()
    parent = SpanContext(
        int(data.trace_id, 16),
        int(data.parent_id, 16),
        is_remote=False,
        trace_flags=TraceFlags(TraceFlags.SAMPLED),
    )
    return set_span_in_context(NonRecordingSpan(parent), Context())
