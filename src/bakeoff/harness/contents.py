"""What the harness image is made of: the source's files, the packages, and what the runner is handed."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bakeoff.config.loading import line_of
from bakeoff.config.schema import Config
from bakeoff.datasets.langsmith.reference import Reference
from bakeoff.errors import InputError
from bakeoff.harness import files, requirements
from bakeoff.harness.requirements import Requirements

RUNNER = "bakeoff_runner"  # the one name that the image needs for itself


@dataclass(frozen=True, slots=True)
class Contents:
    """All that goes into the image from this host. Nothing was fetched, built or run to find it out."""

    source: files.Tree  # names below the directory that is importable in the image
    requirements: Requirements


def read(config: Config) -> Contents:
    """What goes in and what is left out.

    Raises:
        InputError: a file, a link or a requirement is at fault; names the line.
    """
    return Contents(source(config), requirements.read(config))


def source_directory(config: Config) -> Path:
    """`harness.source`, absolute. A link keeps the name that it is imported by.

    Raises:
        InputError: it is not there.
    """
    path = Path(os.path.abspath(config.root / config.harness.source))  # noqa: PTH100
    if not path.is_dir():
        raise InputError(
            f"there is no directory {config.harness.source!r}",
            file=str(config.file),
            line=line_of(config.file, "harness.source"),
            key="harness.source",
            hint="Give the directory of the agent's code, relative to this file.",
        )
    return path


def source(config: Config) -> files.Tree:
    """The files of `harness.source`, named as they lie below /opt/harness. The dataset stays out: it has the answers.

    Raises:
        InputError: see `files.read`.
    """
    directory = source_directory(config)
    try:
        tree = files.read(
            directory, project=config.root, answers=answers(config), node_modules=_node_modules(config)
        )
        if is_package(config, directory):
            tree = tree.below(directory.name)
        if not config.harness.command and any(
            name.split("/")[0].removesuffix(".py") == RUNNER for name in tree.files
        ):
            hint = "Rename it: the runner in the image has this name."
            raise InputError(f"has a module {RUNNER}", hint=hint)
    except InputError as error:
        raise InputError(
            error.problem,
            file=str(config.file),
            line=line_of(config.file, "harness.source"),
            key="harness.source",
            hint=error.hint,
        ) from error
    return tree


def is_package(config: Config, directory: Path) -> bool:
    """Whether the source is one package, importable by its own name. A command's files are not imported."""
    return not config.harness.command and (directory / "__init__.py").exists()


def answers(config: Config) -> tuple[Path, ...]:
    """Files that no image may have."""
    return () if Reference.of(config.dataset) else ((config.root / config.dataset).resolve(),)


def payload(config: Config) -> dict[str, Any]:
    """What the runner needs to know of the harness, as plain values."""
    harness = config.harness
    return {
        "entrypoint": harness.entrypoint,
        "command": harness.command,
        "prompt": harness.prompt,
        "tools": harness.tools,
        "middleware": [{"use": item.use, "with": item.with_} for item in harness.middleware],
        "config": harness.config,
        "traces": harness.traces,
    }


def _node_modules(config: Config) -> str | None:
    """Why `node_modules` stays out; None for a program whose packages come from nowhere else."""
    if config.harness.npm:
        return "harness.npm brings the packages"
    return None if config.harness.command else "of Node, and the agent is Python"
