"""What must have arrived, made from the files of a run directory alone: nothing of bakeoff is asked."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

Json = dict[str, Any]


@dataclass
class Expected:
    """One span."""

    name: str
    kind: str
    trace_id: str
    parent_id: str | None
    start: datetime
    end: datetime
    status: str
    description: str = ""
    attributes: Json = field(default_factory=dict)


def lines(path: Path) -> list[Json]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def digest(*parts: object) -> str:
    return hashlib.sha256("\0".join(str(part) for part in parts).encode()).hexdigest()


def flat(value: Any, prefix: str) -> Json:
    if isinstance(value, dict):
        return {
            name: one for key, each in value.items() for name, one in flat(each, f"{prefix}.{key}").items()
        }
    return {prefix: value}


def known(attributes: Json) -> Json:
    """What is not known is not sent."""
    return {key: value for key, value in attributes.items() if value is not None and value != []}


def messages(langchain: list[Json]) -> list[Json]:
    """LangChain's messages as the GenAI conventions have them."""
    roles = {"human": "user", "ai": "assistant", "system": "system", "tool": "tool"}
    out = []
    for message in langchain:
        data, parts = message["data"], []
        text = (
            data["content"]
            if isinstance(data["content"], str)
            else "".join(b["text"] for b in data["content"])
        )
        if message["type"] == "tool":
            parts.append({"type": "tool_call_response", "id": data["tool_call_id"], "response": text})
        elif text:
            parts.append({"type": "text", "content": text})
        for call in data.get("tool_calls") or []:
            parts.append(
                {"type": "tool_call", "id": call["id"], "name": call["name"], "arguments": call["args"]}
            )
        for call in data.get("invalid_tool_calls") or []:
            parts.append(
                {"type": "tool_call", "id": call["id"], "name": call["name"], "arguments": call["args"]}
            )
        out.append({"role": roles[message["type"]], "parts": parts})
    return out


def spans(run: Path, *, content: bool = False, inconclusive: bool = True) -> dict[str, Expected]:
    """Every span of a run, by its id. Content that is JSON is parsed."""
    manifest = json.loads((run / "manifest.json").read_text())
    found: dict[str, Expected] = {}
    for trial in lines(run / "trials.jsonl"):
        found |= of_trial(run, manifest, trial, content=content, inconclusive=inconclusive)
    return found


