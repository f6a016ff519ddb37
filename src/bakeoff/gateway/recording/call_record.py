"""One line of calls/<trial>.jsonl: a model call with all that is known of it, secrets masked."""

from __future__ import annotations

from dataclasses import asdict

from bakeoff.gateway.types import JsonDict, ModelRequest
from bakeoff.record.trial import ModelCall
from bakeoff.text.redact import masked


def call_record(
    attempt: int, call: ModelCall, request: ModelRequest, secrets: tuple[str, ...] = ()
) -> JsonDict:
    """`attempt`, the fields of ModelCall (`seconds` is the provider's time, `queued_seconds` everything before
    it), `status` (HTTP, of a call that failed), `request` as the harness made it, and `response` (LangChain's
    serialised AIMessage) or null. What could not be known is null, never 0.
    """
    facts = call.model_dump(mode="json", exclude={"message"})
    status = call.error.status if call.error else None
    record = {
        "attempt": attempt,
        **facts,
        "status": status,
        "request": asdict(request),
        "response": call.message,
    }
    return {key: masked(value, secrets) for key, value in record.items()}
