"""The security boundary: what a container can see and do."""

import json
from pathlib import Path

import pytest

from bakeoff.backends.docker.container import USERS
from tests.docker.project import Project, call

pytestmark = pytest.mark.docker

CANARY = "sk-canary-0123456789abcdef"


def test_the_container_is_bare(project: Project) -> None:
    project.row("probe", call("probe", "probed"), files={"order.txt": "order.txt"})
    (project.root / "order.txt").write_text("one file")
    outcome = project.bake(
        env={"OPENAI_API_KEY": CANARY, "BAKEOFF_CANARY": CANARY, "HTTP_PROXY": f"http://{CANARY}:1"}
    )
    assert outcome.trials()["probe"].verdict == "passed", outcome.stderr
    log = outcome.run.log("sim/probe/1", 1)
    facts = json.loads(log.split("PROBE ", 1)[1].splitlines()[0])
    assert CANARY not in log
    ours = {"PATH", "HOME", "TMPDIR", "LANG", "HOSTNAME", "PYTHONDONTWRITEBYTECODE", "LANGSMITH_TRACING"}
    ours |= {"TRACEPARENT"}  # ids of the trace alone
    of_python_images = {"GPG_KEY", "PYTHON_VERSION", "PYTHON_SHA256"}
    assert set(facts["environment"]) <= ours | of_python_images
    assert facts["writable"] == ["/dev/shm", "/task"]
    assert facts["shared_memory"] == "/task/.shm"
    assert facts["against_the_supervisor"] == {}
    assert facts["against_the_kernel"] == {}
    assert facts["uid"] in USERS
    assert facts["user"] == "agent"
    assert int(facts["capabilities"], 16) == 0
    assert int(facts["bounding"], 16) == 0
    assert facts["no_new_privileges"] == "1"
    assert "unreachable" in facts["network"]
    assert facts["interfaces"] == ["lo"]
    assert not facts["socket"]
    assert (facts["home"], facts["cwd"]) == ("/task", "/task")
    assert facts["langchain_chat_models"] == []
    everything = [path for path in outcome.run.path.rglob("*") if path.is_file()]
    assert not [path for path in everything if CANARY in path.read_text(errors="replace")]


def test_files_are_there_and_the_reference_is_not(project: Project) -> None:
    (project.root / "data").mkdir()
    (project.root / "data/order.txt").write_text("forty-two")
    project.config["harness"]["source"] = "."
    project.config["harness"]["entrypoint"] = "faulty_agent.agent:build_agent"
    project.row(
        "file", call("read_file", "forty-two", name="in/order.txt"), files={"in/order.txt": "data/order.txt"}
    )
    project.row("rows", call("read_file", name="/opt/harness/rows.jsonl"), answer="SECRET ANSWER")
    project.config["infra"]["attempts"] = 1
    trials = project.bake().trials()
    assert trials["file"].verdict == "passed"
    lost = trials["rows"].attempts[-1].evidence.harness
    assert (lost.error_type or "").endswith("FileNotFoundError")
    assert not Path("/opt/harness").exists()
