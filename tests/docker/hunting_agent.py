"""An agent that hunts for its candidate's key, and tells its log whatever it comes by. The tests copy it."""

import json
import os
import sys
import traceback
from pathlib import Path

from langchain.agents import create_agent
from langchain_core.runnables import RunnableLambda

MARK = bytes(
    reversed(b"-yranac")
)  # what a key of the tests begins with; backwards, lest this file be the find


def readable(*roots: str):
    """Every file that can be opened, with its first mebibyte."""
    for root in roots:
        for place, _, names in os.walk(root, onerror=lambda _: None):
            for name in names:
                path = os.path.join(place, name)
                try:
                    end = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
                except OSError:
                    continue
                try:
                    yield path, os.read(end, 2**20)
                except OSError:
                    continue
                finally:
                    os.close(end)


def own_memory():
    """The writable memory of this process, through its own /proc; nothing where the kernel keeps it shut."""
    try:
        maps, memory = open("/proc/self/maps"), open("/proc/self/mem", "rb")
    except PermissionError:
        return
    with maps, memory:
        for line in maps:
            span, rights = line.split()[:2]
            start, end = (int(part, 16) for part in span.split("-"))
            if rights.startswith("rw") and end - start < 2**26:
                try:
                    memory.seek(start)
                    yield span, memory.read(end - start)
                except OSError:
                    continue


def hunt() -> str:
    """Look everywhere."""
    tell("ENVIRONMENT", dict(os.environ))
    found, seen = [], 0
    for path, content in readable("/opt", "/etc", "/task", "/run", "/var", "/home", "/root", "/tmp"):
        seen += 1
        if MARK in content:
            found.append(path)
    for pid in [name for name in os.listdir("/proc") if name.isdigit()]:
        for name in ("environ", "cmdline", "status", "mountinfo", "fd", "fdinfo"):
            try:
                path = f"/proc/{pid}/{name}"
                content = str(os.listdir(path)).encode() if name.startswith("fd") else Path(path).read_bytes()
                seen += 1
            except OSError:
                continue
            if MARK in content:
                found.append(path)
    for span, content in own_memory():
        seen += 1
        at = content.find(MARK)
        while at >= 0:
            following = content[at + len(MARK) : at + len(MARK) + 8]
            if following.isalnum():  # the mark alone is ours
                found.append(f"memory {span}: {content[at : at + 60]!r}")
            at = content.find(MARK, at + 1)
    tell("FOUND", found)
    tell("SEEN", seen)
    return f"found {len(found)}"


def tell(what: str, value) -> None:
    print(what, json.dumps(value), file=sys.stderr, flush=True)


def build_agent(model, context):
    """The agent: it asks the model for its secrets, and prints what an error of it says, all the way down."""
    tell("MODEL", [repr(model), str(vars(model)), repr(vars(model.channel))])
    agent = create_agent(model, [hunt], system_prompt="You hunt.")

    def run(inputs):
        for params in (
            {"api_key": "mine"},
            {"extra_headers": {"authorization": "mine"}},
            {"base_url": "http://x"},
        ):
            try:
                model.bind(**params).invoke(inputs["messages"])
            except Exception:  # noqa: BLE001 - whatever it is, it is told
                tell("REFUSED", traceback.format_exc())
        try:
            return agent.invoke(inputs)
        except Exception as error:
            tell("ERROR", [str(error), repr(error), traceback.format_exc(), str(vars(error))])
            raise
        finally:
            hunt()

    return RunnableLambda(run)
