"""Simulated models: they play the example's reference trajectory for real, and err at a stated rate.

`simulated:skill=0.9,latency=0.1,errors=loop+refuse,recover=1`

    skill     probability that a trial is executed without an error; its true pass rate (required)
    latency   seconds that every call takes (0)
    errors    the catalogue to draw from when it errs, joined by `+` (all of `ERRORS`)
    recover   1: a call that did not return its `result` is made once more (0)
    terse     1: answers with the reference answer alone, not in a sentence; for `match: exact` (0)
    way       the trajectory to play where the reference has several: its name in `outputs.ways`. An example without
              `ways`, or a model without this option, has `outputs.trajectory` alone

A reference call may carry `result`, a text that the tool's real answer must contain. Where it does not (an
error, a killed process), the model cannot know the answer and gives a wrong one: this is how a resource fault
shows.

Every error makes the trial fail under a superset trajectory match together with a `contains` match of the
final answer, so that the true pass rate is exactly `skill`, given a sound environment and a reference answer
that is not empty.

A conversation makes those calls of the reference that it has tools for: so a supervisor and its sub-agents share one.
Where a request asks for structured output, the answer fits its schema (see `structured`).

There is no state but the conversation: the same messages and the same trial seed give the same reply.
Tokens are simulated as one for every four characters, rounded up.
"""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bakeoff.config.schema import Candidate
from bakeoff.errors import ModelCallError, ModelErrorKind
from bakeoff.gateway.models import structured
from bakeoff.gateway.policy.prices import FREE, Price
from bakeoff.gateway.policy.rate import Limiter
from bakeoff.gateway.policy.waiting import Cancelled, wait
from bakeoff.gateway.types import (
    CallContext,
    JsonDict,
    ModelCard,
    ModelReply,
    ModelRequest,
    Problem,
    TokenCounts,
)
from bakeoff.text.redact import MAX_MESSAGE_CHARS

if TYPE_CHECKING:
    from bakeoff.gateway.policy.context import CallPolicy

_CHARS_PER_TOKEN = 4
_CALL_ID = re.compile(r"^sim_(\d+)_(\d+)$")  # step, and which try of it
_UNKNOWN_TOOL = "consult_oracle"


@dataclass(frozen=True, slots=True)
class Skill:
    """A parsed `simulated:` specification."""

    skill: float
    latency: float = 0.0
    errors: tuple[str, ...] = ()  # empty: all
    recover: bool = False
    terse: bool = False
    way: str = ""  # empty: the reference trajectory


@dataclass(frozen=True, slots=True)
class Step:
    """One tool call of the plan."""

    name: str
    args: JsonDict
    result: str | None = None  # text that the tool's answer must contain, if anything is known
    instead_of: str = ""  # the tool of the reference, where this one does not exist

    @property
    def key(self) -> str:
        """Equal for two calls that a trajectory match cannot tell apart."""
        return f"{self.name} {json.dumps(self.args, sort_keys=True, default=str)}"


@dataclass(frozen=True, slots=True)
class Plan:
    """What the model will do in this trial: calls, and how it ends.

    `ending`: answer, wrong, refuse, nothing; or, of the last step: loop (made forever), malformed (made
    badly).
    """

    steps: tuple[Step, ...]
    ending: str = "answer"
    error: str | None = None  # which error of the catalogue this is


# --- the specification ------------------------------------------------------------------------------


def parse(spec: str) -> Skill:
    """The options of `simulated:...`; `spec` may be with or without its prefix.

    Raises:
        ValueError: unknown, repeated or missing option, value of the wrong type or out of range.
    """
    given: dict[str, str] = {}
    for item in filter(None, spec.removeprefix("simulated:").split(",")):
        name, equals, value = (part.strip() for part in item.partition("="))
        if not equals or name not in _OPTIONS:
            raise ValueError(
                f"{item.strip()!r} is not an option; there are {', '.join(f'{o}=' for o in _OPTIONS)}"
            )
        if name in given:
            raise ValueError(f"{name} is given twice")
        given[name] = value
    if "skill" not in given:
        raise ValueError("skill is missing")
    return Skill(**{name: _OPTIONS[name](name, value) for name, value in given.items()})


