"""`bakeoff setup`: make this machine able to run a harness, and say what each step took."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from bakeoff.text import escape


def setup(
    harness: Annotated[
        Path | None, typer.Argument(help="harness.yaml; without it, only Docker and the default base image.")
    ] = None,
    stop_docker: Annotated[
        bool, typer.Option("--stop-docker", help="Stop the Docker Engine that bakeoff started, and no other.")
    ] = False,
    stand_in: Annotated[
        bool,
        typer.Option(
            "--stand-in",
            help="Build the default base image from Debian's packages, even if a registry answers.",
        ),
    ] = False,
    prune: Annotated[
        bool,
        typer.Option(
            "--prune",
            help="Remove bakeoff's own images and caches that were not used for a week; asks first.",
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="With --prune: do not ask.")] = False,
) -> None:
    """Make sure of Docker, the base image and the harness image. A second call does nothing again."""
    # Imported here: Docker's client costs a quarter of a second that `bakeoff --help` need not pay.
    from bakeoff.backends.docker import proof
    from bakeoff.backends.docker.backend import DockerBackend
    from bakeoff.config import loading
    from bakeoff.config.schema import Harness
    from bakeoff.provision import docker_engine
    from bakeoff.provision import stand_in as debian
    from bakeoff.run import admission, plan

    if stop_docker:
        stopped = docker_engine.stop()
        typer.echo(
            "stopped the Docker Engine that bakeoff started" if stopped else "bakeoff started no engine"
        )
        return

    if prune:
        _prune(yes=yes)
        return

    path = harness or default_harness()
    config = loading.load(path) if path else None
    with _step() as done:
        client = docker_engine.ensure(_say)
        proof.refuse_unfit(client.info())
        done(f"Docker Engine {client.version()['Version']}")
    with _step() as done:
        reference = config.harness.base_image if config else Harness.model_fields["base_image"].default
        base = debian.ensure(client, reference, _say, wanted=stand_in)
        done(f"base image {base.reference}: {base.kind}, Python {base.python_version}, {base.digest[:19]}")
    with _step() as done:
        backend = DockerBackend(client)
        admission.prove(backend, base.image_id, plan.profiles(config))
        done("limits: proven in a container like a trial's")
    if config:
        from bakeoff.backends.docker.images import image

        with _step() as done:
            image.ensure(client, config, client.info()["Architecture"], _say)
            done(f"harness image of {config.name}")
    backend.close()


def _prune(*, yes: bool) -> None:
    """List what would be removed, with its size, and remove it after a confirmation."""
    from bakeoff.backends.docker import connection
    from bakeoff.errors import UnfitEnvironment
    from bakeoff.provision import prune
    from bakeoff.text import figures

    client = None
    try:
        client = connection.connect()
    except UnfitEnvironment as error:
        typer.echo(f"{error}; so only the caches are checked")
    old = prune.leftovers(client)
    for each in old:
        typer.echo(f"{figures.size(each.size):>10}  {each.name}, not used for {each.idle.days} days")
    total = f"{figures.count(len(old), 'thing')}, {figures.size(sum(each.size for each in old))} at least"
    if not old:
        typer.echo("nothing to remove")
    elif yes or typer.confirm(f"Remove {total}?"):
        gone = [each for each in old if each.remove()]
        kept = f"; {len(old) - len(gone)} are in use" if len(gone) < len(old) else ""
        typer.echo(f"removed {len(gone)} of {total}{kept}")
    if client is not None:
        client.close()


def default_harness() -> Path | None:
    """The harness.yaml of the current directory, if there is one."""
    path = Path("harness.yaml")
    return path if path.exists() else None


def _say(line: str) -> None:
    typer.echo(f"  {escape.terminal(line)}")


class _Done:
    """Prints a finished step with the seconds since it began."""

    def __init__(self) -> None:
        self.started = time.monotonic()

    def __call__(self, what: str) -> None:
        typer.echo(f"✓ {what} ({time.monotonic() - self.started:.1f} s)")


@contextmanager
def _step() -> Iterator[_Done]:
    yield _Done()
