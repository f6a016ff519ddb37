"""The gateway: the host-side only road to a model. It holds keys, meters, retries, and names what went wrong."""

from bakeoff.gateway.models.table import (
    check,
    check_budget,
    environment,
    is_simulated,
    judge_model,
    notes,
    open_backend,
)
from bakeoff.gateway.types import Problem

__all__ = [
    "Problem",
    "check",
    "check_budget",
    "environment",
    "is_simulated",
    "judge_model",
    "notes",
    "open_backend",
]
