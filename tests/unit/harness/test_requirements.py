"""`harness.requirements`: every form that pip reads is understood, or refused with its line. Nothing is fetched."""

from pathlib import Path

import pytest

from bakeoff.config import loading
from bakeoff.errors import InputError
from bakeoff.harness import requirements
from bakeoff.harness.requirements import Requirements

HARNESS = """version: 1
name: shop
harness:
  prompt: Hello
  requirements:{entries}
candidates: [{{name: a, model: "simulated:skill=1"}}]
dataset: rows.jsonl
evaluators: [{{final_answer: {{match: contains}}, threshold: 1.0}}]
"""
PROJECT = '[project]\nname = "{name}"\nversion = "1"\ndependencies = {dependencies}\n'


def read(root: Path, *entries: str, files: dict[str, str] | None = None) -> Requirements:
    for name, text in (files or {}).items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    listed = "".join(f"\n    - {entry!r}" for entry in entries) or " []"
    (root / "harness.yaml").write_text(HARNESS.format(entries=listed))
    return requirements.read(loading.load(root / "harness.yaml"))


def refused(root: Path, *entries: str, files: dict[str, str] | None = None) -> InputError:
    with pytest.raises(InputError) as caught:
        read(root, *entries, files=files)
    return caught.value


def project(name: str, *dependencies: str) -> str:
    return PROJECT.format(name=name, dependencies=list(dependencies))


def lines(found: Requirements) -> list[str]:
    return [one.pinned_to(one.name or "?", one.path.name if one.path else one.url) for one in found.packages]


def test_requirements_as_pip_writes_them(tmp_path: Path) -> None:
    found = read(tmp_path, "Tabulate==0.9.0", "httpx[http2]>=0.27,<1", 'tomli; python_version < "3.11"')
    assert lines(found) == ["tabulate==0.9.0", "httpx[http2]<1,>=0.27", 'tomli ; python_version < "3.11"']
    assert [one.place.line for one in found.packages] == [6, 7, 8]
    assert found.packages[1].place.key == "harness.requirements[1]"


@pytest.mark.parametrize(
    "entry",
    ["requirements.txt", "./requirements.txt", "-r requirements.txt", "--requirement=requirements.txt"],
)
def test_a_file_is_read_and_never_looked_up_as_a_package(tmp_path: Path, entry: str) -> None:
    found = read(tmp_path, entry, files={"requirements.txt": "# ours\ntabulate==0.9.0  # a table\n"})
    assert lines(found) == ["tabulate==0.9.0"]
    assert (found.packages[0].place.file, found.packages[0].place.line) == (
        str(tmp_path / "requirements.txt"),
        2,
    )


