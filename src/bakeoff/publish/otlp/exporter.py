"""The SDK's OTLP exporters, made to say what became of every request.

An exporter of the SDK answers SUCCESS or FAILURE and logs why. For telemetry that is right; here it is not enough:
HTTP's takes a redirection to a login page for success, and both throw away a partial success, in which the server says
how many spans it refused. So each request's reply is looked at too, and what was not seen to be taken was not taken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from bakeoff.clients import quiet, variables
from bakeoff.errors import InputError
from bakeoff.publish.otlp.destination import LOG, PREFIX, Destination, seen_by_sdk
from bakeoff.publish.otlp.replies import Failure, Witness


class Exporter:
    """Sends spans and says what became of them. To be closed.

    Args:
        to: where.
        environ: the standard variables that `to` does not hold (certificates) are the SDK's to read.
    """

    def __init__(self, to: Destination, environ: Mapping[str, str]) -> None:
        self._secrets = to.secrets(environ)
        self.warning: str | None = None  # what the server had to say about spans that it took
        self._witness: Witness
        self._exporter: SpanExporter
        try:
            with variables(seen_by_sdk(environ)), quiet(LOG):
                # the other transport's libraries are not loaded
                if to.protocol == "grpc":
                    from bakeoff.publish.otlp import grpc

                    self._exporter, self._witness = grpc.exporter(to, self.close)
                else:
                    from bakeoff.publish.otlp import http

                    self._exporter, self._witness = http.exporter(to, self.close)
        except (ValueError, RuntimeError, OSError) as error:
            raise InputError(
                f"the SDK cannot make its exporter ({type(error).__name__})",
                key=f"{PREFIX}*",
                hint="Check the variables of this prefix.",
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
