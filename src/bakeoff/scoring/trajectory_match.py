"""trajectory_match: the tool calls that the model made against the reference trajectory, in openevals' modes."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from bakeoff.config.evaluators import TrajectoryMatch
from bakeoff.record.base import JsonDict
from bakeoff.record.trial import Example
from bakeoff.record.values import same
from bakeoff.scoring import calls
from bakeoff.scoring.calls import Agree, ArgsAgree
from bakeoff.scoring.types import Call, Context, Evaluate, Outputs, Score
from bakeoff.scoring.user_function import load

_ARGS: dict[str, ArgsAgree] = {
    "exact": same,
    "ignore": calls.ignore,
    "subset": calls.subset,
    "superset": calls.superset,
}


def make(options: TrajectoryMatch, context: Context) -> Evaluate:
    """1 when the calls match, else 0.

    The comparison has openevals' modes, but not its equality (Python's, to which `True` is 1). A call whose arguments
    do not parse never ran and is left out.

    Raises:
        InputError: an override's function cannot be imported or does not take two arguments.
    """
    rules = {tool: _rule(rule, context) for tool, rule in options.overrides.items()}

    def agree(made: Call, wanted: Call) -> bool:
        return calls.agree(rules.get(wanted.name, _ARGS[options.args]))(made, wanted)

    def evaluate(example: Example, outputs: Outputs) -> Score:
        wanted = calls.wanted(example)
        turns = [[call for call in turn if call.args is not None] for turn in calls.made(outputs, wanted)]
        made = list(chain(*turns))
        if options.mode == "strict":
            matches = _in_order(turns, wanted, agree)
        else:
            found = calls.pairs(made, wanted, agree)
            every_wanted, every_made = found == len(wanted), found == len(made)
            matches = {"superset": every_wanted, "subset": every_made}.get(
                options.mode, every_wanted and every_made
            )
        return Score(float(matches), f"called {calls.names(made)}; wanted {calls.names(wanted)}")

    return evaluate


def functions(options: TrajectoryMatch) -> Iterator[str]:
    """The overrides that are the user's own functions."""
    return (rule for rule in options.overrides.values() if isinstance(rule, str) and rule not in _ARGS)


def _rule(rule: str | list[str], context: Context) -> ArgsAgree:
    if isinstance(rule, list):
        return _named(rule)
    return _ARGS[rule] if rule in _ARGS else _users(rule, context)


def _in_order(turns: Sequence[Sequence[Call]], wanted: Sequence[Call], agree: Agree) -> bool:
    """Whether the reference is the turns one after another, in any order within each."""
    here = 0
    for turn in turns:
        expected = wanted[here : here + len(turn)]
        if calls.pairs(turn, expected, agree) < len(turn):
            return False
        here += len(turn)
    return here == len(wanted)


_MISSING = object()


def _named(keys: list[str]) -> ArgsAgree:
    """The named arguments are there in both calls, and equal."""

    def agree(made: JsonDict, wanted: JsonDict) -> bool:
        values = [(_value(made, key), _value(wanted, key)) for key in keys]
        return all(_MISSING not in pair and same(*pair) for pair in values)

    return agree


def _value(args: Any, key: str) -> Any:
    for part in key.split("."):
        if not isinstance(args, Mapping) or part not in args:
            return _MISSING
        args = args[part]
    return args


def _users(path: str, context: Context) -> ArgsAgree:
    function = load(path, context.root, {}, {})

    def agree(made: JsonDict, wanted: JsonDict) -> bool:
        return bool(function(copy.deepcopy(made), copy.deepcopy(wanted)))

    return agree
