"""Tool calls: as the reference has them, and as the model made them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby

from bakeoff.record.base import JsonDict
from bakeoff.record.trial import AttemptResult, Example, ToolCall
from bakeoff.record.values import same
from bakeoff.scoring.types import Call, Outputs

ArgsAgree = Callable[[JsonDict, JsonDict], bool]  # (the model's arguments, the reference's)
Agree = Callable[[Call, Call], bool]  # (a call made, a call wanted)

# Calls that were made: a tool ran, or nobody saw whether it did. A call of a tool that does not exist, or with
# arguments that do not parse, is the model's too. A call that a person or a middleware rejected was never made.
MADE = {"ran", "unseen", "unknown_tool", "malformed", "answer"}
HAND_OFFS = ("transfer_to_", "transfer_back_to_", "handoff_to_")  # LangGraph's and OpenAI's names for them


def turns(result: AttemptResult) -> list[list[Call]]:
    """The calls that the model made in this trial, as the gateway saw them, one list for each reply of the model.

    In the order in which the model was asked, sub-agents' calls included. Calls of a conversation that the example
    began with are not the model's; nor are those that only the harness's final state shows.
    """
    asked = sorted((call for call in result.tool_calls if call.model_call is not None), key=_asked)
    made = (
        [_call(call) for call in reply if call.outcome in MADE] for _, reply in groupby(asked, key=_asked)
    )
    return [turn for turn in made if turn]


def _asked(call: ToolCall) -> int:
    return -1 if call.model_call is None else call.model_call


def _call(call: ToolCall) -> Call:
    hand_off = call.name.startswith(HAND_OFFS) and not call.args
    return Call(call.name, call.args, artificial=hand_off or call.outcome == "answer")


def wanted(example: Example) -> list[Call]:
    """The reference trajectory, in order. An empty list is a reference too: no tool is to be called."""
    return [Call(call["name"], dict(call.get("args") or {})) for call in example.outputs["trajectory"]]


def made(outputs: Outputs, reference: Sequence[Call]) -> list[list[Call]]:
    """The turns to compare: an artificial call counts only where the reference names its tool."""
    named = {call.name for call in reference}
    kept = ([call for call in turn if not call.artificial or call.name in named] for turn in outputs.turns)
    return [turn for turn in kept if turn]


def agree(args_agree: ArgsAgree) -> Agree:
    """Whether a call made is a call of the reference. A call whose arguments do not parse is none of them."""
    return lambda made, wanted: (
        made.name == wanted.name
        and made.args is not None
        and wanted.args is not None
        and args_agree(made.args, wanted.args)
    )


def ignore(made: JsonDict, wanted: JsonDict) -> bool:
    """Names alone are compared."""
    return True


def subset(made: JsonDict, wanted: JsonDict) -> bool:
    """Every argument made is in the reference, with an equal value."""
    return all(key in wanted and same(value, wanted[key]) for key, value in made.items())


def superset(made: JsonDict, wanted: JsonDict) -> bool:
    """Every argument of the reference was made, with an equal value."""
    return subset(wanted, made)


def pairs(made: Sequence[Call], wanted: Sequence[Call], agree: Agree) -> int:
    """How many of the calls made and the calls wanted pair up, at most: each pair agrees, and no call is in two.

    A maximum bipartite matching by augmenting paths (Kuhn 1955): taking the first that agrees could leave out a pair
    where `agree` is not an equality, as when one argument alone counts.
    """
    fitting = [[i for i, each in enumerate(made) if agree(each, want)] for want in wanted]
    owner: dict[int, int] = {}  # made -> wanted

    def place(want: int, tried: set[int]) -> bool:
        for i in fitting[want]:
            if i not in tried:
                tried.add(i)
                if i not in owner or place(owner[i], tried):
                    owner[i] = want
                    return True
        return False

    return sum(place(want, set()) for want in range(len(wanted)))


def names(calls: Sequence[Call]) -> str:
    """For comments."""
    return ", ".join(call.name for call in calls) or "nothing"
