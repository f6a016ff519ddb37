"""The gateway with real containers: keys nobody finds, replays that equal their recording, streams."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.docker.project import Outcome, Project, call, docker
from tests.fakes import provider_server
from tests.fakes.provider_server import ProviderServer

pytestmark = pytest.mark.docker

HERE = Path(__file__).parent
CASSETTES = HERE.parent / "cassettes"
# one key for each place that a key can come from
CANARIES = {name: f"canary-{name}0123456789abcdef" for name in ("environment", "dotenv", "command", "aside")}


@pytest.fixture
def server() -> Iterator[ProviderServer]:
    with ProviderServer() as running:
        yield running


def with_agent(project: Project, name: str, text: str) -> None:
    """A second agent in the project's package."""
    (project.root / f"faulty_agent/{name}.py").write_text(text)
    project.config["harness"]["entrypoint"] = f"faulty_agent.{name}:build_agent"


def everything(directory: Path) -> Iterator[tuple[Path, bytes]]:
    for path in directory.rglob("*"):
        if path.is_file():
            yield path, path.read_bytes()


def verdicts(outcome: Outcome) -> dict[str, Any]:
    """What a replay must have in common with its recording, byte for byte; see bakeoff.gateway.recording.cassette."""
    assert outcome.run is not None, outcome.stderr
    fields = {"verdict", "cause", "scores", "output", "usage"}
    return {
        trial.trial_id: json.dumps(trial.model_dump(mode="json", include=fields), sort_keys=True)
        for trial in outcome.run.trials()
    }


# --- keys -------------------------------------------------------------------------------------------


def test_nobody_finds_a_key(project: Project, server: ProviderServer) -> None:
    with_agent(project, "hunter", (HERE / "hunting_agent.py").read_text())
    (project.root / ".env").write_text(f"DOTENV_KEY={CANARIES['dotenv']}\nOTHER_TOKEN={CANARIES['aside']}\n")
    script = project.root / "ask.sh"
    script.write_text(f"#!/bin/sh\necho {CANARIES['command']}\n")
    script.chmod(0o700)
    project.config["harness"]["source"] = "faulty_agent"
    project.config["key_command"] = {"COMMAND_KEY": ["./ask.sh"]}
    candidates = {
        "env": ("openai:m", "/v1", "ENVIRONMENT_KEY"),
        "env-fails": ("openai:m", "/fail/500/v1", "ENVIRONMENT_KEY"),
        "dotenv": ("anthropic:m", "", "DOTENV_KEY"),
        "dotenv-fails": ("anthropic:m", "/fail/400", "DOTENV_KEY"),
        "command": ("google_genai:m", "", "COMMAND_KEY"),
        "command-fails": ("openai:m", "/fail/401/v1", "COMMAND_KEY"),
    }
    project.config["candidates"] = [
        {"name": name, "model": model, "base_url": server.url + path, "api_key_env": key}
        for name, (model, path, key) in candidates.items()
    ]
    project.config["harness"]["retries"] = {"model_call": 0}
    project.row("hunt", call("hunt"))
    outcome = project.bake(
        "--record",
        "tape",
        env={"ENVIRONMENT_KEY": CANARIES["environment"], "ANTHROPIC_API_KEY": CANARIES["aside"]},
    )
    assert outcome.run is not None, outcome.stderr
    for canary in ("environment", "dotenv", "command"):  # else nothing was there to be found
        assert CANARIES[canary] in json.dumps([headers for _, headers, _ in server.requests]), canary
    trials = {trial.candidate: trial for trial in outcome.run.trials()}
    assert len(trials) == 6
    for candidate, trial in trials.items():
        log = outcome.run.log(trial.trial_id, 1)
        assert "FOUND []" in log, f"{candidate}: {log[-3000:]}"
        assert log.count("REFUSED") >= 3
    failing = outcome.run.log("env-fails/hunt/1", 1) or ""
    assert (
        "[redacted]" in failing
    )  # the error reached the harness, without the key that the server had put into it
    assert int(failing.split("SEEN ", 1)[1].split()[0]) > 100
    places = {
        "run directory": everything(outcome.run.path),
        "cassette": everything(project.root / "tape"),
        "output": [(Path("stdout"), outcome.stdout.encode()), (Path("stderr"), outcome.stderr.encode())],
        "image": [(Path("image"), image_facts(outcome))],
    }
    for place, files in places.items():
        for path, content in files:
            assert b"canary-" not in content, f"{place}: {path}"
    assert (project.root / "tape/cassette.json").exists()
    assert list((outcome.run.path / "calls").iterdir())