def true_pass_rate(spec: str) -> float:
    """The share of trials that pass in a sound environment: `skill`. Raises ValueError as `parse` does."""
    return parse(spec).skill


def _between(low: float, high: float) -> Callable[[str, str], float]:
    def read(name: str, value: str) -> float:
        try:
            number = float(value)
        except ValueError:
            raise ValueError(f"{name}={value} is not a number") from None
        if not low <= number <= high:
            raise ValueError(f"{name}={value} is not between {low:g} and {high:g}")
        return number

    return read


def _switch(name: str, value: str) -> bool:
    if value not in ("0", "1"):
        raise ValueError(f"{name}={value} is neither 0 nor 1")
    return value == "1"


def _error_names(name: str, value: str) -> tuple[str, ...]:
    names = tuple(value.split("+"))
    for each in names:
        if each not in ERRORS:
            raise ValueError(f"{name}={value}: {each!r} is no error; there are {', '.join(ERRORS)}")
    return names


_OPTIONS: dict[str, Callable[[str, str], Any]] = {
    "skill": _between(0, 1),
    "latency": _between(0, 3600),
    "errors": _error_names,
    "recover": _switch,
    "terse": _switch,
    "way": lambda _, value: value,
}


# --- the plan of a trial ----------------------------------------------------------------------------


def plan(skill: Skill, seed: int, reference: JsonDict) -> Plan:
    """What this trial will be: flawless with probability `skill`, else one error of those that apply."""
    steps = tuple(
        Step(
            str(call["name"]),
            dict(call.get("args") or {}),
            None if call.get("result") is None else str(call["result"]),
        )
        for call in _trajectory(skill, reference)
    )
    # a string seed is hashed, so that neighbouring seeds differ
    dice = random.Random(f"bakeoff simulated {seed}")  # noqa: S311
    if dice.random() < skill.skill:
        return Plan(steps)
    wanted = skill.errors or tuple(ERRORS)
    applicable = [name for name in wanted if _applies(name, steps)] or ["wrong_answer"]
    name = dice.choice(applicable)
    return ERRORS[name](steps, dice)


def _trajectory(skill: Skill, reference: JsonDict) -> Sequence[JsonDict]:
    """The calls to play. Raises ValueError where the reference has several ways, and none of that name."""
    ways = reference.get("ways")
    if not skill.way or not ways:
        return reference.get("trajectory") or ()
    if skill.way not in ways:
        raise ValueError(f"way={skill.way}: the reference has only {', '.join(ways)}")
    calls: Sequence[JsonDict] = ways[skill.way]
    return calls


def _applies(name: str, steps: Sequence[Step]) -> bool:
    if name == "wrong_argument":
        return any(step.args for step in steps)
    return bool(steps) or name not in ("skip", "loop")


def _skip(steps: Sequence[Step], dice: random.Random) -> Plan:
    """Leaves out one call, and every other like it, for a superset match would accept the twin."""
    gone = dice.choice(steps).key
    return Plan(tuple(step for step in steps if step.key != gone), error="skip")


def _wrong_argument(steps: Sequence[Step], dice: random.Random) -> Plan:
    key = dice.choice([step for step in steps if step.args]).key
    wrong = tuple(_altered(step, steps) if step.key == key else step for step in steps)
    return Plan(wrong, "wrong", "wrong_argument")


def _wrong_answer(steps: Sequence[Step], dice: random.Random) -> Plan:
    return Plan(tuple(steps), "wrong", "wrong_answer")


def _unknown_tool(steps: Sequence[Step], dice: random.Random) -> Plan:
    key = dice.choice(steps).key if steps else None
    wrong = tuple(
        Step(_UNKNOWN_TOOL, step.args, instead_of=step.name) if step.key == key else step for step in steps
    )
    return Plan(wrong or (Step(_UNKNOWN_TOOL, {}),), "wrong", "unknown_tool")


def _malformed(steps: Sequence[Step], dice: random.Random) -> Plan:
    """Ends with a call whose arguments do not parse, in place of a step: that step is never made."""
    done = _before(steps, dice)
    return Plan((*done, steps[len(done)] if steps else Step(_UNKNOWN_TOOL, {})), "malformed", "malformed")


