"""Resolving, building and fetching wheels by the real uv and pip, from directories of tiny wheels, without an index."""

import hashlib
import re
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest

from bakeoff.backends.docker.images import local_wheels, progress, wheels
from bakeoff.backends.docker.images.target import Target
from bakeoff.backends.docker.images.wheels import Order, Wheelhouse
from bakeoff.errors import InputError
from bakeoff.harness.requirements import Requirements, _Reader
from tests.unit.backends.docker.images import wheel_factory

TARGET = Target("3.12", "x86_64", 36)
IDNA = version("idna")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(progress, "EVERY_SECONDS", 3600)
    return tmp_path / "cache"


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """A directory of wheels, the only place that is looked into."""
    (tmp_path / "shelf").mkdir()
    return tmp_path / "shelf"


def order(root: Path, *lines: str, target: Target = TARGET) -> Order:
    (root / "requirements.txt").write_text("\n".join(["--no-index", "--find-links shelf", *lines]))
    asked = read(root)
    return Order(asked, collect(root, asked, target), target)


def read(root: Path) -> Requirements:
    from bakeoff.harness.requirements import Place

    reader = _Reader(root, root / "harness.yaml")
    reader.entry("requirements.txt", Place(str(root / "harness.yaml"), 6, "harness.requirements"))
    return reader.found


def collect(root: Path, asked: Requirements, target: Target) -> dict[Path, local_wheels.LocalWheel]:
    answers = [root / "rows.jsonl"]
    return local_wheels.collect(asked.packages, target, project=root, answers=answers, say=lambda _: None)


def house(root: Path, *lines: str, target: Target = TARGET) -> Wheelhouse:
    return wheels.ensure(order(root, *lines, target=target), lambda _: None)


def pins(wanted: Order) -> dict[str, str]:
    """What the resolver decides; nothing is fetched."""
    found = re.findall(r"^(\S+?)(?: ;.*)?==(\S+)", wheels.resolve(wanted), re.MULTILINE)
    return dict(found)


def refused(root: Path, *lines: str) -> InputError:
    with pytest.raises(InputError) as caught:
        house(root, *lines)
    return caught.value


def names(found: Wheelhouse) -> set[str]:
    return {path.name for path in found.files()}


@pytest.mark.slow
def test_wheels_are_fetched_once_and_looked_for_first(tmp_path: Path, shelf: Path) -> None:
    wheel_factory.wheel(shelf, "alpha", "1.0", "beta>=2")
    wheel_factory.wheel(shelf, "beta", "2.0")
    wheel_factory.wheel(shelf, "beta", "1.0")
    wanted = order(tmp_path, "alpha")
    assert wheels.find(wanted) is None
    said: list[str] = []
    found = wheels.ensure(wanted, said.append)
    assert found.packages == {"alpha": "1.0", "beta": "2.0"}
    assert wheels.ensure(wanted, said.append) == found == wheels.find(wanted)
    assert len(said) == 1


