"""A recording of model calls, so that a run can be made again without key and network: `--record DIR`, `replay:DIR`.

    DIR/
    ├── cassette.json          the format, bakeoff's version, each candidate's name, model and params
    └── <trial>.jsonl          one line a call: attempt, index, request, then reply or error, chunks when streamed

What a replayed run has in common with its recording, byte for byte: of each trial `verdict`, `cause`, `scores`,
`output` and `usage`, and the conversation. What it has not: times, resources, and ids that LangChain draws at
random (`id` of a message). What the provider took is on the tape, and counts against the time limit without being
waited for. So the same harness and dataset give the same verdicts, as far as the agent's own code and tools are
deterministic.

Two requests are equal when a model would read the same: `read_by_model` says which fields those are. Secrets are
masked as in the call records: a tape holds none of the keys that the gateway knows.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bakeoff.config.schema import Candidate
from bakeoff.errors import InputError, ModelCallError
from bakeoff.gateway.types import CallContext, ChatBackend, JsonDict, ModelCard, ModelReply, ModelRequest
from bakeoff.record.base import Record
from bakeoff.record.evidence import ModelFault
from bakeoff.record.store import file_name
from bakeoff.text.redact import masked
from bakeoff.version import __version__

INDEX = "cassette.json"
_READ = ("content", "tool_calls", "invalid_tool_calls", "tool_call_id", "name", "status", "additional_kwargs")
_SHOWN = 60  # characters of each side of a difference


class Recorded(Record):
    """One candidate of a cassette."""

    name: str
    model: str
    params: JsonDict
    card: ModelCard | None = None


class Index(Record):
    """cassette.json."""

    format: int
    bakeoff_version: str
    candidates: list[Recorded]


class Line(Record):
    """One call on the tape. Either `reply` or `error` is given."""

    attempt: int
    index: int
    request: JsonDict  # ModelRequest
    reply: ModelReply | None = None
    error: ModelFault | None = None
    chunks: list[JsonDict] | None = None  # None: not streamed


# What older recordings call `ModelReply.replayed_seconds`.
OLD_REPLAYED, REPLAYED = b'"unwaited_seconds":', b'"replayed_seconds":'


def tape_of(directory: Path, trial_id: str) -> Path:
    """The file of one trial."""
    return directory / f"{file_name(trial_id)}.jsonl"


def read_tape(path: Path) -> list[Line]:
    """The calls of one trial. Raises InputError with file and line for a damaged one."""
    lines = []
    for number, raw in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            lines.append(Line.model_validate_json(raw.replace(OLD_REPLAYED, REPLAYED)))
        except ValidationError as error:
            raise _damaged(path, number, error) from None
    return lines


def read_index(directory: Path) -> Index:
    """Read cassette.json. Raises InputError when it is missing or damaged."""
    path = directory / INDEX
    try:
        return Index.model_validate_json(path.read_bytes())
    except OSError:
        hint = (
            "Record it with `bakeoff run --record DIR`, or correct the path: it is relative to harness.yaml."
        )
        raise InputError(f"there is no {INDEX}", file=str(directory), hint=hint) from None
    except ValidationError as error:
        raise _damaged(path, None, error) from None


def _damaged(path: Path, line: int | None, error: ValidationError) -> InputError:
    first = error.errors(include_url=False, include_input=False)[0]
    key = ".".join(str(part) for part in first["loc"]) or None
    problem = f"the recording is damaged: {first['msg']}"
    return InputError(problem, file=str(path), line=line, key=key, hint="Restore the file, or record again.")


# --- recording --------------------------------------------------------------------------------------


class Recorder:
    """Writes one cassette. Threads share it.

    Raises:
        InputError: there is a recording in `directory` already, and this run does not continue it.
    """

    def __init__(
        self,
        directory: Path,
        candidates: list[Candidate],
        secrets: tuple[str, ...],
        *,
        resumed: bool = False,
    ) -> None:
        self._directory, self._secrets = directory, secrets
        self._lock = threading.Lock()
        self._begun: set[str] = set()
        path = directory / INDEX
        if path.exists() and not resumed:
            hint = "Give another directory, or delete this recording."
            raise InputError("there is a recording already", file=str(directory), key="--record", hint=hint)
        recorded = [Recorded(name=one.name, model=one.model, params=one.params) for one in candidates]
        self._index = Index(format=1, bakeoff_version=__version__, candidates=recorded)
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            problem = f"cannot be written: {error.strerror}"
            raise InputError(problem, file=str(directory), key="--record", hint="Correct the path.") from None

    def add_card(self, candidate: str, card: ModelCard) -> None:
        """Note what the candidate's chat model says about itself. Must precede the first call."""
        known = [
            one.model_copy(update={"card": card}) if one.name == candidate else one
            for one in self._index.candidates
        ]
        self._index = self._index.model_copy(update={"candidates": known})

    def write(self, trial_id: str, line: JsonDict) -> None:
        """Append one call. What an unfinished execution of the trial left is replaced."""
        data = json.dumps(masked(line, self._secrets), ensure_ascii=False).encode("utf-8", "replace") + b"\n"
        with self._lock:
            if not self._begun:  # a run that ends before its first call leaves no recording
                index = json.dumps(masked(self._index.model_dump(), self._secrets), indent=1)
                (self._directory / INDEX).write_text(index + "\n", "utf-8")
            mode = "ab" if trial_id in self._begun else "wb"
            self._begun.add(trial_id)
            with tape_of(self._directory, trial_id).open(mode) as file:
                file.write(data)


