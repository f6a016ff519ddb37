"""One trial as OpenTelemetry spans: what is named how, and what is left out. Pure; nothing here talks to anybody.

    trial {candidate}                   the trial's trace; its verdict is this span's status
    └── attempt                         one a container
        └── invoke_agent {harness}      the span whose id the harness was handed as `traceparent`: its own are below
            ├── chat {model}            one a model call, queue and retries included
            └── execute_tool {tool}     one a tool call; of the last attempt, whose trajectory is kept

Names and attributes follow the GenAI semantic conventions where they have one, else they begin with `bakeoff.`:
https://github.com/open-telemetry/semantic-conventions-genai. The constants of `opentelemetry.semconv` are deprecated
since the conventions moved there, so the names stand here.

Without `content` nothing that a prompt, a model, a tool or a program wrote is in any name, attribute or status: only
numbers, flags, and words that bakeoff, harness.yaml or the dataset's ids chose. A tool's name that was not offered is
the model's invention, and so output too.
"""

from __future__ import annotations

import builtins
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from bakeoff.gateway.models import providers
from bakeoff.publish.otlp import harness_spans
from bakeoff.publish.otlp.harness_spans import OwnEvent
from bakeoff.publish.source import Source
from bakeoff.record import trace_ids
from bakeoff.record.base import JsonDict, VerdictName
from bakeoff.record.evidence import Evidence
from bakeoff.record.timeline import AttemptEvent, ModelCallEvent, Timeline, ToolCallEvent
from bakeoff.record.trial import ResourceLimits
from bakeoff.text.redact import masked

Status = Literal["unset", "ok", "error"]
Attributes = dict[str, Any]

# Each verdict has a status of its own. A wrong answer is no error of the operation that gave it: were it one, the error
# rate that every back end computes would add the model's failures to the infrastructure's, which bakeoff keeps apart.
STATUS: Mapping[VerdictName, Status] = {"passed": "ok", "failed": "unset", "infra_error": "error"}

OTHER = "_OTHER"  # the conventions' word for what has no low-cardinality name

# bakeoff's name of a provider -> the conventions' well-known value; others keep their own
PROVIDERS = {
    "bedrock_converse": "aws.bedrock",
    "azure_openai": "azure.ai.openai",
    "google_genai": "gcp.gemini",
    "mistralai": "mistral_ai",
    "xai": "x_ai",
}

# what a harness asks of a model, as far as it is a number
PARAMS = {
    "temperature": float,
    "top_p": float,
    "frequency_penalty": float,
    "presence_penalty": float,
    "top_k": int,
    "max_tokens": int,
    "seed": int,
}

# Of an attempt's evidence, every number and flag is published, and those texts that come from a list of bakeoff's own.
EVIDENCE_WORDS = {"source", "reached", "failed_step", "error_kind", "kind", "container_id"}

# Error types that tools of any harness may raise. Another name could be made up by the program.
TOOL_ERRORS = {
    name
    for name, kind in vars(builtins).items()
    if isinstance(kind, type) and issubclass(kind, BaseException)
} | {
    "ValidationError",
    "ToolException",
    "ToolTimeout",
    "JSONDecodeError",
    "CancelledError",
    "CalledProcessError",
}

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
INT64 = 2**63


@dataclass(frozen=True, slots=True)
class SpanData:
    """One span, before any SDK saw it."""

    name: str
    kind: Literal["internal", "server", "client", "producer", "consumer"]
    trace_id: str  # 32 hexadecimal digits
    span_id: str  # 16
    parent_id: str | None
    start: int  # nanoseconds since 1970
    end: int
    attributes: Attributes
    content: Attributes = field(default_factory=dict)  # more attributes: prompts, outputs, arguments, results
    status: Status = "unset"
    description: str | None = None  # of an error; without content a code of bakeoff's own
    events: Sequence[OwnEvent] = ()  # of the harness's own spans


