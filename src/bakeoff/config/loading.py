"""Reads harness.yaml into a Config; whatever is wrong with it is one error with file, line, key and hint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bakeoff.config import evaluators, yaml_file
from bakeoff.config.checks import SECRET, contradictions
from bakeoff.config.fitting import fit, found
from bakeoff.config.overrides import Overrides, apply, reserve_below_ceiling
from bakeoff.config.schema import Config


def load(path: Path, overrides: Overrides | None = None) -> Config:
    """Read, check and resolve harness.yaml.

    A reserve that the file does not give is the default, or the ceiling where that is lower.

    Args:
        path: as the user gave it; errors repeat it so.
        overrides: the command line's changes.

    Raises:
        InputError: the first thing wrong, in the file or in an override.
    """
    data, source = yaml_file.read(path)
    if not isinstance(data, dict):
        raise source.error((), f"expected a mapping, found {found(data)}", "Start with `version: 1`.")
    version = data.get("version", 1)
    if version != 1 or isinstance(version, bool):  # pydantic's Literal[1] takes True, which equals 1
        raise source.error(("version",), f"expected version 1, found {found(version)}", "Write `version: 1`.")
    config = fit(Config, data | evaluators.specs(data, source), source).read_from(path, source)
    config = reserve_below_ceiling(config, only_defaults=True)
    for loc, problem, hint in contradictions(config):
        raise source.error(loc, problem, hint)
    return apply(overrides or Overrides(), config)


def dump(config: Config) -> dict[str, Any]:
    """The resolved configuration as plain JSON for the manifest: sizes in bytes, defaults filled in.

    Every value whose key ends like a secret's (`api_key`, `password`, ...) is masked. Names of environment
    variables (`api_key_env`) stay: they say which key was used without saying the key.
    """
    masked: dict[str, Any] = _masked(config.model_dump(mode="json", by_alias=True))
    # the program alone: its arguments may say the key, or where it lies
    masked["key_command"] = {name: [command[0], "***"] for name, command in config.key_command.items()}
    return masked


def _masked(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: "***" if SECRET.search(key) and one is not None else _masked(one)
            for key, one in value.items()
        }
    return [_masked(one) for one in value] if isinstance(value, list) else value
