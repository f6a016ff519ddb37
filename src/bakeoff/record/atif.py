"""One attempt as a trajectory in ATIF, the Agent Trajectory Interchange Format, version 1.8.

The conversation comes from the messages the harness ended with; tokens, cost and time come from the
gateway's and the runner's own records of each call, matched to the messages they belong to. What cannot be
matched (a call that failed, a sub-agent's call) is kept in `extra`, so that nothing of the evidence is lost
on the way.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from bakeoff.record.base import JsonDict
from bakeoff.record.evidence import Verdict
from bakeoff.record.messages import too_deep
from bakeoff.record.trial import AttemptResult, Example, ModelCall, ToolCall, TrialSpec

SCHEMA_VERSION = "ATIF-v1.8"
# Characters of one call's arguments. Of longer ones `extra.cut` has the length, `extra.raw_arguments` the beginning.
MAX_ARGUMENTS = 256 * 2**10
SOURCES = {
    "system": "system",
    "developer": "system",
    "assistant": "agent",
}  # any other role is the user's side


def trajectory(
    spec: TrialSpec,
    example: Example,
    result: AttemptResult,
    *,
    agent_name: str,
    agent_version: str,
    model: str,
    verdict: Verdict,
    scores: dict[str, float],
) -> JsonDict:
    """The attempt as an ATIF document: steps, tool calls with their results, metrics.

    Times in `extra` are seconds since the agent started. A tool call whose arguments do not parse keeps its
    text as `extra.raw_arguments` and is marked `extra.malformed`.
    """
    calls = _CallMatcher(result.model_calls)
    tools = {call.call_id: call for call in result.tool_calls}
    given = sum(message.get("role") == "assistant" for message in example.messages)
    steps: list[JsonDict] = []
    asked: dict[str, JsonDict] = {}  # call id -> the latest step that asked for it
    for message in [message.openai for message in result.messages] or example.messages:
        if message.get("role") in ("tool", "function"):
            _observe(steps, message, tools, asked)
            continue
        step: JsonDict = {"source": SOURCES.get(str(message.get("role")), "user"), "message": _text(message)}
        if step["source"] == "agent":
            # assistant turns that the example itself brings along were not made by this model
            step |= {"is_copied_context": True} if given > 0 else _agent_part(message, calls, tools, model)
            given -= 1
        steps.append(step)
        asked |= {call["tool_call_id"]: step for call in step.get("tool_calls", ())}
    for step in steps:
        _observe_unanswered(step, tools)
    usage, clock = result.usage, result.evidence.clock
    cached = [call.cached_tokens for call in result.model_calls if call.cached_tokens is not None]
    return {
        "schema_version": SCHEMA_VERSION,
        "session_id": spec.trial_id,
        "trajectory_id": f"{spec.trial_id}#{result.attempt}",
        "agent": {"name": agent_name, "version": agent_version, "model_name": model},
        "steps": [{"step_id": number, **step} for number, step in enumerate(steps, start=1)],
        "final_metrics": _known(
            {
                "total_prompt_tokens": usage.input_tokens,
                "total_completion_tokens": usage.output_tokens,
                "total_cached_tokens": sum(cached) if cached else None,
                "total_cost_usd": usage.cost_usd,
                "total_steps": len(steps),
            }
        ),
        "extra": {
            "trial_id": spec.trial_id,
            "candidate": spec.candidate,
            "example_id": spec.example_id,
            "repetition": spec.repetition,
            "seed": spec.seed,
            "attempt": result.attempt,
            "verdict": verdict.model_dump(mode="json"),
            "scores": scores,
            "seconds": clock.model_dump(mode="json"),
            "started_at": result.started_at.isoformat(),
            "finished_at": result.finished_at.isoformat(),
            "unmatched_model_calls": [
                call.model_dump(mode="json", exclude_none=True) for call in calls.unmatched()
            ],
            # a sub-agent's, or of messages that a middleware dropped
            "unmatched_tool_calls": [
                call.model_dump(mode="json", exclude_none=True)
                for call_id, call in tools.items()
                if call_id not in asked
            ],
        },
    }


def _agent_part(message: JsonDict, calls: _CallMatcher, tools: dict[str, ToolCall], model: str) -> JsonDict:
    """What an agent step has beyond its text."""
    call = calls.match(message)
    part: JsonDict = {"model_name": model}
    if reasoning := _reasoning(message):
        part["reasoning_content"] = reasoning
    if requested := [_tool_call(item, tools) for item in _requested(message, call)]:
        part["tool_calls"] = requested
    if call:
        part["llm_call_count"] = 1
        metrics = {
            "prompt_tokens": call.input_tokens,
            "completion_tokens": call.output_tokens,
            "cached_tokens": call.cached_tokens,
            "cost_usd": call.cost_usd,
        }
        part["metrics"] = _known(metrics)
        timing = call.model_dump(
            include={"started", "seconds", "queued_seconds", "attempts", "finish_reason"}, exclude_none=True
        )
        part["extra"] = {"model_call": call.index, **timing}
    return part


def _requested(message: JsonDict, call: ModelCall | None) -> Iterator[JsonDict]:
    """The tool calls a message asks for, OpenAI-style; malformed ones come from LangChain's record."""
    seen = set()
    for item in _dicts(message.get("tool_calls")):
        seen.add(item.get("id"))
        yield item
    data = (call.message or {}).get("data") if call else None
    for item in _dicts(data.get("invalid_tool_calls") if isinstance(data, dict) else None):
        if item.get("id") not in seen:
            yield {
                "id": item.get("id"),
                "function": {"name": item.get("name"), "arguments": item.get("args")},
            }


