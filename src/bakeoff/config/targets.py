"""`publish` in harness.yaml: the settings of each publishing target. `publish.table.TARGETS` has a row for each."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from bakeoff.config.section import KeyedAddress, Section, VariableName, address

OtlpProtocol = Literal["http/protobuf", "grpc"]


class LangSmith(Section):
    """Which LangSmith, and which dataset there. A dataset `langsmith://NAME` is read with the same account."""

    endpoint: KeyedAddress | None = None  # the API's address; default: LANGSMITH_ENDPOINT
    api_key_env: VariableName = "LANGSMITH_API_KEY"  # environment variable with the key
    workspace: str | None = None  # workspace id; default: LANGSMITH_WORKSPACE_ID
    dataset: str | None = None  # its name there; default: the harness's name


class Otlp(Section):
    """Where traces go. Defaults are the OTEL_EXPORTER_OTLP_* variables, then the standard's own."""

    # http: with or without /v1/traces; grpc: http://host:4317
    endpoint: Annotated[str, address("name the key's environment variable in `headers_env`")] | None = None
    protocol: OtlpProtocol | None = None
    headers_env: VariableName | None = None  # environment variable with headers, `name=value,name=value`
    content: bool = False  # send prompts, outputs, arguments and results too


class MLflow(Section):
    """Which MLflow server, and which experiment there."""

    # default: MLFLOW_TRACKING_URI
    tracking_uri: (
        Annotated[str, address("MLflow reads MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD")] | None
    ) = None
    experiment: str | None = None  # its name there; default: the harness's name


class Publish(Section):
    """Targets that every conclusive run is published to at its end. Nothing here is in the fingerprint."""

    langsmith: LangSmith | None = None
    otlp: Otlp | None = None
    mlflow: MLflow | None = None


def settings_of(target: str) -> type[Section]:
    """The settings' class of a target, by its name."""
    settings: type[Section] = get_args(Publish.model_fields[target].annotation)[0]
    return settings
