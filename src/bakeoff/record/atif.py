"""One attempt as a trajectory in ATIF, the Agent Trajectory Interchange Format, version 1.8.

Steps are the messages of all its conversations, in the order in which the gateway saw them. The record says which model
call a message is the reply of, and which tool call a result answers: nothing is matched by id or text. Calls that are
in no message (a model call that failed, a tool that the harness's own code called) are in `extra`.
"""

from __future__ import annotations

import json
from typing import Any

from bakeoff.record.base import JsonDict
from bakeoff.record.evidence import Verdict
from bakeoff.record.trial import AttemptResult, Example, Message, ModelCall, ToolCall, TrialSpec
from bakeoff_runner.media import placeholder

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

    Times in `extra` are seconds since the agent started. A tool call whose arguments do not parse has their text as
    `extra.raw_arguments` and is marked `extra.malformed`; one that did not run has its `extra.outcome`.
    """
    usage, clock = result.usage, result.evidence.clock
    cached = [call.cached_tokens for call in result.model_calls if call.cached_tokens is not None]
    steps = _steps(result, example, model)
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
            **_unmatched(result),
        },
    }


def _unmatched(result: AttemptResult) -> JsonDict:
    """The calls that are in no message."""
    replies = {message.model_call for message in result.messages}
    asked = {position for message in result.messages for position in message.calls}
    models = [call for call in result.model_calls if call.index not in replies]
    tools = [call for position, call in enumerate(result.tool_calls) if position not in asked]
    return {
        "unmatched_model_calls": [call.model_dump(mode="json", exclude_none=True) for call in models],
        "unmatched_tool_calls": [call.model_dump(mode="json", exclude_none=True) for call in tools],
    }


def _steps(result: AttemptResult, example: Example, model: str) -> list[JsonDict]:
    calls = {call.index: call for call in result.model_calls}
    steps: list[JsonDict] = []
    asked: dict[int, tuple[JsonDict, str]] = {}  # position of a tool call -> its step, its id there
    answered: set[int] = set()
    for message in result.messages or [Message(openai=message) for message in example.messages]:
        if message.openai.get("role") in ("tool", "function"):
            _observe(steps, message, asked, result.tool_calls)
            answered |= {message.answers} if message.answers is not None else set()
            continue
        source = SOURCES.get(str(message.openai.get("role")), "user")
        step: JsonDict = {"source": source, "message": _text(message.openai)}
        if message.model_call is not None:
            names = _call_ids(message, result.tool_calls)
            requested = [_tool_call(result.tool_calls[position], names[position]) for position in names]
            step |= _reply(message, calls.get(message.model_call), requested, model)
            asked |= {position: (step, name) for position, name in names.items()}
        elif source == "agent":
            step["is_copied_context"] = True  # an assistant's turn that no model call made
        if message.conversation:
            step["extra"] = {**step.get("extra", {}), "conversation": message.conversation}
        steps.append(step)
    for position, (step, name) in asked.items():
        if position not in answered:
            _observe_unanswered(step, name, result.tool_calls[position])
    return steps


def _reply(message: Message, call: ModelCall | None, requested: list[JsonDict], model: str) -> JsonDict:
    """What a step of the model has beyond its text."""
    part: JsonDict = {"model_name": model}
    if reasoning := message.openai.get("reasoning_content"):
        part["reasoning_content"] = reasoning
    if requested:
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


def _call_ids(message: Message, calls: list[ToolCall]) -> dict[int, str]:
    """The ids of a message's calls, by position. A model's own need not be unique: a second one gets its position."""
    names: dict[int, str] = {}
    taken: set[str] = set()
    for position in message.calls:
        given = calls[position].call_id
        names[position] = f"{given}#{position}" if not given or given in taken else given
        taken.add(names[position])
    return names


def _tool_call(call: ToolCall, ident: str) -> JsonDict:
    extra: JsonDict = {} if call.outcome == "ran" else {"outcome": call.outcome}
    arguments = call.args
    if arguments is None:
        extra |= {"malformed": True, "raw_arguments": call.raw_args or ""}
    elif len(text := json.dumps(arguments, ensure_ascii=False)) > MAX_ARGUMENTS:
        extra |= {"cut": len(text), "raw_arguments": text[:MAX_ARGUMENTS]}
        arguments = None
    extra |= _known({"started": call.started, "seconds": call.seconds, "error": call.error})
    if call.timed_out:
        extra["timed_out"] = True
    made: JsonDict = {"tool_call_id": ident, "function_name": call.name, "arguments": arguments or {}}
    return made | ({"extra": extra} if extra else {})


def _observe(
    steps: list[JsonDict],
    message: Message,
    asked: dict[int, tuple[JsonDict, str]],
    calls: list[ToolCall],
) -> None:
    """Attach a tool's result to the step that asked for it. A result that no step asked for becomes a step."""
    text = _text(message.openai)
    if message.answers in asked:
        step, name = asked[message.answers]
        entry: JsonDict = {"source_call_id": name, "content": text}
        if error := calls[message.answers].error:
            entry["extra"] = {"error": error}
        step.setdefault("observation", {"results": []})["results"].append(entry)
        return
    unasked = {"content": text, "extra": {"tool_call_id": str(message.openai.get("tool_call_id") or "")}}
    steps.append({"source": "system", "message": "", "observation": {"results": [unasked]}})


def _observe_unanswered(step: JsonDict, name: str, call: ToolCall) -> None:
    """A call that ran but whose result never reached the conversation still shows what the runner saw."""
    if call.result is not None or call.error is not None:
        extra = _known({"seen_by": "runner", "error": call.error})
        entry = {"source_call_id": name, "content": call.result or call.error, "extra": extra}
        step.setdefault("observation", {"results": []})["results"].append(entry)


def _text(message: JsonDict) -> str:
    """The text of a message's content; of a block that is no text, what it was."""
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
        elif isinstance(block, dict):
            parts.append(placeholder(block) or f"[{block.get('type', 'block')}]")
    return "\n".join(parts)


def _known(values: dict[str, Any]) -> JsonDict:
    return {key: value for key, value in values.items() if value is not None}
