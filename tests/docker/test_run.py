"""`bakeoff run` as its user meets it: a harness of somebody else's, real clients and containers, options, Ctrl-C."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from bakeoff.cli.init import write
from bakeoff.record.store import RunDirectory
from bakeoff.record.trial import TrialRecord
from tests.docker.project import COMMAND, Project, call, docker
from tests.fakes.http_server import Exchange
from tests.fakes.provider_server import ProviderServer, completion, tool_call

pytestmark = pytest.mark.docker

AGENT = '''
"""An agent of somebody else's making: async, with a requirement of its own."""

import tabulate
from langchain.agents import create_agent

from shop.data import STOCK


async def stock(item: str) -> str:
    """How many of an item there are."""
    return tabulate.tabulate([[STOCK[item]]], tablefmt="plain") + " in stock"


def price(item: str) -> str:
    """What an item costs."""
    return "7 EUR"


async def build_agent(model, context):
    return create_agent(model, [stock, price], system_prompt=context.config["prompt"])
'''
CHECKS = '''
"""The user's own evaluator, inside the source."""

from shop.data import STOCK


def politeness(*, inputs, outputs, reference_outputs, word):
    assert inputs["question"] and outputs["messages"] and STOCK
    return {"key": "politeness", "score": word in outputs["answer"], "comment": "looked for the word"}
