"""What goes into an image from a directory, and what is left out and why."""

import json
import os
from pathlib import Path

import pytest

from bakeoff.errors import InputError
from bakeoff.harness import files


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A package in a project, with a name that is hard on shells and archives."""
    package = tmp_path / "Bestellungen für Zoë" / "shop"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    return package


def read(shop: Path, **options: object) -> files.Tree:
    return files.read(shop, project=shop.parent, **options)  # type: ignore[arg-type]


def add(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)


def left_out(tree: files.Tree) -> dict[str, str]:
    return {one.path: one.reason for one in tree.left_out}


def test_directories_of_the_user_go_in_whatever_they_are_called(shop: Path) -> None:
    names = [
        f"{name}/x.py"
        for name in ("runs", "venv", ".venv", "build", "dist", "tests", "bakeoff", "env", "lib")
    ]
    add(shop, *names)
    assert set(read(shop).files) == {"__init__.py", *names}


def test_hidden_files_go_in_and_keys_do_not(shop: Path) -> None:
    add(shop, ".prompts/system.md", ".config.json", ".env", ".env.local", ".aws/credentials", ".git/config")
    tree = read(shop)
    assert set(tree.files) == {"__init__.py", ".prompts/system.md", ".config.json"}
    assert left_out(tree) == {
        ".env": files.KEYS,
        ".env.local": files.KEYS,
        ".aws": files.KEYS,
        ".git": "version control",
    }


def test_environments_and_caches_are_known_by_what_they_hold(shop: Path) -> None:
    add(
        shop,
        "env/pyvenv.cfg",
        "env/bin/python",
        "somecache/CACHEDIR.TAG",
        "__pycache__/a.pyc",
        "data/__pycache__/b.pyc",
    )
    assert left_out(read(shop)) == {
        "env": "a virtual environment",
        "somecache": files.CACHE,
        "__pycache__": files.CACHE,
        "data/__pycache__": files.CACHE,
    }


def test_answers_stay_out_through_any_link(shop: Path) -> None:
    dataset = shop.parent / "rows.jsonl"
    dataset.write_text("{}")
    (shop / "linked.jsonl").symlink_to(dataset)
    add(
        shop,
        "tape/cassette.json",
        "tape/trial.jsonl",
        "tape/readme.md",
        "old/manifest.json",
        "old/trials.jsonl",
    )
    tree = read(shop, answers=[dataset.resolve()])
    assert set(tree.files) == {"__init__.py", "tape/readme.md"}
    assert set(left_out(tree)) == {"linked.jsonl", "tape/cassette.json", "tape/trial.jsonl", "old"}


@pytest.mark.parametrize("below", [[], ["baseline"], ["baseline", "1/manifest.json", "1/trials.jsonl"]])
def test_runs_change_nothing_that_is_measured(shop: Path, below: list[str]) -> None:
    before = read(shop).digest()
    (shop / "runs").mkdir()
    add(shop / "runs", *below)
    assert read(shop).digest() == before


def test_a_linked_directory_is_followed(shop: Path) -> None:
    add(shop.parent, "shared/data/orders.json")
    (shop / "data").symlink_to("../shared/data")
    (shop / "one.json").symlink_to("../shared/data/orders.json")
    tree = read(shop)
    assert set(tree.files) == {"__init__.py", "data/orders.json", "one.json"}
    assert not tree.outside


def test_a_link_out_of_the_project_is_followed_and_noted(shop: Path, tmp_path: Path) -> None:
    add(tmp_path, "elsewhere/orders.json")
    (shop / "data").symlink_to(tmp_path / "elsewhere")
    tree = read(shop)
    assert "data/orders.json" in tree.files
    assert tree.outside == [f"data -> {tmp_path / 'elsewhere'}"]


def test_loops_end(shop: Path) -> None:
    (shop / "self").symlink_to(".")
    (shop / "up").symlink_to("..")  # has shop, in which we are
    add(shop.parent, "other.txt")
    tree = read(shop)
    assert set(tree.files) == {"__init__.py", "up/other.txt"}
    assert {path: reason.split(",")[0] for path, reason in left_out(tree).items()} == {
        "self": "a loop",
        "up/shop": "a loop",
    }


@pytest.mark.parametrize("target", ["../shared/data", "data"])
def test_a_broken_link_is_refused_by_name(shop: Path, target: str) -> None:
    (shop / "data").symlink_to(target)
    with pytest.raises(InputError, match=f"shop/data is a broken link to {target}"):
        read(shop)


def test_an_editors_lock_is_no_broken_link(shop: Path) -> None:
    (shop / ".#agent.py").symlink_to("someone@host.1234:1")
    assert left_out(read(shop)) == {".#agent.py": "an editor's lock"}


def test_what_is_no_file_is_left_out_unread(shop: Path) -> None:
    os.mkfifo(shop / "pipe")
    assert left_out(read(shop)) == {"pipe": "neither a file nor a directory"}


def test_empty_directories_go_in(shop: Path) -> None:
    (shop / "inbox").mkdir()
    assert read(shop).empty == ["inbox"]


def test_node_modules_stay_out_when_they_come_from_elsewhere(shop: Path) -> None:
    add(shop, "node_modules/left-pad/index.js")
    assert "node_modules/left-pad/index.js" in read(shop).files
    assert left_out(read(shop, node_modules="harness.npm brings them")) == {
        "node_modules": "harness.npm brings them"
    }


def test_the_digest_knows_names_contents_modes_and_empty_directories(shop: Path) -> None:
    add(shop, "run.sh")
    digests = [read(shop).digest()]
    assert read(shop).digest() == digests[0]
    for change in (
        lambda: (shop / "run.sh").chmod(0o755),
        lambda: (shop / "run.sh").write_text("other"),
        lambda: (shop / "run.sh").rename(shop / "go.sh"),
        (shop / "inbox").mkdir,
    ):
        change()
        digests.append(read(shop).digest())
    assert len(set(digests)) == len(digests)


def test_names_that_are_no_text_have_a_digest(shop: Path) -> None:
    (shop / os.fsdecode(b"caf\xe9 \n.txt")).touch()
    assert read(shop).digest()


def test_what_is_too_large_is_refused_with_a_name(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add(shop, "weights.bin")
    monkeypatch.setattr(files, "MAX_BYTES", 5)
    with pytest.raises(InputError, match="more than 0 MiB; the last file was weights"):
        read(shop)
    monkeypatch.setattr(files, "MAX_BYTES", 2**20)
    monkeypatch.setattr(files, "MAX_FILES", 1)
    with pytest.raises(InputError, match="more than 1 files"):
        read(shop)


def test_many_links_do_not_grow_without_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_FILES", 100)
    previous = tmp_path / "0"
    add(previous, "x")
    for level in range(1, 20):
        following = tmp_path / str(level)
        following.mkdir()
        for side in ("a", "b"):
            (following / side).symlink_to(previous)
        previous = following
    with pytest.raises(InputError, match="more than 100 files"):
        files.read(previous, project=tmp_path)


def test_a_recording_beside_the_code_takes_only_itself_out(shop: Path) -> None:
    add(shop, "agent.py")
    (shop / "cassette.json").write_text(json.dumps({}))
    assert set(read(shop).files) == {"__init__.py", "agent.py"}