def _loop(steps: Sequence[Step], dice: random.Random) -> Plan:
    """Gets stuck on a slightly wrong call: the right one could complete the trajectory."""
    done = _before(steps, dice)
    return Plan((*done, _altered(steps[len(done)], steps)), "loop", "loop")


def _refuse(steps: Sequence[Step], dice: random.Random) -> Plan:
    return Plan((), "refuse", "refuse")


def _nothing(steps: Sequence[Step], dice: random.Random) -> Plan:
    return Plan(tuple(steps), "nothing", "nothing")


# The catalogue: a new way to err is one entry here.
ERRORS: dict[str, Callable[[Sequence[Step], random.Random], Plan]] = {
    "skip": _skip,
    "wrong_argument": _wrong_argument,
    "wrong_answer": _wrong_answer,
    "unknown_tool": _unknown_tool,
    "malformed": _malformed,
    "loop": _loop,
    "refuse": _refuse,
    "nothing": _nothing,
}


def _before(steps: Sequence[Step], dice: random.Random) -> tuple[Step, ...]:
    """The steps before a drawn one: its first occurrence, so that it has not been made."""
    if not steps:
        return ()
    keys = [step.key for step in steps]
    return tuple(steps[: keys.index(dice.choice(keys))])


def _altered(step: Step, steps: Sequence[Step]) -> Step:
    """The call with one argument changed, its type kept where possible, and like no call of the reference."""
    reference, args = {other.key for other in steps}, dict(step.args)
    name = next(iter(args), "unexpected")
    while (wrong := Step(step.name, args)).key in reference:
        args = {**args, name: _other(args.get(name))}
    return wrong


def _other(value: Any) -> Any:
    match value:
        case int() | float() if not isinstance(value, bool):
            return value + 1
        case str():
            return f"{value}9" if value[-1:].isdigit() else f"{value}x"
        case list():
            return [*value, "x"]
        case dict():
            return {**value, "unexpected": f"{value.get('unexpected', '')}x"}
        case _:  # True, False, None: any other value of theirs may be a call of the reference too
            return "x"


# --- one turn ---------------------------------------------------------------------------------------


def reply(skill: Skill, request: ModelRequest, call: CallContext) -> JsonDict:
    """The data of the next AIMessage: a pure function of the conversation, the seed and the reference."""
    todo = plan(skill, call.seed, call.reference)
    tries = _tries(request.messages)  # step -> the texts that its tries returned
    answer = call.reference.get("answer")
    form = structured.form(request, answer, frozenset(step.name for step in todo.steps))
    for index, step in _offered(todo.steps, request, form):
        made = tries.get(index, [])
        call_id = f"sim_{index}_{len(made)}"
        final = todo.ending if index == len(todo.steps) - 1 else ""
        if final == "malformed":
            return _calling_badly(step, call_id)
        recovering = skill.recover and len(made) == 1 and not _known(step, made)
        if not made or recovering or final == "loop":
            return _calling(step, call_id)
    knows = all(_known(step, tries.get(index, [])) for index, step in _offered(todo.steps, request, form))
    if form is not None and todo.ending not in ("refuse", "nothing"):
        right = todo.ending == "answer" and knows
        return _in_form(form, answer, f"sim_{len(todo.steps)}_{call.index}", right=right)
    return _ending(todo, skill, call.reference, knows=knows)


def _offered(
    steps: Sequence[Step], request: ModelRequest, form: structured.Form | None
) -> Iterator[tuple[int, Step]]:
    """The steps that this conversation can make: a supervisor and each of its sub-agents have their own tools.

    A request without tools, such as for a summary, makes none.
    """
    names = structured.schemas(request)
    if form is not None and form.at_once:
        return
    for index, step in enumerate(steps):
        if (step.instead_of or step.name) in names if names else request.tools:
            yield index, step


