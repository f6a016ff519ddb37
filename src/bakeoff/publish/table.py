"""The publishing targets: one row each. A new target is one row here, its settings in `config.targets`, and one
folder, `publish/<name>/`, with

    publisher.py   `publish`, a `Publisher`

`bakeoff publish` and its help read this table. It imports a target's folder when it is used, so
that the command line starts fast.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, cast

from bakeoff.config.extras import install_command
from bakeoff.errors import InputError

if TYPE_CHECKING:
    from bakeoff.config.section import Section
    from bakeoff.publish.source import Source

# Prints one line of progress.
Say = Callable[[str], None]


@dataclass(frozen=True)
class Publication:
    """What a target has after a publication.

    Attributes:
        where: an address that its reader can open.
        sent: what was sent now, in the target's words: `{"runs": 1170, "feedback": 702}`.
        present: what was there before, in the same words.
        warnings: what differs from the run directory, and why.
    """

    where: str
    sent: Mapping[str, int]
    present: Mapping[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


class Publisher(Protocol):
    """`publish` of a target's `publisher.py`."""

    def __call__(self, source: Source, settings: Any, environ: Mapping[str, str], say: Say) -> Publication:
        """Send a run to the target.

        Args:
            source: the run.
            settings: the target's `Settings`.
            environ: environment variables, those of `.env` and `key_command` included.
            say: prints a line of progress.

        Raises:
            InputError: a key, an address or a name is wrong; nothing was sent.
            NotPublished: a part did not arrive; the message says which.
        """
        ...


@dataclass(frozen=True)
class Target:
    """One target, and what the options of `bakeoff publish` mean to it.

    Attributes:
        name: as in `--to`, in harness.yaml, and of its folder.
        title: as in prose.
        url: the setting that `--url` gives.
        label: the setting that `--name` gives, and what it is the name of. None: there is none.
        key_env: the setting that names the environment variable with a secret. None: there is none.
        package: import name of what the extra of the target's name installs. None: it is always installed.
    """

    name: str
    title: str
    url: str
    label: str | None = None
    key_env: str | None = None
    package: str | None = None

    @property
    def settings(self) -> type[Section]:
        """Its section below `publish` in harness.yaml."""
        from bakeoff.config.targets import settings_of

        return settings_of(self.name)

    def publisher(self) -> Publisher:
        """Its `publish`. Raises InputError when its extra is not installed."""
        if self.package is not None and not _installed(self.package):
            raise InputError(
                f"publishing to {self.title} needs a package that is not installed",
                key=f"--to {self.name}",
                hint=f"Install it: {install_command(self.name)}",
            )
        return cast(Publisher, importlib.import_module(f"bakeoff.publish.{self.name}.publisher").publish)


def _installed(package: str) -> bool:
    """Whether a package can be imported, without importing it: MLflow reads its environment when imported."""
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # a parent package is missing
        return False


TARGETS: Mapping[str, Target] = {
    target.name: target
    for target in (
        Target("langsmith", "LangSmith", url="endpoint", label="dataset", key_env="api_key_env"),
        Target("otlp", "OpenTelemetry", url="endpoint", key_env="headers_env", package="opentelemetry.proto"),
        Target("mlflow", "MLflow", url="tracking_uri", label="experiment", package="mlflow"),
    )
}