class Tracing:
    """How trials of one run become spans.

    Args:
        source: the run.
        content: prompts, outputs, arguments and results too, and the harness's own spans, in which they may be.
        secrets: values that are masked in these, in case one is in them.

    Attributes:
        own_left_out: attempts whose harness made spans of its own that are left out, for want of `content`.
        own_refused: the harness's own spans that are none of the trial's trace, or cannot be read.
    """

    def __init__(self, source: Source, *, content: bool, secrets: tuple[str, ...] = ()) -> None:
        self.source, self.content, self.secrets = source, content, secrets
        self.own_left_out = self.own_refused = 0
        self.run_id = source.run_id
        self.harness = str(source.manifest.config.get("name") or "harness")
        self._models = {row["name"]: _model(source, row) for row in source.manifest.candidates}

    def spans(self, events: Timeline) -> Iterator[SpanData]:
        """The trial's spans, parents first."""
        trial = events.trial
        yield self._span(
            events,
            (),
            None,
            f"trial {trial.candidate}",
            events.started_at,
            events.finished_at,
            self._trial(events),
            {"bakeoff.output": trial.output},
            status=STATUS[trial.verdict],
            description=trial.cause if trial.verdict == "infra_error" else None,
        )
        offered = {
            str((tool.get("function") or {}).get("name") or tool.get("name") or "")
            for attempt in events.attempts
            for call in attempt.model_calls
            for tool in call.tools
        }
        known = {self._id(events)}
        for attempt in events.attempts:
            for span in self._attempt(events, attempt, offered):
                known.add(span.span_id)
                yield span
        for attempt in events.attempts:
            yield from self._own(events, attempt, known)

    def _attempt(self, events: Timeline, event: AttemptEvent, offered: set[str]) -> Iterator[SpanData]:
        record, number = event.record, event.number
        failed = record.verdict == "infra_error"
        status: dict[str, Any] = {
            "status": STATUS[record.verdict],
            "description": record.cause if failed else None,
        }
        verdict = {"bakeoff.verdict": record.verdict, "bakeoff.cause": record.cause}
        verdict |= {"error.type": record.cause} if failed else {}
        yield self._span(
            events,
            (number,),
            (),
            "attempt",
            event.started_at,
            event.finished_at,
            {"openinference.span.kind": "CHAIN", "bakeoff.attempt": number}
            | verdict
            | {f"bakeoff.evidence.{key}": value for key, value in evidence(record.evidence)},
            {"bakeoff.because": record.because},
            **status,
        )
        parent: tuple[str | int, ...] = (number,)
        if event.agent_started_at is not None:
            parent = (number, "agent")
            yield self._agent(events, event, failed=failed)
        for position, call in enumerate(event.model_calls):
            yield self._model_call(events, call, (number, "model", position), parent)
        asked_at = {call.index: call.finished_at for call in event.model_calls}
        for position, tool in enumerate(event.tool_calls):
            known = tool.name in offered
            # a call that never ran has no time of its own: it stands where it was asked for
            moment = asked_at.get(-1 if tool.model_call is None else tool.model_call, event.finished_at)
            yield self._tool_call(events, tool, (number, "tool", position), parent, moment, known=known)

    def _trial(self, events: Timeline) -> Attributes:
        trial, manifest = events.trial, self.source.manifest
        given: Attributes = {
            "openinference.span.kind": "CHAIN",
            "bakeoff.run_id": self.run_id,
            "bakeoff.trial_id": trial.trial_id,
            "bakeoff.candidate": trial.candidate,
            "bakeoff.model": trial.model,
            "bakeoff.simulated": bool(self.source.model_of(trial.candidate).get("simulated")),
            "bakeoff.example_id": trial.example_id,
            "bakeoff.repetition": trial.repetition,
            "bakeoff.fingerprint": manifest.fingerprint,
            "bakeoff.image.id": manifest.image.get("id"),
            "bakeoff.inconclusive": self.source.report.inconclusive,
            "bakeoff.verdict": trial.verdict,
            "bakeoff.cause": trial.cause,
            "bakeoff.attempts": len(trial.attempts),
            "bakeoff.resource_bound": trial.resource_bound or None,
        }
        if trial.verdict == "infra_error":
            given["error.type"] = trial.cause
        given |= {f"bakeoff.scores.{name}": score for name, score in trial.scores.items()}
        given |= {f"bakeoff.usage.{name}": value for name, value in trial.usage}
        given |= {f"bakeoff.tools.{name}": value for name, value in trial.tools or ()}
        given |= {f"bakeoff.seconds.{name}": value for name, value in trial.seconds}
        for part, limits in trial.resources:
            given |= {f"bakeoff.resources.{part}.{name}": value for name, value in limits}
        return given

    def _agent(self, events: Timeline, event: AttemptEvent, *, failed: bool) -> SpanData:
        assert event.agent_started_at is not None
        record, (provider, model) = event.record, self._models[events.trial.candidate]
        last = event.number == len(events.attempts)
        first = next(iter(event.model_calls), None)
        said = [{"role": "assistant", "content": events.trial.output}] if last and events.trial.output else []
        return self._span(
            events,
            (event.number, "agent"),
            (event.number,),
            f"invoke_agent {self.harness}",
            event.agent_started_at,
            event.finished_at,
            {
                "gen_ai.operation.name": "invoke_agent",
                "gen_ai.provider.name": provider,
                "gen_ai.request.model": model,
                "gen_ai.agent.name": self.harness,
                "gen_ai.agent.version": self.source.manifest.image.get("key"),
                "error.type": record.cause if failed else None,
            },
            {
                "gen_ai.input.messages": _messages(first.messages) if first else None,
                "gen_ai.output.messages": _messages(said) if said else None,
                "bakeoff.harness.error_type": record.evidence.harness.error_type,
                "bakeoff.harness.error_message": record.evidence.harness.error_message,
            },
            status="error" if failed else "unset",
            description=record.cause if failed else None,
        )

    def _model_call(
        self,
        events: Timeline,
        call: ModelCallEvent,
        path: tuple[str | int, ...],
        parent: tuple[str | int, ...],
    ) -> SpanData:
        provider, model = self._models[events.trial.candidate]
        failed = call.error_kind is not None
        given: Attributes = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": provider,
            "gen_ai.request.model": model,
            "gen_ai.agent.name": self.harness,
            "gen_ai.request.stream": True if call.first_token_seconds is not None else None,
            "gen_ai.response.finish_reasons": [call.finish_reason[:100]] if call.finish_reason else None,
            "gen_ai.response.time_to_first_chunk": call.first_token_seconds,
            "gen_ai.usage.input_tokens": call.input_tokens,
            "gen_ai.usage.output_tokens": call.output_tokens,
            "gen_ai.usage.cache_read.input_tokens": call.cached_tokens,
            "gen_ai.usage.reasoning.output_tokens": call.reasoning_tokens,
            "error.type": call.error_kind,
            "http.response.status_code": call.status,
            "bakeoff.model_call": call.index,
            "bakeoff.seconds.model": call.seconds,
            "bakeoff.seconds.queued": call.queued_seconds,
            "bakeoff.tries": call.tries,
            "bakeoff.cost_usd": call.cost_usd,
        }
        for name, kind in PARAMS.items():
            value = call.params.get(name)
            if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
                given[f"gen_ai.request.{name}"] = kind(value)
        answer = _messages([call.answer])[0] if call.answer else None
        return self._span(
            events,
            path,
            parent,
            f"chat {model}",
            call.started_at,
            call.finished_at,
            given,
            {
                "gen_ai.input.messages": _messages(call.messages),
                "gen_ai.output.messages": [answer | {"finish_reason": call.finish_reason or ""}]
                if answer
                else None,
                "gen_ai.tool.definitions": [_definition(tool) for tool in call.tools] or None,
                "bakeoff.error.message": call.error,
            },
            kind="client",
            status="error" if failed else "unset",
            description=call.error_kind,
        )

    def _tool_call(
        self,
        events: Timeline,
        call: ToolCallEvent,
        path: tuple[str | int, ...],
        parent: tuple[str | int, ...],
        asked_at: datetime,
        *,
        known: bool,
    ) -> SpanData:
        kind = tool_error_type(call, known=known)
        arguments = call.raw_arguments if call.raw_arguments is not None else call.arguments
        return self._span(
            events,
            path,
            parent,
            f"execute_tool {call.name if known else OTHER}",
            call.started_at or asked_at,
            call.finished_at or call.started_at or asked_at,
            {
                "gen_ai.operation.name": "execute_tool",
                "gen_ai.tool.name": call.name if known else OTHER,
                "gen_ai.tool.type": "function",
                "gen_ai.agent.name": self.harness,
                "error.type": kind,
                "bakeoff.tool.position": path[-1],
                "bakeoff.tool.executed": call.started_at is not None,
                "bakeoff.tool.timed_out": call.timed_out,
                "bakeoff.model_call": call.model_call,
            },
            {
                # ids and made-up names too are the model's own words
                "gen_ai.tool.call.id": call.call_id,
                "gen_ai.tool.call.arguments": arguments,
                "gen_ai.tool.call.result": call.result,
                "bakeoff.tool.name_asked_for": None if known else call.name,
                "bakeoff.error.message": call.error,
            },
            status="error" if kind else "unset",
            description=kind,
        )

    def _own(self, events: Timeline, event: AttemptEvent, known: set[str]) -> Iterator[SpanData]:
        """What the harness traced itself in one attempt."""
        exports = self.source.run.spans(events.trial.trial_id, event.number)
        if not self.content:
            self.own_left_out += next(exports, None) is not None
            return
        trace = trace_ids.trace_id(self.run_id, events.trial.trial_id)
        agent = trace_ids.agent_span_id(self.run_id, events.trial.trial_id, event.number)
        for span in harness_spans.read(exports, trace, agent, known):
            if span is None:
                self.own_refused += 1
                continue
            yield SpanData(
                name=sound(masked(span.name, self.secrets)),
                kind=span.kind,
                trace_id=trace,
                span_id=span.span_id,
                parent_id=span.parent_id,
                start=span.start,
                end=span.end,
                attributes={"bakeoff.own": True},
                content=_plain(masked(span.attributes, self.secrets)),
                status=span.status,
                description=sound(masked(span.description, self.secrets)) or None,
                events=[
                    replace(
                        each,
                        name=sound(masked(each.name, self.secrets)),
                        attributes=_plain(masked(each.attributes, self.secrets)),
                    )
                    for each in span.events
                ],
            )

    def _id(self, events: Timeline, *path: str | int) -> str:
        return trace_ids.span_id(self.run_id, events.trial.trial_id, *path)

    def _span(
        self,
        events: Timeline,
        path: tuple[str | int, ...],
        parent: tuple[str | int, ...] | None,
        name: str,
        start: datetime,
        end: datetime,
        attributes: Attributes,
        content: Attributes,
        *,
        kind: Literal["internal", "client"] = "internal",
        status: Status = "unset",
        description: str | None = None,
    ) -> SpanData:
        begun = nanoseconds(start)
        return SpanData(
            name=sound(name),
            kind=kind,
            trace_id=trace_ids.trace_id(self.run_id, events.trial.trial_id),
            span_id=self._id(events, *path),
            parent_id=None if parent is None else self._id(events, *parent),
            start=begun,
            end=max(begun, nanoseconds(end)),
            attributes=_plain(attributes),
            content=_plain(masked(_jsons(content), self.secrets)) if self.content else {},
            status=status,
            description=description,
        )


