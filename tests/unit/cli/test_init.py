"""`bakeoff init` writes a project that stands on its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bakeoff import datasets
from bakeoff.backends.base import Capacity
from bakeoff.cli.init import FILES, init, write
from bakeoff.config.loading import load
from bakeoff.errors import InputError
from bakeoff.gateway.models.simulated import parse
from bakeoff.run import preflight


def test_what_it_writes_passes_every_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory = tmp_path / "new project"
    init(directory)
    config = load(directory / "harness.yaml")
    rows = datasets.load(config)
    preflight.check(config, rows, Capacity(1, 2**29), environ={})
    assert len(rows.examples) >= 3
    assert all(parse(candidate.model) for candidate in config.candidates)
    printed = capsys.readouterr().out
    assert f"bakeoff run '{directory}/harness.yaml' --dry-run" in printed


def test_every_key_is_explained(tmp_path: Path) -> None:
    write(tmp_path)
    for line in (tmp_path / "harness.yaml").read_text().splitlines():
        if ":" in line and line.strip() not in {"limits:", "infra:"}:
            assert "#" in line, line


@pytest.mark.slow
def test_the_agent_calls_its_tool_as_the_references_say(tmp_path: Path) -> None:
    """In a process of its own: the agent imports LangChain, which no unit test of the host's side should."""
    write(tmp_path)
    rows = datasets.load(load(tmp_path / "harness.yaml"))
    calls = [call for row in rows.examples for call in row.outputs["trajectory"]]
    program = f"""
from my_agent.agent import build_agent, price_of
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
assert build_agent(GenericFakeChatModel(messages=iter([])), None).invoke
for call in {calls!r}:
    assert call["name"] == "price_of" and call["result"] in price_of(**call["args"]), call
"""
    environ = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_it_does_not_overwrite_without_force(tmp_path: Path) -> None:
    write(tmp_path)
    file = tmp_path / "my_agent/agent.py"
    file.write_text("mine")
    for name in set(FILES) - {"my_agent/agent.py", "harness.yaml"}:
        (tmp_path / name).unlink()
    with pytest.raises(InputError, match=r"would overwrite harness.yaml, my_agent/agent.py") as caught:
        write(tmp_path)
    assert "--force" in (caught.value.hint or "")
    assert file.read_text() == "mine"
    assert not (tmp_path / "datasets/menu.jsonl").exists()
    write(tmp_path, force=True)
    assert "build_agent" in file.read_text()


def test_a_directory_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    with pytest.raises(InputError, match="cannot be written"):
        write(tmp_path / "taken")
