"""`publish.langsmith` in harness.yaml."""

from __future__ import annotations

from bakeoff.datasets.langsmith.account import AccountSettings


class Settings(AccountSettings):
    """Which LangSmith, and which dataset there."""

    dataset: str | None = None  # its name there; default: the harness's name
