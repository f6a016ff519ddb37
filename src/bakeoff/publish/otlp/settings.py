"""`publish.otlp` in harness.yaml."""

from __future__ import annotations

from typing import Annotated, Literal

from bakeoff.config.section import Section, VariableName, address

Protocol = Literal["http/protobuf", "grpc"]


class Settings(Section):
    """Where traces go. Defaults are the OTEL_EXPORTER_OTLP_* variables, then the standard's own."""

    # http: with or without /v1/traces; grpc: http://host:4317
    endpoint: Annotated[str, address("name the key's environment variable in `headers_env`")] | None = None
    protocol: Protocol | None = None
    headers_env: VariableName | None = None  # environment variable with headers, `name=value,name=value`
    content: bool = False  # send prompts, outputs, arguments and results too
