"""use: a user's own evaluator, by import path, in openevals' shape."""

from __future__ import annotations

import copy
import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bakeoff.errors import InputError
from bakeoff.record.trial import Example
from bakeoff.scoring.types import Evaluate, Mark, Outputs


def make(use: str, options: Mapping[str, Any], root: Path) -> Evaluate:
    """`module:function`, called as `(*, inputs, outputs, reference_outputs, **options)`.

    It gives a number or a bool, or a dict with `score` and perhaps `comment`. It gets copies, so that it
    cannot change what the next evaluator sees.

    Raises:
        InputError: it does not import, is not callable, is async, or does not take these arguments.
    """
    function = _load(use, root)
    if inspect.iscoroutinefunction(function):
        raise InputError(f"{use} is an async function", key=use, hint="Make it a plain function.")
    try:
        inspect.signature(function).bind(inputs={}, outputs={}, reference_outputs={}, **options)
    except TypeError as error:
        hint = "Let it take (*, inputs, outputs, reference_outputs) and the keys under `with`."
        raise InputError(f"{use} cannot be called as an evaluator: {error}", key=use, hint=hint) from error

    def evaluate(example: Example, outputs: Outputs) -> Mark:
        result = function(
            inputs=copy.deepcopy(example.inputs),
            outputs=copy.deepcopy(outputs),
            reference_outputs=copy.deepcopy(example.outputs),
            **copy.deepcopy(dict(options)),
        )
        if isinstance(result, Mapping):
            return Mark(result["score"], str(result.get("comment") or ""))
        return Mark(result)

    return evaluate


def _load(use: str, root: Path) -> Callable[..., Any]:
    module, _, name = use.partition(":")
    # Last, not first: a folder of the project named like one of our libraries must not stand in its place.
    # For good: what the evaluator imports when it is called stands there too.
    if str(root) not in sys.path:
        sys.path.append(str(root))
    try:
        function: Any = importlib.import_module(module)
        for part in name.split("."):
            function = getattr(function, part)
    except (Exception, SystemExit) as error:
        hint = f"Check the path; modules are looked for in {root} and among the installed packages."
        raise InputError(f"cannot import it: {type(error).__name__}: {error}", key=use, hint=hint) from error
    if not callable(function):
        raise InputError("it is not a function", key=use, hint="Name a function: `module:function`.")
    loaded: Callable[..., Any] = function
    return loaded
