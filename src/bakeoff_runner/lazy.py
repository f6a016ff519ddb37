"""Give named packages a lazy start: their `__init__` runs when something in it is first asked for.

`langsmith.types` re-exports some 150 generated pydantic models, of which a harness uses none: a third of the cost of
`import langchain.agents`. Its submodules still import as ever; nothing but the moment of loading changes.
"""

from __future__ import annotations

import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

PACKAGES = frozenset({"langsmith.types"})


class _LazyLoader(Loader):
    """Leaves the package empty until an attribute is missed, then runs its real `__init__`."""

    def __init__(self, real: Loader) -> None:
        self.real = real

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.real.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        def load_on_first_use(name: str) -> Any:
            # the import system asks for dunders that a package may lack; they say nothing about use
            if name.startswith("__") and name != "__all__":
                raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")
            if module.__dict__.pop("__getattr__", None) is not None:
                self.real.exec_module(module)
            return getattr(module, name)

        module.__dict__["__getattr__"] = load_on_first_use


class _LazyFinder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in PACKAGES:
            return None
        spec = PathFinder.find_spec(fullname, path)
        if spec is not None and spec.loader is not None:
            spec.loader = _LazyLoader(spec.loader)
        return spec


def install() -> None:
    """Put the finder in front; does nothing the second time."""
    if not any(isinstance(finder, _LazyFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _LazyFinder())
