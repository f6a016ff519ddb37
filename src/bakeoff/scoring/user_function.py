"""A user's own functions, by import path: evaluators, and comparisons of arguments."""

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
from bakeoff.scoring.types import Evaluate, Outputs, Score


def make(use: str, options: Mapping[str, Any], root: Path) -> Evaluate:
    """The evaluator `module:function`, called as `(*, inputs, outputs, reference_outputs, **options)`.

    It returns a number or a bool, or a dict with `score` and perhaps `comment`. It gets copies, so that it cannot
    change what the next evaluator sees.

    Raises:
        InputError: it does not import, is not callable, is async, or does not take these arguments.
    """
    function = load(use, root, inputs={}, outputs={}, reference_outputs={}, **options)

    def evaluate(example: Example, outputs: Outputs) -> Score:
        result = function(
            inputs=copy.deepcopy(example.inputs),
            outputs=copy.deepcopy(outputs.for_users()),
            reference_outputs=copy.deepcopy(example.outputs),
            **copy.deepcopy(dict(options)),
        )
        if isinstance(result, Mapping):
            return Score(result["score"], str(result.get("comment") or ""))
        return Score(result)

    return evaluate


def load(path: str, root: Path, /, *args: Any, **kwargs: Any) -> Callable[..., Any]:
    """The function `module:function`, from `root` or an installed package.

    Args:
        path: as harness.yaml has it.
        root: the directory of harness.yaml.
        args: examples of the positional arguments that it will be called with.
        kwargs: examples of the keyword arguments.

    Raises:
        InputError: it does not import, is not callable, is async, or does not take these arguments.
    """
    module, _, name = path.partition(":")
    # Last, not first: a folder of the project must not hide a library of the same name. And for good: what the function
    # imports when it is called is found there too.
    if str(root) not in sys.path:
        sys.path.append(str(root))
    try:
        function: Any = importlib.import_module(module)
        for part in name.split("."):
            function = getattr(function, part)
    except (Exception, SystemExit) as error:
        hint = f"Check the path; modules are looked for in {root} and among the installed packages."
        raise InputError(f"cannot import it: {type(error).__name__}: {error}", key=path, hint=hint) from error
    if not callable(function):
        raise InputError("it is not a function", key=path, hint="Name a function: `module:function`.")
    if inspect.iscoroutinefunction(function):
        raise InputError(f"{path} is an async function", key=path, hint="Make it a plain function.")
    try:
        inspect.signature(function).bind(*args, **kwargs)
    except TypeError as error:
        job, takes = (
            "compare arguments",
            "two arguments: those of the model's call and those of the reference's",
        )
        if kwargs:
            job, takes = (
                "be an evaluator",
                "(*, inputs, outputs, reference_outputs) and the keys under `with`",
            )
        raise InputError(f"{path} cannot {job}: {error}", key=path, hint=f"Let it take {takes}.") from error
    except ValueError:  # a function of C, without a signature to check
        pass
    loaded: Callable[..., Any] = function
    return loaded
