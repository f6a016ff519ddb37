"""A run published over OTLP: read back from a real Phoenix and from strict receivers, field by field."""

from __future__ import annotations

import base64
import email.utils
import gzip
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from bakeoff.publish.otlp import sender
from bakeoff.record.store import RunDirectory
from tests.docker.project import Project
from tests.docker.project import call as reference
from tests.fakes import synthetic
from tests.fakes.otlp_receiver import (
    MAX_GRPC_BYTES,
    GrpcReceiver,
    HttpReceiver,
    Receiver,
    Reply,
    Span,
    json_reply,
)
from tests.publish import otlp_expected
from tests.publish.demonstration import another, environment, publish
from tests.publish.otlp_expected import Expected
from tests.publish.servers import Phoenix, _free_port

ROUNDING = timedelta(microseconds=2)  # Phoenix reads nanoseconds as a float of seconds
RECEIVERS = [("http/protobuf", HttpReceiver), ("grpc", GrpcReceiver)]
KEY = "a-secret-of-the-tests"


@pytest.fixture
def copy(demonstration: RunDirectory, tmp_path: Path) -> RunDirectory:
    """The demonstration under an id of its own, and so with ids of its own everywhere."""
    return another(demonstration, tmp_path, f"demo-{os.urandom(4).hex()}")


def send(run: RunDirectory, url: str, protocol: str, *options: str, **changes: Any) -> Any:
    return publish(run, "--to", "otlp", "--url", url, "--protocol", protocol, *options, **changes)


def trials(run: RunDirectory) -> int:
    return len(list(run.trials()))


def same(run: RunDirectory, arrived: list[Span], *, content: bool = False) -> None:
    """Every span once, every field as the run directory has it, and no other."""
    expected = otlp_expected.spans(run.path, content=content)
    assert Counter(span.span_id for span in arrived) == Counter(expected.keys())
    for span in arrived:
        want = expected[span.span_id]
        for name in ("name", "kind", "trace_id", "parent_id", "status", "description"):
            assert getattr(span, name) == getattr(want, name), (span.name, name)
        assert span.attributes.keys() == want.attributes.keys(), span.name
        for key, value in want.attributes.items():
            assert plain(span.attributes[key], value) == value, (span.name, key)
        assert abs(moment(span.start) - want.start) <= ROUNDING, span.name
        assert abs(moment(span.end) - want.end) <= ROUNDING, span.name


def plain(arrived: Any, wanted: Any) -> Any:
    """Structured content comes as JSON."""
    return json.loads(arrived) if isinstance(arrived, str) and isinstance(wanted, list | dict) else arrived


def moment(nanoseconds: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=nanoseconds / 1000)


def from_phoenix(phoenix: Phoenix, project: str, wanted: int) -> list[Span]:
    """Its spans, without what it adds in its own words (OpenInference) to the attributes that were sent.

    It writes them after it has answered, on a busy machine long after: `wanted` of them are waited for, and any more.
    """
    end = time.monotonic() + 240
    while len(phoenix.spans(project)) < wanted and time.monotonic() < end:
        time.sleep(1)
    ours = ("bakeoff.", "gen_ai.", "error.", "http.")
    spans = []
    for row in phoenix.settled(project):
        sent = {key: value for key, value in row["attributes"].items() if key.startswith(ours)}
        if row["span_kind"] == "CHAIN":
            sent["openinference.span.kind"] = "CHAIN"
        start, end = (datetime.fromisoformat(row[key]) for key in ("start_time", "end_time"))
        spans.append(
            Span(
                name=row["name"],
                kind="CLIENT" if row["name"].startswith("chat ") else "INTERNAL",  # it does not keep OTLP's
                trace_id=row["context"]["trace_id"],
                span_id=row["context"]["span_id"],
                parent_id=row["parent_id"],
                start=int((start - moment(0)) / timedelta(microseconds=1)) * 1000,
                end=int((end - moment(0)) / timedelta(microseconds=1)) * 1000,
                status=row["status_code"],
                description=row["status_message"],
                attributes=sent,
                resource={},
                events=len(row["events"]),
            )
        )
    return spans


# --- a real back end --------------------------------------------------------------------------------


@pytest.mark.docker
@pytest.mark.slow
@pytest.mark.parametrize(("protocol", "content"), [("http/protobuf", False), ("grpc", True)])
def test_phoenix_has_the_run_field_by_field_and_twice_is_once(
    copy: RunDirectory, phoenix_server: Phoenix, protocol: str, content: bool
) -> None:
    url = phoenix_server.url if protocol != "grpc" else f"http://{phoenix_server.grpc}"
    project = {"OTEL_RESOURCE_ATTRIBUTES": f"openinference.project.name={copy.run_id}"}
    options = ["--content"] if content else []
    done = send(copy, url, protocol, *options, env=project, process=True)
    assert done.returncode == 0, done.stderr
    spans = from_phoenix(phoenix_server, copy.run_id, len(otlp_expected.spans(copy.path)))
    assert f"otlp: {trials(copy)} traces, {len(spans)} spans" in done.stdout
    same(copy, spans, content=content)

    again = send(copy, url, protocol, *options, env=project)
    assert again.returncode == 0
    assert f"nothing new; there already: {trials(copy)} traces" in again.stdout
    for journal in (copy.path / "published").iterdir():
        journal.unlink()  # as where the run directory was copied before it was published
    third = send(copy, url, protocol, *options, env=project)
    assert f"otlp: {trials(copy)} traces" in third.stdout
    assert from_phoenix(phoenix_server, copy.run_id, len(spans)) == spans


