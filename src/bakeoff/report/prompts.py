"""Whether the system prompt depends on the dataset's row."""

from __future__ import annotations

from collections.abc import Iterable

from bakeoff.errors import InputError
from bakeoff.record.messages import text_of
from bakeoff.record.store import RunDirectory

SAMPLED = 5  # trials, each of another example: the record names the prompt of one trial only


def differ(run: RunDirectory, trial_ids: Iterable[str]) -> bool:
    """Whether the first model calls of these trials were sent different system prompts."""
    found = {prompt for trial_id in trial_ids if (prompt := _first(run, trial_id)) is not None}
    return len(found) > 1


def _first(run: RunDirectory, trial_id: str) -> str | None:
    """The system prompt of a trial's first model call; None if the call is missing or unreadable."""
    try:
        call = next(iter(run.calls(trial_id)), None)
        messages = call["request"]["messages"] if call else None
        if messages is None:
            return None
        return "\n\n".join(text_of(each["data"]["content"]) for each in messages if each["type"] == "system")
    except (InputError, KeyError, TypeError):
        return None
