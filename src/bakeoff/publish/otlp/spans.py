"""One trial as OpenTelemetry spans: what is named how, and what is left out.

    trial {experiment}                  the trial's trace; its verdict is this span's status
    └── attempt                         one per container
        └── invoke_agent {harness}      the harness got this span's id as `traceparent`: its own spans are below
            ├── chat {model}            one per model call, with its queue and retries
            └── execute_tool {tool}     one per tool call of the last attempt, the only one whose trajectory is kept

Names and attributes follow the GenAI semantic conventions where they have one, else they begin with `bakeoff.`:
https://github.com/open-telemetry/semantic-conventions-genai

Without `content` nothing that a prompt, a model, a tool or a program wrote is in any name, attribute or status: only
numbers, flags, and words of bakeoff, harness.yaml or the dataset's ids. A tool's name that the harness did not offer is
the model's invention, and so content too.
"""

from __future__ import annotations

import builtins
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from bakeoff.config.model_ref import ModelRef
from bakeoff.publish.otlp import harness_spans
from bakeoff.publish.otlp.values import Attributes, nanoseconds, pairs
from bakeoff.publish.source import Source
from bakeoff.record import trace_ids
from bakeoff.record.base import JsonDict, VerdictName
from bakeoff.record.evidence import Evidence
from bakeoff.record.timeline import AttemptEvent, ModelCallEvent, Timeline, ToolCallEvent
from bakeoff.record.trial import DEFAULT_PROFILE
from bakeoff.text import escape
from bakeoff.text.redact import masked

# A gRPC server takes 4 MiB in one request unless it is configured otherwise.
MAX_SPAN_BYTES = 3 * 2**20

# Each verdict has a status of its own. A wrong answer is not an error of the operation that gave it: if it were, the
# error rate that every back end computes would add the model's failures to the infrastructure's.
STATUS: Mapping[VerdictName, Status.StatusCode.ValueType] = {
    "passed": Status.STATUS_CODE_OK,
    "failed": Status.STATUS_CODE_UNSET,
    "infra_error": Status.STATUS_CODE_ERROR,
}

OTHER = "_OTHER"  # the conventions' word for what has no name of low cardinality

# bakeoff's name of a provider -> the conventions' well-known value; others keep theirs
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

# Of an attempt's evidence, every number and flag is published, and texts that are always words of bakeoff's.
EVIDENCE_WORDS = {"source", "reached", "failed_step", "error_kind", "kind", "container_id"}

# Error types that tools of any harness may raise. A program could make up any other name.
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

Path = tuple[str | int, ...]


@dataclass
class Tracing:
    """Makes spans of a run's trials.

    Attributes:
        source: the run.
        content: whether prompts, outputs, arguments and results are sent, and the harness's own spans, which may hold
            them.
        secrets: values that are masked in all of these.
        shortened: spans so far that went without their content, since they would not fit into a request.
        left_out: attempts so far whose harness made spans of its own that `content` would send.
        refused: the harness's own spans so far that belong to another trace or cannot be read.
    """

    source: Source
    content: bool
    secrets: tuple[str, ...] = ()
    shortened: int = 0
    left_out: int = 0
    refused: int = 0
    models: Mapping[str, tuple[str, str]] = field(init=False)
    harness: str = field(init=False)

    def __post_init__(self) -> None:
        self.harness = self.source.harness
        self.models = {
            name: _model(ModelRef(row.model)) for name, row in self.source.manifest.experiments.items()
        }

    def spans(self, events: Timeline) -> Iterator[Span]:
        """The trial's spans, parents first."""
        trace = _Trace(self, events)
        taken: set[bytes] = set()
        for span in trace.spans():
            taken.add(span.span_id)
            yield span
        for attempt in events.attempts:
            yield from self._harness_spans(trace, attempt, taken)

    def _harness_spans(self, trace: _Trace, event: AttemptEvent, taken: set[bytes]) -> Iterator[Span]:
        """What the harness itself traced in one attempt."""
        exports = self.source.run.spans(trace.trial.trial_id, event.number)
        if not self.content:
            self.left_out += next(exports, None) is not None
            return
        agent = trace.id(event.number, "agent")
        for span in harness_spans.read(exports, trace.trace_id, agent, taken, self.secrets):
            if span is None or span.ByteSize() > MAX_SPAN_BYTES:
                self.refused += 1
            else:
                yield span