def _tool_call(item: JsonDict, tools: dict[str, ToolCall]) -> JsonDict:
    function = item["function"] if isinstance(item.get("function"), dict) else {}
    arguments: Any = function.get("arguments")
    extra: JsonDict = {}
    cut = isinstance(arguments, str) and len(arguments) > MAX_ARGUMENTS
    try:
        parsed = json.loads(arguments) if isinstance(arguments, str) and not cut else arguments
    except (ValueError, RecursionError):  # not JSON, or nested to blow the stack
        parsed = None
    if cut:
        extra, parsed = {"cut": len(arguments), "raw_arguments": arguments[:MAX_ARGUMENTS]}, {}
    elif not isinstance(parsed, dict) or too_deep(parsed):
        extra = {
            "malformed": True,
            "raw_arguments": arguments if isinstance(arguments, str) else repr(arguments),
        }
        parsed = {}
    if ran := tools.get(str(item.get("id"))):
        extra |= ran.model_dump(include={"started", "seconds", "error", "timed_out"}, exclude_none=True)
    call: JsonDict = {
        "tool_call_id": str(item.get("id") or ""),
        "function_name": str(function.get("name") or ""),
        "arguments": parsed,
    }
    return call | ({"extra": extra} if extra else {})


def _observe(
    steps: list[JsonDict], message: JsonDict, tools: dict[str, ToolCall], asked: dict[str, JsonDict]
) -> None:
    """Attach a tool's result to the latest step that asked for it. A result that no step asked for becomes a step."""
    call_id = str(message.get("tool_call_id") or "")
    if step := asked.get(call_id):
        entry: JsonDict = {"source_call_id": call_id, "content": _text(message)}
        if (ran := tools.get(call_id)) and ran.error:
            entry["extra"] = {"error": ran.error}
        step.setdefault("observation", {"results": []})["results"].append(entry)
        return
    unasked = {"content": _text(message), "extra": {"tool_call_id": call_id}}
    steps.append({"source": "system", "message": "", "observation": {"results": [unasked]}})


def _observe_unanswered(step: JsonDict, tools: dict[str, ToolCall]) -> None:
    """A call that ran but whose result never reached the conversation still shows what the runner saw."""
    answered = {entry.get("source_call_id") for entry in step.get("observation", {}).get("results", ())}
    for call in step.get("tool_calls", ()):
        ran = tools.get(call["tool_call_id"])
        if ran is None or call["tool_call_id"] in answered or (ran.result is None and ran.error is None):
            continue
        entry = {"source_call_id": call["tool_call_id"], "content": ran.result or ran.error}
        entry["extra"] = _known({"seen_by": "runner", "error": ran.error})
        step.setdefault("observation", {"results": []})["results"].append(entry)


class _CallMatcher:
    """Finds the model call that produced a message: the first with its text and its tool calls.

    In order, but with gaps: a middleware may drop messages, and a sub-agent's calls are in no message at all.
    """

    def __init__(self, calls: list[ModelCall]) -> None:
        self._open = sorted(calls, key=lambda call: call.index)

    def match(self, message: JsonDict) -> ModelCall | None:
        wanted = (_text(message), {item.get("id") for item in _dicts(message.get("tool_calls"))})
        for call in self._open:
            data = (call.message or {}).get("data")
            if not isinstance(data, dict):
                continue
            valid = {item.get("id") for item in _dicts(data.get("tool_calls"))}
            every = valid | {item.get("id") for item in _dicts(data.get("invalid_tool_calls"))}
            # whether malformed calls are repeated in the message depends on who wrote it down
            if wanted[0] == _text(data) and wanted[1] in (valid, every):
                self._open.remove(call)
                return call
        return None

    def unmatched(self) -> list[ModelCall]:
        return self._open


def _text(message: JsonDict) -> str:
    """The text of a message's content; of a block that is no text, its type."""
    content = message.get("content")
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        return json.dumps(content, ensure_ascii=False, default=str)
    parts = []
    for block in content:
        if isinstance(block, str):
            parts.append(block)
        elif isinstance(block, dict) and isinstance(block.get("text"), str):
            parts.append(block["text"])
        elif isinstance(block, dict) and block.get("type") not in ("tool_use", "thinking", "reasoning"):
            parts.append(f"[{block.get('type', 'block')}]")
    return "\n".join(parts)


def _reasoning(message: JsonDict) -> str:
    """The model's own reasoning, where the provider showed it."""
    if isinstance(direct := message.get("reasoning_content"), str):
        return direct
    blocks = _dicts(message.get("content"))
    found = [block.get("thinking") or block.get("reasoning") for block in blocks]
    return "\n".join(text for text in found if isinstance(text, str))


def _dicts(value: Any) -> list[JsonDict]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _known(values: JsonDict) -> JsonDict:
    return {key: value for key, value in values.items() if value is not None}
