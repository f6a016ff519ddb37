"""What is checked before anything starts: code, rows, host, providers and the user's evaluators."""

# ruff: noqa: E501 - one mistake a line

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bakeoff import datasets
from bakeoff.backends.base import Capacity
from bakeoff.config.loading import load
from bakeoff.errors import InputError
from bakeoff.harness.source import SourceTree, definitions
from bakeoff.run import preflight

HARNESS = """\
version: 1
name: desk
harness:
  entrypoint: desk.agent:build_agent
  source: src/desk
  base_image: python:3.11-slim
resources: {cpus: 1.0, memory: 512MiB}
candidates:
  - {name: steady, model: "simulated:skill=0.9"}
dataset: rows.jsonl
evaluators:
  - {trajectory_match: {}, threshold: 1.0}
  - final_answer
"""
AGENT = """\
import os
from functools import wraps
if os.name:
    def build_agent(model, context): return model
def one(model): ...
def three(model, context, extra): ...
def keyword(model, context, *, extra): ...
def by_name(*, model, context): ...
def roomy(model, context, extra=None, **rest): ...
async def later(model, context): ...
@wraps(one)
def wrapped(): ...
class Made: ...
value = lambda model, context: model
"""
ROW = '{"id": "a", "inputs": {"question": "?"}, "outputs": {"answer": "x", "trajectory": []}}\n'


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    package = tmp_path / "src" / "desk"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "agent.py").write_text(AGENT)
    (package / "star.py").write_text("from os import *\n")
    (package / "broken.py").write_text("x = 1\ndef build_agent(:\n")
    (tmp_path / "harness.yaml").write_text(HARNESS)
    (tmp_path / "rows.jsonl").write_text(ROW)
    monkeypatch.setattr(sys, "path", sys.path.copy())  # what an evaluator imports is this test's alone
    yield tmp_path
    for name in [name for name in sys.modules if name.partition("_")[0].partition(".")[0] == "desk"]:
        del sys.modules[name]


def check(project: Path, *changes: tuple[str, str], environ: dict[str, str] | None = None) -> None:
    file = project / "harness.yaml"
    text = file.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    file.write_text(text)
    config = load(file)
    rows = datasets.load(config)
    preflight.check(config, rows, Capacity(2.0, 2**30), environ=environ or {})


def refused(project: Path, *changes: tuple[str, str]) -> InputError:
    with pytest.raises(InputError) as caught:
        check(project, *changes)
    assert caught.value.hint
    return caught.value


def test_a_sound_project_passes(project: Path) -> None:
    check(project)


def test_a_source_that_holds_packages_passes(project: Path) -> None:
    check(project, ("source: src/desk", "source: src"))


GOOD_ENTRYPOINTS = ["desk.agent:roomy", "desk.agent:later", "desk.agent:wrapped", "desk.agent:Made", "desk.agent:value", "desk.star:x"]  # fmt: skip


@pytest.mark.parametrize("entrypoint", GOOD_ENTRYPOINTS)
def test_what_cannot_be_known_without_importing_is_left_to_the_image(project: Path, entrypoint: str) -> None:
    check(project, ("desk.agent:build_agent", entrypoint))


CODE = [
    ("desk.agent:biuld_agent", "`desk.agent` has no `biuld_agent`", "Did you mean `desk.agent:build_agent`?"),
    ("desk.agent:zzz", "`desk.agent` has no `zzz`", "Functions there are: build_agent, one, three"),
    ("desk.agnt:build_agent", "there is no module `desk.agnt` in src/desk", "Did you mean `desk.agent:build_agent`?"),
    ("elsewhere:build_agent", "there is no module `elsewhere`", "Modules there are: desk, desk.agent"),
    ("desk.agent:one", "`one(model)` cannot be called with (model, context) (line 5)", "def one(model, context):"),
    ("desk.agent:three", "`three(model, context, extra)` cannot be called", "def three(model, context):"),
    ("desk.agent:keyword", "cannot be called with (model, context)", "def keyword(model, context):"),
    ("desk.agent:by_name", "cannot be called with (model, context)", "def by_name(model, context):"),
]  # fmt: skip