@pytest.mark.docker
@pytest.mark.slow
def test_phoenix_groups_by_harness_unless_told_otherwise(copy: RunDirectory, phoenix_server: Phoenix) -> None:
    assert send(copy, phoenix_server.url, "http/protobuf").returncode == 0
    phoenix_server.settled("support-desk")
    kinds = {
        row["name"].split()[0]: row["span_kind"]
        for row in phoenix_server.spans("support-desk")
        if row["attributes"].get("bakeoff.run_id") == copy.run_id or row["name"].split()[0] != "trial"
    }
    assert kinds == {
        "trial": "CHAIN",
        "attempt": "CHAIN",
        "invoke_agent": "AGENT",
        "chat": "LLM",
        "execute_tool": "TOOL",
    }


class Relay(HttpReceiver):
    """Hands on what it takes to another server."""

    def __init__(self, to: str) -> None:
        super().__init__()
        self.to = to

    def take(self, body: bytes) -> None:
        super().take(body)
        headers = {"Content-Type": "application/x-protobuf"}
        httpx.post(f"{self.to}/v1/traces", content=body, headers=headers, timeout=60).raise_for_status()


@pytest.mark.slow
def test_killed_in_the_middle_and_again_is_the_same(tmp_path: Path, phoenix_server: Phoenix) -> None:
    run = long_run(tmp_path)
    project = {"OTEL_RESOURCE_ATTRIBUTES": f"openinference.project.name={run.run_id}"}
    with Relay(phoenix_server.url) as relay:
        process: subprocess.Popen[str]

        class Killing(Relay):
            def take(self, body: bytes) -> None:
                super().take(body)
                if len(self.requests) == 3:  # it has arrived, and the reply will not be heard
                    process.kill()
                    process.wait()

        with Killing(phoenix_server.url) as killing:
            command = [str(Path(sys.executable).parent / "bakeoff"), "publish", str(run.path)]
            command += ["--allow-inconclusive", "--to", "otlp", "--url", killing.url]
            process = subprocess.Popen(command, env=environment(project), text=True)
            process.wait(120)
            assert process.returncode == -signal.SIGKILL
            before = killing.spans()
        (journal,) = (run.path / "published").iterdir()
        acknowledged = {trial for line in otlp_expected.lines(journal) for trial in line["trials"]}
        assert 0 < len(acknowledged) < trials(run)
        # the journal is of an address: the same run goes on at the same server, seen through another relay
        line = json.loads(journal.read_text().splitlines()[0])
        digest = otlp_expected.hashlib.sha256(f"{relay.url}/v1/traces".encode()).hexdigest()[:10]
        assert line["address"] == f"{killing.url}/v1/traces"
        journal.rename(journal.with_name(f"otlp-{digest}.jsonl"))
        done = send(run, relay.url, "http/protobuf", env=project)
        assert done.returncode == 0, done.stderr
        assert f"there already: {len(acknowledged)} traces" in done.stdout
        after = relay.spans()
    expected = otlp_expected.spans(run.path, inconclusive=False)
    assert {span.span_id for span in before + after} == expected.keys()
    twice = {span.span_id for span in before} & {span.span_id for span in after}
    assert (
        0 < len(twice) <= 512 + 10
    )  # at most the request whose reply was not heard, and a trial that it cut in two
    assert len(from_phoenix(phoenix_server, run.run_id, len(expected))) == len(expected)


def long_run(tmp_path: Path, examples: int = 60, *, name: str = "") -> RunDirectory:
    """More trials than fit into a few requests."""
    manifest = synthetic.manifest(examples=examples, run_id=name or f"long-{os.urandom(4).hex()}")
    return synthetic.run_directory(tmp_path, synthetic.trials(examples=examples), manifest, files=True)


# --- the wire ---------------------------------------------------------------------------------------


@pytest.mark.docker
@pytest.mark.slow
@pytest.mark.parametrize(("protocol", "receiver"), RECEIVERS)
@pytest.mark.parametrize("content", [False, True])
def test_a_strict_receiver_gets_every_field(
    copy: RunDirectory, protocol: str, receiver: type[HttpReceiver | GrpcReceiver], content: bool
) -> None:
    with receiver() as server:
        env = {"OTEL_EXPORTER_OTLP_COMPRESSION": "gzip", "OTEL_EXPORTER_OTLP_HEADERS": f"x-key={KEY}"}
        done = send(copy, server.url, protocol, *(["--content"] if content else []), env=env)
        assert done.returncode == 0, done.stderr
        assert server.complaints == []
        same(copy, server.spans(), content=content)
        assert all(headers["x-key"] == KEY for headers in server.headers)
        if protocol != "grpc":
            assert all(headers["content-encoding"] == "gzip" for headers in server.headers)
        verdicts = {
            span.attributes["bakeoff.verdict"]: span.status
            for span in server.spans()
            if span.parent_id is None
        }
        assert verdicts == {"passed": "OK", "failed": "UNSET", "infra_error": "ERROR"}


