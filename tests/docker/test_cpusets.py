"""An engine whose containers may use some of the host's CPUs only: pinned trials get cores that are there."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from bakeoff.backends.base import SandboxError, SandboxSpec
from bakeoff.backends.docker import connection
from bakeoff.backends.docker.backend import DockerBackend
from bakeoff.backends.docker.images import base_image
from bakeoff.config.schema import Harness
from bakeoff.record.trial import ResourceLimits
from tests.docker.engines import SecondEngine, base_names, second_engine
from tests.docker.project import Project, call

pytestmark = [pytest.mark.docker, pytest.mark.slow]

LIMITS = ResourceLimits(cpus=1.0, memory_bytes=2**27, pids=32, disk_bytes=2**24, network="none")


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[SecondEngine, int]]:
    """An engine whose containers share one CPU, and which: the last one."""
    if os.geteuid() != 0 or shutil.which("dockerd") is None:
        pytest.skip("needs root and dockerd")
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        pytest.skip("needs two CPUs")
    name = f"bakeoff-test-{os.getpid()}"
    one = Path("/sys/fs/cgroup/cpuset")
    above = (one if one.is_dir() else one.parent) / name
    above.mkdir()
    try:
        if one.is_dir():
            (above / "cpuset.mems").write_text((one / "cpuset.mems").read_text())
        (above / "cpuset.cpus").write_text(str(allowed[-1]))
        with second_engine(tmp_path_factory.mktemp("narrow") / "e", f"--cgroup-parent=/{name}") as engine:
            engine.load(*base_names())
            yield engine, allowed[-1]
    finally:
        for hierarchy in {
            above,
            *Path("/sys/fs/cgroup").glob(f"*/{name}"),
            *Path("/sys/fs/cgroup").glob(name),
        }:
            if hierarchy.is_dir() and not hierarchy.is_symlink():
                hierarchy.rmdir()


def test_the_proof_finds_the_cpus_that_are_there(narrow: tuple[SecondEngine, int]) -> None:
    engine, core = narrow
    backend = DockerBackend(connection.connect(engine.environment))
    image = base_image.ensure(backend.client, Harness.model_fields["base_image"].default, print).image_id
    spec = SandboxSpec("test-cpuset", image, LIMITS)
    try:
        assert backend.capacity().cpus > 1, "Docker's /info counts the host's"
        assert backend.prove(spec, pinned=1).cores == (core,)
        with pytest.raises(SandboxError):
            backend.open(spec, (core - 1,)).start(lambda *_: None)
    finally:
        backend.sweep("test-cpuset")
        backend.close()


def test_a_pinned_run_gets_cores_that_are_there(narrow: tuple[SecondEngine, int], project: Project) -> None:
    engine, _ = narrow
    project.config["resources"]["pin"] = True
    for name in ("a", "b"):
        project.row(name, call("wait", "waited", seconds=0))
    outcome = project.bake(env=engine.environment)
    assert {name: trial.cause for name, trial in outcome.trials().items()} == {"a": None, "b": None}
