"""The digest of a user's own evaluators changes with their code, and with nothing else."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.util import spec_from_file_location
from pathlib import Path

import pytest

from bakeoff.config.schema import EvaluatorSpec
from bakeoff.scoring import code_digests
from tests.unit.scoring.shapes import spec


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "own_checks.py").write_text("def polite(**_): return 1")
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    sys.modules.pop("own_checks", None)


def digest(root: Path, path: str) -> str:
    [found] = code_digests.digests([EvaluatorSpec(kind="use", name="f", use=path)], root).values()
    return found


def test_built_ins_have_no_source_of_the_users(tmp_path: Path) -> None:
    assert code_digests.digests([spec("final_answer", match="exact")], tmp_path) == {}


def test_a_function_that_compares_arguments_is_the_users_too(own: Path) -> None:
    (own / "own_args.py").write_text("x = 1")
    compared = spec(
        "trajectory_match", overrides={"search": "own_args:alike", "refund": "ignore", "get": ["id"]}
    )
    before = code_digests.digests([compared], own)
    assert list(before) == ["own_args:alike"]
    (own / "own_args.py").write_text("x = 2")
    assert code_digests.digests([compared], own) != before


def test_the_digest_is_of_the_module_and_of_what_it_imports(own: Path) -> None:
    (own / "entry_checks.py").write_text("def f(**_):\n    import __main__, words_checks\n    return 1\n")
    (own / "words_checks.py").write_text("import json, deep_checks\n")
    (own / "deep_checks.py").write_text("WORDS = ['thanks']\n")
    before, other = digest(own, "entry_checks:f"), digest(own, "own_checks:polite")
    assert before == digest(own, "entry_checks:f") == digest(own, "entry_checks:g")
    (own / "deep_checks.py").write_text("WORDS = ['please']\n")
    assert digest(own, "entry_checks:f") != before
    assert digest(own, "own_checks:polite") == other, "an unrelated file beside it changes nothing"
    (own / "deep_checks.py").write_text("WORDS = ['thanks']\n")
    assert digest(own, "entry_checks:f") == before
    assert "entry_checks" not in sys.modules, "it is read, not imported"


def test_the_digest_is_of_the_whole_package_with_its_data(own: Path) -> None:
    package = own / "checks_package"
    (package / "inner").mkdir(parents=True)
    for name in ("__init__.py", "inner/__init__.py", "rubric.txt"):
        (package / name).write_text("")
    (package / "inner" / "a.py").write_text("from . import nothing_here\ndef f(**_): return 1\n")
    before = digest(own, "checks_package.inner.a:f")
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "a.cpython-312.pyc").write_bytes(b"x")
    (package / ".cache").write_text("x")
    assert digest(own, "checks_package.inner.a:f") == before
    (package / "rubric.txt").write_text("be strict")
    assert digest(own, "checks_package.inner.a:f") != before


def test_modules_of_a_plain_directory_are_followed_one_by_one(own: Path) -> None:
    (own / "plain_folder").mkdir()
    (own / "plain_folder" / "a.py").write_text("from . import b\nfrom plain_folder import c\n")
    for name in "bcd":
        (own / "plain_folder" / f"{name}.py").write_text("")
    seen = [digest(own, "plain_folder.a:f")]
    for name in "bc":
        (own / "plain_folder" / f"{name}.py").write_text("x = 1")
        seen.append(digest(own, "plain_folder.a:f"))
    assert len(set(seen)) == 3
    (own / "plain_folder" / "d.py").write_text("x = 1")
    assert digest(own, "plain_folder.a:f") == seen[-1]


def test_of_an_installed_package_the_version_counts(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (own / "library_checks.py").write_text("from openevals import exact\n")
    before = [digest(own, "library_checks:f"), digest(own, "openevals.exact:exact_match")]
    real = code_digests.metadata.version
    monkeypatch.setattr(
        code_digests.metadata, "version", lambda name: "999" if name == "openevals" else real(name)
    )
    after = [digest(own, "library_checks:f"), digest(own, "openevals.exact:exact_match")]
    assert all(one != other for one, other in zip(before, after, strict=True))


def test_source_that_cannot_be_parsed_still_has_a_digest(own: Path) -> None:
    (own / "torn_checks.py").write_text("def f(:")
    before = digest(own, "torn_checks:f")
    (own / "torn_checks.py").write_text("def f((:")
    assert digest(own, "torn_checks:f") != before


def test_a_project_that_is_installed_for_editing_is_found(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """setuptools and others put a finder of their own on `sys.meta_path` for it."""
    away = own / "elsewhere"
    away.mkdir()
    (away / "edited_checks.py").write_text("x = 1")

    class Finder:
        @staticmethod
        def find_spec(name: str, path: object = None, target: object = None) -> object:
            found = away / "edited_checks.py"
            return spec_from_file_location(name, found) if name == "edited_checks" else None

    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder])
    before = digest(own, "edited_checks:f")
    (away / "edited_checks.py").write_text("x = 2")
    assert digest(own, "edited_checks:f") != before
