"""bakeoff: one agent harness, many candidate models, real containers with pinned limits.

    import bakeoff

    run = bakeoff.run("harness.yaml", trials=1)
    for trial in run.trials():
        print(trial.trial_id, trial.verdict, trial.cause)

What this module exports is the public surface; the rest may change between versions. Nothing is imported before it is
used, so that `import bakeoff` stays fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from bakeoff.version import __version__

if TYPE_CHECKING:
    from bakeoff.backends.base import Backend, Sandbox, SandboxError, SandboxSpec
    from bakeoff.errors import (
        BackendUnavailable,
        BakeoffError,
        EvaluatorError,
        IncomparableRuns,
        InputError,
        Interrupted,
        NotPublished,
        UnfitEnvironment,
    )
    from bakeoff.record.store import RunDirectory
    from bakeoff.record.trial import TrialRecord
    from bakeoff.run.public import run
    from bakeoff.scoring.types import Evaluate, Outputs, Score

__all__ = [
    "Backend",
    "BackendUnavailable",
    "BakeoffError",
    "Evaluate",
    "EvaluatorError",
    "IncomparableRuns",
    "InputError",
    "Interrupted",
    "NotPublished",
    "Outputs",
    "RunDirectory",
    "Sandbox",
    "SandboxError",
    "SandboxSpec",
    "Score",
    "TrialRecord",
    "UnfitEnvironment",
    "__version__",
    "run",
]

# Where a name that is not an error is from.
_HOMES = {
    "Backend": "bakeoff.backends.base",
    "Evaluate": "bakeoff.scoring.types",
    "Outputs": "bakeoff.scoring.types",
    "RunDirectory": "bakeoff.record.store",
    "Sandbox": "bakeoff.backends.base",
    "SandboxError": "bakeoff.backends.base",
    "SandboxSpec": "bakeoff.backends.base",
    "Score": "bakeoff.scoring.types",
    "TrialRecord": "bakeoff.record.trial",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "run":  # a package that can be called
        return import_module("bakeoff.run")
    return getattr(import_module(_HOMES.get(name, "bakeoff.errors")), name)
