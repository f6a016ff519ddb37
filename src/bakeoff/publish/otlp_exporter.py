"""The SDK's OTLP exporters, made to say what became of every request.

An exporter of the SDK answers SUCCESS or FAILURE and logs why. For telemetry that is right; here it is not enough:
HTTP's takes a redirection to a login page for success, and both throw away a partial success, in which the server says
how many spans it refused. So each request's reply is looked at too, and what was not seen to be taken was not taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import grpc
import requests
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpanExporter
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from bakeoff.clients import quiet, variables
from bakeoff.errors import InputError
from bakeoff.publish.otlp_destination import LOG, PREFIX, Destination, seen_by_sdk
from bakeoff.publish.otlp_replies import (
    Failure,
    Verdict,
    grpc_error,
    http_error,
    http_reply,
    no_grpc_answer,
    partial,
)

TRIES = 2  # of a server that never answered; one that has is tried again while a request's timeout lasts


class Exporter:
    """Sends spans and says what became of them. To be closed.

    Args:
        to: where.
        environ: the standard variables that `to` does not hold (certificates) are the SDK's to read.
    """

    def __init__(self, to: Destination, environ: Mapping[str, str]) -> None:
        self._secrets = to.secrets(environ)
        self.warning: str | None = None  # what the server had to say about spans that it took
        self._witness: _HttpWitness | _GrpcWitness
        self._exporter: SpanExporter
        try:
            with variables(seen_by_sdk(environ)), quiet(LOG):
                if to.protocol == "grpc":
                    self._witness = _GrpcWitness(self.close)
                    self._exporter = _GrpcExporter(to, self._witness)
                else:
                    self._witness = _HttpWitness(self.close)
                    self._exporter = HttpSpanExporter(
                        endpoint=to.endpoint,
                        headers=dict(to.headers),
                        timeout=to.timeout,
                        compression=Compression(to.compression),
                        session=self._witness,
                    )
        except (ValueError, RuntimeError, OSError) as error:
            raise InputError(
                f"the SDK cannot make its exporter ({type(error).__name__})",
                key=f"{PREFIX}*",
                mend="Check the variables of this prefix.",
            ) from None

    def send(self, spans: Sequence[ReadableSpan]) -> Failure | None:
        """Send one request; the exporter tries again by itself while its timeout lasts. None: all were taken."""
        self._witness.forget()
        with quiet(LOG):
            result = self._exporter.export(spans)
        failure, said = self._witness.verdict(self._secrets)
        if failure is None and result is not SpanExportResult.SUCCESS:
            failure = Failure("refused", "the request could not be encoded or was too large")
        if said:
            self.warning = said
        return failure

    def close(self) -> None:
        """Close the connection; a request that waits for its next try is given up."""
        with quiet(LOG):
            self._exporter.shutdown()


class _Patience:
    """Ends the tries of a server that never answered: its address is wrong, or it is not running."""

    def __init__(self, give_up: Callable[[], None]) -> None:
        self._give_up = give_up
        self._left = TRIES

    def answered(self) -> None:
        self._left = -1

    def unanswered(self) -> None:
        self._left -= 1
        if self._left == 0:
            self._give_up()


class _HttpWitness(requests.Session):
    """A session that keeps the last reply."""

    def __init__(self, give_up: Callable[[], None]) -> None:
        super().__init__()
        self._patience = _Patience(give_up)
        self._last: requests.Response | Exception | None = None

    def forget(self) -> None:
        self._last = None

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        try:
            self._last = super().send(request, **kwargs)
        except (requests.RequestException, OSError) as error:
            self._last = error
            self._patience.unanswered()
            raise
        self._patience.answered()
        return self._last

    def verdict(self, secrets: Iterable[str]) -> Verdict:
        if self._last is None:
            return Failure("refused", "no request was made"), None
        if isinstance(self._last, Exception):
            return http_error(self._last), None
        return http_reply(self._last.status_code, self._last.headers, self._last.content, secrets)


class _GrpcWitness(grpc.UnaryUnaryClientInterceptor):  # type: ignore[misc] # grpc has no types
    """An interceptor that keeps the last call."""

    def __init__(self, give_up: Callable[[], None]) -> None:
        self._patience = _Patience(give_up)
        self._last: Any = None

    def forget(self) -> None:
        self._last = None

    def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        self._last = continuation(client_call_details, request)
        if no_grpc_answer(self._last.code(), self._last.details() or ""):
            self._patience.unanswered()
        else:
            self._patience.answered()
        return self._last

    def verdict(self, secrets: Iterable[str]) -> Verdict:
        if self._last is None:
            return Failure("refused", "no request was seen to be made"), None
        code = self._last.code()
        if code is grpc.StatusCode.OK:
            return partial(self._last.result().partial_success, secrets)
        return grpc_error(code, self._last.details() or ""), None


class _GrpcExporter(GrpcSpanExporter):
    """The SDK's, with every call seen by a witness."""

    def __init__(self, to: Destination, witness: _GrpcWitness) -> None:
        self._of = witness
        super().__init__(
            endpoint=to.endpoint,
            headers=tuple(to.headers.items()) or None,
            timeout=to.timeout,
            compression=grpc.Compression.Gzip if to.compression == "gzip" else grpc.Compression.NoCompression,
        )

    def _initialize_channel_and_stub(self) -> None:
        """The SDK calls this again when it connects anew. Should it no longer, no reply is seen and nothing is sent."""
        super()._initialize_channel_and_stub()  # type: ignore[no-untyped-call]
        self._channel = grpc.intercept_channel(self._channel, self._of)
        self._client: Any = TraceServiceStub(self._channel)  # type: ignore[no-untyped-call]