@pytest.mark.parametrize(("entrypoint", "problem", "hint"), CODE)
def test_bad_entrypoints(project: Path, entrypoint: str, problem: str, hint: str) -> None:
    error = refused(project, ("desk.agent:build_agent", entrypoint))
    assert (error.file, error.line, error.key) == (str(project / "harness.yaml"), 4, "harness.entrypoint")
    assert problem in error.problem
    assert hint in (error.hint or "")


def test_an_entrypoint_of_a_requirement_is_left_to_the_image(project: Path) -> None:
    check(
        project,
        ("desk.agent:build_agent", "elsewhere:build_agent"),
        ("  source", "  requirements: [x]\n  source"),
    )


def test_broken_code_names_its_own_file(project: Path) -> None:
    error = refused(project, ("desk.agent:", "desk.broken:"))
    assert (error.file, error.line) == (str(project / "src/desk/broken.py"), 2)
    assert "not valid Python" in error.problem


def test_code_that_only_a_newer_python_may_understand_is_left_to_the_image(project: Path) -> None:
    check(project, ("desk.agent:", "desk.broken:"), ("python:3.11-slim", "python:3.99-slim"))


TOOLS = [
    ("desk.agent:nope", "harness.tools[1]", 7, "has no `nope`"),
    ("desk.agant:one", "harness.tools[1]", 7, "no module `desk.agant`"),
    ("dsk.agent:one", "harness.tools[1]", 7, "no module `dsk.agent`"),
]


@pytest.mark.parametrize(("tool", "key", "line", "problem"), TOOLS)
def test_bad_tools(project: Path, tool: str, key: str, line: int, problem: str) -> None:
    tools = f"  prompt: Hi\n  tools:\n    - desk.agent:one\n    - {tool}\n"
    error = refused(project, ("  entrypoint: desk.agent:build_agent\n", tools))
    assert (error.key, error.line) == (key, line)
    assert problem in error.problem


def test_middleware_and_tools_of_installed_packages_are_left_to_the_image(project: Path) -> None:
    new = "  prompt: Hi\n  tools: [desktop.agent:search, langchain_community.tools:Search]\n  middleware: [{use: 'langchain.agents.middleware:PIIMiddleware'}]\n"
    check(project, ("  entrypoint: desk.agent:build_agent\n", new))


SETTINGS = [
    ("source: src/desk", "source: src/dsk", "harness.source", 5, "no directory 'src/dsk'", "directory"),
    ("cpus: 1.0", "cpus: 4", "resources.cpus", 7, "4 CPUs are more than the 2", "--cpus"),
    ("512MiB", "2GiB", "resources.memory", 7, "2048 MiB are more than the 1024 MiB", "--memory"),
    ("simulated:skill=0.9", "simulated:skll=1", "candidates[0].model", 9, "skll", "simulated:skill"),
    ("simulated:skill=0.9", "nobody:gpt", "candidates[0].model", 9, "nobody", ""),
    ("- final_answer", "- {llm_judge: {model: 'simulated:skill=1'}}", "evaluators[1].llm_judge.model", 13, "cannot judge", "provider"),
    ("- final_answer", "- {llm_judge: {model: 'nobody:gpt'}}", "evaluators[1].llm_judge.model", 13, "nobody", ""),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "key", "line", "problem", "hint"), SETTINGS)
def test_bad_settings(
    project: Path, old: str, new: str, key: str, line: int, problem: str, hint: str
) -> None:
    error = refused(project, (old, new))
    assert (error.file, error.line, error.key) == (str(project / "harness.yaml"), line, key)
    assert problem in error.problem
    assert hint in (error.hint or "")


def test_a_package_directory_must_be_importable(project: Path) -> None:
    (project / "src/desk").rename(project / "src/my-desk")
    error = refused(project, ("src/desk", "src/my-desk"))
    assert error.key == "harness.source"
    assert "'my-desk' cannot be imported" in error.problem


def test_a_candidate_s_line_is_found_when_others_are_left_out(project: Path) -> None:
    text = HARNESS.replace("dataset:", "  - {name: bad, model: 'nobody:x'}\ndataset:")
    (project / "harness.yaml").write_text(text)
    config = load(project / "harness.yaml")
    config = config.model_copy(update={"candidates": config.candidates[1:]})
    with pytest.raises(InputError) as caught:
        preflight.check(config, datasets.load(config), Capacity(2, 2**30), environ={})
    assert (caught.value.key, caught.value.line) == ("candidates[1].model", 10)


