"""Publishes a run to an OpenTelemetry back end: one trace per trial, over OTLP.

Ids are derived from the run's, so that a span that is sent twice is the same span. A back end cannot be asked what it
has: the run directory keeps a journal of the trials that were accepted completely, and only the others are sent.
"""

from __future__ import annotations

from collections.abc import Mapping

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from bakeoff.config.targets import Otlp
from bakeoff.errors import InputError, NotPublished
from bakeoff.publish.journal import Journal
from bakeoff.publish.otlp.destination import Destination, destination
from bakeoff.publish.otlp.replies import Failure
from bakeoff.publish.otlp.resource import resource
from bakeoff.publish.otlp.sender import Sender
from bakeoff.publish.otlp.spans import MAX_SPAN_BYTES, Tracing
from bakeoff.publish.source import Source
from bakeoff.publish.table import Publication, Say
from bakeoff.version import __version__

MAX_REQUEST_BYTES = MAX_SPAN_BYTES
MAX_REQUEST_SPANS = 512
SAY_EVERY = 1000  # trials
KEPT = "what has arrived stays, and is not sent twice"


def publish(source: Source, settings: Otlp, environ: Mapping[str, str], say: Say) -> Publication:
    """Send every trial that the journal of this address does not have; see `table.Publisher`."""
    to = destination(settings, environ)
    plain, full = Journal(source.run, "otlp", to.shown), Journal(source.run, "otlp-content", to.shown)
    if settings.content and plain.taken:
        raise InputError(
            f"{len(plain.taken)} trials are at {to.shown} without content, and a span that was sent cannot be changed",
            key="publish.otlp.content",
            hint=f"Delete their traces there and {plain.path} here, or publish elsewhere.",
        )
    present = full.taken if settings.content else plain.taken | full.taken
    there, total = len(present), source.report.n
    tracing = Tracing(source, settings.content, to.secrets)
    with Sender(to) as sender:
        outbox = _Outbox(sender, full if settings.content else plain, _resources(source, to))
        try:
            for number, trial in enumerate(source.trials(), start=1):
                if trial.trial_id not in present:
                    for span in tracing.spans(source.timeline(trial)):
                        outbox.add(trial.experiment, span)
                    outbox.complete(trial.trial_id)
                if number % SAY_EVERY == 0:
                    say(f"otlp: {number} of {total} trials")
            outbox.send()
        except _NotAccepted as error:
            raise _explained(error.failure, to, total - there, outbox.traces, total) from None
    warnings = list(_warnings(tracing))
    if full.taken and not settings.content:
        warnings.insert(0, "some traces are there with content, as an earlier publication sent them")
    if outbox.message:
        warnings.append(f"the server says: {outbox.message}")
    sent = {"traces": outbox.traces, "spans": outbox.spans}
    return Publication(to.shown, sent, {"traces": there}, warnings)


def _resources(source: Source, to: Destination) -> dict[str, Resource]:
    return {
        candidate: resource(source, candidate, limits.most_common(), to.resource)
        for candidate, limits in source.effective_limits().items()
    }


class _NotAccepted(Exception):  # noqa: N818 - it becomes one of bakeoff's errors
    def __init__(self, failure: Failure) -> None:
        self.failure = failure


class _Outbox:
    """The request that is being filled. A trial is written down once all of its spans were accepted.

    Attributes:
        traces, spans: how many were accepted.
        message: what the server said last about spans that it accepted.
    """

    def __init__(self, sender: Sender, journal: Journal, resources: Mapping[str, Resource]) -> None:
        self.traces = self.spans = 0
        self.message = ""
        self._sender, self._journal, self._resources = sender, journal, resources
        self._waiting: dict[str, list[Span]] = {}
        self._bytes = self._count = 0
        self._complete: list[str] = []

    def add(self, candidate: str, span: Span) -> None:
        """Add one span. Raises _NotAccepted."""
        size = span.ByteSize()
        if self._count and (self._bytes + size > MAX_REQUEST_BYTES or self._count == MAX_REQUEST_SPANS):
            self.send()
        self._waiting.setdefault(candidate, []).append(span)
        self._bytes += size
        self._count += 1

    def complete(self, trial_id: str) -> None:
        """All spans of the trial were added."""
        self._complete.append(trial_id)

    def send(self) -> None:
        """Send what waits. Raises _NotAccepted."""
        if self._count:
            reply = self._sender.send(self._request().SerializeToString())
            if isinstance(reply, Failure):
                raise _NotAccepted(reply)
            self.message = reply.message or self.message
        if self._complete:
            self._journal.acknowledge(self._complete)
        self.spans += self._count
        self.traces += len(self._complete)
        self._waiting, self._complete = {}, []
        self._bytes = self._count = 0

    def _request(self) -> ExportTraceServiceRequest:
        scope = InstrumentationScope(name="bakeoff", version=__version__)
        return ExportTraceServiceRequest(
            resource_spans=[
                ResourceSpans(
                    resource=self._resources[candidate], scope_spans=[ScopeSpans(scope=scope, spans=spans)]
                )
                for candidate, spans in self._waiting.items()
            ]
        )


def _explained(
    failure: Failure, to: Destination, due: int, sent: int, total: int
) -> InputError | NotPublished:
    """The failure as its user can fix it; `due`, `sent`, `total`: trials."""
    if not sent:
        match failure.kind:
            case "address":
                return InputError(
                    f"{to.shown} is not where spans are taken: {failure.reason}",
                    key=to.setting,
                    hint="Correct the address or the protocol; nothing was published.",
                )
            case "absent":
                return InputError(
                    f"{to.shown} cannot be reached: {failure.reason}",
                    key=to.setting,
                    hint="Is it running, and is the address right? Nothing was sent.",
                )
            case "key":
                return InputError(
                    f"{to.shown} refuses the key: {failure.reason}",
                    key=to.headers_setting,
                    hint="Give it as name=value, for example authorization=Bearer%20KEY; nothing was published.",
                )
    hint = {
        "absent": f"Is it still running? Then publish again: {KEPT}.",
        "unreachable": f"Is it running, and is {to.setting} right? Then publish again: {KEPT}.",
        "busy": f"Publish again later: {KEPT}.",
        "refused": f"Look into its log, and publish again: {KEPT}.",
    }.get(failure.kind, f"Correct that and publish again: {KEPT}.")
    return NotPublished(
        f"{due - sent} of {total} trials are missing at {to.shown}: {failure.reason}", hint=hint
    )


def _warnings(tracing: Tracing) -> list[str]:
    counted = {
        "the harness's own spans of {} attempts were not sent, since prompts may be in them: --content sends them": (
            tracing.left_out
        ),
        "{} of the harness's own spans were not sent: they belong to another trace or cannot be read": tracing.refused,
        "{} spans went without their content: they would not have fitted into one request": tracing.shortened,
    }
    return [text.format(count) for text, count in counted.items() if count]