class Recording:
    """A backend whose calls are recorded."""

    def __init__(self, inner: ChatBackend, candidate: str, recorder: Recorder) -> None:
        self._inner, self._recorder = inner, recorder
        recorder.add_card(candidate, inner.card())

    def complete(self, request: ModelRequest, call: CallContext) -> ModelReply:
        """Ask the backend, and write down what it said."""
        line: JsonDict = {"attempt": call.attempt, "index": call.index, "request": asdict(request)}
        chunks: list[JsonDict] = []
        hand_on = call.on_chunk

        def on_chunk(chunk: JsonDict) -> None:
            chunks.append(chunk)
            hand_on(chunk)

        if request.stream:
            call = replace(call, on_chunk=on_chunk)
            line["chunks"] = chunks
        try:
            reply = self._inner.complete(request, call)
        except ModelCallError as error:
            fault = ModelFault(
                kind=error.kind, message=error.message, status=error.status, attempts=error.attempts
            )
            self._recorder.write(call.trial_id, {**line, "error": fault.model_dump(mode="json")})
            raise
        self._recorder.write(call.trial_id, {**line, "reply": asdict(reply)})
        return reply

    def card(self) -> ModelCard:
        return self._inner.card()

    def close(self) -> None:
        self._inner.close()


# --- comparing --------------------------------------------------------------------------------------


def read_by_model(request: Mapping[str, Any]) -> JsonDict:
    """The part of a request that decides a reply: nothing that is empty, drawn at random or about the transport."""
    messages = [
        {"type": message["type"], **{key: message["data"].get(key) for key in _READ}}
        for message in request["messages"]
    ]
    rest = {key: request.get(key) for key in ("tool_choice", "stop", "structured")}
    rest["tools"] = [_without(tool, "as_is") for tool in request.get("tools") or ()]
    # recordings made before `bind` was kept have its options among the params
    rest["params"] = {**(request.get("params") or {}), **(request.get("bind") or {})}
    whole: JsonDict = _without_empty({"messages": messages, **rest})
    return whole


def _without(record: JsonDict, key: str) -> JsonDict:
    return {name: value for name, value in record.items() if name != key}


def _without_empty(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: _without_empty(one)
            for key, one in value.items()
            if one is not None and one not in ("", [], {})
        }
    return [_without_empty(one) for one in value] if isinstance(value, list) else value


def first_difference(recorded: Any, now: Any) -> str:
    """The first place where two JSON values differ, and both sides there, shortened."""
    return next(_differences(recorded, now, "request"), "nothing differs")


def _differences(recorded: Any, now: Any, place: str) -> Iterator[str]:
    if recorded == now:
        return
    if isinstance(recorded, dict) and isinstance(now, dict):
        for key in [*recorded, *(key for key in now if key not in recorded)]:
            yield from _differences(recorded.get(key), now.get(key), f"{place}.{key}")
    elif isinstance(recorded, list) and isinstance(now, list):
        for i in range(max(len(recorded), len(now))):
            yield from _differences(
                recorded[i] if i < len(recorded) else None, now[i] if i < len(now) else None, f"{place}[{i}]"
            )
    else:
        yield f"{place}: recorded {_shown(recorded, now)}, now {_shown(now, recorded)}"


def _shown(value: Any, other: Any) -> str:
    """The value from shortly before where it differs from the other."""
    if value is None:
        return "nothing"
    if not isinstance(value, str):
        text = json.dumps(value, ensure_ascii=False)
        return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
    pairs = zip(value, other if isinstance(other, str) else "", strict=False)
    same = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(value), len(str(other or ""))))
    start = max(0, same - _SHOWN // 3)
    end = start + _SHOWN
    return f"{'…' if start else ''}{value[start:end]!r}{'…' if end < len(value) else ''}"