def of_trial(
    run: Path, manifest: Json, trial: Json, *, content: bool, inconclusive: bool
) -> dict[str, Expected]:
    run_id, trial_id = manifest["run_id"], trial["trial_id"]
    trace = digest("trace", run_id, trial_id)[:32]

    def span_id(*path: object) -> str:
        return digest("span", run_id, trial_id, *path)[:16]

    def shown(attributes: Json, more: Json) -> Json:
        return known(attributes | (more if content else {}))

    status = {"passed": "OK", "failed": "UNSET", "infra_error": "ERROR"}
    infra = trial["verdict"] == "infra_error"
    moments = [times(trial, attempt, last=attempt is trial["attempts"][-1]) for attempt in trial["attempts"]]
    found = {
        span_id(): Expected(
            f"trial {trial['candidate']}",
            "INTERNAL",
            trace,
            None,
            moments[0]["started_at"],
            moments[-1]["finished_at"],
            status[trial["verdict"]],
            trial["cause"] if infra else "",
            shown(
                {
                    "openinference.span.kind": "CHAIN",
                    "error.type": trial["cause"] if infra else None,
                    "bakeoff.run_id": run_id,
                    "bakeoff.fingerprint": manifest["fingerprint"],
                    "bakeoff.image.id": manifest["image"].get("id"),
                    "bakeoff.inconclusive": inconclusive,
                    "bakeoff.simulated": True,
                    "bakeoff.attempts": len(trial["attempts"]),
                    **{
                        f"bakeoff.{key}": trial[key]
                        for key in ("trial_id", "candidate", "model", "example_id", "repetition", "verdict")
                    },
                    "bakeoff.cause": trial["cause"],
                    "bakeoff.resource_bound": trial["resource_bound"],
                    **flat(trial["scores"], "bakeoff.scores"),
                    **flat(trial["usage"], "bakeoff.usage"),
                    **(flat(trial["tools"], "bakeoff.tools") if trial["tools"] else {}),
                    **flat(trial["seconds"], "bakeoff.seconds"),
                    **flat(trial["resources"], "bakeoff.resources"),
                },
                {"bakeoff.output": trial["output"]},
            ),
        )
    }
    calls = lines(run / "calls" / f"{trial_id.replace('/', '__')}.jsonl")
    kept = run / "trajectories" / f"{trial_id.replace('/', '__')}.json"
    trajectory = json.loads(kept.read_text()) if kept.exists() else {"steps": []}
    for number, (attempt, moment) in enumerate(zip(trial["attempts"], moments, strict=True), start=1):
        last = number == len(trial["attempts"])
        lost = attempt["verdict"] == "infra_error"
        verdict = {"error.type": attempt["cause"] if lost else None}
        found[span_id(number)] = Expected(
            "attempt",
            "INTERNAL",
            trace,
            span_id(),
            moment["started_at"],
            moment["finished_at"],
            status[attempt["verdict"]],
            attempt["cause"] if lost else "",
            shown(
                {
                    "openinference.span.kind": "CHAIN",
                    "bakeoff.attempt": number,
                    "bakeoff.verdict": attempt["verdict"],
                    "bakeoff.cause": attempt["cause"],
                    **verdict,
                    **{
                        key: one
                        for key, one in flat(attempt["evidence"], "bakeoff.evidence").items()
                        if fact(key, one)
                    },
                },
                {"bakeoff.because": attempt["because"]},
            ),
        )
        begun = moment["agent_started_at"]
        if begun is None:
            continue
        mine = sorted((call for call in calls if call["attempt"] == number), key=lambda call: call["index"])
        agent = {
            "gen_ai.provider.name": "simulated",
            "gen_ai.request.model": trial["model"],
            "gen_ai.agent.name": manifest["config"]["name"],
        }
        crash = attempt["evidence"]["harness"]
        found[span_id(number, "agent")] = Expected(
            f"invoke_agent {manifest['config']['name']}",
            "INTERNAL",
            trace,
            span_id(number),
            begun,
            moment["finished_at"],
            "ERROR" if lost else "UNSET",
            attempt["cause"] if lost else "",
            shown(
                agent
                | {
                    "gen_ai.operation.name": "invoke_agent",
                    "gen_ai.agent.version": manifest["image"].get("key"),
                    **verdict,
                },
                {
                    "gen_ai.input.messages": messages(mine[0]["request"]["messages"]) if mine else None,
                    "gen_ai.output.messages": [
                        {"role": "assistant", "parts": [{"type": "text", "content": trial["output"]}]}
                    ]
                    if last and trial["output"]
                    else None,
                    "bakeoff.harness.error_type": crash["error_type"],
                    "bakeoff.harness.error_message": crash["error_message"],
                },
            ),
        )

        def at(seconds: float, begun: datetime = begun, end: datetime = moment["finished_at"]) -> datetime:
            return min(begun + timedelta(seconds=seconds), end)

        ended: dict[int, datetime] = {}
        for position, call in enumerate(mine):
            answer = messages([call["response"]])[0] if call["response"] else None
            error = call["error"] or {}
            ended[call["index"]] = at(call["started"] + call["queued_seconds"] + call["seconds"])
            found[span_id(number, "model", position)] = Expected(
                f"chat {trial['model']}",
                "CLIENT",
                trace,
                span_id(number, "agent"),
                at(call["started"]),
                ended[call["index"]],
                "ERROR" if error else "UNSET",
                error.get("kind", ""),
                shown(
                    agent
                    | {
                        "gen_ai.operation.name": "chat",
                        "gen_ai.response.finish_reasons": [call["finish_reason"]]
                        if call["finish_reason"]
                        else None,
                        "gen_ai.usage.input_tokens": call["input_tokens"],
                        "gen_ai.usage.output_tokens": call["output_tokens"],
                        "gen_ai.usage.cache_read.input_tokens": call["cached_tokens"],
                        "gen_ai.usage.reasoning.output_tokens": call["reasoning_tokens"],
                        "error.type": error.get("kind"),
                        "http.response.status_code": call["status"],
                        "bakeoff.model_call": call["index"],
                        "bakeoff.seconds.model": call["seconds"],
                        "bakeoff.seconds.queued": call["queued_seconds"],
                        "bakeoff.tries": call["attempts"],
                        "bakeoff.cost_usd": call["cost_usd"],
                    },
                    {
                        "gen_ai.input.messages": messages(call["request"]["messages"]),
                        "gen_ai.output.messages": [answer | {"finish_reason": call["finish_reason"]}]
                        if answer
                        else None,
                        "gen_ai.tool.definitions": [
                            {"type": "function", **tool["function"]} for tool in call["request"]["tools"]
                        ],
                        "bakeoff.error.message": error.get("message"),
                    },
                ),
            )
        offered = {tool["function"]["name"] for call in mine for tool in call["request"]["tools"]}
        asked = (
            [(step, call) for step in trajectory["steps"] for call in step.get("tool_calls", [])]
            if last
            else []
        )
        for position, (step, call) in enumerate(asked):
            extra = call.get("extra") or {}
            results = {
                each["source_call_id"]: each for each in (step.get("observation") or {}).get("results", [])
            }
            result = results.get(call["tool_call_id"], {})
            error_text = extra.get("error") or (result.get("extra") or {}).get("error")
            name = call["function_name"] if call["function_name"] in offered else "_OTHER"
            kind = None
            if name == "_OTHER":
                kind = "unknown_tool"
            elif extra.get("raw_arguments") is not None:
                kind = "invalid_arguments"
            elif error_text:
                assert error_text.startswith("ValidationError: "), error_text
                kind = "ValidationError"
            ran = "started" in extra
            start = (
                at(extra["started"]) if ran else ended.get(step["extra"]["model_call"], moment["finished_at"])
            )
            seconds = extra.get("seconds")
            found[span_id(number, "tool", position)] = Expected(
                f"execute_tool {name}",
                "INTERNAL",
                trace,
                span_id(number, "agent"),
                start,
                (moment["finished_at"] if seconds is None else at(extra["started"] + seconds))
                if ran
                else start,
                "ERROR" if kind else "UNSET",
                kind or "",
                shown(
                    {
                        "gen_ai.operation.name": "execute_tool",
                        "gen_ai.tool.name": name,
                        "gen_ai.tool.type": "function",
                        "gen_ai.agent.name": manifest["config"]["name"],
                        "error.type": kind,
                        "bakeoff.tool.position": position,
                        "bakeoff.tool.executed": ran,
                        "bakeoff.tool.timed_out": False,
                        "bakeoff.model_call": step["extra"]["model_call"],
                    },
                    {
                        "gen_ai.tool.call.id": call["tool_call_id"],
                        "gen_ai.tool.call.arguments": extra.get("raw_arguments", call["arguments"]),
                        "gen_ai.tool.call.result": result.get("content"),
                        "bakeoff.tool.name_asked_for": None if name != "_OTHER" else call["function_name"],
                        "bakeoff.error.message": error_text,
                    },
                ),
            )
    return found


def times(trial: Json, attempt: Json, *, last: bool) -> Json:
    """Of an attempt; what an older version did not record is that of its trial."""
    started = datetime.fromisoformat(attempt["started_at"] or trial["started_at"])
    finished = attempt["finished_at"] or trial["finished_at" if last else "started_at"]
    agent = attempt["agent_started_at"]
    startup = attempt["evidence"]["harness"]["startup_seconds"]
    if agent is not None:
        agent = datetime.fromisoformat(agent)
    elif startup is not None:
        agent = started + timedelta(seconds=startup)
    return {"started_at": started, "finished_at": datetime.fromisoformat(finished), "agent_started_at": agent}


def fact(key: str, value: Any) -> bool:
    """Evidence that is a number, a flag, or one of bakeoff's own words."""
    own = ("source", "reached", "failed_step", "error_kind", "kind", "container_id")
    return isinstance(value, bool | int | float) or (isinstance(value, str) and key.rpartition(".")[2] in own)