def _in_form(form: structured.Form, answer: Any, call_id: str, *, right: bool) -> JsonDict:
    """The answer in a form, right or wrong."""
    value = structured.fill(
        form.schema, answer, wrong=None if right else _unlike(_plain(answer), _WRONG_ANSWERS)
    )
    if form.tool is None:
        return _data(json.dumps(value, ensure_ascii=False), "stop")
    made = {"name": form.tool, "args": value, "id": call_id, "type": "tool_call"}
    return _data("", "tool_calls", tool_calls=[made])


def _known(step: Step, returned: Sequence[str]) -> bool:
    return step.result is None or any(step.result in text for text in returned)


def _tries(messages: Sequence[JsonDict]) -> dict[int, list[str]]:
    """What every call of ours returned so far; one that came back with nothing counts as an empty text."""
    returned = {
        str(message["data"].get("tool_call_id")): _plain(message["data"].get("content"))
        for message in messages
        if message.get("type") == "tool"
    }
    tries: dict[int, list[str]] = {}
    for message in messages:
        for made in (message["data"].get("tool_calls") or ()) if message.get("type") == "ai" else ():
            if ours := _CALL_ID.match(str(made.get("id"))):
                tries.setdefault(int(ours[1]), []).append(returned.get(ours[0], ""))
    return tries


def _calling(step: Step, call_id: str) -> JsonDict:
    made = {"name": step.name, "args": step.args, "id": call_id, "type": "tool_call"}
    return _data("", "tool_calls", tool_calls=[made])


def _calling_badly(step: Step, call_id: str) -> JsonDict:
    cut = json.dumps(step.args or {"query": ""})[:-2]  # JSON that ends too early
    made = {
        "name": step.name,
        "args": cut,
        "id": call_id,
        "error": "not valid JSON",
        "type": "invalid_tool_call",
    }
    return _data("", "tool_calls", invalid_tool_calls=[made])


def _ending(todo: Plan, skill: Skill, reference: JsonDict, *, knows: bool) -> JsonDict:
    answer = _plain(reference.get("answer"))
    match todo.ending:
        case "nothing":
            return _data("", "stop")
        case "refuse":
            text = _unlike(answer, _REFUSALS)
            return _data(text, "refusal", additional_kwargs={"refusal": text})
        case "answer" if knows:
            bare = skill.terse or not isinstance(reference.get("answer"), str)
            return _data(answer if bare else f"Here is what I found: {answer}", "stop")
        case _:
            return _data(_unlike(answer, _WRONG_ANSWERS), "stop")


_WRONG_ANSWERS = (
    "I could not find that out.",
    "That is beyond what the records show.",
    "Nobody can tell.",
    "Hm.",
)
_REFUSALS = ("I'm sorry, but I can't help with that.", "My rules forbid it.", "Declined.", "Hm.")


def _unlike(answer: str, texts: Sequence[str]) -> str:
    """The first of `texts` without `answer` in it, literally or by letters and digits alone.

    Where all do (the answer is "no", or "i"), three times a letter that the answer does not have.
    """
    needle = answer.casefold().strip()
    for text in texts:
        if not needle or not (needle in text.casefold() or (_bare(needle) and _bare(needle) in _bare(text))):
            return text
    # an answer that has all of these letters is longer than three
    return next((letter for letter in "xqzjkvw0123456789" if letter not in needle), "x") * 3


def _bare(text: str) -> str:
    return "".join(letter for letter in text.casefold() if letter.isalnum())


