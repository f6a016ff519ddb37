"""Where keys come from: the environment, a `.env` beside harness.yaml, then `key_command`. They go no further.

Nothing is put into `os.environ`, so that no process that bakeoff starts inherits a key that its user kept in a file or
behind a command.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from io import StringIO
from pathlib import Path

from bakeoff.config.located import Located
from bakeoff.config.schema import Config
from bakeoff.errors import InputError

COMMAND_SECONDS = 60.0  # a password manager may ask its user first


def environment(
    config: Config, wanted: Iterable[str], environ: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """The variables that providers' keys are looked up in.

    Args:
        config: its `key_command` and root.
        wanted: variables that the run's models need; the commands of others are not run.
        environ: wins over the other two.

    Raises:
        InputError: .env has a malformed line, or a key command failed. Never quotes their contents.
    """
    found = {**_dotenv(config), **environ}
    for name in wanted:
        if not found.get(name) and name in config.key_command:
            found[name] = _ask(config, name, config.key_command[name])
    return found


def _dotenv(config: Config) -> dict[str, str]:
    path = config.root / ".env"
    if not path.is_file():
        return {}
    from dotenv import dotenv_values
    from dotenv.parser import parse_stream

    shown = str(config.file.parent / ".env")
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise Located(shown).error((), f"cannot be read: {reason}", "Correct or remove the file.") from None
    for binding in parse_stream(StringIO(text)):
        if binding.error or (binding.key is not None and binding.value is None):
            hint = "Write NAME=value, one a line; quote a value with spaces."
            raise Located(shown, binding.original.line).error((), "this line gives no variable a value", hint)
    return {name: value for name, value in dotenv_values(stream=StringIO(text)).items() if value is not None}


def _ask(config: Config, name: str, command: list[str]) -> str:
    """What the command prints, without the line's end."""

    def error(problem: str, hint: str) -> InputError:
        return config.error(f"key_command.{name}", problem, hint)

    program = shutil.which(command[0], path=os.environ.get("PATH")) or (
        str(Path(config.root, command[0])) if (config.root / command[0]).is_file() else None
    )
    if program is None:
        raise error(f"there is no command {command[0]!r}", f"Install it, or export {name} yourself.")
    try:
        done = subprocess.run(
            [program, *command[1:]],
            cwd=config.root,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
    except (OSError, UnicodeDecodeError, subprocess.TimeoutExpired) as failed:
        kind = type(failed).__name__
        raise error(f"{command[0]!r} gave no key ({kind})", f"Run it by hand, or export {name}.") from None
    key = done.stdout.strip()
    if done.returncode != 0 or not key or len(key.splitlines()) != 1:
        problem = f"ended with exit code {done.returncode}" if done.returncode else "did not print one line"
        raise error(f"{command[0]!r} {problem}", f"Run it by hand, or export {name}.")
    return key