# --- rows -------------------------------------------------------------------------------------------


def test_rows_without_what_a_required_evaluator_needs(project: Path) -> None:
    (project / "rows.jsonl").write_text(ROW + ROW.replace('"a"', '"b"').replace(', "trajectory": []', ""))
    error = refused(project)
    assert (error.file, error.line, error.key) == (str(project / "rows.jsonl"), 2, "outputs.trajectory")
    assert "trajectory_match" in error.problem


def test_rows_without_what_an_optional_evaluator_needs_pass(project: Path) -> None:
    (project / "rows.jsonl").write_text(ROW.replace('"answer": "x", ', ""))
    check(project)


def test_files_larger_than_the_disk(project: Path) -> None:
    (project / "big").write_bytes(b"x" * 2000)
    (project / "rows.jsonl").write_text(ROW.replace('"id"', '"files": {"o": "big"}, "id"'))
    error = refused(project, ("cpus: 1.0", "disk: 1KiB, cpus: 1.0"))
    assert (error.line, error.key) == (1, "files")
    assert "2000 bytes" in error.problem


# --- evaluators -------------------------------------------------------------------------------------

CHECKS = """\
def polite(*, inputs, outputs, reference_outputs, strict=False): return 1
def old(run, example): return 1
value = 3
"""


@pytest.fixture
def checks(project: Path) -> Path:
    (project / "desk_checks.py").write_text(CHECKS)
    (project / "desk_broken.py").write_text("raise SystemExit('gone')\n")
    (project / "src/desk/inner_checks.py").write_text(CHECKS)
    return project


@pytest.mark.parametrize("module", ["desk_checks", "desk.inner_checks"])
def test_a_user_s_evaluator(checks: Path, module: str) -> None:
    check(checks, ("- final_answer", f"- {{use: '{module}:polite', with: {{strict: true}}}}"))


EVALUATORS = [
    ("use: 'desk_checks:polit'", "has no attribute 'polit'", "Check the path"),
    ("use: 'desk_checks:value'", "not a function", "module:function"),
    ("use: 'desk_checks:old'", "cannot be an evaluator", "inputs, outputs, reference_outputs"),
    ("use: 'desk_checks:polite', with: {loud: 1}", "unexpected keyword argument 'loud'", "`with`"),
    ("use: 'desk_gone:polite'", "ModuleNotFoundError", "Check the path"),
    ("use: 'desk_broken:polite'", "SystemExit: gone", "Check the path"),
]


@pytest.mark.parametrize(("entry", "problem", "hint"), EVALUATORS)
def test_bad_evaluators(checks: Path, entry: str, problem: str, hint: str) -> None:
    error = refused(checks, ("- final_answer", f"- {{{entry}}}"))
    assert (error.file, error.line) == (str(checks / "harness.yaml"), 13)
    assert (error.key or "").startswith("evaluators[1].use")
    assert problem in error.problem
    assert hint in (error.hint or "")


# --- reading code -----------------------------------------------------------------------------------


def test_references_are_looked_at_before_the_user_s_code_runs(checks: Path) -> None:
    (checks / "rows.jsonl").write_text(ROW.replace(', "trajectory": []', ""))
    assert refused(checks, ("- final_answer", "- {use: 'desk_broken:polite'}")).key == "outputs.trajectory"


def test_modules_of_a_tree_leave_out_what_cannot_be_imported(project: Path) -> None:
    (project / "src" / ".venv").mkdir()
    (project / "src" / ".venv" / "x.py").touch()
    assert SourceTree.of(project / "src").modules() == ["desk", "desk.agent", "desk.broken", "desk.star"]


def test_definitions_see_through_conditions(tmp_path: Path) -> None:
    file = tmp_path / "m.py"
    file.write_text(
        "try:\n    import a.b as c, d.e\nexcept ImportError:\n    c = None\nx: int = 1\n(y, z) = 1, 2\n"
        "def f():\n    inner = 1\nclass K:\n    attribute = 1\n"
    )
    found = definitions(file)
    assert set(found.names) == {"c", "d", "x", "y", "z", "f", "K"}
    assert found.complete