def test_one_file_may_be_given_as_text(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("tabulate")
    text = HARNESS.format(entries=" requirements.txt")
    (tmp_path / "harness.yaml").write_text(text)
    assert lines(requirements.read(loading.load(tmp_path / "harness.yaml"))) == ["tabulate"]


@pytest.mark.parametrize(
    "entry",
    [
        "requirements.txt",
        "-r requirements.txt",
        "reqs/base.in",
        "pyproject.toml",
        "uv.lock",
        "Pipfile",
        "setup.py",
    ],
)
def test_a_file_that_is_missing_is_named_with_its_line(tmp_path: Path, entry: str) -> None:
    error = refused(tmp_path, entry)
    assert f"there is no file {tmp_path / entry.removeprefix('-r ')}" in error.problem
    assert (error.file, error.line, error.key) == (
        str(tmp_path / "harness.yaml"),
        6,
        "harness.requirements[0]",
    )


def test_names_with_a_dot_are_packages(tmp_path: Path) -> None:
    assert lines(read(tmp_path, "discord.py", "zope.interface==7.2")) == ["discord-py", "zope-interface==7.2"]


def test_a_name_that_is_also_a_project_beside_the_harness_is_refused(tmp_path: Path) -> None:
    files = {"shoplib/pyproject.toml": project("shoplib")}
    assert "./shoplib" in str(refused(tmp_path, "shoplib", files=files).hint)
    assert "./shoplib" in str(refused(tmp_path, "r.txt", files=files | {"r.txt": "shoplib"}).hint)
    assert lines(read(tmp_path, "shoplib==1.0", "./shoplib")) == ["shoplib==1.0", "? @ shoplib"]


def test_files_may_name_files_beside_them_and_themselves(tmp_path: Path) -> None:
    files = {
        "reqs/all.txt": "-r base.txt\n-c ../constraints.txt\ntabulate\n",
        "reqs/base.txt": "-r all.txt\nhttpx\n",
        "constraints.txt": "httpx<1\nidna<4\n",
    }
    found = read(tmp_path, "-r reqs/all.txt", files=files)
    assert sorted(lines(found)) == ["httpx", "tabulate"]
    assert [one.pinned_to(one.name or "", None) for one in found.constraints] == ["httpx<1", "idna<4"]
    assert {path.name for path in found.files} == {"all.txt", "base.txt", "constraints.txt"}


def test_a_line_in_a_nested_file_is_named(tmp_path: Path) -> None:
    files = {"a.txt": "tabulate\n-r sub/b.txt\n", "sub/b.txt": "\nfoo bar\n"}
    error = refused(tmp_path, "a.txt", files=files)
    assert (error.file, error.line) == (str(tmp_path / "sub/b.txt"), 2)
    assert "foo bar" in error.problem
    error = refused(tmp_path, "a.txt", files={"a.txt": "tabulate\n-r sub/gone.txt\n"})
    assert (error.file, error.line) == (str(tmp_path / "a.txt"), 2)


@pytest.mark.parametrize(
    "written",
    [
        ".",
        "./lib",
        "lib/",
        "-e ./lib",
        "--editable=lib/",
        "file:./lib",
        "lib @ file://{root}/lib",
        "{root}/lib",
        "./mono#subdirectory=lib",
        "./lib[x]",
    ],
)
def test_local_projects(tmp_path: Path, written: str) -> None:
    files = {
        name: project("lib") for name in ("pyproject.toml", "lib/pyproject.toml", "mono/lib/pyproject.toml")
    }
    entry = written.format(root=tmp_path)
    [found] = read(tmp_path, entry, files=files).packages
    expected = {".": tmp_path, "./mono#subdirectory=lib": tmp_path / "mono/lib"}.get(
        written, tmp_path / "lib"
    )
    assert found.path == expected
    [again] = read(tmp_path, "reqs/r.txt", files={"reqs/r.txt": entry}).packages  # from where pip is started
    assert again.path == expected


def test_a_path_beside_the_file_that_names_it(tmp_path: Path) -> None:
    files = {"reqs/r.txt": "./lib", "reqs/lib/pyproject.toml": project("lib")}
    [found] = read(tmp_path, "reqs/r.txt", files=files).packages
    assert found.path == tmp_path / "reqs/lib"


@pytest.mark.parametrize("written", ["./gone", "./empty", "gone @ file:///gone", "./gone.whl", "./a.tar.gz"])
def test_a_local_project_that_is_not_there_is_refused(tmp_path: Path, written: str) -> None:
    (tmp_path / "empty").mkdir()
    assert refused(tmp_path, written).key == "harness.requirements[0]"
    error = refused(tmp_path, "r.txt", files={"r.txt": "./notes.bin", "notes.bin": ""})
    assert "notes.bin is not a package" in error.problem


@pytest.mark.parametrize("name", ["x-1.0-py3-none-any.whl", "x-1.0.tar.gz"])
def test_local_archives(tmp_path: Path, name: str) -> None:
    [found] = read(tmp_path, f"./wheels/{name}", files={f"wheels/{name}": ""}).packages
    assert found.path == tmp_path / "wheels" / name


def test_projects_that_lie_beside_a_local_project_come_with_it(tmp_path: Path) -> None:
    source = '[tool.uv.sources]\nbase = {path = "../base"}\n'
    files = {
        "lib/pyproject.toml": project("lib", "base", "tabulate") + source,
        "base/pyproject.toml": project("base", "lib") + '[tool.uv.sources]\nlib = {path = "../lib"}\n',
    }
    found = read(tmp_path, "./lib", files=files)
    assert {one.path for one in found.packages} == {tmp_path / "lib", tmp_path / "base"}


def test_a_pyprojects_own_dependencies(tmp_path: Path) -> None:
    files = {
        "pyproject.toml": project("shop", "tabulate==0.9.0", "shoplib[x]", "shop[all]")
        + '[tool.uv.sources]\nshoplib = {path = "lib"}\n',
        "lib/pyproject.toml": project("shoplib"),
    }
    found = read(tmp_path, "pyproject.toml", files=files)
    assert lines(found) == ["tabulate==0.9.0", "shoplib[x] @ lib", f"shop[all] @ {tmp_path.name}"]
    assert found.packages[0].place.line == 4


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[tool.poetry.dependencies]\nhttpx = '*'\n", "no [project] table"),
        ('[project]\nname = "a"\ndynamic = ["dependencies"]\n', "dynamic"),
        (project("a", "b") + '[tool.uv.sources]\nb = {git = "https://x/b"}\n', "b from elsewhere (git)"),
        (project("a", "b") + "[tool.uv.sources]\nb = {workspace = true}\n", "b from elsewhere (workspace)"),
        (project("a", "b c"), "`b c` is not a requirement"),
        (project("a", "b @ git+https://x/b"), "version control"),
        ("[project\n", "not valid TOML"),
    ],
)
def test_a_pyproject_that_does_not_say_it_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    error = refused(tmp_path, "pyproject.toml", files={"pyproject.toml": text})
    assert problem in error.problem
    assert error.file == str(tmp_path / "pyproject.toml")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("b @ git+https://x/b@v1", "version control"),
        ("-e git+ssh://git@x/b#egg=b", "version control"),
        ("https://x/b-1.0.tar.gz", "not a wheel"),
        ("https://x/b-1.0-py3-none-any.whl", "no hash"),
        ("foo bar", "`foo bar`"),
        ("foo>=4,,<5", "`foo>=4,,<5`"),
        ("${NOT_SET_ANYWHERE}", "NOT_SET_ANYWHERE"),
        ("--no-binary :all:", "--no-binary"),
        ("--trusted-host x", "--trusted-host"),
        ("--frobnicate", "an option"),
        ("foo --config-settings=a=b", "an option"),
        ("-r https://x/requirements.txt", "not fetched"),
        ("poetry.lock", "looks like a file"),
    ],
)
def test_what_cannot_be_had_is_refused_with_its_line(tmp_path: Path, line: str, problem: str) -> None:
    files = {"requirements.txt": f"# one\ntabulate\n{line}\n"}
    error = refused(tmp_path, "requirements.txt", files=files)
    assert problem in error.problem
    assert (error.file, error.line) == (str(tmp_path / "requirements.txt"), 3)


