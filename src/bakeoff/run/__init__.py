"""One run, from the plan to its end. `bakeoff.run(...)` is `public.run`."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _Run(ModuleType):
    """The package has the name of the public function, and importing it makes it `bakeoff.run`. So it can be called."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        from bakeoff.run.public import run

        return run(*args, **options)


sys.modules[__name__].__class__ = _Run
