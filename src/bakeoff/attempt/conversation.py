"""What was said in an attempt, as the gateway saw it: the conversations, the tool calls of the model, the answer.

The model's words and calls come from the gateway's own replies alone. What surrounds them (prompts, questions, tool
results) comes from the harness's requests, each message once. So a harness may summarise, trim or rewrite its state, or
run sub-agents, and nothing is lost or counted twice.

A message in a request is recognised as a reply by its calls, or by its text when it has none. Ids of calls are not
unique: they count from 0 in every turn with some servers, are equal in parallel with others, or empty. So a tool's
result belongs to the reply that it follows, and among calls with one id the order decides.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from bakeoff.attempt.tool_log import MAX_RAW_ARGS, ToolRun
from bakeoff.gateway.types import ModelRequest
from bakeoff.record import messages as msgs
from bakeoff.record.base import JsonDict
from bakeoff.record.evidence import AnswerFacts
from bakeoff.record.reasoning import said
from bakeoff.record.trial import Message, ToolCall
from bakeoff.record.values import same
from bakeoff_runner.media import without_media

# What a message takes in memory beside its text: the objects that hold it.
MESSAGE_BYTES = 1024
# Characters of JSON that are kept of one attempt's messages.
MAX_KEPT = 12 * 2**20
# How many calls of one name are looked at to find the one that a run, or a result without its reply, belongs to.
MOST_CANDIDATES = 300


@dataclass(slots=True)
class _Thread:
    """One conversation: a list of messages that grows from request to request."""

    number: int
    opening: str
    seen: Counter[str] = field(default_factory=Counter)  # messages that are in the list, by key
    answered: bool = False  # the model has spoken: assistant turns that are not its own are no history


@dataclass(frozen=True, slots=True)
class _Request:
    """What the model was asked for: the tools that it may call, and whether its answer has a form."""

    tools: set[str]
    structured: bool


@dataclass(slots=True, eq=False)  # each is itself: two calls may be alike in all they hold
class _Call:
    """A tool call that the model asked for."""

    position: int
    model_call: int
    thread: _Thread
    id: str
    name: str
    args: JsonDict | None
    raw_args: str | None
    offered: bool  # whether the model had been offered a tool of this name
    form: bool  # no tool's, but the form of an answer that the harness asked for (`with_structured_output`)
    result: JsonDict | None = None  # the data of the tool message that answered it
    run: ToolRun | None = None


@dataclass(slots=True)
class _Reply:
    """A reply of the model, and its calls by their id, in order."""

    model_call: int
    thread: _Thread
    message: JsonDict
    calls: dict[str, list[_Call]]


@dataclass(slots=True)
class _Entry:
    message: JsonDict  # LangChain's
    thread: _Thread
    reply: _Reply | None = None
    answers: int | None = None


class Conversation:
    """The conversations of one attempt."""

    def __init__(self) -> None:
        self.kept = 0  # characters of JSON
        self._entries: list[_Entry] = []
        self._threads: list[_Thread] = []
        self._replies: dict[str, list[_Reply]] = defaultdict(list)  # by what they look like in a request
        self._last: _Reply | None = None
        self._calls: list[_Call] = []
        # Model calls: their conversation, and what was asked of the model
        self._open: dict[int, tuple[_Thread, _Request]] = {}
        # Calls that no run belongs to yet, by name and id, and by name alone
        self._not_run: dict[tuple[str, str | None], list[_Call]] = defaultdict(list)

    # --- as it happens

    def asked(self, model_call: int, request: ModelRequest) -> int:
        """A request goes out: what is new in it is added. Returns the number of its conversation."""
        thread = self._thread_of(request.messages)
        structured = request.structured or {}
        offered = offered_names(request.tools or (structured.get("options") or {}).get("tools"))
        self._open[model_call] = thread, _Request(offered, structured=bool(structured))
        self._add(request.messages, thread)
        return thread.number

    def replied(self, model_call: int, message: JsonDict) -> None:
        """The model's reply to a request."""
        thread, request = self._open.pop(model_call)
        reply = _Reply(model_call, thread, message, defaultdict(list))
        data = message["data"]
        for item in data.get("tool_calls") or []:
            args = item.get("args")
            self._ask(reply, item, args if isinstance(args, dict) else None, None, request)
        for item in data.get("invalid_tool_calls") or []:
            self._ask(reply, item, None, str(item.get("args") or "")[:MAX_RAW_ARGS], request)
        self._replies[_look(data)].append(reply)
        self._last, thread.answered = reply, True
        self._keep(_Entry(message, thread, reply))

    def _ask(
        self, reply: _Reply, item: JsonDict, args: JsonDict | None, raw: str | None, request: _Request
    ) -> None:
        ident, name = str(item.get("id") or "")[:200], str(item.get("name") or "")[:200]
        position = len(self._calls)
        known = name in request.tools
        form = request.structured and not known
        call = _Call(position, reply.model_call, reply.thread, ident, name, args, raw, known, form)
        self._calls.append(call)
        reply.calls[ident].append(call)
        self._not_run[name, ident].append(call)
        self._not_run[name, None].append(call)

    def ran(self, run: ToolRun) -> bool:
        """A tool starts. Returns whether the model asked for it.

        The call that it belongs to is found by its name and id, or by its name and arguments. One copy of these stays.
        """
        call = _latest(self._not_run[run.name, run.call_id], run, needs_args=False)
        if call is None:  # it was called without the model's id
            call = _latest(self._not_run[run.name, None], run, needs_args=True)
        if call is None:
            return False
        call.run, run.args = run, call.args
        self._not_run[call.name, call.id].remove(call)
        self._not_run[call.name, None].remove(call)
        return True

    # --- what is in a request

    def _thread_of(self, messages: Sequence[JsonDict]) -> _Thread:
        """The conversation that a request continues: the one of the last reply in it, else one that begins alike."""
        for message in reversed(messages):
            if message["type"] == "ai" and (replies := self._replies.get(_look(message["data"]))):
                return replies[-1].thread
        opening = _opening(messages)
        for thread in self._threads:
            if thread.opening == opening:
                return thread
        thread = _Thread(len(self._threads), opening)
        self._threads.append(thread)
        return thread

    def _add(self, messages: Sequence[JsonDict], thread: _Thread) -> None:
        here: Counter[str] = Counter()
        turn: _Reply | None = None  # whose results follow
        results: Counter[str] = Counter()  # of this turn, by id
        for message, reply in zip(messages, self._owners(messages, thread), strict=True):
            data = message["data"]
            if message["type"] == "ai":
                turn, results = reply, Counter()
                if reply is not None or thread.answered:
                    continue  # it is there; or the harness made it up, or rewrote it
            elif message["type"] == "tool" and thread.answered:
                ident = str(data.get("tool_call_id") or "")
                call = self._answered(turn, ident, results[ident], thread)
                results[ident] += 1
                if call is not None and call.result is None:
                    call.result = self._keep(_Entry(message, thread, answers=call.position))
                continue
            key = _key(message)
            here[key] += 1
            if here[key] > thread.seen[key]:
                thread.seen[key] = here[key]
                self._keep(_Entry(message, thread))

    def _owners(self, messages: Sequence[JsonDict], thread: _Thread) -> list[_Reply | None]:
        """For each message the reply that it is. Of equal ones the last is the last: the beginning may be trimmed."""
        owners: list[_Reply | None] = [None] * len(messages)
        left: dict[str, list[_Reply]] = {}
        for i in range(len(messages) - 1, -1, -1):
            if messages[i]["type"] == "ai":
                look = _look(messages[i]["data"])
                if look not in left:
                    left[look] = [reply for reply in self._replies.get(look, ()) if reply.thread is thread]
                if left[look]:
                    owners[i] = left[look].pop()
        return owners

    def _answered(self, turn: _Reply | None, ident: str, nth: int, thread: _Thread) -> _Call | None:
        """The call that a tool message answers."""
        if turn is not None:
            calls = turn.calls.get(ident, [])
            return calls[nth] if nth < len(calls) else None
        # It follows a message that the harness rewrote: the last call with this id that has no answer.
        if ident and self._last is not None:
            for call in reversed(self._calls[-MOST_CANDIDATES:]):
                if call.id == ident and call.thread is thread and call.result is None:
                    return call
        return None

    @property
    def held(self) -> int:
        """Bytes that the messages take: each is kept as it came and as it is compared."""
        return 2 * self.kept + MESSAGE_BYTES * len(self._entries)

    def _keep(self, entry: _Entry) -> JsonDict:
        """Its data, as they are kept: an image takes a line."""
        data: JsonDict = {**entry.message["data"], "content": without_media(entry.message["data"]["content"])}
        entry.message = {**entry.message, "data": data}
        self.kept += len(json.dumps(entry.message, ensure_ascii=False))
        self._entries.append(entry)
        return data

    # --- the end

    def finish(self, messages: Sequence[JsonDict]) -> None:
        """The harness's final state, of which tool results count that no request had."""
        if self._last is not None:
            self._add(messages, self._thread_of(messages))

    def answer(
        self, messages: Sequence[JsonDict], structured: str | None, *, program: bool
    ) -> AnswerFacts | None:
        """What the user got, with facts about the model's last message. None: nobody said anything.

        Args:
            messages: the harness's final state; empty where it has none.
            structured: its structured answer, or what a program left in a file.
            program: whether the harness is a program, whose answer is the model's last words where it left no file.
        """
        owner = self._final_reply(messages)
        last = owner or self._last
        # What follows the last words, such as a critic's note to the model, is no answer.
        end = next((each for each in reversed(messages) if each["type"] in ("ai", "tool")), None)
        end = end or (messages[-1] if messages else None)
        if structured is not None:
            text, source = structured, "file" if program else "structured"
        elif end is not None and end["type"] == "tool":
            text, source = msgs.text_of(end["data"]["content"]), "tool"
        elif end is not None and end["type"] == "ai":
            text, source = said(end["data"]["content"]).answer, "model" if owner else "harness"
        elif end is None and self._entries and self._entries[-1].reply is not None:
            text, source = said(self._entries[-1].message["data"]["content"]).answer, "model"
        else:
            text, source = "", "model"
        if last is None:
            return AnswerFacts(text=text, source="harness") if text else None
        facts = msgs.answer_facts([last.message], text)
        assert facts is not None  # there is a message of the model
        return facts.model_copy(update={"source": source})

    def _final_reply(self, messages: Sequence[JsonDict]) -> _Reply | None:
        """The reply that is the last assistant message of the harness's final state."""
        end = next((message for message in reversed(messages) if message["type"] == "ai"), None)
        replies = self._replies.get(_look(end["data"])) if end else None
        return replies[-1] if replies else None

    def record(
        self, messages: Sequence[JsonDict], structured: str | None, runs: Sequence[ToolRun], *, watched: bool
    ) -> tuple[list[Message], list[ToolCall]]:
        """The messages and the tool calls for the record.

        Args:
            messages: the harness's final state.
            structured: its structured answer.
            runs: of tools, all of them.
            watched: whether the runner sees every tool of this harness.
        """
        reply = self._final_reply(messages) or (self._last if not messages else None)
        main = reply.thread.number if reply else 0
        numbers = {
            thread.number: 0 if thread.number == main else thread.number + (thread.number < main)
            for thread in self._threads
        }
        form = self._answer_form(structured, watched=watched)
        calls = [
            _tool_call(call, numbers[call.thread.number], form=form, watched=watched) for call in self._calls
        ]
        asked_for = {id(call.run) for call in self._calls if call.run is not None}
        calls += [_own_call(run) for run in runs if id(run) not in asked_for]
        listed = [
            Message(
                openai=openai,
                conversation=numbers[entry.thread.number],
                model_call=entry.reply.model_call if entry.reply else None,
                calls=[call.position for same in entry.reply.calls.values() for call in same]
                if entry.reply
                else [],
                answers=entry.answers,
            )
            for entry, openai in zip(
                self._entries, msgs.to_openai([entry.message for entry in self._entries]), strict=True
            )
        ]
        return listed, calls

    def _answer_form(self, structured: str | None, *, watched: bool) -> str | None:
        """The name of the tool whose arguments are the structured answer, if it came as a tool call.

        Their values may differ: a schema converts them, for example to a date. A tool that is watched would have run.
        """
        answer = _parsed_object(structured)
        for call in reversed(self._calls if answer else []):
            if call.run is None and call.args and _fits(call.args, answer):
                return call.name
        for call in reversed(self._calls if answer and watched else []):
            taken = call.result is not None and call.result.get("status") != "error"
            if call.run is None and taken and call.args and call.args.keys() <= answer.keys():
                return call.name
        return None