@pytest.mark.parametrize("name", ["poetry.lock", "Pipfile.lock", "environment.yml", "setup.cfg"])
def test_files_of_other_tools_are_refused_with_what_makes_them_requirements(
    tmp_path: Path, name: str
) -> None:
    assert name in refused(tmp_path, name, files={name: ""}).problem


def test_options_about_where_packages_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INDEX_TOKEN", "t0k")
    text = (
        "--index-url https://u:${INDEX_TOKEN}@x/simple\n--extra-index-url=https://y/simple\n"
        "-f wheels\n--pre\n--prefer-binary\n--only-binary :all:\n--require-hashes\n"
        "tabulate==0.9.0 \\\n  --hash=sha256:aa \\\n  --hash=sha256:bb\n"
    )
    found = read(tmp_path, "r.txt", files={"r.txt": text, "wheels/.keep": ""})
    assert found.flags() == [
        "--index-url=https://u:t0k@x/simple",
        "--extra-index-url=https://y/simple",
        f"--find-links={tmp_path / 'wheels'}",
    ]
    assert found.pre
    assert found.packages[0].hashes == ("sha256:aa", "sha256:bb")
    assert found.packages[0].text == "tabulate==0.9.0"


def test_a_wheels_url_with_its_hash(tmp_path: Path) -> None:
    url = "https://x/b-1.0-py3-none-any.whl"
    for entry in (f"{url}#sha256=aa", f"b @ {url} --hash=sha256:aa"):
        [found] = read(tmp_path, entry).packages
        assert (found.name, found.url, found.hashes) == ("b", url, ("sha256:aa",))


def test_a_password_stays_out_of_harness_yaml_and_of_errors(tmp_path: Path) -> None:
    assert "secret" in refused(tmp_path, "--index-url=https://u:pass-word@x/simple").problem
    error = refused(tmp_path, "r.txt", files={"r.txt": "b @ git+https://u:pass-word@x/b"})
    assert "pass-word" not in str(error)


UV_LOCK = """version = 1
requires-python = ">=3.10"

[[package]]
name = "shop"
version = "1"
source = { virtual = "." }
"""


def test_a_uv_lock_is_read_by_uv(tmp_path: Path) -> None:
    files = {"pyproject.toml": project("shop") + 'requires-python = ">=3.10"\n', "uv.lock": UV_LOCK}
    assert read(tmp_path, "uv.lock", files=files).packages == []
    assert "uv cannot read uv.lock" in refused(tmp_path, "uv.lock", files={"uv.lock": "nonsense"}).problem


def test_a_dry_run_lists_what_goes_in_and_what_does_not(tmp_path: Path) -> None:
    from bakeoff.harness import contents

    read(
        tmp_path,
        "requirements.txt",
        "./lib",
        files={"requirements.txt": "idna", "lib/pyproject.toml": project("lib")},
    )
    for name in ("rows.jsonl", ".env", "agent.py"):
        (tmp_path / name).touch()
    found = contents.read(loading.load(tmp_path / "harness.yaml"))
    listing = found.listing()
    assert "agent.py" in listing["files"]
    assert {one["path"] for one in listing["left_out"]} == {"rows.jsonl", ".env"}
    assert listing["requirements"] == ["idna", "./lib"]
    shown = "\n".join(value for _, value in found.summary())
    for part in (
        "agent.py",
        ".env (may hold keys",
        "rows.jsonl (has the answers)",
        "idna, ./lib",
        "harness.yaml:7",
    ):
        assert part in shown