class _Trace:
    """One trial's spans."""

    def __init__(self, tracing: Tracing, events: Timeline) -> None:
        self.tracing, self.source, self.events, self.trial = tracing, tracing.source, events, events.trial
        self.trace_id = bytes.fromhex(trace_ids.trace_id(self.source.run_id, self.trial.trial_id))
        self.offered = {
            str((tool.get("function") or {}).get("name") or tool.get("name") or "")
            for attempt in events.attempts
            for call in attempt.model_calls
            for tool in call.tools
        }
        provider, self.model = tracing.models[self.trial.experiment]
        self.common: Attributes = {
            "gen_ai.provider.name": provider,
            "gen_ai.request.model": self.model,
            "gen_ai.agent.name": tracing.harness,
        }

    def id(self, *path: str | int) -> bytes:
        return bytes.fromhex(trace_ids.span_id(self.source.run_id, self.trial.trial_id, *path))

    def spans(self) -> Iterator[Span]:
        yield self._root()
        for attempt in self.events.attempts:
            yield self._attempt(attempt)
            parent: Path = (attempt.number,)
            if attempt.agent_started_at is not None:
                parent = (attempt.number, "agent")
                yield self._agent(attempt, attempt.agent_started_at)
            for position, call in enumerate(attempt.model_calls):
                yield self._model_call(call, (attempt.number, "model", position), parent)
            ends = {call.index: call.finished_at for call in attempt.model_calls}
            for position, tool in enumerate(attempt.tool_calls):
                # a call that never ran has no time: it is where it was asked for
                asked = ends.get(-1 if tool.model_call is None else tool.model_call, attempt.finished_at)
                yield self._tool_call(tool, (attempt.number, "tool", position), parent, asked)

    def _root(self) -> Span:
        trial, manifest = self.trial, self.source.manifest
        attributes: JsonDict = {
            "openinference.span.kind": "CHAIN",
            "bakeoff.run_id": self.source.run_id,
            "bakeoff.trial_id": trial.trial_id,
            "bakeoff.candidate": trial.candidate,
            "bakeoff.profile": None if trial.profile == DEFAULT_PROFILE else trial.profile,
            "bakeoff.model": trial.model,
            "bakeoff.simulated": self.source.manifest.candidate(trial.experiment).simulated,
            "bakeoff.example_id": trial.example_id,
            "bakeoff.repetition": trial.repetition,
            "bakeoff.fingerprint": manifest.fingerprint,
            "bakeoff.image.id": manifest.image.id,
            "bakeoff.inconclusive": self.source.report.inconclusive,
            "bakeoff.verdict": trial.verdict,
            "bakeoff.cause": trial.cause,
            "bakeoff.attempts": len(trial.attempts),
            "bakeoff.resource_bound": trial.resource_bound or None,
        }
        attributes |= {f"bakeoff.scores.{name}": score for name, score in trial.scores.items()}
        attributes |= {f"bakeoff.usage.{name}": value for name, value in trial.usage}
        attributes |= {f"bakeoff.tools.{name}": value for name, value in trial.tools or ()}
        attributes |= {f"bakeoff.seconds.{name}": value for name, value in trial.seconds}
        for part, limits in trial.resources:
            attributes |= {f"bakeoff.resources.{part}.{name}": value for name, value in limits}
        return self._span(
            (),
            f"trial {trial.experiment}",
            (self.events.started_at, self.events.finished_at),
            attributes,
            {"bakeoff.output": trial.output},
            verdict=trial.verdict,
            error=_infra(trial.verdict, trial.cause),
        )

    def _attempt(self, event: AttemptEvent) -> Span:
        record = event.record
        return self._span(
            (event.number,),
            "attempt",
            (event.started_at, event.finished_at),
            {
                "openinference.span.kind": "CHAIN",
                "bakeoff.attempt": event.number,
                "bakeoff.verdict": record.verdict,
                "bakeoff.cause": record.cause,
                **{f"bakeoff.evidence.{key}": value for key, value in facts(record.evidence)},
            },
            {"bakeoff.because": record.because},
            parent=(),
            verdict=record.verdict,
            error=_infra(record.verdict, record.cause),
        )

    def _agent(self, event: AttemptEvent, began: datetime) -> Span:
        harness = event.record.evidence.harness
        answer = self.trial.output if event.number == len(self.events.attempts) else ""
        first = next(iter(event.model_calls), None)
        return self._span(
            (event.number, "agent"),
            f"invoke_agent {self.tracing.harness}",
            (began, event.finished_at),
            {
                "gen_ai.operation.name": "invoke_agent",
                **self.common,
                "gen_ai.agent.version": self.source.manifest.image.key,
            },
            {
                "gen_ai.input.messages": messages(first.messages) if first else None,
                "gen_ai.output.messages": messages([{"role": "assistant", "content": answer}])
                if answer
                else None,
                "bakeoff.harness.error_type": harness.error_type,
                "bakeoff.harness.error_message": harness.error_message,
            },
            parent=(event.number,),
            error=_infra(event.record.verdict, event.record.cause),
        )

    def _model_call(self, call: ModelCallEvent, path: Path, parent: Path) -> Span:
        answer = (
            messages([call.answer])[0] | {"finish_reason": call.finish_reason or ""} if call.answer else None
        )
        return self._span(
            path,
            f"chat {self.model}",
            (call.started_at, call.finished_at),
            {
                "gen_ai.operation.name": "chat",
                **self.common,
                "gen_ai.request.stream": True if call.first_token_seconds is not None else None,
                **dict(_asked_for(call.params)),
                "gen_ai.response.finish_reasons": [call.finish_reason] if call.finish_reason else None,
                "gen_ai.response.time_to_first_chunk": call.first_token_seconds,
                "gen_ai.usage.input_tokens": call.input_tokens,
                "gen_ai.usage.output_tokens": call.output_tokens,
                "gen_ai.usage.cache_read.input_tokens": call.cached_tokens,
                "gen_ai.usage.reasoning.output_tokens": call.reasoning_tokens,
                "http.response.status_code": call.status,
                "bakeoff.model_call": call.index,
                "bakeoff.seconds.model": call.seconds,
                "bakeoff.seconds.queued": call.queued_seconds,
                "bakeoff.tries": call.tries,
                "bakeoff.cost_usd": call.cost_usd,
            },
            {
                "gen_ai.input.messages": messages(call.messages),
                "gen_ai.output.messages": [answer] if answer else None,
                "gen_ai.tool.definitions": [_definition(tool) for tool in call.tools] or None,
                "bakeoff.error.message": call.error,
            },
            parent=parent,
            error=call.error_kind,
        )

    def _tool_call(self, call: ToolCallEvent, path: Path, parent: Path, asked_at: datetime) -> Span:
        known = call.name in self.offered
        name = call.name if known else OTHER
        start = call.started_at or asked_at
        return self._span(
            path,
            f"execute_tool {name}",
            (start, call.finished_at or start),
            {
                "gen_ai.operation.name": "execute_tool",
                "gen_ai.tool.name": name,
                "gen_ai.tool.type": "function",
                "gen_ai.agent.name": self.tracing.harness,
                "bakeoff.tool.position": path[-1],
                "bakeoff.tool.executed": call.started_at is not None,
                "bakeoff.tool.timed_out": call.timed_out,
                "bakeoff.model_call": call.model_call,
            },
            {
                # ids and made-up names are the model's words too
                "gen_ai.tool.call.id": call.call_id,
                "gen_ai.tool.call.arguments": call.arguments
                if call.raw_arguments is None
                else call.raw_arguments,
                "gen_ai.tool.call.result": call.result,
                "bakeoff.tool.name_asked_for": None if known else call.name,
                "bakeoff.error.message": call.error,
            },
            parent=parent,
            error=tool_error_type(call, known=known),
        )

    def _span(
        self,
        path: Path,
        name: str,
        period: tuple[datetime, datetime],
        attributes: Attributes,
        content: Attributes,
        *,
        parent: Path | None = None,
        verdict: VerdictName = "failed",
        error: str | None = None,
    ) -> Span:
        """One span. It has many parts, as a span does.

        Args:
            path: its place in the trial, of which its id is made.
            name: shown in lists, and so made visible and bounded.
            period: start and end.
            attributes: sent in any case, and so bounded.
            content: more of them: prompts, outputs, arguments, results.
            parent: its parent's path; None: the root.
            verdict: gives its status, unless there is an error.
            error: class of the error that it ended with.
        """
        start = nanoseconds(period[0])
        span = Span(
            trace_id=self.trace_id,
            span_id=self.id(*path),
            parent_span_id=b"" if parent is None else self.id(*parent),
            name=escape.line(name),
            kind=Span.SPAN_KIND_CLIENT if path[1:2] == ("model",) else Span.SPAN_KIND_INTERNAL,
            start_time_unix_nano=start,
            end_time_unix_nano=max(start, nanoseconds(period[1])),
            attributes=pairs({key: _bounded(value) for key, value in attributes.items()}),
            status=Status(
                code=Status.STATUS_CODE_ERROR if error else STATUS[verdict],
                message=escape.storable(error or ""),
            ),
        )
        span.attributes.extend(pairs({"error.type": error}))
        if not self.tracing.content:
            return span
        whole = Span()
        whole.CopyFrom(span)
        whole.attributes.extend(pairs(masked(_texts(content), self.tracing.secrets)))
        if whole.ByteSize() <= MAX_SPAN_BYTES:
            return whole
        self.tracing.shortened += 1
        span.attributes.extend(pairs({"bakeoff.content_left_out": True}))
        return span