def image_facts(outcome: Outcome) -> bytes:
    """How the image was made and what it is set up with; its files were searched from inside."""
    image = outcome.run.manifest().image.id
    return (docker("history", "--no-trunc", image) + docker("inspect", image)).encode()


# --- cassettes --------------------------------------------------------------------------------------


@pytest.mark.alone  # a time limit on a host that others keep busy may be the host's fault, and is then told so
def test_a_replayed_run_equals_its_recording(project: Project) -> None:
    project.config["harness"]["limits"] = {"turns": 4, "seconds": 8, "tool_seconds": 7}
    project.config["candidates"] = [
        {"name": "good", "model": "simulated:skill=1"},
        {"name": "bad", "model": "simulated:skill=0"},
        {"name": "slow", "model": "simulated:skill=1,latency=2.7"},
    ]
    project.config["trials"] = 2
    project.row("two", call("wait", "waited", seconds=0), call("hog_child", "held", mib=8))
    project.row("oom", call("hog_child", "held", mib=600))
    recorded = project.bake("--record", "tape")
    expected = verdicts(recorded)
    assert len(expected) == 12
    assert json.loads(expected["slow/two/1"])["cause"] == "model.time_limit"
    shutil.rmtree(project.root / "runs")
    for candidate in project.config["candidates"]:
        candidate["model"] = "replay:tape"
    replayed = project.bake()
    assert verdicts(replayed) == expected
    assert [row.simulated for row in replayed.run.manifest().candidates] == [True] * 3


def test_the_recording_of_a_real_local_model_replays(tmp_path: Path) -> None:
    root = tmp_path / "clerk"
    shutil.copytree(CASSETTES / "smollm2", root, ignore=shutil.ignore_patterns("runs"))
    harness = root / "harness.yaml"
    harness.write_text(harness.read_text().replace('"local:smollm2"', '"replay:tape"'))
    command = [str(Path(sys.executable).parent / "bakeoff"), "run", "--quiet"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, timeout=300)
    [record] = root.glob("runs/*/trials.jsonl")
    expected = {
        line["trial_id"]: line for line in map(json.loads, (root / "verdicts.jsonl").read_text().splitlines())
    }
    found = {line["trial_id"]: line for line in map(json.loads, record.read_text().splitlines())}
    assert found.keys() == expected.keys(), done.stderr
    for trial_id, line in expected.items():
        assert {key: found[trial_id][key] for key in line} == line


# --- streams ------------------------------------------------------------------------------------------


STREAMER = '''
from langchain_core.runnables import RunnableLambda

def get_order(order_id: str) -> str:
    """Look up an order."""
    return order_id + " has shipped on Monday"

def build_agent(model, context):
    """An agent that streams, and goes on with the sum of the pieces."""
    from langchain_core.tools import tool
    known = tool(get_order)
    bound = model.bind_tools([known])

    def run(inputs):
        messages = list(inputs["messages"])
        while True:
            whole, pieces = None, 0
            for chunk in bound.stream(messages):
                pieces += 1
                whole = chunk if whole is None else whole + chunk
            print("PIECES", pieces)
            messages.append(whole)
            if not whole.tool_calls:
                return {"messages": messages}
            messages += [known.invoke(call) for call in whole.tool_calls]

    return RunnableLambda(run)
'''


def test_tokens_stream_into_the_container(
    project: Project, server: ProviderServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        provider_server, "PAUSE_SECONDS", 1.0
    )  # far more than a busy machine takes for a token
    with_agent(project, "streamer", STREAMER)
    models = {"openai": "openai:m", "anthropic": "anthropic:m", "google": "google_genai:m"}
    project.config["candidates"] = [
        {"name": name, "model": model, "base_url": server.base_url(model), "api_key_env": "A_KEY"}
        for name, model in models.items()
    ]
    project.row("row", call("get_order", order_id="A-17"), answer="shipped on Monday")
    outcome = project.bake(env={"A_KEY": CANARIES["environment"]})
    assert outcome.run is not None, outcome.stderr
    trials = list(outcome.run.trials())
    assert len(trials) == len(models)
    for trial in trials:
        assert trial.verdict == "passed", trial
        log = outcome.run.log(trial.trial_id, 1) or ""
        assert int(log.split("PIECES")[2].split()[0]) >= 5
        calls = list(outcome.run.calls(trial.trial_id))
        assert len(calls) == 2
        answer = calls[1]
        assert answer["request"]["stream"] is True
        # the server pauses in the middle of its answer: the first token is there before it
        assert 0 < answer["first_token_seconds"] < answer["seconds"] - 0.5
        assert answer["input_tokens"] in (20, 25)  # Anthropic counts cached ones apart
