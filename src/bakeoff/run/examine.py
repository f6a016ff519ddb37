"""What `bakeoff doctor` looks at: the harness, its models and the host, by the same checks as a run makes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from bakeoff import backends, gateway
from bakeoff.backends.base import Backend, Check
from bakeoff.config import loading
from bakeoff.config.overrides import Overrides
from bakeoff.config.schema import Config
from bakeoff.errors import InputError, UnfitEnvironment
from bakeoff.run import admission, plan, preflight, task

# Free bytes where runs are written: below the first it fails, above the second all is well.
DISK = (2**30 // 10, 2**30)


def examine(path: Path | None) -> Iterator[Check]:
    """Every check, cheapest cause first; what depends on something that failed is left out.

    Args:
        path: harness.yaml; None: the host alone is looked at.
    """
    config = None
    if path is None:
        hint = "Run `bakeoff init`, or name one: `bakeoff doctor FILE`."
        yield Check.warning("harness", "no harness.yaml here", hint)
    else:
        try:
            config = loading.load(path)
            yield Check.ok("harness", f"{path}: {config.name}")
        except InputError as error:
            yield Check.failed("harness", error)
    if config is not None:
        yield from _inputs(config)
    try:
        backend = backends.connect()
    except UnfitEnvironment as error:
        yield Check.failed("docker", error)
    else:
        try:
            yield from backend.checks(config)
            if config is not None:
                yield from _capacity(config, backend)
        except UnfitEnvironment as error:
            yield Check.failed("docker", error)
        finally:
            backend.close()
    yield Check.space("runs", str(Path.cwd()), shutil.disk_usage(Path.cwd()).free, DISK)


def _inputs(config: Config) -> Iterator[Check]:
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
    try:
        preflight.check(config, found, environ=environ)
    except InputError as error:
        if models_fit or not (error.key or "").startswith("candidates"):
            yield Check.failed("preflight", error)
    else:
        yield Check.ok("preflight", "source, requirements, code, rows and evaluators fit together")


def _capacity(config: Config, backend: Backend) -> Iterator[Check]:
    """Ceilings against the size of the host, and floors against what it can promise now."""
    available = admission.capacity(backend)
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