@pytest.mark.docker
@pytest.mark.slow
def test_the_resource_is_the_candidates_whole_configuration(copy: RunDirectory) -> None:
    manifest = json.loads((copy.path / "manifest.json").read_text())
    rows = otlp_expected.lines(copy.path / "trials.jsonl")
    with HttpReceiver() as server:
        env = {"OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=staging"}
        assert send(copy, server.url, "http/protobuf", env=env).returncode == 0
        resources = {span.resource["bakeoff.candidate"]: span.resource for span in server.spans()}
    assert resources.keys() == {row["name"] for row in manifest["candidates"]}
    for candidate, resource in resources.items():
        mine = [row["resources"] for row in rows if row["candidate"] == candidate]
        assert resource["service.name"] == manifest["config"]["name"]
        assert resource["deployment.environment.name"] == "staging"
        assert resource["container.image.id"] == manifest["image"]["id"]
        assert resource["bakeoff.image.base.digest"] == manifest["image"]["base"]["digest"]
        assert resource["bakeoff.fingerprint"] == manifest["fingerprint"]
        assert resource["bakeoff.version"] == manifest["bakeoff_version"]
        assert resource["bakeoff.host.kernel"] == manifest["host"]["kernel"]
        for key, value in manifest["resources"].items():
            assert resource[f"bakeoff.resources.requested.{key}"] == value
        for key, value in mine[0]["effective"].items():
            assert resource[f"bakeoff.resources.effective.{key}"] == value
        assert resource["bakeoff.resources.effective.distinct"] == 1
        observed = [row["observed"] for row in mine]
        assert resource["bakeoff.resources.observed.oom_kills"] == sum(row["oom_kills"] for row in observed)
        for key in ("memory_peak_bytes", "cpu_seconds", "throttled_seconds", "pids_peak", "disk_bytes"):
            values = [row[key] for row in observed if row[key] is not None]
            name = f"bakeoff.resources.observed.{key}"
            assert resource[f"{name}.max"] == max(values)
            assert resource[f"{name}.mean"] == pytest.approx(sum(values) / len(values))
    text = json.dumps(resources)
    assert socket.gethostname() not in text
    assert str(copy.path.parent) not in text


@pytest.mark.parametrize(("protocol", "receiver"), RECEIVERS)
def test_requests_stay_within_limits(
    tmp_path: Path, protocol: str, receiver: type[HttpReceiver | GrpcReceiver]
) -> None:
    records = list(synthetic.trials(examples=30))
    records[3] = records[3].model_copy(update={"output": "long " * 2**18})
    records[4] = records[4].model_copy(update={"output": "too long " * 2**20})
    manifest = synthetic.manifest(examples=30, run_id="limits")
    run = synthetic.run_directory(tmp_path, records, manifest, files=True)
    with receiver() as server:
        done = send(run, server.url, protocol, "--content")
        assert done.returncode == 0, done.stderr
        assert server.complaints == []
        assert len(server.requests) > 2
        assert max(len(raw) for raw in server.raw) < MAX_GRPC_BYTES
        assert all(len(list(otlp_spans(request))) <= 512 for request in server.requests)
        arrived = {span.span_id: span for span in server.spans()}
    expected = otlp_expected.spans(run.path, content=True)
    assert arrived.keys() == expected.keys()
    shortened = [span for span in arrived.values() if "bakeoff.content_left_out" in span.attributes]
    assert {span.trace_id for span in shortened} == {
        otlp_expected.digest("trace", "limits", records[4].trial_id)[:32]
    }
    assert f"warning: {len(shortened)} spans went without their content" in done.stdout


def otlp_spans(request: ExportTraceServiceRequest) -> Iterator[Any]:
    for of_resource in request.resource_spans:
        for of_scope in of_resource.scope_spans:
            yield from of_scope.spans


# --- content ----------------------------------------------------------------------------------------

CANARY = "Kanarienvogel"
TEXTS = {
    "content",
    "arguments",
    "args",
    "message",
    "text",
    "result",
    "output",
    "because",
    "error",
    "error_message",
}


def marked(value: Any, key: str = "", *, inside: bool = False) -> Any:
    """The value with the canary in every text that a prompt, a model, a tool or a program wrote."""
    if isinstance(value, dict):
        if not inside and key in ("args", "arguments"):
            inside = True
        return {
            name: marked(one, name, inside=inside or key in ("args", "arguments"))
            for name, one in value.items()
        }
    if isinstance(value, list):
        return [marked(one, key, inside=inside) for one in value]
    if isinstance(value, str) and value and (inside or key in TEXTS):
        return f"{CANARY} {value}"
    return value