def _tool_call(call: _Call, conversation: int, *, form: str | None, watched: bool) -> ToolCall:
    run, end = call.run, call.run.end if call.run else None
    outcome = _outcome(call, form=form, watched=watched)
    text = msgs.text_of(call.result["content"])[:MAX_RAW_ARGS] if call.result else None
    refused = outcome in ("rejected", "unknown_tool", "malformed")
    return ToolCall(
        call_id=call.id,
        name=call.name,
        args=call.args,
        raw_args=call.raw_args,
        model_call=call.model_call,
        conversation=conversation,
        outcome=outcome,
        started=run.started if run else None,
        seconds=end.seconds if end else None,
        result=end.result if end else (None if refused else text),
        error=end.error if end else (text if refused else None),
        timed_out=end.timed_out if end else False,
    )


def _outcome(call: _Call, *, form: str | None, watched: bool) -> Any:
    if call.run is not None:
        return "rejected" if call.run.end is not None and call.run.end.rejected else "ran"
    if call.name == form or (call.form and call.args is not None):
        return "answer"
    if call.args is None:
        return "malformed"
    if not call.offered:
        return "unknown_tool"
    if call.result is None:
        # A program may end with a call that it answers to nobody, for example `submit`.
        return "not_run" if watched else "unseen"
    return "rejected" if watched and call.result.get("status") == "error" else "unseen"