def facts(evidence: Evidence) -> Iterator[tuple[str, Any]]:
    """Every number and flag of an attempt's evidence by its dotted name, and the words that are bakeoff's."""

    def walk(value: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
        if isinstance(value, dict):
            for key, each in value.items():
                yield from walk(each, (*path, key))
        elif _is_fact(value, path[-1]):
            yield ".".join(path), value

    return walk(evidence.model_dump(mode="json"), ())


def _is_fact(value: Any, key: str) -> bool:
    """Whether nobody but bakeoff can have written it."""
    if isinstance(value, list):
        return bool(value) and all(isinstance(each, int) for each in value)
    return isinstance(value, bool | int | float) or (isinstance(value, str) and key in EVIDENCE_WORDS)


def tool_error_type(call: ToolCallEvent, *, known: bool) -> str | None:
    """The class of a tool call's error, from a closed list; None: it went well."""
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


def messages(openai: Sequence[JsonDict]) -> list[JsonDict]:
    """OpenAI-style messages in the conventions' form: a role and parts."""
    return [{"role": message["role"], "parts": list(_parts(message))} for message in openai]


def _parts(message: JsonDict) -> Iterator[JsonDict]:
    text = message.get("content") or ""
    if message["role"] == "tool":
        yield {"type": "tool_call_response", "id": message.get("tool_call_id") or "", "response": text}
    elif text:
        yield {"type": "text", "content": text}
    for call in message.get("tool_calls") or ():
        function = call.get("function") or {}
        yield {
            "type": "tool_call",
            "id": call.get("id") or "",
            "name": function.get("name") or "",
            "arguments": _parsed(function.get("arguments") or ""),
        }


def _parsed(arguments: str) -> Any:
    try:
        return json.loads(arguments)
    except (ValueError, RecursionError):
        return arguments


def _definition(tool: JsonDict) -> JsonDict:
    """An OpenAI-style tool in the conventions' form."""
    function = tool.get("function") or tool
    return {
        "type": "function",
        "name": function.get("name") or "",
        "description": function.get("description") or "",
        "parameters": function.get("parameters") or {},
    }


def _asked_for(params: JsonDict) -> Iterator[tuple[str, float]]:
    for name, kind in PARAMS.items():
        value = params.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            yield f"gen_ai.request.{name}", kind(value)


def _infra(verdict: VerdictName, cause: str | None) -> str | None:
    return cause if verdict == "infra_error" else None


def _model(model: ModelRef) -> tuple[str, str]:
    """The conventions' names of the provider and of the model."""
    if model.own:  # what follows the colon is not the name of a model
        return model.provider, model.text
    # a bare name is an OpenAI-compatible server's
    return PROVIDERS.get(model.provider, model.provider) or "openai", model.name


def _bounded(value: Any) -> Any:
    if isinstance(value, str):
        return escape.bounded(value, escape.LIMIT)
    return [_bounded(each) for each in value] if isinstance(value, list) else value


def _texts(content: Attributes) -> JsonDict:
    """Structured content as JSON: few back ends take attributes that are not flat, and the conventions allow it."""
    return {
        key: value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for key, value in content.items()
    }