def with_canaries(run: RunDirectory) -> None:
    """Mark every text of a run, and give it a made-up tool, an error of everything, and spans of its own."""
    trials_file = run.path / "trials.jsonl"
    rows = otlp_expected.lines(trials_file)
    for row in rows:
        row.update(marked({key: row[key] for key in ("output", "attempts")}))
        for attempt in row["attempts"]:
            attempt["evidence"]["harness"] |= {
                "error_type": f"x.{CANARY}",
                "error_message": f"{CANARY} crash",
            }
            attempt["evidence"]["docker"]["error"] = f"{CANARY} docker"
            attempt["evidence"] |= {
                "protocol_errors": [CANARY],
                "limits_mismatch": [CANARY],
                "evaluator_error": CANARY,
                "internal_error": CANARY,
                "model_fault": {"kind": "timeout", "message": CANARY, "status": 504, "attempts": 3},
            }
    trials_file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for file in (run.path / "calls").iterdir():
        calls = [marked(call) for call in otlp_expected.lines(file)]
        calls[-1]["error"] = {"kind": "bad_response", "message": f"{CANARY} provider"}
        calls[-1]["request"]["params"] = {
            "stop": [CANARY],
            "temperature": 0.5,
            "max_tokens": 100,
            "seed": 7,
            "x": CANARY,
        }
        file.write_text("".join(json.dumps(call) + "\n" for call in calls))
    for file in (run.path / "trajectories").iterdir():
        trajectory = marked(json.loads(file.read_text()))
        for step in trajectory["steps"]:
            for call in step.get("tool_calls", [])[:1]:
                for result in (step.get("observation") or {}).get("results", []):
                    if result["source_call_id"] == call["tool_call_id"]:
                        result["source_call_id"] = f"{CANARY}_id"
                call["function_name"] = f"{CANARY}_tool"
                call["tool_call_id"] = f"{CANARY}_id"
        file.write_text(json.dumps(trajectory))
    for row in rows:
        exports = [own_export(run.run_id, row["trial_id"], CANARY)]
        run.write_spans(row["trial_id"], 1, exports)


def own_export(
    run_id: str, trial_id: str, text: str, *, trace: str | None = None, span: str = "ab" * 8
) -> Any:
    """What an SDK in the harness exports."""
    request = ExportTraceServiceRequest()
    of_scope = request.resource_spans.add().scope_spans.add()
    of_scope.scope.name = text
    made = of_scope.spans.add(
        name=text,
        kind=3,
        trace_id=bytes.fromhex(trace or otlp_expected.digest("trace", run_id, trial_id)[:32]),
        span_id=bytes.fromhex(span),
        parent_span_id=bytes.fromhex(otlp_expected.digest("span", run_id, trial_id, 1, "agent")[:16]),
        start_time_unix_nano=1_800_000_000_000_000_000,
        end_time_unix_nano=1_800_000_000_500_000_000,
    )
    made.attributes.add(key="db.query.text").value.string_value = text
    made.attributes.add(key="deep").value.kvlist_value.values.add(key="k").value.string_value = text
    made.events.add(name=text, time_unix_nano=1_800_000_000_200_000_000).attributes.add(
        key="exception.message"
    ).value.string_value = text
    made.status.code, made.status.message = 2, text
    body = gzip.compress(request.SerializeToString())
    encoded = base64.b64encode(body).decode()
    return {"content_type": "application/x-protobuf", "encoding": "gzip", "body": encoded}


@pytest.mark.docker
@pytest.mark.slow
def test_no_prompt_output_argument_or_result_is_sent_unless_asked_for(
    copy: RunDirectory, tmp_path: Path
) -> None:
    real = texts(copy)
    with HttpReceiver() as server:
        assert send(copy, server.url, "http/protobuf").returncode == 0
        raw = b"".join(server.raw)
        assert len(real) > 60
        assert [text for text in real if text.encode() in raw] == []

    marked_run = another(copy, tmp_path, "canary")
    with_canaries(marked_run)
    with HttpReceiver() as server:
        done = send(marked_run, server.url, "http/protobuf")
        assert done.returncode == 0, done.stderr
        assert server.complaints == []
        assert CANARY.encode() not in b"".join(server.raw)
        assert CANARY not in done.stdout + done.stderr
        assert "the harness's own spans of 30 attempts were not sent" in done.stdout
        names = Counter(span.name for span in server.spans())
        assert names["execute_tool _OTHER"] > 20
        assert len(names) <= 3 + 1 + 1 + 3 + 15  # candidates, attempt, agent, models, tools
        chat = next(
            span for span in server.spans() if span.status == "ERROR" and span.name.startswith("chat")
        )
        assert chat.attributes["gen_ai.request.temperature"] == 0.5
        assert (chat.attributes["gen_ai.request.max_tokens"], chat.attributes["gen_ai.request.seed"]) == (
            100,
            7,
        )

    # the check can fail: with content each of these has the canary
    with HttpReceiver() as server:
        done = send(marked_run, server.url, "http/protobuf", "--content")
        assert done.returncode == 0, done.stderr
        keys = {
            key for span in server.spans() for key, value in span.attributes.items() if CANARY in str(value)
        }
        assert keys == {
            "bakeoff.output",
            "bakeoff.because",
            "bakeoff.error.message",
            "bakeoff.harness.error_message",
            "bakeoff.harness.error_type",
            "bakeoff.tool.name_asked_for",
            "gen_ai.input.messages",
            "gen_ai.output.messages",
            "gen_ai.tool.call.id",
            "gen_ai.tool.call.arguments",
            "gen_ai.tool.call.result",
            "db.query.text",
            "deep",
            "otel.scope.name",
        }


