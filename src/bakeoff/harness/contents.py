"""What the harness image is made of: the source's files, the packages, and what the runner is handed."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bakeoff import datasets
from bakeoff.config.schema import Config
from bakeoff.errors import InputError
from bakeoff.harness import files, requirements
from bakeoff.harness.requirements import Requirements
from bakeoff.record.base import JsonDict
from bakeoff.text.redact import redact

SHOWN = 8  # names of a list that a person reads
RUNNER = "bakeoff_runner"  # the one name that the image needs for itself


@dataclass(frozen=True, slots=True)
class Contents:
    """All that goes into the image from this host. Nothing was fetched, built or run to find it out."""

    source: files.Tree  # names below the directory that is importable in the image
    requirements: Requirements

    def listing(self) -> JsonDict:
        """Everything by name, for a program to read."""
        tree = self.source
        return {
            "files": sorted(tree.files),
            "bytes": tree.size,
            "left_out": [{"path": one.path, "reason": one.reason} for one in tree.left_out],
            "links_out_of_the_project": tree.outside,
            "requirements": [redact(one.text) for one in self.requirements.packages],
            "constraints": [redact(one.text) for one in self.requirements.constraints],
        }

    def summary(self) -> list[tuple[str, str]]:
        """The same for a person: a subject and what is so, one line each."""
        tree, asked = self.source, self.requirements
        lines = [
            (
                "into the image",
                f"{len(tree.files)} files, {tree.size / 1024:.0f} KiB: {_some(sorted(tree.files))}",
            )
        ]
        lines += [("left out", f"{path} ({reason})") for path, reason in _grouped(tree.left_out)]
        lines += [("link followed", f"{link} (out of the project)") for link in tree.outside]
        if asked.packages:
            lines.append(("requirements", _some([redact(one.text) for one in asked.packages])))
        if asked.constraints:
            lines.append(("constraints", _some([redact(one.text) for one in asked.constraints])))
        lines += [("built here", f"{one.text} ({one.place})") for one in asked.packages if one.path]
        return lines


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
        hint = "Give the directory of the agent's code, relative to this file."
        raise config.error("harness.source", f"there is no directory {config.harness.source!r}", hint)
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
        raise config.error("harness.source", error.problem, error.hint) from error
    return tree


def is_package(config: Config, directory: Path) -> bool:
    """Whether the source is one package, importable by its own name. A command's files are not imported."""
    return not config.harness.command and (directory / "__init__.py").exists()


def answers(config: Config) -> tuple[Path, ...]:
    """Files that no image may have."""
    file = datasets.local_file(config)
    return () if file is None else (file.resolve(),)


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


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:SHOWN])
    return shown if len(names) <= SHOWN else f"{shown}, {len(names) - SHOWN} more (all with --json)"


def _grouped(left_out: list[files.LeftOut]) -> list[tuple[str, str]]:
    """One line for each reason in each directory: a recording has a file for each trial."""
    groups: dict[tuple[str, str], list[str]] = {}
    for one in left_out:
        groups.setdefault((one.path.rpartition("/")[0], one.reason), []).append(one.path)
    return [(_some(paths), reason) for (_, reason), paths in groups.items()]


def _node_modules(config: Config) -> str | None:
    """Why `node_modules` stays out; None for a program whose packages come from nowhere else."""
    if config.harness.npm:
        return "harness.npm brings the packages"
    return None if config.harness.command else "of Node, and the agent is Python"
