"""`publish.mlflow` in harness.yaml."""

from __future__ import annotations

from typing import Annotated

from bakeoff.config.section import Section, address


class Settings(Section):
    """Which MLflow server, and which experiment there."""

    # default: MLFLOW_TRACKING_URI
    tracking_uri: (
        Annotated[str, address("MLflow reads MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD")] | None
    ) = None
    experiment: str | None = None  # its name there; default: the harness's name