@pytest.mark.slow
def test_a_long_fetch_says_how_far_it_is_and_how_fast(
    tmp_path: Path, shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel_factory.wheel(shelf, "alpha", "1.0")
    monkeypatch.setattr(progress, "EVERY_SECONDS", 0.01)
    said: list[str] = []
    wheels.ensure(order(tmp_path, "alpha"), said.append)
    fetching = [line for line in said if line.startswith("wheels: fetching: ")]
    assert fetching
    assert all("/s, " in line for line in fetching)
    assert any(line.startswith("wheels: resolving: ") for line in said)


@pytest.mark.slow
def test_nothing_is_asked_for_and_nothing_comes(tmp_path: Path, shelf: Path) -> None:
    assert house(tmp_path).packages == {}


@pytest.mark.slow
def test_this_environments_versions_are_preferred(tmp_path: Path, shelf: Path) -> None:
    wheel_factory.wheel(shelf, "idna", IDNA)
    wheel_factory.wheel(shelf, "idna", "99.0")
    wheel_factory.wheel(shelf, "alpha", "1.0", "idna")
    wanted = order(tmp_path, "alpha")
    assert pins(wanted) == {"alpha": "1.0", "idna": IDNA}
    assert wheels.moved(wanted, pins(wanted)) is None


def test_a_pin_holds_moves_only_what_it_must_and_is_named(tmp_path: Path, shelf: Path) -> None:
    certifi = version("certifi")
    for name, installed in (("idna", IDNA), ("certifi", certifi)):
        wheel_factory.wheel(shelf, name, installed)
        wheel_factory.wheel(shelf, name, "99.0")
    wheel_factory.wheel(shelf, "idna", "0.5")
    wanted = order(tmp_path, "certifi", "idna==0.5")
    found = pins(wanted)
    assert found == {"certifi": certifi, "idna": "0.5"}
    note = wheels.moved(wanted, found) or ""
    assert f"`idna==0.5` ({tmp_path / 'requirements.txt'}:4)" in note
    assert f"idna 0.5 (not {IDNA})" in note
    assert "certifi" not in note


@pytest.mark.slow
def test_versions_that_do_not_exist_together_are_refused_with_the_line(tmp_path: Path, shelf: Path) -> None:
    wheel_factory.wheel(shelf, "alpha", "1.0", "beta>=2")
    wheel_factory.wheel(shelf, "beta", "1.0")
    wheel_factory.wheel(shelf, "beta", "2.0")
    error = refused(tmp_path, "beta==1.0", "alpha")
    assert "alpha" in error.problem
    assert "beta>=2" in error.problem
    assert (error.file, error.line) == (str(tmp_path / "requirements.txt"), 3)
    assert refused(tmp_path, "", "absent==1").line == 4


def test_constraints_bound_versions_and_bring_nothing(tmp_path: Path, shelf: Path) -> None:
    for number in ("1.0", "2.0"):
        wheel_factory.wheel(shelf, "alpha", number)
        wheel_factory.wheel(shelf, "beta", number)
    (tmp_path / "constraints.txt").write_text("alpha<2\nbeta<2\n")
    assert pins(order(tmp_path, "alpha", "-c constraints.txt")) == {"alpha": "1.0"}


@pytest.mark.slow
def test_markers_and_tags_are_the_images(tmp_path: Path, shelf: Path) -> None:
    wheel_factory.wheel(shelf, "alpha", "1.0", tag="cp310-cp310-manylinux_2_17_x86_64")
    wheel_factory.wheel(shelf, "alpha", "1.0", tag="cp312-cp312-manylinux_2_31_x86_64")
    wheel_factory.wheel(shelf, "alpha", "1.0", tag="cp312-cp312-manylinux_2_34_x86_64")
    wheel_factory.wheel(shelf, "beta", "1.0")
    lines = ["alpha", 'beta; python_version < "3.11"']
    assert names(house(tmp_path, *lines)) == {"alpha-1.0-cp312-cp312-manylinux_2_34_x86_64.whl"}
    older = replace(TARGET, glibc=31)
    assert names(house(tmp_path, *lines, target=older)) == {"alpha-1.0-cp312-cp312-manylinux_2_31_x86_64.whl"}
    assert set(pins(order(tmp_path, *lines, target=replace(TARGET, python="3.10")))) == {"alpha", "beta"}


@pytest.mark.slow
def test_extras_bring_what_they_name(tmp_path: Path, shelf: Path) -> None:
    wheel_factory.wheel(shelf, "alpha", "1.0", 'beta; extra == "more"')
    wheel_factory.wheel(shelf, "beta", "1.0")
    assert set(pins(order(tmp_path, "alpha[more]"))) == {"alpha", "beta"}
    assert set(pins(order(tmp_path, "alpha"))) == {"alpha"}


@pytest.mark.slow
def test_a_hash_is_checked(tmp_path: Path, shelf: Path) -> None:
    path = wheel_factory.wheel(shelf, "alpha", "1.0", "beta")
    wheel_factory.wheel(shelf, "beta", "1.0")
    right = hashlib.sha256(path.read_bytes()).hexdigest()
    assert set(house(tmp_path, f"alpha==1.0 --hash=sha256:{right}").packages) == {"alpha", "beta"}
    error = refused(tmp_path, f"alpha==1.0 --hash=sha256:{'0' * 64}")
    assert "alpha==1.0" in error.problem
    assert "HASH" in error.problem.upper()
    assert error.line == 3


@pytest.mark.slow
def test_source_archives_are_refused_by_name(tmp_path: Path, shelf: Path) -> None:
    (shelf / "alpha-1.0.tar.gz").write_bytes(b"")
    error = refused(tmp_path, "alpha==1.0")
    assert "alpha" in error.problem
    assert error.line == 3


def test_a_wheel_that_is_built_again_is_another(tmp_path: Path, shelf: Path) -> None:
    wheel_factory.wheel(shelf, "alpha", "1.0", text="STATE = 1")
    before = order(tmp_path, "alpha").home()
    wheel_factory.wheel(shelf, "alpha", "1.0", text="STATE = 2")
    assert order(tmp_path, "alpha").home() != before


# --- the user's own projects and wheels -------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("line", ["./lib", "-e ./lib", "shoplib @ file://{root}/lib", "./lib/"])
def test_a_local_project_is_built_and_its_content_is_part_of_its_version(
    tmp_path: Path, shelf: Path, line: str
) -> None:
    lib = wheel_factory.project(tmp_path / "lib")
    there = sorted(path.name for path in lib.iterdir())
    line = line.format(root=tmp_path)
    first = house(tmp_path, line)
    assert names(first) == {"shoplib-0.1-py3-none-any.whl"}
    assert house(tmp_path, line) == first
    (lib / "lib.py").write_text("STATE = 2\n")
    second = house(tmp_path, line)
    assert second.packages.keys() == first.packages.keys() == {"shoplib"}
    assert second.packages != first.packages, "fixed, with the version it had"
    assert all(
        one.startswith("0.1 (sha256:") for one in (*first.packages.values(), *second.packages.values())
    )
    assert sorted(path.name for path in lib.iterdir()) == there, "the build left nothing behind"


def test_looking_builds_nothing(tmp_path: Path, shelf: Path) -> None:
    wheel_factory.project(tmp_path / "lib")
    (tmp_path / "requirements.txt").write_text("./lib")
    with pytest.raises(local_wheels.NotBuilt):
        local_wheels.collect(read(tmp_path).packages, TARGET, project=tmp_path, answers=[], say=None)


def test_what_stays_out_of_an_image_stays_out_of_a_wheel(tmp_path: Path, shelf: Path) -> None:
    lib = wheel_factory.project(tmp_path / "lib")
    (tmp_path / "rows.jsonl").write_text("the answers")
    (lib / "lib.py").unlink()
    (lib / "lib.py").symlink_to(tmp_path / "rows.jsonl")
    error = refused(tmp_path, "./lib")
    assert "`./lib` cannot be built" in error.problem
    assert "lib.py" in error.problem


def test_a_build_that_fails_says_why_and_where(tmp_path: Path, shelf: Path) -> None:
    lib = wheel_factory.project(tmp_path / "lib")
    (lib / "backend.py").write_text("raise SystemError('the compiler is on holiday')\n")
    error = refused(tmp_path, "./lib")
    assert "the compiler is on holiday" in error.problem
    assert (error.file, error.line) == (str(tmp_path / "requirements.txt"), 3)


def test_code_compiled_on_this_host_is_refused(tmp_path: Path, shelf: Path) -> None:
    wheel_factory.project(tmp_path / "lib", tag="cp312-cp312-linux_x86_64")
    assert "compiled" in refused(tmp_path, "./lib").problem


@pytest.mark.slow
def test_a_local_wheel(tmp_path: Path, shelf: Path) -> None:
    wheel_factory.wheel(tmp_path / "own", "alpha", "1.0")
    first = house(tmp_path, "./own/alpha-1.0-py3-none-any.whl")
    wheel_factory.wheel(tmp_path / "own", "alpha", "1.0", text="STATE = 2")
    assert house(tmp_path, "./own/alpha-1.0-py3-none-any.whl").packages != first.packages


@pytest.mark.parametrize(
    "tag",
    ["cp311-cp311-manylinux_2_17_x86_64", "cp312-cp312-win_amd64", "cp312-cp312-manylinux_2_17_aarch64"],
)
def test_a_local_wheel_for_another_machine_is_refused(tmp_path: Path, shelf: Path, tag: str) -> None:
    path = wheel_factory.wheel(tmp_path / "own", "alpha", "1.0", tag=tag)
    error = refused(tmp_path, f"./own/{path.name}")
    assert "does not run on Python 3.12, Linux x86_64" in error.problem
    assert error.line == 3


def test_a_local_wheel_is_what_it_is_called(tmp_path: Path, shelf: Path) -> None:
    path = wheel_factory.wheel(tmp_path / "own", "alpha", "1.0")
    assert "a package named alpha" in refused(tmp_path, f"beta @ {path.as_uri()}").problem
    assert "hash" in refused(tmp_path, f"./own/{path.name} --hash=sha256:{'0' * 64}").problem


@pytest.mark.slow
def test_bytes_of_a_built_wheel_depend_on_its_content_alone(tmp_path: Path, shelf: Path, cache: Path) -> None:
    wheel_factory.project(tmp_path / "lib")
    first = house(tmp_path, "./lib").packages
    cache.rename(tmp_path / "other")
    assert house(tmp_path, "./lib").packages == first


def test_an_index_that_is_not_reached_is_no_fault_of_the_requirements() -> None:
    from bakeoff.backends.docker.images.target import unreachable

    assert unreachable("error: Failed to fetch: `https://x/simple`\n  dns error: no address")
    assert unreachable("Because alpha was not found in the provided package locations") is None
    assert "s3cret-word" not in str(unreachable("Failed to fetch: `https://u:s3cret-word@x/simple`"))
