"""Whatever a model, a tool or a harness writes, publishing arrives complete, and what a page lists stays inert.

Labels (names, tags, keys) are visible, of one line and bounded. Content is exact, but for what no database stores.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bakeoff.record.store import RunDirectory
from bakeoff.report import data
from bakeoff.report.write import write
from bakeoff.text.escape import storable
from tests.fakes import synthetic
from tests.fakes.langsmith.server import LangSmithServer
from tests.fakes.otlp_receiver import HttpReceiver
from tests.publish.demonstration import publish

PAYLOADS = {
    "terminal sequences": "\x1b[2J\x1b]0;title\x07\x9b31m",
    "bidirectional marks": "\u202egnp.exe\u2066\u200f",
    "a thousand marks": "\u202e" * 10_000,
    "NUL": "a\0b",
    "lone surrogates": "\ud800x\udfff",
    "markup": "<script>alert(1)</script> [x](javascript:1) | `y` $x$",
    "line ends": "a\r\nContent-Type: x\r\n\r\n--boundary\u2028b\x85c",
    "huge": "x" * 6 * 2**20,
}
LABEL_CHARACTERS = 2000


def hostile_run(out: Path, payload: str) -> RunDirectory:
    """A run in which every text that a stranger writes is the payload."""
    manifest = synthetic.manifest(["one"], 1, 1, run_id="hostile", notes=[payload])
    record = synthetic.trial(
        "one", output=payload, verdict="failed", cause="model.wrong_answer", because=payload
    )
    run = synthetic.run_directory(out, [record], manifest, files=True)
    for file in (run.path / "calls").iterdir():
        calls = [json.loads(line) for line in file.read_text().split("\n") if line]
        calls[0]["request"]["messages"][0]["data"]["content"] = payload
        calls[0]["request"]["params"] = {"stop": [payload]}
        calls[0]["finish_reason"] = payload
        calls[-1]["error"] = {"kind": "bad_response", "message": payload}
        file.write_text("".join(json.dumps(call) + "\n" for call in calls))
    for file in (run.path / "trajectories").iterdir():
        trajectory = json.loads(file.read_text())
        step = trajectory["steps"][1]
        step["tool_calls"][0] |= {"function_name": payload, "arguments": {payload: payload}}
        step["observation"]["results"][0]["content"] = payload
        file.write_text(json.dumps(trajectory))
    write(run, data.collect(run))
    return run


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, each in value.items():
            yield from texts(key)
            yield from texts(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from texts(each)
    elif isinstance(value, str):
        yield value


# What a sink has: labels, then content.
Arrived = tuple[list[str], list[str]]


def to_langsmith(run: RunDirectory) -> Arrived:
    with LangSmithServer() as server:  # refuses what the service could not store
        env = {"LANGSMITH_API_KEY": server.api_key, "LANGSMITH_ENDPOINT": server.url}
        for _ in range(2):
            done = publish(run, "--to", "langsmith", env=env)
            assert done.returncode == 0, done.stderr[:2000]
        assert "nothing new" in done.stdout
        rows = server.state.dump()
        labels = [name for each in rows["runs"] for name in (each["name"], *(each["tags"] or []))]
        labels += [each["name"] for each in rows["sessions"]] + [each["key"] for each in rows["feedback"]]
        return labels, list(texts([rows["runs"], rows["feedback"], rows["sessions"]]))


def to_otlp(run: RunDirectory) -> Arrived:
    with HttpReceiver() as server:
        done = publish(run, "--to", "otlp", "--url", server.url, "--content")
        assert done.returncode == 0, done.stderr[:2000]
        assert server.complaints == []
        spans = server.spans()
        labels = [text for span in spans for text in (span.name, span.description, *span.attributes)]
        return labels, [each for span in spans for each in texts(span.attributes)]


def to_mlflow(run: RunDirectory, url: str) -> Arrived:
    from mlflow import MlflowClient

    name = f"hostile {run.path.parent.name}"
    for _ in range(2):
        done = publish(run, "--to", "mlflow", "--url", url, "--name", name)
        assert done.returncode == 0, done.stderr[:2000]
    assert "nothing new" in done.stdout
    client = MlflowClient(url)
    (found,) = client.search_runs([client.get_experiment_by_name(name).experiment_id])
    tags = {key: value for key, value in found.data.tags.items() if not key.startswith("mlflow.")}
    values = [line for value in (*tags.values(), *found.data.params.values()) for line in value.split("\n")]
    keys = [*tags, *found.data.params, *found.data.metrics]
    # artifacts are the run directory's files, byte for byte: what shows them decides how
    return [found.info.run_name, *keys, *(value[:LABEL_CHARACTERS] for value in values)], []


SINKS: dict[str, Callable[..., Arrived]] = {"langsmith": to_langsmith, "otlp": to_otlp}


def check(payload: str, arrived: Arrived) -> None:
    labels, content = arrived
    assert labels
    for label in labels:
        assert label.isprintable(), ascii(label[:200])
        assert len(label) <= LABEL_CHARACTERS
    for text in content:
        assert storable(text) == text
    if content and len(payload) < 2**20:  # larger ones are left out, and that is said
        assert any(storable(payload) in text for text in content)


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
@pytest.mark.parametrize("sink", SINKS)
def test_hostile_text_arrives_and_is_inert(sink: str, payload: str, tmp_path: Path) -> None:
    check(payload, SINKS[sink](hostile_run(tmp_path, payload)))


@pytest.mark.slow
@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
def test_hostile_text_arrives_in_mlflow_and_is_inert(
    mlflow_server: Any, payload: str, tmp_path: Path
) -> None:
    check(payload, to_mlflow(hostile_run(tmp_path, payload), mlflow_server.url))