def texts(run: RunDirectory) -> set[str]:
    """Everything of some length that was said in a run, and no more than a line of it each."""
    found: set[str] = set()

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            for one in value.values():
                walk(one)
        elif isinstance(value, list):
            for one in value:
                walk(one)
        elif isinstance(value, str):
            found.update(
                re.findall(r"\b[A-Z]{1,3}-\d{2,}\b", value)
            )  # the shop's ids: most arguments are one
            found.update(
                line.strip() for line in value.splitlines() if " " in line.strip() and len(line) >= 12
            )

    for file in (run.path / "calls").iterdir():
        for call in otlp_expected.lines(file):
            walk([call["request"]["messages"], call["response"]])
    for file in (run.path / "trajectories").iterdir():
        walk(json.loads(file.read_text())["steps"])
    for row in otlp_expected.lines(run.path / "trials.jsonl"):
        walk(row["output"])
    for row in otlp_expected.lines(run.path / "examples.jsonl"):
        walk([row["inputs"], row["outputs"]])
    return found


def test_secrets_are_masked_in_content_and_go_nowhere_else(tmp_path: Path) -> None:
    record = synthetic.trial(output=f"the key is {KEY}, they say")
    run = synthetic.run_directory(
        tmp_path, [record], synthetic.manifest(run_id="secret", trials_planned=1), files=True
    )
    run.write_spans(record.trial_id, 1, [own_export("secret", record.trial_id, f"GET /?key={KEY}")])
    with HttpReceiver() as server:
        env = {"HEADERS_OF_MINE": f"authorization=Bearer%20{KEY}"}
        (tmp_path / "harness.yaml").write_text("")
        config = run.manifest().config.model_dump()
        config["publish"] = {"otlp": {"headers_env": "HEADERS_OF_MINE"}}
        run.update_manifest(config=config, harness_file="/nowhere/harness.yaml")
        done = send(run, server.url, "http/protobuf", "--content", env=env | {"SOME_API_KEY": KEY})
        assert done.returncode == 0, done.stderr
        assert server.headers[0]["authorization"] == f"Bearer {KEY}"
        assert KEY.encode() not in b"".join(server.raw)
        assert b"the key is [redacted], they say" in b"".join(server.raw)
        server.plan = [Reply(rejected=1, message=f"no {KEY} please")]
        (run.path / "published").rename(tmp_path / "elsewhere")
        refused = send(run, server.url, "http/protobuf", "--content", env=env | {"SOME_API_KEY": KEY})
    assert refused.returncode == 4
    assert KEY not in done.stdout + done.stderr + refused.stdout + refused.stderr
    kept = "".join(file.read_text() for file in (tmp_path / "elsewhere").iterdir())
    assert KEY not in kept


def test_content_cannot_be_added_to_what_was_sent_without(tmp_path: Path) -> None:
    run = synthetic.run_directory(tmp_path, files=True)
    with HttpReceiver() as server:
        assert send(run, server.url, "http/protobuf").returncode == 0
        refused = send(run, server.url, "http/protobuf", "--content")
        assert refused.returncode == 2
        assert "72 trials are at" in refused.stderr
        assert "published/otlp-" in refused.stderr
        (journal,) = (run.path / "published").iterdir()
        journal.unlink()
        assert send(run, server.url, "http/protobuf", "--content").returncode == 0
        there = send(run, server.url, "http/protobuf")
        assert "there already: 72 traces" in there.stdout
        assert "with content" in there.stdout


# --- bad input --------------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path: Path) -> RunDirectory:
    return synthetic.run_directory(tmp_path, files=True)


def refused(done: subprocess.CompletedProcess[str], code: int, *texts: str) -> None:
    """One clear error, and nothing else."""
    assert done.returncode == code, done.stdout + done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 2, done.stderr  # the error and its hint
    for text in texts:
        assert text in done.stderr, done.stderr
    assert KEY not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("protocol", "reply", "code", "text"),
    [
        ("http/protobuf", Reply(401), 2, "OTEL_EXPORTER_OTLP_HEADERS: "),
        ("http/protobuf", Reply(403), 2, "it wants another key (HTTP 403)"),
        ("http/protobuf", Reply(404), 2, "it takes no traces at that path"),
        ("http/protobuf", Reply(302, headers={"Location": "/login"}), 2, "redirection (HTTP 302)"),
        ("http/protobuf", Reply(200, b"<html>", "text/html"), 2, "does not speak OTLP: it sent text/html"),
        ("http/protobuf", Reply(200, b"<html>"), 2, "its reply cannot be read"),
        ("http/protobuf", Reply(415), 2, "it takes no protobuf"),
        ("http/protobuf", Reply(400), 4, "72 of 72 trials are missing"),
        ("http/protobuf", Reply(413), 4, "no request that large"),
        ("http/protobuf", Reply(503, headers={"Retry-After": "3600"}), 4, "takes nothing now (HTTP 503)"),
        ("http/protobuf", Reply(rejected=3, message="too\nold"), 4, "it refused 3 spans of a request: too old"),
        ("http/protobuf", json_reply(partialSuccess={"rejectedSpans": "2"}), 4, "it refused 2 spans"),
        ("grpc", Reply(code=grpc.StatusCode.UNAUTHENTICATED), 2, "another key (UNAUTHENTICATED)"),
        ("grpc", Reply(code=grpc.StatusCode.PERMISSION_DENIED), 2, "OTEL_EXPORTER_OTLP_HEADERS: "),
        ("grpc", Reply(code=grpc.StatusCode.UNIMPLEMENTED), 2, "no OTLP trace service"),
        ("grpc", Reply(code=grpc.StatusCode.INVALID_ARGUMENT), 4, "it refused the request (INVALID_ARGUMENT)"),
        ("grpc", Reply(rejected=3, message="too old"), 4, "it refused 3 spans of a request: too old"),
    ],
)  # fmt: skip
def test_a_refusal_is_told_and_nothing_counts_as_sent(
    small: RunDirectory, protocol: str, reply: Reply, code: int, text: str
) -> None:
    with dict(RECEIVERS)[protocol]() as server:
        server.plan = [reply]
        env = {"OTEL_EXPORTER_OTLP_HEADERS": f"authorization={KEY}"}
        refused(send(small, server.url, protocol, env=env), code, text)
        assert not (small.path / "published").exists()
        done = send(small, server.url, protocol, env=env)
        assert "otlp: 72 traces" in done.stdout


