"""What `bakeoff doctor` looks at: the harness, its models and the host, by the same checks as a run makes."""

from __future__ import annotations

import shutil
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TypeVar

from bakeoff import backends, gateway
from bakeoff.backends.base import Backend, Check, Proof
from bakeoff.config import loading
from bakeoff.config.overrides import Overrides
from bakeoff.config.schema import Config
from bakeoff.errors import BakeoffError, InputError, UnfitEnvironment
from bakeoff.run import admission, margins, plan, preflight, task

T = TypeVar("T")

# Free bytes: below the first it fails, above the second all is well.
DISK = (2**30 // 10, 2**30)  # where runs are written
ENGINE_DISK = (2 * 2**30, 5 * 2**30)  # where the engine keeps images and sandboxes


def examine(path: Path | None) -> Iterator[Check]:
    """Every check, cheapest cause first; what depends on something that failed is left out.

    Args:
        path: harness.yaml; None: the host alone is looked at.
    """
    config = yield from _guarded("harness", _harness(path))
    if config is not None:
        yield from _guarded("inputs", _inputs(config))
    yield from _guarded("docker", _host(config))
    yield from _guarded("runs", _runs())


def _guarded(subject: str, checks: Generator[Check, None, T]) -> Generator[Check, None, T | None]:
    """The checks. What they raise is one more line, and the others go on: a strange host is what doctor is for."""
    try:
        return (yield from checks)
    except BakeoffError as error:
        yield Check.failed(subject, error)
    except Exception as error:  # noqa: BLE001 - whatever it is
        failed = UnfitEnvironment(
            f"this check failed itself: {type(error).__name__}: {error}",
            hint="Please report it, with what `docker info` prints.",
        )
        yield Check.failed(subject, failed)
    return None


def _harness(path: Path | None) -> Generator[Check, None, Config | None]:
    if path is None:
        hint = "Run `bakeoff init`, or name one: `bakeoff doctor FILE`."
        yield Check.warning("harness", "no harness.yaml here", hint)
        return None
    config = loading.load(path)
    yield Check.ok("harness", f"{path}: {config.name}")
    return config


def _host(config: Config | None) -> Generator[Check, None, None]:
    backend = backends.connect()
    try:
        yield from _guarded("docker", backend.checks(config))
        proof = yield from _guarded("limits", _limits(config, backend))
        if config is not None:
            yield from _guarded("capacity", _capacity(config, backend, proof))
    finally:
        backend.close()


def _limits(config: Config | None, backend: Backend) -> Generator[Check, None, Proof | None]:
    """The same proof as a run asks for; None where there is nothing yet to start, or it is larger than the host."""
    if config is not None:
        try:
            preflight.check_host(config, admission.capacity(backend))
        except InputError:
            return None  # `_capacity` says so
    image = backend.probe_image(config)
    if image is None:
        says = "not proven yet: there is no image to start"
        yield Check.warning("limits", says, "`bakeoff setup` gets one, and proves them.")
        return None
    proof = admission.prove(backend, image, plan.profiles(config))
    yield Check.ok("limits", "memory, swap, CPU, pids and disk hold in a container like a trial's")
    yield Check.space("Docker", "the engine's own storage", proof.disk_free_bytes, ENGINE_DISK)
    return proof


def _runs() -> Generator[Check, None, None]:
    yield Check.space("runs", str(Path.cwd()), shutil.disk_usage(Path.cwd()).free, DISK)


def _inputs(config: Config) -> Generator[Check, None, None]:
    found = None
    try:
        found = task.read(config.file, Overrides()).dataset
        version = f", version {found.origin.as_of}" if found.origin else ""
        yield Check.ok("dataset", f"{config.dataset}: {len(found.examples)} examples{version}")
    except InputError as error:
        yield Check.failed("dataset", error)
    try:
        environ = gateway.environment(config)  # a key in .env or behind a command is a key
    except InputError as error:
        yield Check.failed("keys", error)
        return
    models_fit = True
    for candidate in config.candidates:
        subject = f"model {candidate.name}"
        if problem := gateway.check(candidate, environ=environ, root=config.root):
            unusable = config.candidate_error(candidate.name, problem.problem, problem.hint)
            yield Check.failed(subject, unusable)
            models_fit = False
        else:
            yield Check.ok(subject, candidate.model)
    if found is None:
        return
    for says in margins.unanswerable(config, len(found.examples), Path("runs")):
        yield Check.warning("gates", says, "`bakeoff power RUN` knows more when there is a run.")
    try:
        preflight.check(config, found, environ=environ)
    except InputError as error:
        if models_fit or not (error.key or "").startswith("candidates"):
            yield Check.failed("preflight", error)
    else:
        yield Check.ok("preflight", "source, requirements, code, rows and evaluators fit together")


def _capacity(config: Config, backend: Backend, proof: Proof | None) -> Generator[Check, None, None]:
    """Ceilings against the size of the host, and floors against what it can promise now."""
    available = admission.capacity(backend)
    if proof is not None:
        available = admission.proven(available, proof)
    try:
        preflight.check_host(config, available)
        at_once = [admission.fitting(profile, available) for profile in plan.profiles(config)]
        if min(at_once) < 1:
            raise admission.too_large(config, plan.profiles(config)[at_once.index(min(at_once))], available)
    except InputError as error:
        yield Check.failed(error.key or "capacity", error)
        return
    most, wanted = max(at_once), config.max_concurrency
    if wanted != "auto" and wanted > most:
        says = f"room for {most} trials at once, max_concurrency is {wanted}"
        hint = "The rest queue; lower resources.reserve to run more at once."
        yield Check.warning("capacity", says, hint)
    else:
        size = f"{available.cpus:g} CPUs, {available.memory_bytes // 2**20} MiB"
        yield Check.ok("capacity", f"room for {most} trials at once ({size})")