def resource(source: Source, candidate: str, effective: Sequence[tuple[ResourceLimits, int]]) -> Attributes:
    """What is one for all trials of a candidate: run, model, the box as asked for and as it was, and what was used.

    Args:
        source: the run.
        candidate: its name.
        effective: the limits that were read back in its trials, with how many trials had them, most frequent first.
    """
    manifest, row = source.manifest, source.model_of(candidate)
    numbers = next(each for each in source.candidates if each.name == candidate)
    image, host = manifest.image, manifest.host
    base = image.get("base") or {}
    name = str(manifest.config.get("name") or "harness")
    given: Attributes = {
        "service.name": name,
        "service.instance.id": f"{source.run_id}/{candidate}",  # else the SDK makes up another one each time
        "host.arch": {"x86_64": "amd64", "aarch64": "arm64"}.get(str(host.get("architecture"))),
        "host.cpu.model.name": host.get("cpu_model"),
        "os.description": host.get("os"),
        "container.image.id": image.get("id"),
        "container.image.name": image.get("reference"),
        "container.runtime.name": host.get("runtime"),
        "bakeoff.run_id": source.run_id,
        "bakeoff.version": manifest.bakeoff_version,
        "bakeoff.harness": name,
        "bakeoff.candidate": candidate,
        "bakeoff.model": row.get("model"),
        "bakeoff.params": json.dumps(row.get("params") or {}, sort_keys=True),
        "bakeoff.simulated": bool(row.get("simulated")),
        "bakeoff.inconclusive": source.report.inconclusive,
        "bakeoff.fingerprint": manifest.fingerprint,
        "bakeoff.dataset.digest": manifest.dataset.get("digest"),
        "bakeoff.image.key": image.get("key"),
        "bakeoff.image.python": image.get("python"),
        "bakeoff.image.base.reference": base.get("reference"),
        "bakeoff.image.base.digest": base.get("digest"),
        "bakeoff.image.base.kind": base.get("kind"),
        "bakeoff.host.cores": host.get("cores"),
        "bakeoff.host.memory_bytes": host.get("memory_bytes"),
        "bakeoff.host.kernel": host.get("kernel"),
        "bakeoff.host.cgroup_version": host.get("cgroup_version"),
        "bakeoff.host.docker_version": host.get("docker_version"),
        "bakeoff.host.storage_driver": host.get("storage_driver"),
        "bakeoff.max_concurrency": manifest.max_concurrency,
        "bakeoff.resources.observed.oom_kills": numbers.oom_kills,
        "bakeoff.resources.effective.distinct": len(effective),
    }
    given |= {f"bakeoff.resources.requested.{key}": value for key, value in manifest.resources}
    if effective:
        given |= {f"bakeoff.resources.effective.{key}": value for key, value in effective[0][0]}
    for key in ("memory_peak_bytes", "cpu_seconds", "throttled_seconds", "pids_peak", "disk_bytes"):
        spread = getattr(numbers, key)
        if spread is not None:
            for figure in ("mean", "p50", "p95", "max"):
                given[f"bakeoff.resources.observed.{key}.{figure}"] = float(getattr(spread, figure))
    return _plain(given)