@pytest.mark.parametrize(
    ("protocol", "reply", "code"),
    [
        ("http/protobuf", Reply(401), "HTTP 401"),
        ("http/protobuf", Reply(rejected=1), "1 spans"),
        ("grpc", Reply(code=grpc.StatusCode.UNAUTHENTICATED), "UNAUTHENTICATED"),
    ],
)
def test_a_refusal_in_the_middle_says_what_is_missing_and_the_rest_follows(
    tmp_path: Path, protocol: str, reply: Reply, code: str
) -> None:
    run = long_run(tmp_path, 40)
    with dict(RECEIVERS)[protocol]() as server:
        server.plan = [Reply(), reply]
        first = send(run, server.url, protocol)
        there = sum(len(line["trials"]) for line in otlp_expected.lines(*(run.path / "published").iterdir()))
        assert 0 < there < trials(run)
        refused(first, 4, f"{trials(run) - there} of {trials(run)} trials are missing", code, "publish again")
        before = {span.span_id for span in read_acknowledged(server, run)}
        done = send(run, server.url, protocol)
        assert f"otlp: {trials(run) - there} traces" in done.stdout
        assert f"there already: {there} traces" in done.stdout
        assert {span.span_id for span in server.spans()} == otlp_expected.spans(run.path).keys()
        assert before


def read_acknowledged(server: Receiver, run: RunDirectory) -> list[Span]:
    """Spans of trials that the journal has."""
    (journal,) = (run.path / "published").iterdir()
    ids = {trial for line in otlp_expected.lines(journal) for trial in line["trials"]}
    traces = {otlp_expected.digest("trace", run.run_id, trial)[:32] for trial in ids}
    return [span for span in server.spans() if span.trace_id in traces]


def http_date(seconds: float) -> str:
    return email.utils.format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(
    ("protocol", "plan"),
    [
        ("http/protobuf", [Reply(503), Reply(429, headers={"Retry-After": "0"})]),
        ("http/protobuf", [Reply(502), Reply(504, headers={"Retry-After": http_date(-60)})]),
        ("grpc", [Reply(code=grpc.StatusCode.UNAVAILABLE), Reply(code=grpc.StatusCode.ABORTED)]),
    ],
)
def test_a_server_that_is_busy_for_a_moment_is_asked_again(
    small: RunDirectory, protocol: str, plan: list[Reply]
) -> None:
    with dict(RECEIVERS)[protocol]() as server:
        server.plan = plan
        done = send(small, server.url, protocol)
        assert "otlp: 72 traces" in done.stdout
        assert done.stderr == ""


@pytest.mark.parametrize(
    "wait", ["3600", http_date(3600)], ids=["seconds", "date"]
)  # ids that every worker agrees on
def test_a_wait_beyond_the_timeout_is_not_waited_for(small: RunDirectory, wait: str) -> None:
    with HttpReceiver() as server:
        server.plan = [Reply(503, headers={"Retry-After": wait})] * 2
        began = time.monotonic()
        refused(send(small, server.url, "http/protobuf"), 4, "takes nothing now (HTTP 503)")
        assert time.monotonic() - began < 5
        assert len(server.plan) == 1


def test_a_proxy_is_not_for_this_machine(small: RunDirectory) -> None:
    proxy = f"http://127.0.0.1:{_free_port()}"
    with HttpReceiver() as server:
        env = {"HTTP_PROXY": proxy, "http_proxy": proxy, "ALL_PROXY": proxy, "NO_PROXY": "", "no_proxy": ""}
        assert "otlp: 72 traces" in send(small, server.url, "http/protobuf", env=env).stdout


def test_a_reply_has_an_end(small: RunDirectory) -> None:
    with HttpReceiver() as server:
        server.plan = [Reply(body=b"\0" * 5 * 2**20)]
        refused(send(small, server.url, "http/protobuf"), 2, "its reply has no end")


def test_http_does_not_load_what_grpc_needs() -> None:
    """It takes a tenth of a start."""
    code = "import sys, bakeoff.publish.otlp, bakeoff.publish.otlp.http; sys.exit('grpc' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_server_that_never_answers_is_given_up_soon(small: RunDirectory) -> None:
    with HttpReceiver() as server:
        server.plan = [Reply(cut=True) for _ in range(20)]
        done = send(small, server.url, "http/protobuf")
        refused(done, 4, "it closed the connection without an answer", "72 of 72 trials are missing")
        assert len(server.headers) == sender.FIRST_TRIES


