"""`bakeoff init`: writes a harness.yaml, a small agent and a dataset that run as they are."""

from __future__ import annotations

import shlex
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from bakeoff.errors import InputError

# Named one by one: an installed package also holds compiled files, which are no part of the template.
FILES = ("harness.yaml", "my_agent/__init__.py", "my_agent/agent.py", "datasets/menu.jsonl")


def init(
    directory: Annotated[Path, typer.Argument(help="Where to write; made if it is not there.")] = Path(),
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that are there.")] = False,
) -> None:
    """Write a harness.yaml and a five-line agent that run as they are."""
    write(directory, force=force)
    file = directory / "harness.yaml"
    for name in FILES:
        typer.echo(f"wrote {shlex.quote(str(directory / name))}")
    typer.echo("\nNext:")
    typer.echo(f"  bakeoff run {shlex.quote(str(file))} --dry-run   # shows what would run")
    typer.echo(f"  bakeoff run {shlex.quote(str(file))}")


def write(directory: Path, *, force: bool = False) -> None:
    """Write the template's files below `directory`.

    Raises:
        InputError: a file is there already and `force` is not set, or the directory cannot be written.
    """
    there = [name for name in FILES if (directory / name).exists()]
    if there and not force:
        hint = "Give another directory, or --force to overwrite."
        problem = f"would overwrite {', '.join(there)}"
        raise InputError(problem, file=str(directory), hint=hint)
    template = files("bakeoff") / "init_template"
    try:
        for name in FILES:
            target = directory / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(template.joinpath(name).read_bytes())
    except OSError as error:
        problem = f"cannot be written: {error.strerror}"
        hint = "Give a directory that you may write to."
        raise InputError(problem, file=str(error.filename or directory), hint=hint) from None
