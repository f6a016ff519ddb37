"""Proves, in a container made like a trial's, that the limits hold on this engine. A run does so before its trials.

What the kernel says in there decides, not Docker's /info: an engine may take a limit and drop it.
"""

from __future__ import annotations

import inspect
import json
import threading
from collections.abc import Callable
from dataclasses import replace

from bakeoff.backends.base import WORKDIR, Proof, Sandbox, SandboxEnd, SandboxError, SandboxSpec
from bakeoff.errors import UnfitEnvironment
from bakeoff.record.base import JsonDict
from bakeoff.record.limits import LimitsReadBack, mismatches
from bakeoff.text.escape import last_lines
from bakeoff_runner import cgroup

# A python3 is all that it needs, so that it runs before the harness image is made.
SCRIPT = f"""{inspect.getsource(cgroup)}
import json
task, root = os.statvfs({WORKDIR!r}), os.statvfs("/")
found = {{"disk_limit_bytes": task.f_blocks * task.f_frsize, "disk_free_bytes": root.f_bavail * root.f_frsize}}
print(json.dumps({{**facts(), **found, "cores": sorted(os.sched_getaffinity(0))}}))
"""
COMMAND = ("python3", "-I", "-c", SCRIPT)
SECONDS = 60.0

GVISOR = "runsc"

Open = Callable[[SandboxSpec, tuple[int, ...]], Sandbox]


def prove(opened: Open, spec: SandboxSpec, pinned: int, info: JsonDict) -> Proof:
    """Start what a trial would start, and compare what its kernel says with what was asked for.

    Args:
        opened: opens a sandbox on these cores.
        spec: a trial's.
        pinned: how many cores of its own a trial gets.
        info: the engine's /info, for the hint.

    Raises:
        UnfitEnvironment: a limit does not hold, or the sandbox does not start; `hint` says what to do.
    """
    refuse_unfit(info)
    said = _look(opened, spec, (), info)
    proof = Proof(tuple(said["cores"]), said["disk_free_bytes"])
    if 0 < pinned <= len(proof.cores):
        asked = proof.cores[:pinned]
        if (got := tuple(_look(opened, spec, asked, info)["cores"])) != asked:
            raise _refusal(f"a trial asked for the CPUs {asked} of its own and got {got}", info)
    return proof


def refuse_unfit(info: JsonDict) -> None:
    """Refuse an engine whose /info shows that limits cannot hold, before minutes go into an image.

    gVisor has a kernel of its own in the container: it shows no limit, counts no OOM kill and no refused process, and
    at its memory limit dies as a whole, so that nothing could be attributed.

    Raises:
        UnfitEnvironment: `hint` says what to do.
    """
    if is_gvisor(info):
        raise _refusal("Docker runs containers in gVisor (runsc), where no limit can be read back", info)
    if is_rootless(info) and (str(info.get("CgroupVersion")) != "2" or info.get("CgroupDriver") == "none"):
        raise _refusal("this rootless engine has no cgroup controllers, so it limits nothing", info)


def is_gvisor(info: JsonDict) -> bool:
    """Whether containers run in gVisor, under whatever name."""
    runtime = info.get("DefaultRuntime")
    return GVISOR in f"{runtime} {(info.get('Runtimes') or {}).get(runtime)}"


def is_rootless(info: JsonDict) -> bool:
    """Whether a user without root's rights started the engine."""
    return any("rootless" in option for option in info.get("SecurityOptions") or [])


def _look(opened: Open, spec: SandboxSpec, cores: tuple[int, ...], info: JsonDict) -> JsonDict:
    try:
        output, end = _run(opened(replace(spec, command=COMMAND), cores))
    except SandboxError as error:
        raise _refusal(f"Docker does not start a trial's container: {error.facts.error}", info) from error
    try:
        said: JsonDict = json.loads(output.strip().rpartition("\n")[2])
        limits = LimitsReadBack(**{name: said[name] for name in LimitsReadBack.model_fields})
    except (ValueError, KeyError, TypeError) as error:
        words = end.facts.error or f"exit code {end.facts.exit_code}: {last_lines(output)}"
        raise _refusal(f"a trial's container does not run: {words}", info) from error
    wrong = mismatches(spec.limits, limits)
    if end.network not in (spec.limits.network, None):
        wrong.append(f"network: asked {spec.limits.network}, effective {end.network}")
    if wrong:
        raise _refusal(f"the limits of a trial do not hold here: {'; '.join(wrong)}", info)
    return said


def _run(box: Sandbox) -> tuple[str, SandboxEnd]:
    """All that it printed, and how it ended."""
    late = threading.Timer(SECONDS, box.kill)
    late.daemon = True
    try:
        late.start()
        box.start(lambda *_: None)
        output = b"".join(frame.data for frame in box.frames())
        return output.decode(errors="replace"), box.end()
    finally:
        late.cancel()
        box.close()


def _refusal(problem: str, info: JsonDict) -> UnfitEnvironment:
    return UnfitEnvironment(problem, hint=remedy(problem, info))


def remedy(problem: str, info: JsonDict) -> str:
    """What to do on this engine about a limit that does not hold."""
    rootless = is_rootless(info)
    runtime = info.get("DefaultRuntime") or "runc"
    if rootless and str(info.get("CgroupVersion")) != "2":
        return (
            "A rootless engine limits nothing on cgroup v1: boot with `systemd.unified_cgroup_hierarchy=1`."
        )
    if rootless:
        return (
            "Give your user the cgroup controllers. As root, write `[Service]` and "
            "`Delegate=cpu cpuset io memory pids` to /etc/systemd/system/user@.service.d/delegate.conf, run "
            "`systemctl daemon-reload`, and log in again."
        )
    if runtime not in ("runc", "crun"):
        return (
            f"The engine's runtime is {runtime}. Make runc its `default-runtime` (/etc/docker/daemon.json)."
        )
    if "swap:" in problem:
        return "Boot with `swapaccount=1` (cgroup v1), or turn swap off: `sudo swapoff -a`."
    if "memory:" in problem:
        return "Boot with `cgroup_enable=memory`, as some small boards need (see `docker info`, last lines)."
    return "Enable the cgroup controllers in the kernel (see `docker info`, last lines)."
