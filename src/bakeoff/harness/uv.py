"""Where uv is: it reads lock files, resolves and builds."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from bakeoff.errors import UnfitEnvironment


def uv() -> str:
    """The program, the one beside this Python first.

    Raises:
        UnfitEnvironment: there is none.
    """
    beside = str(Path(sys.executable).parent)
    found = shutil.which("uv", path=os.pathsep.join([beside, os.environ.get("PATH", "")]))
    if found is None:
        raise UnfitEnvironment("uv is not installed", hint="install it: pip install uv")
    return found
