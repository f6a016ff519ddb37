"""`publish.langsmith` in harness.yaml. A dataset `langsmith://NAME` is read with the same account."""

from __future__ import annotations

from bakeoff.config.section import KeyedAddress, Section, VariableName


class Settings(Section):
    """Which LangSmith, and which dataset there."""

    endpoint: KeyedAddress | None = None  # the API's address; default: LANGSMITH_ENDPOINT
    api_key_env: VariableName = "LANGSMITH_API_KEY"  # environment variable with the key
    workspace: str | None = None  # workspace id; default: LANGSMITH_WORKSPACE_ID
    dataset: str | None = None  # its name there; default: the harness's name
