"""What `build_agent(model, context)` is given besides the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple


class HarnessLimits(NamedTuple):
    """The production limits, for a harness that wants to tell its agent about them."""

    turns: int  # model calls
    seconds: float  # working time
    tool_seconds: float  # one tool call


class HarnessContext(NamedTuple):
    """The second argument of `build_agent`."""

    workdir: Path  # fresh and writable; also HOME and the current directory
    config: dict[str, Any]  # `harness.config` of harness.yaml, as it is
    inputs: dict[str, Any]  # the example's `inputs`; never its reference outputs
    limits: HarnessLimits
    traceparent: str = ""  # W3C Trace Context of this attempt, also in the environment as TRACEPARENT