def evidence(facts: Evidence) -> Iterator[tuple[str, Any]]:
    """Every number and flag of an attempt's evidence by its dotted name, and the words that are bakeoff's own."""

    def walk(value: Any, way: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
        if isinstance(value, dict):
            for key, one in value.items():
                yield from walk(one, (*way, key))
        elif _told(value, way[-1]):
            yield ".".join(way), value

    return walk(facts.model_dump(mode="json"), ())


def _told(value: Any, key: str) -> bool:
    """Whether a fact says nothing that somebody else wrote."""
    if isinstance(value, list):
        return bool(value) and all(isinstance(one, int) for one in value)
    return isinstance(value, bool | int | float) or (isinstance(value, str) and key in EVIDENCE_WORDS)


def tool_error_type(call: ToolCallEvent, *, known: bool) -> str | None:
    """The class of error of a tool call, from a closed list; None of one that went well."""
    if call.timed_out:
        return "timeout"
    if not known:
        return "unknown_tool"
    if call.raw_arguments is not None:
        return "invalid_arguments"
    if call.error is None:
        return None
    kind = call.error.partition(":")[0]
    return kind if kind in TOOL_ERRORS else OTHER


def nanoseconds(moment: datetime) -> int:
    """Nanoseconds since 1970, exact to the microsecond that a datetime has."""
    return (moment - EPOCH) // timedelta(microseconds=1) * 1000


def sound(text: str) -> str:
    """Text that every back end can take: UTF-8 has no lone surrogates, and databases refuse NUL."""
    return text.encode(errors="replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")


def _model(source: Source, row: JsonDict) -> tuple[str, str]:
    """The conventions' names of the provider and of the model."""
    configured = source.manifest.config.get("candidates") or []
    base_url = next((each.get("base_url") for each in configured if each.get("name") == row["name"]), None)
    provider, model = providers.split(row["model"], base_url)
    if (
        provider not in providers.PROVIDERS
    ):  # simulated, local, replay: what follows the colon is no model's name
        return provider or "unknown", row["model"]
    return PROVIDERS.get(provider, provider), model


def _messages(messages: Sequence[JsonDict]) -> list[JsonDict]:
    """OpenAI-style messages as the conventions have them: a role and parts."""
    out = []
    for message in messages:
        parts: list[JsonDict] = []
        if message["role"] == "tool":
            parts.append(
                {
                    "type": "tool_call_response",
                    "id": message.get("tool_call_id") or "",
                    "response": message.get("content") or "",
                }
            )
        elif message.get("content"):
            parts.append({"type": "text", "content": message["content"]})
        for call in message.get("tool_calls") or ():
            function = call.get("function") or {}
            parts.append(
                {
                    "type": "tool_call",
                    "id": call.get("id") or "",
                    "name": function.get("name") or "",
                    "arguments": _parsed(function.get("arguments") or ""),
                }
            )
        out.append({"role": message["role"], "parts": parts})
    return out


def _parsed(arguments: str) -> Any:
    try:
        return json.loads(arguments)
    except ValueError:
        return arguments


def _definition(tool: JsonDict) -> JsonDict:
    """An OpenAI-style tool as the conventions have it."""
    function = tool.get("function") or tool
    return {
        "type": "function",
        "name": function.get("name") or "",
        "description": function.get("description") or "",
        "parameters": function.get("parameters") or {},
    }


def _jsons(content: Attributes) -> Attributes:
    """Structured content as JSON: few back ends take attributes that are not flat, and the conventions allow it."""
    return {
        key: value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for key, value in content.items()
    }


def _plain(attributes: Attributes) -> Attributes:
    """Without what is not known, and only with values that OTLP has."""
    return {sound(key): _value(value) for key, value in attributes.items() if value is not None}


def _value(value: Any) -> Any:
    if isinstance(value, str):
        return sound(value)
    if isinstance(value, list | tuple):
        return [_value(one) for one in value]
    if isinstance(value, int) and not isinstance(value, bool) and not -INT64 <= value < INT64:
        return str(value)
    return value
