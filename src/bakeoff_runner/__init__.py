"""The container side: a supervisor as PID 1, the harness as its child. Standard library until the harness loads."""

from bakeoff_runner.context import HarnessContext, HarnessLimits

__all__ = ["HarnessContext", "HarnessLimits"]