def _own_call(run: ToolRun) -> ToolCall:
    """A run that no model asked for: the harness's own code called the tool."""
    end = run.end
    return ToolCall(
        call_id=run.call_id,
        name=run.name,
        args=run.args,
        raw_args=run.raw_args,
        outcome="rejected" if end and end.rejected else "ran",
        started=run.started,
        seconds=end.seconds if end else None,
        result=end.result if end else None,
        error=end.error if end else None,
        timed_out=end.timed_out if end else False,
    )


def _latest(calls: Sequence[_Call], run: ToolRun, *, needs_args: bool) -> _Call | None:
    """The call that a run belongs to: of those with its arguments, or of all, the first of the latest turn."""
    near, args = calls[-MOST_CANDIDATES:], run.args or {}
    fitting = [call for call in near if call.args is not None and _fits(call.args, args)]
    found = fitting or ([] if needs_args else near)
    latest = max((call.model_call for call in found), default=None)
    return next((call for call in found if call.model_call == latest), None)


def _fits(asked: JsonDict, got: JsonDict) -> bool:
    """Whether a run's arguments are those asked for; a framework may have added some."""
    return all(key in got and same(got[key], value) for key, value in asked.items())


def _parsed_object(structured: str | None) -> JsonDict:
    try:
        answer = json.loads(structured or "")
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}