def _plain(value: Any) -> str:
    """Text of an answer or of a message's content (a string, content blocks, or any JSON value)."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and any(isinstance(block, dict) and "text" in block for block in value):
        return "".join(
            str(block.get("text", "")) if isinstance(block, dict) else str(block) for block in value
        )
    return json.dumps(value, ensure_ascii=False)


def _data(content: str, finish_reason: str, **fields: Any) -> JsonDict:
    return {
        "content": content,
        "additional_kwargs": {},
        "response_metadata": {"finish_reason": finish_reason, "model_provider": "simulated"},
        "type": "ai",
        "name": None,
        "tool_calls": [],
        "invalid_tool_calls": [],
        **fields,
    }


def _pieces(data: JsonDict) -> Iterator[JsonDict]:
    """The reply word by word; its calls, usage and all the rest with the last piece."""
    words = re.findall(r"\S+\s*|\s+", data["content"])
    blank = {"content": "", "additional_kwargs": {}, "response_metadata": {}, "id": data["id"]}
    for word in words[:-1]:
        yield {**blank, "content": word, "type": "AIMessageChunk"}
    last = "".join(words[-1:])
    yield {**data, "content": last, "type": "AIMessageChunk", "chunk_position": "last"}


def _tokens(chars: int) -> int:
    return -(-chars // _CHARS_PER_TOKEN)


def _length(data: Mapping[str, Any]) -> int:
    """Characters of a message that a model would read or write."""
    calls = [*(data.get("tool_calls") or ()), *(data.get("invalid_tool_calls") or ())]
    return len(_plain(data.get("content"))) + sum(
        len(str(made.get("name"))) + len(_plain(made.get("args"))) for made in calls
    )


# --- the backend ------------------------------------------------------------------------------------


def check(candidate: Candidate, environ: Mapping[str, str]) -> Problem | None:
    """Whether the specification is sound."""
    try:
        parse(candidate.model)
    except ValueError as error:
        return Problem(f"{candidate.model}: {error}", "write it like simulated:skill=0.9,latency=0.1")
    return None


def open_backend(candidate: Candidate, policy: CallPolicy) -> SimulatedBackend:
    """The candidate, simulated. It never fails, so nothing is tried again."""
    return SimulatedBackend(candidate.model, policy.limiter, policy.price or FREE)


class SimulatedBackend:
    """A simulated candidate."""

    def __init__(self, spec: str, limiter: Limiter | None = None, price: Price | None = None) -> None:
        self.skill = parse(spec)
        self._model, self._limiter, self._price = spec, limiter or Limiter(), price or FREE

    def complete(self, request: ModelRequest, call: CallContext) -> ModelReply:
        """Reply after `latency` seconds, or at once when the attempt has ended meanwhile."""
        try:
            data = reply(self.skill, request, call)
            read = sum(_length(message["data"]) for message in request.messages)
        except (
            KeyError,
            TypeError,
            AttributeError,
            ValueError,
        ) as error:  # a hostile conversation, or reference
            fault = f"the conversation or the reference is malformed: {type(error).__name__}: {error}"
            raise ModelCallError(ModelErrorKind.BAD_REQUEST, fault[:MAX_MESSAGE_CHARS]) from None
        inputs = _tokens(read + (len(json.dumps(request.tools)) if request.tools else 0))
        outputs = _tokens(_length(data))
        data["id"] = f"sim-{call.seed}-{call.index}"
        data["response_metadata"]["model_name"] = self._model
        data["usage_metadata"] = {
            "input_tokens": inputs,
            "output_tokens": outputs,
            "total_tokens": inputs + outputs,
        }
        asked = time.monotonic()
        try:
            with self._limiter.turn(inputs + outputs, call.cancelled):
                began = time.monotonic()
                if self.skill.latency:
                    wait(self.skill.latency, call.cancelled)
        except Cancelled:
            raise ModelCallError(ModelErrorKind.INTERNAL, "the call was given up", attempts=0) from None
        first = time.monotonic() - began
        if request.stream:
            for piece in _pieces(data):
                call.on_chunk({"type": "AIMessageChunk", "data": piece})
        return ModelReply(
            message={"type": "ai", "data": data},
            seconds=time.monotonic() - began,
            queued_seconds=began - asked,
            input_tokens=inputs,
            output_tokens=outputs,
            cached_tokens=0,
            cost_usd=self._price.cost_usd(TokenCounts(inputs, outputs)),
            first_token_seconds=first if request.stream else None,
            finish_reason=data["response_metadata"]["finish_reason"],
        )

    def card(self) -> ModelCard:
        """A plain tool-calling model with a context of common size."""
        profile = {"max_input_tokens": 128_000, "max_output_tokens": 16_384, "tool_calling": True}
        params = {"ls_provider": "simulated", "ls_model_name": self._model, "ls_model_type": "chat"}
        return ModelCard(self._model, "bakeoff-simulated", profile, params, structured_output=structured.WAYS)

    def close(self) -> None:
        """Holds nothing."""
