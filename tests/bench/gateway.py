"""What the gateway adds to a model call. Prints one table; judges nothing.

    python tests/bench/gateway.py [--calls 300]

In process: `complete` of a simulated model of no latency, bare and with everything a run can have (rate limit, budget,
cassette), plus the line of calls/<trial>.jsonl. Over the loopback: the OpenAI client against a local server, called as
production calls it and through the gateway in turn, so that drift of the machine meets both; what is added is the
difference of each pair. A request has a system prompt, two tools and a conversation of eight messages.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from langchain.chat_models import init_chat_model
from langchain_core.messages import message_to_dict, messages_from_dict
from rich.console import Console
from rich.table import Table

from bakeoff import gateway
from bakeoff.config.schema import Candidate, Config, Harness, Money, Rate
from bakeoff.gateway.policy.context import RunContext
from bakeoff.gateway.policy.retry import RetryPolicy
from bakeoff.gateway.recording.call_record import call_record
from bakeoff.gateway.recording.cassette import Recorder
from bakeoff.gateway.types import CallContext, ChatBackend, ModelRequest
from bakeoff.record.trial import ModelCall
from bakeoff_runner import wire
from tests.fakes.provider_server import ProviderServer

TOOL = {
    "type": "function",
    "function": {
        "name": "get_order",
        "description": "Look up one order",
        "parameters": {"type": "object", "properties": {"order_id": {"type": "string"}}},
    },
}
REFERENCE = {"answer": "it has shipped", "trajectory": [{"name": "get_order", "args": {"order_id": "A-17"}}]}


def conversation() -> list[dict[str, Any]]:
    """Eight messages of a few hundred characters."""
    said: list[dict[str, Any]] = [{"type": "system", "data": {"content": "You help customers. " * 40}}]
    said.append(
        {"type": "human", "data": {"content": "Where is my order A-17, and what of the others? " * 5}}
    )
    for turn in range(3):
        call = {
            "name": "get_order",
            "args": {"order_id": f"A-{turn}"},
            "id": f"call_{turn}",
            "type": "tool_call",
        }
        said.append({"type": "ai", "data": {"content": "", "tool_calls": [call]}})
        result = json.dumps({"state": "shipped", "lines": ["a line of the order"] * 20})
        said.append({"type": "tool", "data": {"content": result, "tool_call_id": call["id"]}})
    return [message_to_dict(message) for message in messages_from_dict(said)]


def run(candidate: Candidate, root: Path, *, everything: bool) -> RunContext:
    """What a run's candidates share, with or without limits, money and a tape."""
    config = Config(
        name="bench",
        harness=Harness(prompt="x"),
        candidates=[candidate],
        dataset="d",
        evaluators=[],
        rate={candidate.ref.server: Rate(requests_per_minute=10**6, tokens_per_minute=10**12, concurrent=8)}
        if everything
        else {},
        budget=Money(usd=1e9) if everything else None,
    )
    environ = {"A_KEY": "sk-bench-0123456789"}
    recorder = Recorder(root / "tape", [candidate], ()) if everything else None
    return RunContext.of(config, environ, recorder=recorder)


def timed(act: Callable[[], object]) -> float:
    """Milliseconds."""
    began = time.perf_counter()
    act()
    return (time.perf_counter() - began) * 1e3


def asking(backend: ChatBackend, request: ModelRequest) -> Callable[[], object]:
    """One call of a harness: its line in, the model's line out."""
    line = wire.encode({"params": {"messages": request.messages, "tools": request.tools}})
    call = CallContext("c/e/1", "e", 1, 0, REFERENCE)

    def ask() -> bytes:
        asked = json.loads(line)["params"]
        reply = backend.complete(ModelRequest(asked["messages"], asked["tools"]), call)
        return wire.encode({"result": {"message": reply.message}})

    return ask


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    options.add_argument("--calls", type=int, default=300)
    calls = options.parse_args().calls
    request = ModelRequest(conversation(), [TOOL, TOOL])
    rows: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as scratch, ProviderServer() as server:
        root = Path(scratch)
        simulated = Candidate(name="c", model="simulated:skill=1")
        for name, everything in (("in process, bare", False), ("in process, everything on", True)):
            shared = run(simulated, root / "sim", everything=everything)
            ask = asking(gateway.open_backend(simulated, retry=RetryPolicy(2), run=shared), request)
            rows[name] = [timed(ask) for _ in range(calls)]
        reply = gateway.open_backend(simulated).complete(request, CallContext("c/e/1", "e", 1, 0, REFERENCE))
        made = ModelCall(index=0, started=0.0, seconds=0.0, message=reply.message)
        rows["the line of calls/ (after the reply)"] = [
            timed(lambda: json.dumps(call_record(1, made, request, ("secret-0123",) * 5)))
            for _ in range(calls)
        ]
        url = server.base_url("openai:m")
        remote = Candidate(name="c", model="openai:m", base_url=url, api_key_env="A_KEY")
        client = init_chat_model("openai:m", base_url=url, api_key="none", max_retries=0).bind_tools(
            [TOOL, TOOL]
        )
        messages = messages_from_dict(request.messages)
        shared = run(remote.model_copy(update={"params": {}}), root / "remote", everything=False)
        ask = asking(gateway.open_backend(remote, retry=RetryPolicy(2), run=shared), request)
        for _ in range(10):  # connections, caches
            client.invoke(messages)
            ask()
        direct, through = [], []
        for _ in range(calls):
            direct.append(timed(lambda: client.invoke(messages)))
            through.append(timed(ask))
        rows["over the loopback, production's client"] = direct
        rows["over the loopback, through the gateway"] = through
        rows["over the loopback, added (pairs)"] = [b - a for a, b in zip(direct, through, strict=True)]
    table = Table(title=f"milliseconds a call, {calls} calls each")
    for heading in ("what", "median", "p95"):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    for name, values in rows.items():
        table.add_row(
            name, f"{statistics.median(values):.2f}", f"{statistics.quantiles(values, n=20)[-1]:.2f}"
        )
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
