"""Where a run can be published: the one table of targets, and what each of them is given and gives back."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, cast

from bakeoff.config.schema import PublishLangSmith, PublishMlflow, PublishOtlp, Section
from bakeoff.errors import InputError
from bakeoff.publish.source import Source

Say = Callable[[str], None]  # one line of progress for the user


@dataclass(frozen=True)
class Publication:
    """What a target has now.

    Attributes:
        where: an address that its reader can open.
        sent: what was sent this time, in the target's own words: `{"runs": 1170, "feedback": 702}`.
        present: what had been there already, in the same words.
        warnings: what arrived otherwise than in the run directory, and why.
    """

    where: str
    sent: Mapping[str, int]
    present: Mapping[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


class Publisher(Protocol):
    """A target's module has `publish`.

    Raises:
        InputError: a key, an address or a name is wrong; nothing was sent.
        NotPublished: a part did not arrive; says which.
    """

    def __call__(
        self, source: Source, settings: Section, environ: Mapping[str, str], say: Say
    ) -> Publication: ...


@dataclass(frozen=True)
class Target:
    """One target: its module, its section below `publish`, and what the command line's options mean to it."""

    module: str
    settings: type[Section]
    needs: str | None  # import name of what its extra installs; None: always there
    url: str  # the setting that `--url` gives
    name: str | None  # the setting that `--name` gives
    key_env: str | None = None  # the setting that names an environment variable with a secret

    def publisher(self, target: str) -> Publisher:
        """Its `publish`. Raises InputError when its extra is not installed."""
        if self.needs is not None and not _installed(self.needs):
            raise InputError(
                f"publishing to {target} needs a package that is not installed",
                key=f"--to {target}",
                hint=f"Install it: pip install 'bakeoff[{target}]'",
            )
        return cast(Publisher, importlib.import_module(self.module).publish)


def _installed(name: str) -> bool:
    """Whether it can be imported. It is not, here: MLflow's reads its environment when it is."""
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # its parent is not there
        return False


TARGETS: Mapping[str, Target] = {
    "langsmith": Target(
        "bakeoff.publish.langsmith.publisher", PublishLangSmith, None, "endpoint", "dataset", "api_key_env"
    ),
    "otlp": Target(
        "bakeoff.publish.otlp.publisher",
        PublishOtlp,
        "opentelemetry.exporter.otlp",
        "endpoint",
        None,
        "headers_env",
    ),
    "mlflow": Target(
        "bakeoff.publish.mlflow.publisher", PublishMlflow, "mlflow", "tracking_uri", "experiment"
    ),
}
