"""`bakeoff doctor`: what this machine can and cannot run, line by line, each with what to do about it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from bakeoff.cli.setup import default_harness
from bakeoff.errors import BakeoffError, InputError, UnfitEnvironment

if TYPE_CHECKING:
    import docker

    from bakeoff.backends.base import Capacity
    from bakeoff.config.schema import Config, Resources

GIB = 2**30
MIB = 2**20
DISK = {"Docker": (2 * GIB, 5 * GIB), "runs": (GIB // 10, GIB)}  # free bytes: below the first it fails
MEMORY_PEAK_KERNEL = (5, 19)  # the first whose cgroup v2 has memory.peak


@dataclass(frozen=True, slots=True)
class Check:
    """One line: what was looked at, what is so, and what to do about it."""

    subject: str
    state: Literal["ok", "warning", "failed"]
    says: str
    hint: str | None = None
    exit_code: int = 0


def ok(subject: str, says: str) -> Check:
    """All is well."""
    return Check(subject, "ok", says)


def warning(subject: str, says: str, hint: str) -> Check:
    """It runs, but a number may suffer."""
    return Check(subject, "warning", says, hint)


def failed(subject: str, error: BakeoffError) -> Check:
    """It does not run."""
    return Check(subject, "failed", str(error), getattr(error, "hint", None), error.exit_code)


def doctor(
    harness: Annotated[
        Path | None,
        typer.Argument(help="harness.yaml to check the machine against; by default the one here."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check Docker, limits, images, keys and disk, and say what to do.

    Exit 0, 2 (bad input) or 4 (unfit environment).
    """
    checks: list[Check] = []
    for check in examine(harness or default_harness()):
        checks.append(check)
        if not as_json:
            _print(check)
    code = exit_code(checks)
    if as_json:
        lines = [
            {key: value for key, value in asdict(check).items() if key != "exit_code"} for check in checks
        ]
        typer.echo(json.dumps({"ok": code == 0, "exit_code": code, "checks": lines}, indent=2))
    raise typer.Exit(code)


def exit_code(checks: list[Check]) -> int:
    """The environment's failures first: a file that is right does not run there either."""
    return max((check.exit_code for check in checks), default=0)


def _print(check: Check) -> None:
    from rich.console import Console
    from rich.text import Text

    from bakeoff.text import escape

    mark, colour = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "failed": ("✗", "red")}[check.state]
    line = Text.assemble(
        (mark, colour), " ", (f"{check.subject:<14}", "bold"), " ", escape.line(check.says, 500)
    )
    if check.hint:
        line.append(f"\n  {'':<14} → {escape.line(check.hint, 500)}")
    Console(soft_wrap=True).print(line)


# --- the story --------------------------------------------------------------------------------------


def examine(path: Path | None) -> Iterator[Check]:
    """Every check, cheapest cause first; what depends on something that failed is left out."""
    from bakeoff.backends.docker import host
    from bakeoff.config import loading

    config: Config | None = None
    if path is None:
        yield warning(
            "harness", "no harness.yaml here", "Run `bakeoff init`, or name one: `bakeoff doctor FILE`."
        )
    else:
        try:
            config = loading.load(path)
            yield ok("harness", f"{path}: {config.name}")
        except InputError as error:
            yield failed("harness", error)
    if config:
        yield from _inputs(config)

    try:
        client, info = _engine()
    except UnfitEnvironment as error:
        yield failed("docker", error)
        return
    yield ok(
        "docker", f"Engine {info.get('ServerVersion')}, API {client.api.api_version}, {info.get('Driver')}"
    )
    yield from limits(info)
    if config:
        yield from fits(config.resources, config.max_concurrency, info, host.capacity(info))
    yield from _images(client, config, info["Architecture"])
    if host.is_local(info):
        yield disk("Docker", info["DockerRootDir"], shutil.disk_usage(info["DockerRootDir"]).free)
    yield disk("runs", str(Path.cwd()), shutil.disk_usage(Path.cwd()).free)
    client.close()


def _engine() -> tuple[docker.DockerClient, dict[str, Any]]:
    from bakeoff.backends.docker import connection
    from bakeoff.backends.docker.backend import DockerBackend

    client = connection.connect()
    return client, DockerBackend(client).info


def _inputs(config: Config) -> Iterator[Check]:
    from bakeoff import gateway
    from bakeoff.config import loading
    from bakeoff.datasets import dataset

    try:
        found = dataset.load(config)
        version = f", version {found.origin.as_of}" if found.origin else ""
        yield ok("dataset", f"{config.dataset}: {len(found.examples)} examples{version}")
    except InputError as error:
        yield failed("dataset", error)
    try:
        environ = gateway.environment(config)  # a key in .env or behind a command is a key
    except InputError as error:
        yield failed("keys", error)
        return
    for candidate in config.candidates:
        subject = f"model {candidate.name}"
        if problem := gateway.check(candidate, environ=environ, root=config.root):
            key = f"candidates[{config.candidates.index(candidate)}].model"
            line = loading.line_of(config.file, key)
            place = {"file": str(config.file), "key": key, "hint": problem.hint}
            yield failed(subject, InputError(problem.problem, line=line, **place))
        else:
            yield ok(subject, candidate.model)