def offered_names(tools: Sequence[JsonDict] | None) -> set[str]:
    """The names of the tools in a request, in whatever provider's form."""
    names: set[str] = set()
    for tool in tools or ():
        for place in (tool, *(value for value in tool.values() if isinstance(value, dict))):
            if isinstance(name := place.get("name"), str):
                names.add(name)
                break
    return names


def _look(data: JsonDict) -> str:
    """Equal for a reply and the same message in a later request: its calls, or its text where it has none."""
    calls = [
        (call.get("id") or "", call.get("name"), call.get("args"))
        for key in ("tool_calls", "invalid_tool_calls")
        for call in data.get(key) or []
    ]
    if calls:
        return _digest(json.dumps(calls, sort_keys=True, ensure_ascii=False, default=str))
    return _digest(f"text {' '.join(said(data['content']).answer.split())}")


def _digest(text: str) -> str:
    """What is compared and not read need not be kept: a message may have megabytes."""
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=16).hexdigest()


def _key(message: JsonDict) -> str:
    """Equal for the same message in two requests."""
    data = message["data"]
    if message["type"] == "tool":
        return f"tool {data.get('tool_call_id')} {msgs.text_of(data['content'])[:1000]}"
    return _digest(
        json.dumps([message["type"], data["content"], data.get("tool_calls")], sort_keys=True, default=str)
    )


def _opening(messages: Sequence[JsonDict]) -> str:
    first = {message["type"]: _key(message) for message in reversed(messages) if message["type"] != "ai"}
    return f"{first.get('system')} {first.get('human')}"
