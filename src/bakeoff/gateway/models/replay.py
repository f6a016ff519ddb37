"""`replay:DIR`: a candidate that answers from a recording, with no key and no network.

It takes the recorded candidate of its own name, or the only one there is. A request that is not on the tape is
NOT_ON_TAPE, and says what the first difference is: the harness, the dataset or a tool is no longer what was recorded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from bakeoff.config.schema import Candidate
from bakeoff.errors import InputError, ModelCallError, ModelErrorKind
from bakeoff.gateway.policy.context import CallPolicy
from bakeoff.gateway.recording import cassette
from bakeoff.gateway.recording.cassette import INDEX, Line, read_by_model
from bakeoff.gateway.types import CallContext, ModelCard, ModelReply, ModelRequest, Problem

_TAPES_IN_MEMORY = 8  # of the trials that run at the moment; others are read again


def check(candidate: Candidate, environ: Mapping[str, str]) -> Problem | None:
    """Whether the recording is there, whole, and has this candidate."""
    try:
        _recorded(candidate)
        for path in sorted(_directory(candidate).glob("*.jsonl")):
            cassette.read_tape(path)
    except InputError as error:
        return Problem(str(error), error.hint or "Record it again.")
    return None


def open_backend(candidate: Candidate, policy: CallPolicy) -> ReplayBackend:
    """The candidate, from its recording."""
    return ReplayBackend(_directory(candidate), candidate.name, _recorded(candidate))


def recorded_model(candidate: Candidate) -> str:
    """The model that was recorded. Raises InputError as `check` says it."""
    return _recorded(candidate).model


def _directory(candidate: Candidate) -> Path:
    return Path(candidate.model.removeprefix("replay:"))


def _recorded(candidate: Candidate) -> cassette.Recorded:
    directory = _directory(candidate)
    known = {one.name: one for one in cassette.read_index(directory).candidates}
    if candidate.name in known:
        return known[candidate.name]
    if len(known) == 1:
        return next(iter(known.values()))
    raise InputError(
        f"there is no candidate {candidate.name!r} in the recording",
        file=str(directory / INDEX),
        hint=f"Name the candidate as it was recorded: {', '.join(known) or 'there is none'}.",
    )


class ReplayBackend:
    """A candidate that answers from its tape. It keeps no place: which line answers depends on the request alone."""

    def __init__(self, directory: Path, name: str, recorded: cassette.Recorded) -> None:
        self._directory, self._name, self._recorded = directory, name, recorded
        self._tape = lru_cache(_TAPES_IN_MEMORY)(_read)

    def complete(self, request: ModelRequest, call: CallContext) -> ModelReply:
        """What was answered to the same request: first by the same attempt at the same place, then anywhere."""
        path = self._path(call.trial_id)
        asked = read_by_model(asdict(request))
        tape = sorted(self._tape(path), key=lambda one: _distance(one[0], call))
        line = next((line for line, recorded in tape if recorded == asked), None)
        if line is None:
            raise ModelCallError(ModelErrorKind.NOT_ON_TAPE, _why_not(path, tape, asked, call), attempts=0)
        for chunk in (line.chunks or []) if request.stream else []:
            call.on_chunk(chunk)
        if line.error is not None:
            fault = line.error
            raise ModelCallError(fault.kind, fault.message, status=fault.status, attempts=fault.attempts)
        if line.reply is None:
            raise ModelCallError(
                ModelErrorKind.NOT_ON_TAPE, f"{path.name}: neither reply nor error", attempts=0
            )
        reply = line.reply
        if request.stream and line.chunks is None:  # recorded whole: it comes in one piece
            call.on_chunk(reply.message)
        return _as_new(reply)

    def _path(self, trial_id: str) -> Path:
        """The tape of this trial. A sweep of the box replays, in every profile, what was recorded without any."""
        profile, slash, rest = trial_id.removeprefix(self._name).partition("/")
        own = cassette.tape_of(self._directory, f"{self._recorded.name}{profile}{slash}{rest}")
        return (
            own if own.exists() else cassette.tape_of(self._directory, f"{self._recorded.name}{slash}{rest}")
        )

    def card(self) -> ModelCard:
        """The recorded model's. A recording made before cards were kept has its name alone."""
        return self._recorded.card or ModelCard(self._recorded.model.partition(":")[2], "bakeoff-replay")

    def close(self) -> None:
        """Forget the tapes."""
        self._tape.cache_clear()


def _read(path: Path) -> list[tuple[Line, Any]]:
    """The tape, each line with what the model read; an absent one is empty."""
    if not path.exists():
        return []
    return [(line, read_by_model(line.request)) for line in cassette.read_tape(path)]


def _distance(line: Line, call: CallContext) -> tuple[bool, bool, int]:
    return line.attempt != call.attempt, line.index != call.index, line.index


def _why_not(path: Path, tape: list[tuple[Line, Any]], asked: Any, call: CallContext) -> str:
    where = f"call {call.index + 1} of {call.trial_id} is not on the tape"
    if not tape:
        return f"{where}: there is no {path.name}; record again with these examples and repetitions"
    line, recorded = tape[0]
    if line.index != call.index:
        made = 1 + max(one.index for one, _ in tape if one.attempt == line.attempt)
        return f"{where}: {made} were recorded"
    return f"{where}; first difference: {cassette.first_difference(recorded, asked)}"


def _as_new(reply: ModelReply) -> ModelReply:
    """The recorded reply, its queueing gone and its time not waited for."""
    return replace(reply, queued_seconds=0.0, replayed_seconds=reply.seconds)