def _images(client: docker.DockerClient, config: Config | None, machine: str) -> Iterator[Check]:
    from bakeoff.backends.docker.images import base_image, image
    from bakeoff.config.schema import Harness

    reference = config.harness.base_image if config else Harness.model_fields["base_image"].default
    try:
        base = base_image.find(client, reference)
    except InputError as error:
        yield failed("base image", error)
        return
    if base is None:
        yield warning(
            "base image",
            f"{reference} is not here yet",
            "`bakeoff run` gets it; `bakeoff setup` does so now.",
        )
        return
    yield ok("base image", f"{reference}: {base.kind}, Python {base.python_version}, {base.digest[:19]}")
    if config is None or not (config.root / config.harness.source).is_dir():
        return
    if made := image.find(client, config, machine):
        packages = f"{len(made.packages)} packages"
        yield ok("harness image", f"{made.reference}: Python {made.python}, {packages}, {made.id[:19]}")
    else:
        hint = "`bakeoff run` makes it; `bakeoff setup` does so now."
        yield warning("harness image", "not made yet, or the harness has changed since", hint)


# --- deciding ---------------------------------------------------------------------------------------


def limits(info: dict[str, Any]) -> Iterator[Check]:
    """Whether the engine can enforce the limits, and measure what they need, from Docker's /info."""
    version, driver = str(info.get("CgroupVersion") or "?"), info.get("CgroupDriver")
    if driver == "none":
        yield failed(
            "cgroup",
            UnfitEnvironment(
                "the engine manages no cgroups (rootless on cgroup v1), so no limit would hold",
                hint="Use cgroup v2 with systemd delegation, or an engine that runs as root.",
            ),
        )
        return
    yield ok("cgroup", f"version {version}, driver {driver}")
    needed = {"memory": "MemoryLimit", "pids": "PidsLimit", "cpu quota": "CpuCfsQuota"}
    missing = [name for name, key in needed.items() if not info.get(key)]
    if missing:
        yield failed(
            "limits",
            UnfitEnvironment(
                f"the engine cannot enforce: {', '.join(missing)}",
                hint="Enable these cgroup controllers in the kernel (see `docker info`, last lines).",
            ),
        )
    else:
        yield ok("limits", "memory, pids and CPU quota are enforced")
    if not info.get("SwapLimit"):
        yield warning(
            "swap",
            "swap is not limited: where the host has some, no trial runs, since it would swap instead of being killed",
            "Boot with `swapaccount=1` (cgroup v1), or turn swap off: `sudo swapoff -a`.",
        )
    if version == "2" and kernel_version(str(info.get("KernelVersion"))) < MEMORY_PEAK_KERNEL:
        yield warning(
            "kernel",
            f"{info.get('KernelVersion')} has no memory.peak: memory peaks are sampled, and may read low",
            "Use Linux 5.19 or newer.",
        )
    if not any("seccomp" in option for option in info.get("SecurityOptions") or []):
        yield warning(
            "seccomp", "containers run without a seccomp filter", "Use an engine built with seccomp."
        )


def kernel_version(text: str) -> tuple[int, ...]:
    """`6.1.0-18-amd64` as (6, 1); a text that is no version as (), older than any."""
    parts = text.split(".")[:2]
    return tuple(int(part) for part in parts) if all(part.isdecimal() for part in parts) else ()


def fits(
    resources: Resources, max_concurrency: int | Literal["auto"], info: dict[str, Any], room: Capacity
) -> Iterator[Check]:
    """The file's ceilings against the host's size, and its floors against what is free now."""
    cores, memory = int(info["NCPU"]), int(info["MemTotal"])
    ceilings = [
        ("resources.cpus", resources.cpus > cores, f"{resources.cpus:g} CPUs, and the host has {cores}"),
        (
            "resources.memory",
            resources.memory > memory,
            f"{resources.memory // MIB} MiB, and the host has {memory // MIB} MiB",
        ),
    ]
    too_large = [(key, says) for key, larger, says in ceilings if larger]
    for key, says in too_large:
        yield failed(key, InputError(f"asks for {says}", hint="Lower it, or use a larger host."))
    if too_large:
        return
    reserve = resources.reserve
    at_once = min(int(room.cpus / reserve.cpus), room.memory_bytes // reserve.memory)
    if at_once < 1:
        problem = (
            f"one trial reserves {reserve.cpus:g} CPUs and {reserve.memory // MIB} MiB; "
            f"free are {room.cpus:g} CPUs and {room.memory_bytes // MIB} MiB"
        )
        yield failed("capacity", UnfitEnvironment(problem, hint="Free memory, or lower resources.reserve."))
    elif max_concurrency != "auto" and max_concurrency > at_once:
        yield warning(
            "capacity",
            f"room for {at_once} trials at once, max_concurrency is {max_concurrency}",
            "The rest queue; lower resources.reserve to run more at once.",
        )
    else:
        yield ok("capacity", f"room for {at_once} trials at once ({cores} cores, {memory // MIB} MiB)")


def disk(subject: str, place: str, free: int) -> Check:
    """Free space (bytes) at one place, against the thresholds in DISK."""
    least, enough = DISK[subject]
    says = f"{free / GIB:.1f} GiB free at {place}"
    if free < least:
        return failed(f"disk {subject}", UnfitEnvironment(says, hint=f"Free at least {least / GIB:.1f} GiB."))
    if free < enough:
        return warning(f"disk {subject}", says, f"{enough / GIB:.0f} GiB would be safe.")
    return ok(f"disk {subject}", says)