def test_a_server_that_answered_once_is_waited_for(tmp_path: Path) -> None:
    run = long_run(tmp_path, 20)
    with HttpReceiver() as server:
        server.plan = [Reply(), *(Reply(cut=True) for _ in range(sender.FIRST_TRIES + 1))]
        done = send(run, server.url, "http/protobuf", env={"OTEL_EXPORTER_OTLP_TIMEOUT": "120"})
        assert f"otlp: {trials(run)} traces" in done.stdout, done.stderr
        assert len(server.requests) == 2


def test_what_a_server_says_of_spans_that_it_took_is_told(small: RunDirectory) -> None:
    with GrpcReceiver() as server:
        server.plan = [Reply(message="use \x1b[31mgzip")]
        done = send(small, server.url, "grpc")
        assert done.returncode == 0
        assert "the server says: use ␛[31mgzip" in done.stdout


@pytest.mark.parametrize(
    ("url", "protocol", "code", "text"),
    [
        ("http://127.0.0.1:{free}", "http/protobuf", 2, "cannot be reached: connection refused"),
        ("http://127.0.0.1:{free}", "grpc", 2, "cannot be reached: connection refused"),
        ("http://no-such-host.invalid:4318", "http/protobuf", 2, "cannot be reached: there is no host"),
        ("http://no-such-host.invalid:4317", "grpc", 2, "cannot be reached: there is no host"),
        ("http://127.0.0.1:{grpc}", "http/protobuf", 2, "give --protocol grpc"),
        ("http://127.0.0.1:{http}", "grpc", 2, "give --protocol http/protobuf"),
        ("https://127.0.0.1:{http}", "http/protobuf", 2, "no TLS connection"),
        ("https://127.0.0.1:{grpc}", "grpc", 2, "no TLS connection"),
        ("http://127.0.0.1:{http}/elsewhere", "http/protobuf", 2, "no traces at that path (HTTP 404)"),
        ("http://127.0.0.1:{grpc}/v1/traces", "grpc", 2, "has a path, and gRPC has none"),
        ("ftp://127.0.0.1", "http/protobuf", 2, "not an http or https address"),
        (f"http://me:{KEY}@127.0.0.1", "http/protobuf", 2, "may hold a secret"),
        ("http://127.0.0.1:{http}", "http/json", 2, "protocol"),
    ],
)
def test_a_wrong_address_is_one_clear_error(
    small: RunDirectory, url: str, protocol: str, code: int, text: str
) -> None:
    with HttpReceiver() as over_http, GrpcReceiver() as over_grpc:
        ports = {
            "http": over_http.url.rpartition(":")[2],
            "grpc": over_grpc.url.rpartition(":")[2],
            "free": str(_free_port()),
        }
        # gRPC's own library may write to stderr
        done = send(small, url.format(**ports), protocol, process=protocol == "grpc")
        refused(done, code, text)
        assert over_http.requests == over_grpc.requests == []
    assert not (small.path / "published").exists()


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("OTEL_EXPORTER_OTLP_HEADERS", f"{KEY}", "does not hold headers"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", f"x=ä{KEY}", "does not hold headers"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", KEY, "is not an http or https address"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://", "is not an http or https address"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", "is not one of http/protobuf, grpc"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon", "is not a number of seconds"),
        ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "zstd", "is not one of"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere.pem", "names a file that is not there"),
    ],
)
def test_a_wrong_variable_is_named(small: RunDirectory, name: str, value: str, text: str) -> None:
    done = publish(small, "--to", "otlp", env={name: value})
    refused(done, 2, f"error: {name}: {text}")


def test_the_standard_variables_are_honoured_those_of_env_files_too(tmp_path: Path) -> None:
    run = synthetic.run_directory(tmp_path, files=True)
    project = tmp_path / "project"
    subprocess.run(
        [str(Path(sys.executable).parent / "bakeoff"), "init", str(project)], check=True, capture_output=True
    )
    run.update_manifest(harness_file=str(project / "harness.yaml"))
    with HttpReceiver() as server, GrpcReceiver() as over_grpc:
        (project / ".env").write_text(
            f"OTEL_EXPORTER_OTLP_ENDPOINT={server.url}\nOTEL_EXPORTER_OTLP_HEADERS=x-key={KEY}\n"
            "OTEL_RESOURCE_ATTRIBUTES=team=desk\nOTEL_EXPORTER_OTLP_COMPRESSION=gzip\n"
        )
        done = publish(run, "--to", "otlp")
        assert done.returncode == 0, done.stderr
        assert server.headers[0]["x-key"] == KEY
        assert server.headers[0]["content-encoding"] == "gzip"
        assert server.spans()[0].resource["team"] == "desk"
        env = {
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "grpc",
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": over_grpc.url,
        }
        assert publish(run, "--to", "otlp", env=env).returncode == 0
        assert len(over_grpc.spans()) == len(server.spans())
        assert over_grpc.headers[0]["x-key"] == KEY


def test_a_headers_variable_that_is_not_set_is_named(small: RunDirectory) -> None:
    config = small.manifest().config.model_dump() | {"publish": {"otlp": {"headers_env": "MY_HEADERS"}}}
    small.update_manifest(config=config)
    refused(publish(small, "--to", "otlp"), 2, "publish.otlp.headers_env", "MY_HEADERS is not set")


# --- text that is no trouble to write and some to send ----------------------------------------------


