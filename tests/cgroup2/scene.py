"""What runs in a guest, and how to ask the guest's engine."""

import subprocess
import time
from pathlib import Path

from bakeoff.backends.docker.connection import connect
from bakeoff.backends.docker.images import base_image
from bakeoff.config.schema import Harness
from tests.docker.project import Project, call

QUIET = ("--quiet", "--no-trunc")


def patient(root: Path) -> Project:
    """A project with time limits for an emulated processor."""
    made = Project(root)
    made.config["harness"]["base_image"] = portable_base()
    made.config["harness"]["limits"] = {"turns": 6, "seconds": 120, "tool_seconds": 100}
    made.config["infra"]["startup_seconds"] = 300
    return made


def faults(root: Path) -> Project:
    """One trial for each fault. The model itself never errs."""
    made = patient(root)
    made.row("harness-oom", call("hog", mib=600))
    made.row("child-oom", call("hog_child", "held", mib=600))
    made.row("child-oom-survived", call("hog_child_then_less", "held", mib=600))
    made.row("disk-full", call("fill_disk", "never"))
    made.row("pids", call("spawn_threads", "never refused"))
    made.row("fine", call("hog_child", "held", mib=20))
    return made


def portable_base() -> str:
    """The default base image less its registry's digest, which `docker save` loses: the same on both engines."""
    client = connect()
    base = base_image.ensure(client, Harness.model_fields["base_image"].default, print)
    name = f"bakeoff-guest-base:{base.image_id.removeprefix('sha256:')[:12]}"
    if base_image.find(client, name) is None:
        unchanged = client.containers.create(base.image_id, ["true"], labels={"bakeoff.build": name})
        unchanged.commit(*name.split(":"))
        unchanged.remove()
    client.close()
    return name


def trials_in(made: Project, host: str) -> set[str]:
    """The running containers of a project's trials, and not those that only look at the engine before the first one."""
    runs = [manifest.parent.name for manifest in made.root.glob("runs/*/manifest.json")]
    listed = [docker(host, "ps", *QUIET, "--filter", f"label=bakeoff={run}").stdout for run in runs]
    return set(" ".join(listed).split())


def answered(host: str, *arguments: str) -> str:
    """What the guest's engine prints when it does what it is asked, at the latest the tenth time."""
    for _ in range(10):
        done = docker(host, *arguments)
        if done.returncode == 0:
            return done.stdout
        time.sleep(2.0)
    raise AssertionError(f"docker {' '.join(arguments)}: {done.stderr}")


def docker(host: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Docker's own command line, on the guest's engine.

    An engine that is making containers on an emulated processor does not answer each time it is asked.
    """
    command = ["docker", "--host", host, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)