'''
PII = {
    "use": "langchain.agents.middleware:PIIMiddleware",
    "with": {"pii_type": "email", "strategy": "redact"},
}


def bakeoff(root: Path, *args: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    """Any command, in a directory."""
    return subprocess.run(
        [*COMMAND, *args],
        cwd=root,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


USAGE = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}


def sell(exchange: Exchange) -> None:
    """`good` calls the tool that the user names (`tool: argument`) and answers with its result; the others fail once,
    always, or judge."""
    body = json.loads(exchange.body)
    model, last = body["model"], body["messages"][-1]
    if model == "locked":
        return exchange.say(401, {"error": {"message": "Incorrect API key", "code": "invalid_api_key"}})
    if model == "slow-start" and len(exchange.server.of_model(model)) == 1:  # type: ignore[attr-defined]
        error = {"message": "slow down", "code": "rate_limit_exceeded"}
        return exchange.say(429, {"error": error}, {"Retry-After": "1"})
    if model == "judge":
        said = tool_call(body["tools"][0]["function"]["name"], '{"reasoning": "near enough", "score": 0.75}')
    elif last["role"] == "tool":
        said = {"role": "assistant", "content": f"It is {last['content']}"}
    else:
        name, _, argument = last["content"].partition(": ")
        said = tool_call(name, json.dumps({"item": argument}))
    return exchange.say(200, completion(said, USAGE))


def shop(root: Path, server: ProviderServer, **harness: Any) -> Path:
    """A project with its own agent package; the harness file lies beside, not in, the current directory."""
    package = root / "code/shop"
    package.mkdir(parents=True)
    for name, text in {
        "__init__": "",
        "data": 'STOCK = {"lamp": 4, "desk": 0}\n',
        "agent": AGENT,
        "checks": CHECKS,
    }.items():
        (package / f"{name}.py").write_text(text)
    rows = [
        ("lamp", "stock: lamp", "stock", "4 in stock", {}),
        ("desk", "price: desk", "price", "7 EUR", {"cluster": "prices"}),
    ]
    with (root / "questions.jsonl").open("w") as file:
        for name, question, tool, answer, metadata in rows:
            outputs = {"answer": answer, "trajectory": [call(tool, item=name)]}
            row = {"id": name, "inputs": {"question": question}, "outputs": outputs, "metadata": metadata}
            file.write(json.dumps(row) + "\n")
    url = server.base_url("openai:")
    judge = {"model": "openai:judge", "base_url": url, "continuous": True}
    config = {
        "version": 1,
        "name": "shop",
        "harness": {"source": "code", "limits": {"turns": 4, "seconds": 30}, **harness},
        "resources": {"memory": "256MiB", "reserve": {"cpus": 0.5, "memory": "128MiB"}},
        "candidates": [
            {
                "name": "good",
                "model": "openai:good",
                "base_url": url,
                "params": {"temperature": 0},
            },
            {"name": "slow", "model": "slow-start", "base_url": url},
            {
                "name": "locked",
                "model": "openai:locked",
                "base_url": url,
                "api_key_env": "SHOP_KEY",
            },
        ],
        "dataset": "questions.jsonl",
        "trials": 2,
        "evaluators": [
            {"trajectory_match": {"mode": "strict"}, "threshold": 1.0},
            {"final_answer": {"match": "contains"}, "threshold": 1.0},
            {"use": "shop.checks:politeness", "with": {"word": "It is"}, "threshold": 1.0},
            {"llm_judge": judge, "threshold": 0.5},
        ],
        "infra": {"attempts": 2, "max_error_rate": 0.02},
    }
    with (root / "bake.yaml").open("w") as file:
        YAML().dump(config, file)
    return root / "bake.yaml"


# --- a harness of somebody else's making, against a real client's provider ---------------------------


class Bake:
    """One run, shared by the tests that look at it."""

    def __init__(self, done: "subprocess.CompletedProcess[str]", server: ProviderServer, root: Path) -> None:
        self.done, self.server, self.root = done, server, root
        self.summary = json.loads(done.stdout)
        self.run = RunDirectory.open(root / self.summary["run_dir"])

    def trials(self, candidate: str) -> list[TrialRecord]:
        """A candidate's trials."""
        return [trial for trial in self.run.trials() if trial.candidate == candidate]


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bake]:
    """Entry point and requirement of its own, run from another directory with `--json`."""
    root, elsewhere = tmp_path_factory.mktemp("foreign"), tmp_path_factory.mktemp("elsewhere")
    with ProviderServer() as server:
        server.answers(sell)
        harness = {
            "entrypoint": "shop.agent:build_agent",
            "requirements": ["tabulate==0.9.0"],
            "config": {"prompt": "Be curt."},
        }
        file = shop(root, server, **harness)
        done = bakeoff(
            elsewhere, "run", str(file), "--json", "--max-concurrency", "2", SHOP_KEY="sk-shop-0123456789"
        )
        if done.returncode == 4 and "package index does not answer" in done.stderr:
            pytest.skip("the requirement cannot be fetched: no package index answers")
        yield Bake(done, server, elsewhere)


def test_a_harness_of_somebody_else_s_making_runs(foreign: Bake) -> None:
    passed = {row["name"]: row["passed"] for row in foreign.summary["candidates"]}
    assert passed == {"good": 4, "slow": 4, "locked": 0}, foreign.done.stderr
    [trial, *_] = foreign.trials("good")
    assert trial.scores == {
        "trajectory_match": 1.0,
        "final_answer": 1.0,
        "politeness": 1.0,
        "llm_judge": 0.75,
    }
    assert foreign.run.manifest().image.packages["tabulate"] == "0.9.0"


def test_a_dead_candidate_makes_the_run_inconclusive(foreign: Bake) -> None:
    assert (foreign.done.returncode, foreign.summary["exit_code"]) == (3, 3)
    assert "locked" in foreign.summary["decision"]
    assert foreign.summary["winner"] is None


def test_the_harness_reaches_the_model_unchanged(foreign: Bake) -> None:
    headers, body = foreign.server.of_model("good")[0]
    assert [m["role"] for m in body["messages"]] == ["system", "user"]
    assert body["messages"][0]["content"] == "Be curt."
    assert [tool["function"]["name"] for tool in body["tools"]] == ["stock", "price"]
    assert body["temperature"] == 0
    assert "sk-shop" not in json.dumps(headers)
    observed = foreign.run.manifest().observed_harness
    assert observed.system_prompt == "Be curt."
    assert [tool["name"] for tool in observed.functions] == ["stock", "price"]


def test_usage_is_the_provider_s_own_and_an_unknown_price_is_null(foreign: Bake) -> None:
    for trial in foreign.trials("good"):
        assert trial.usage.model_calls == 2
        assert trial.usage.input_tokens == 2 * USAGE["prompt_tokens"]
        assert trial.usage.output_tokens == 2 * USAGE["completion_tokens"]
        assert trial.usage.cost_usd is None
        assert 0 < trial.seconds.model < trial.seconds.wall
    assert foreign.summary["candidates"][0]["cost_usd"] is None


def test_waiting_for_a_rate_limit_is_queued_and_not_working_time(foreign: Bake) -> None:
    [waited] = [trial for trial in foreign.trials("slow") if trial.seconds.queued > 0.5]
    assert waited.verdict == "passed"
    assert 0.9 < waited.seconds.queued < 10
    assert waited.seconds.working < waited.seconds.wall - 0.9


def test_a_refused_key_stops_its_candidate_and_no_other(foreign: Bake) -> None:
    trials = foreign.trials("locked")
    assert {(t.verdict, t.cause) for t in trials} == {("infra_error", "infra.provider_auth")}
    assert len(trials) == 4
    assert len(foreign.server.of_model("locked")) <= 2  # those that ran at the same time
    assert foreign.server.of_model("locked")[0][0]["authorization"] == "Bearer sk-shop-0123456789"
    everything = "".join(path.read_text() for path in foreign.run.path.rglob("*") if path.is_file())
    assert "sk-shop-0123456789" not in everything + foreign.done.stdout + foreign.done.stderr


def test_no_container_is_left(foreign: Bake) -> None:
    assert docker("ps", "-aq", "--filter", f"label=bakeoff={foreign.summary['run_id']}") == ""


def test_json_is_one_object_and_the_rest_goes_to_stderr(foreign: Bake) -> None:
    assert foreign.done.stdout.startswith("{")
    assert json.loads(foreign.done.stdout) == foreign.summary
    assert "12 of 12 trials" in foreign.done.stderr
    assert "\x1b" not in foreign.done.stderr


def test_show_and_report_read_the_run(foreign: Bake) -> None:
    run = foreign.summary["run_dir"]
    shown = bakeoff(foreign.root, "show", run)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "infra.provider_auth" in shown.stdout
    trial = bakeoff(foreign.root, "show", "latest", "good/lamp/1")
    assert trial.returncode == 0, trial.stderr
    for text in ("stock: lamp", "4 in stock", "politeness"):
        assert text in trial.stdout
    report = foreign.run.path / "report.md"
    written = report.read_text()
    report.unlink()
    assert bakeoff(foreign.root, "report", "latest").returncode == 0
    assert report.read_text() == written


# --- a harness without Python of its own for the agent -----------------------------------------------


def test_a_harness_in_yaml_with_middleware_and_async_tools(tmp_path: Path) -> None:
    with ProviderServer() as server:
        server.answers(sell)
        agent = {"prompt": "Answer.", "tools": ["shop.agent:stock", "shop.agent:price"], "middleware": [PII]}
        file = shop(tmp_path / "shop", server, **agent)
        agent_file = tmp_path / "shop/code/shop/agent.py"
        agent_file.write_text(agent_file.read_text().replace("import tabulate\n", "").replace(
            'tabulate.tabulate([[STOCK[item]]], tablefmt="plain") + " in stock"', 'f"{STOCK[item]} in stock"'
        ))  # fmt: skip
        rows = tmp_path / "shop/questions.jsonl"
        rows.write_text(
            rows.read_text()
            .replace('"price: desk"', '"price: a@example.com"')
            .replace('{"item": "desk"}', "{}")
        )
        done = bakeoff(tmp_path, "run", str(file), "--json", "-c", "good", "--trials", "1")
        summary = json.loads(done.stdout)
        run = RunDirectory.open(tmp_path / summary["run_dir"])
        trials = {trial.example_id: trial for trial in run.trials()}
        assert trials["lamp"].verdict == "passed", done.stderr
        assert trials["desk"].cause == "model.wrong_trajectory"
        sent = json.dumps([body for _, body in server.of_model("good")])
    assert "[REDACTED_EMAIL]" in sent
    assert "a@example.com" not in sent
    observed = run.manifest().observed_harness
    assert observed.system_prompt == "Answer."


# --- what only the image can tell --------------------------------------------------------------------

BROKEN = {
    "raises at import": ("import errno", "raise RuntimeError('no licence')", "no licence"),
    "leaves at import": ("import errno", "raise SystemExit('no licence')", "no licence"),
    "lacks a package": ("import errno", "import pandas_of_the_future", "No module named 'pandas_of_the_future'"),
    "no function": ("def build_agent(", "build_agent = 7\ndef other(", "not a function"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_harness_that_does_not_load_is_bad_input(project: Project, name: str) -> None:
    old, new, problem = BROKEN[name]
    agent = project.root / "faulty_agent/agent.py"
    agent.write_text(agent.read_text().replace(old, new, 1))
    project.row("row")
    outcome = project.bake()
    said, hint = outcome.stderr.splitlines()
    assert (outcome.code, outcome.stdout, outcome.run) == (2, "", None)
    assert re.match(r"error: harness\.yaml:\d+: harness\.entrypoint: ", said)
    assert problem in said
    assert hint.startswith("  hint: ")


def test_a_requirement_that_does_not_exist(project: Project) -> None:
    project.config["harness"]["requirements"] = ["tabulate==999"]
    project.row("row")
    outcome = project.bake()
    if outcome.code == 4 and "package index does not answer" in outcome.stderr:
        pytest.skip("no package index answers")
    said, hint = outcome.stderr.splitlines()
    assert (outcome.code, outcome.run) == (2, None)
    assert re.match(r"error: harness\.yaml:\d+: harness\.requirements\[0\]: .*tabulate==999", said)
    assert hint.startswith("  hint: ")


# --- options, and the display ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def new(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `bakeoff init` writes."""
    root = tmp_path_factory.mktemp("new")
    write(root)
    return root


def test_a_new_project_runs_as_it_is_and_options_count(new: Path) -> None:
    options = "--candidate steady --example price-* --trials 2 --max-concurrency 2 --memory 200MiB --cpus 0.5 --seed 3"
    done = bakeoff(new, "run", *options.split(), "--out", "elsewhere")
    assert done.returncode == 0, done.stderr
    [manifest_file] = new.glob("elsewhere/*/manifest.json")
    run = RunDirectory.open(manifest_file.parent)
    manifest, trials = run.manifest(), list(run.trials())
    assert (manifest.state, manifest.config.seed, manifest.max_concurrency) == ("finished", 3, 2)
    assert {t.candidate for t in trials} == {"steady"}
    assert len(trials) == 6
    for trial in trials:
        assert trial.resources.effective == trial.resources.requested == manifest.resources
    assert (manifest.resources.memory_bytes, manifest.resources.cpus) == (200 * 2**20, 0.5)
    assert str(run.path.relative_to(new) / "report.md") in done.stdout
    assert "steady" in done.stdout
    assert re.search(r"\[6/6\] steady/price-\w+/[12]: ", done.stderr)
    assert "\x1b" not in done.stdout + done.stderr
    assert not (new / "runs").exists()


def test_a_terminal_gets_a_live_display(new: Path) -> None:
    code, drawn = run_in_terminal(
        [*COMMAND, "run", "--trials", "1", "--example", "price-[st]*", "--out", "live"], new
    )
    assert code == 0
    assert "running" in drawn
    assert re.search(r"candidate\s+done\s+passed\s+failed\s+infra", drawn)
    assert re.search(r"2/2", drawn)
    assert "Report: live/" in drawn.replace("\r\n", "")


def run_in_terminal(command: list[str], root: Path) -> tuple[int, str]:
    """Exit code and everything that was drawn on a terminal of 120 x 40; colours and cursor moves taken out."""
    pid, master = pty.fork()
    if pid == 0:
        os.chdir(root)
        os.environ.update(TERM="xterm-256color", COLUMNS="120", LINES="40")
        os.execv(command[0], command)
    drawn = b""
    while True:
        try:
            if select.select([master], [], [], 120)[0] and (data := os.read(master, 65536)):
                drawn += data
                continue
        except OSError:  # the other end is closed
            pass
        break
    os.close(master)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return code, re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", drawn.decode())


# --- stopping ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stopped_run_keeps_what_is_finished(project: Project, number: signal.Signals) -> None:
    project.config["seed"] = 5  # which puts the quick one first
    project.row("quick", call("wait", "waited", seconds=0))
    project.row("endless", call("wait", "waited", seconds=200))
    project.config["harness"]["limits"] |= {"seconds": 300, "tool_seconds": 240}
    project.config["candidates"].append({"name": "other", "model": "simulated:skill=1"})
    process = project.start("--max-concurrency", "2")
    lines: list[str] = []
    while len(lines) < 2 and process.poll() is None:
        time.sleep(0.2)
        lines = [line for path in (project.root / "runs").glob("*/trials.jsonl") for line in path.open()]
    time.sleep(0.5)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=100)  # which is far less than the endless one takes
    assert (process.returncode, stdout) == (130, ""), stderr
    [path] = (project.root / "runs").glob("*")
    run = RunDirectory.open(path)
    assert run.manifest().state == "interrupted"
    finished = list(run.trials())
    assert {trial.example_id for trial in finished} == {"quick"}
    assert all(trial.verdict == "passed" for trial in finished)
    assert "interrupted" in (path / "report.md").read_text()


def test_doctor_knows_the_image_of_a_project_that_ran(new: Path) -> None:
    answer = json.loads(bakeoff(new, "doctor", "--json").stdout)
    assert answer["ok"], answer
    states = {check["subject"]: check["state"] for check in answer["checks"]}
    assert states["harness image"] == "ok"