def test_text_that_no_database_takes_is_mended_and_numbers_that_otlp_has_not_are_texts(
    tmp_path: Path,
) -> None:
    record = synthetic.trial(output="a\0b\ud800c 𝄞")
    run = synthetic.run_directory(
        tmp_path, [record], synthetic.manifest(run_id="odd", trials_planned=1), files=True
    )
    file = next((run.path / "calls").iterdir())
    calls = otlp_expected.lines(file)
    calls[0]["request"]["params"] = {"seed": 2**70, "max_tokens": True, "temperature": "hot"}
    file.write_text("".join(json.dumps(call) + "\n" for call in calls))
    with HttpReceiver() as server:
        done = send(run, server.url, "http/protobuf", "--content")
        assert done.returncode == 0, done.stderr
        assert server.complaints == []
        arrived = {span.span_id: span for span in server.spans()}
    root = next(span for span in arrived.values() if span.parent_id is None)
    assert root.attributes["bakeoff.output"] == "a\ufffdb?c 𝄞"
    chat = [span for span in arrived.values() if span.name.startswith("chat")]
    assert chat[0].attributes["gen_ai.request.seed"] == str(2**70)
    assert not {"gen_ai.request.max_tokens", "gen_ai.request.temperature"} & chat[0].attributes.keys()


# --- the harness's own spans ------------------------------------------------------------------------


def test_the_harnesss_own_spans_join_only_where_they_belong(tmp_path: Path) -> None:
    record = synthetic.trial()
    run = synthetic.run_directory(
        tmp_path, [record], synthetic.manifest(run_id="own", trials_planned=1), files=True
    )
    agent = otlp_expected.digest("span", "own", record.trial_id, 1, "agent")[:16]
    bad = {
        "content_type": "application/x-protobuf",
        "encoding": "",
        "body": base64.b64encode(b"\xff").decode(),
    }
    bomb = {
        "content_type": "application/x-protobuf",
        "encoding": "gzip",
        "body": base64.b64encode(gzip.compress(b"\0" * 2**26)).decode(),
    }
    run.write_spans(
        record.trial_id,
        1,
        [
            own_export("own", record.trial_id, "query"),
            own_export("own", record.trial_id, "twice"),  # the same id
            own_export("own", record.trial_id, "posing", span=agent),
            own_export("own", record.trial_id, "astray", trace="1" * 32),
            own_export("own", record.trial_id, "nobody", span="0" * 16),
            bad,
            bomb,
            {"content_type": "application/x-protobuf", "encoding": "br", "body": ""},
            {"content_type": "application/json", "encoding": "", "body": "!"},
        ],
    )
    with HttpReceiver() as server:
        done = send(run, server.url, "http/protobuf", "--content")
        assert done.returncode == 0, done.stderr
        assert server.complaints == []
        (own,) = [span for span in server.spans() if span.attributes.get("bakeoff.own")]
        assert (own.name, own.kind, own.parent_id, own.status, own.events) == (
            "query",
            "CLIENT",
            agent,
            "ERROR",
            1,
        )
        assert own.attributes["db.query.text"] == "query"
        assert own.end - own.start == 500_000_000
        expected: dict[str, Expected] = otlp_expected.spans(run.path, content=True)
        assert len(server.spans()) == len(expected) + 1
    assert "8 of the harness's own spans were not sent" in done.stdout


# it traces without any package: a plain request to where the standard variables say, in OTLP's JSON
AGENT = '''
import json, os, time, urllib.request

from langchain.agents import create_agent


def look(where: str) -> str:
    """Look."""
    version, trace, parent, flags = os.environ["TRACEPARENT"].split("-")
    now = time.time_ns()
    span = {"traceId": trace, "spanId": "0123456789abcdef", "parentSpanId": parent, "name": "look inside",
            "kind": 1, "startTimeUnixNano": str(now), "endTimeUnixNano": str(now + 1000),
            "attributes": [{"key": "shop.where", "value": {"stringValue": where}}]}
    scope = {"scope": {"name": "shop"}, "spans": [span]}
    body = json.dumps({"resourceSpans": [{"resource": {}, "scopeSpans": [scope]}]}).encode()
    url = os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] + "/v1/traces"
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    urllib.request.urlopen(request).read()
    return "done"


def build_agent(model, context):
    assert context.traceparent == os.environ["TRACEPARENT"]
    return create_agent(model, [look])
'''


@pytest.mark.docker
@pytest.mark.slow
def test_a_harness_in_a_container_joins_the_very_trace_that_is_published(tmp_path: Path) -> None:
    project = Project(tmp_path)
    (project.root / "faulty_agent/agent.py").write_text(AGENT)
    project.config["harness"]["traces"] = True
    for place in ("cellar", "attic"):
        project.row(place, reference("look", "done", where=place))
    outcome = project.bake()
    assert outcome.code == 0, outcome.stderr
    with HttpReceiver() as server:
        done = send(outcome.run, server.url, "http/protobuf", "--content")
        assert done.returncode == 0, done.stderr
        assert server.complaints == []
        by_name = {(span.trace_id, span.name.split()[0]): span for span in server.spans()}
        for place in ("cellar", "attic"):
            trace = otlp_expected.digest("trace", outcome.run.run_id, f"sim/{place}/1")[:32]
            own, agent, attempt = (by_name[trace, name] for name in ("look", "invoke_agent", "attempt"))
            assert (own.parent_id, own.attributes["shop.where"]) == (agent.span_id, place)
            assert attempt.start <= own.start <= own.end <= attempt.end  # one clock, in and out
