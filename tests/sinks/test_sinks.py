"""Whatever a stranger writes is shown, never obeyed: each sink with each payload, in the real consumer where one runs.

A stranger is whoever writes into a run: the model, the tools in the sandbox, the provider, the dataset.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import cmarkgfm
import pytest
from cmarkgfm.cmark import Options
from rich.console import Console

from bakeoff import cli
from bakeoff.backends.base import Check
from bakeoff.cli import doctor as doctor_command
from bakeoff.cli import publish as publish_command
from bakeoff.publish.table import Publication
from bakeoff.report import data, markdown
from bakeoff.report.write import write
from bakeoff.run import progress
from tests.browser.page import Visit
from tests.fakes.langsmith.server import LangSmithServer
from tests.fakes.otlp_receiver import HttpReceiver
from tests.publish.demonstration import publish
from tests.sinks.payloads import MARK, PAYLOADS, stored
from tests.sinks.scene import Scene, scene
from tests.sinks.terminal import TERMINAL, WIDTH, folded, invisible, obeyed, printed, shown

LABEL_CHARACTERS = 2000
SUMMARY_BYTES = 2**20  # GitHub shows no step summary that is longer
PLAIN = "a plain word"

Sink = Callable[[Scene, pytest.FixtureRequest], None]


def command(*words: str | Path) -> Callable[[], object]:
    return lambda: cli.app([str(word) for word in words], standalone_mode=False)


# --- terminals and logs -------------------------------------------------------------------------------


def on_a_terminal(program: Callable[[Scene], Callable[[], object]]) -> Sink:
    """The screen shows the letters that a pipe gets, and a CI server finds no command in these."""

    def sink(given: Scene, _: pytest.FixtureRequest) -> None:
        run = program(given)
        plain = printed(run, COLUMNS=str(WIDTH))
        assert shown(printed(run, **TERMINAL)) == folded(plain)
        log = printed(run)
        assert MARK in log
        assert not invisible(log)
        assert not obeyed(log + "\n" + plain)

    return sink


def progress_of(given: Scene) -> Callable[[], object]:
    """Both displays of `bakeoff run`."""
    records = list(given.run.trials())

    def program() -> None:
        for kind in (progress.Lines, progress.Dashboard):
            display = kind(console := Console(), clock=lambda: 0.0)
            display.planned({record.candidate: 1 for record in records})
            display.started(records[0].trial_id)
            display.step(given.text)
            display.note(given.text)
            if isinstance(display, progress.Dashboard):
                console.print(display.render())
            display.finished(records[0])

    return program


def doctor(given: Scene) -> Callable[[], object]:
    return lambda: doctor_command._print(Check(given.text, "failed", given.text, given.text))


def published(given: Scene) -> Callable[[], object]:
    done = Publication(where=given.text, warnings=[given.text], sent={given.text: 1}, present={given.text: 1})
    return lambda: publish_command._report("mlflow", done)


# --- JSON ----------------------------------------------------------------------------------------------


def on_stdout(*words: str) -> Sink:
    """One JSON object of printable ASCII, in which the payload is whole."""

    def sink(given: Scene, _: pytest.FixtureRequest) -> None:
        places = {"RUN": given.run.path, "TRIAL": given.trial_id, "OLDER": given.older.path}
        text = printed(command(*(places.get(word, word) for word in words), "--json"))
        whole = given.name if words[-1] == "RUN" else stored(given.text)
        assert text.isascii()
        assert not invisible(text)
        assert not obeyed(text)
        assert any(whole in each for each in texts(json.loads(text)))

    return sink


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, each in value.items():
            yield from texts(key)
            yield from texts(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from texts(each)
    elif isinstance(value, str):
        yield value


# --- documents -----------------------------------------------------------------------------------------


class Elements(HTMLParser):
    """The elements of a page, each with the names of its attributes, and the text in them."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[tuple[str, tuple[str, ...]]] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, tuple(sorted(name for name, _ in attrs))))

    def handle_endtag(self, tag: str) -> None:
        self.found.append((f"/{tag}", ()))

    def handle_comment(self, data: str) -> None:
        if data != " ":  # which breaks up an address
            self.found.append((f"<!--{data}", ()))

    handle_decl = unknown_decl = handle_pi = handle_comment

    def handle_data(self, data: str) -> None:
        self.text += data


def rendered(text: str) -> Elements:
    """As GitHub's own renderer makes HTML of it, before anything is taken out."""
    return Elements(cmarkgfm.github_flavored_markdown_to_html(text, Options.CMARK_OPT_UNSAFE))


def in_markdown(text: Callable[[Scene], str]) -> Sink:
    """The same elements as with a plain word in the payload's place, and the payload among the words."""

    def sink(given: Scene, request: pytest.FixtureRequest) -> None:
        written = text(given)
        got, plain = rendered(written), rendered(text(plain_scene(request)))
        assert got.found == plain.found
        assert MARK in got.text
        assert not invisible(written)
        assert not obeyed(written)
        assert len(written.encode()) < SUMMARY_BYTES

    return sink


def report_md(given: Scene) -> str:
    return markdown.render(data.collect(given.run))


def comparison(given: Scene, kind: str) -> str:
    out = given.run.path.parent / f"comparison.{kind}"
    options = {"md": "--markdown", "xml": "--junit"}
    printed(command("compare", given.older.path, given.run.path, options[kind], out))
    return out.read_text()


def step_summary(given: Scene) -> str:
    """As .github/workflows/nightly.yml makes it."""
    return comparison(given, "md") + report_md(given)


def junit(given: Scene, request: pytest.FixtureRequest) -> None:
    """Read by an XML parser, it has the elements of a plain word's."""
    trees = [ET.fromstring(comparison(each, "xml")) for each in (given, plain_scene(request))]
    got, plain = ([(node.tag, sorted(node.attrib)) for node in tree.iter()] for tree in trees)
    assert got == plain
    said = "".join(
        [*trees[0].itertext(), *(value for node in trees[0].iter() for value in node.attrib.values())]
    )
    assert MARK in said
    assert not invisible(said)
    assert not obeyed(said)


DOM = """() => [...document.querySelectorAll('*')].filter(each => !each.closest('svg'))
  .map(each => [each.tagName, each.getAttributeNames().filter(name => name !== 'class').sort().join(' ')].join(' '))"""
SVG = {"svg", "title", "desc", "defs", "clippath", "g", "path", "use", "rect", "text", "tspan", "pattern"}


def report_html(given: Scene, request: pytest.FixtureRequest) -> None:
    """In Chromium: nothing runs, nothing is asked for, and the elements are those of a plain word's page."""
    browser = request.getfixturevalue("browser")
    paths = [write(each.run, data.collect(each.run))[1] for each in (given, plain_scene(request))]
    visit, plain = (Visit(browser, path) for path in paths)
    # the page's policy would stop a script and a request, and say so: silence means that none was there
    assert visit.said == []
    assert visit.asked == [paths[0].as_uri()]
    assert visit.page.evaluate("window.owned") is None
    assert visit.page.evaluate(DOM) == plain.page.evaluate(DOM)
    inside = visit.page.evaluate(
        "[...document.querySelectorAll('svg *')].map(each => each.tagName.toLowerCase())"
    )
    assert set(inside) <= SVG
    visit.page.set_viewport_size({"width": 320, "height": 844})
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= 320
    text = visit.page.locator("main").inner_text()
    assert MARK in text
    assert not invisible(text.replace("\t", " "))  # between the cells of a table
    for each in (visit, plain):
        each.page.close()


# --- other services ------------------------------------------------------------------------------------


def arrived(text: str, labels: list[str], content: list[str]) -> None:
    """Labels are visible, of one line and bounded; content is whole, but for what no database stores."""
    assert labels
    for label in labels:
        assert label.isprintable(), ascii(label[:200])
        assert len(label) <= LABEL_CHARACTERS
    for each in content:
        assert "\0" not in each
        each.encode()
    if content and len(text) < 2**17:  # larger ones are left out, and that is said
        assert any(stored(text).replace("\0", "\N{REPLACEMENT CHARACTER}") in each for each in content)


def langsmith(given: Scene, _: pytest.FixtureRequest) -> None:
    with LangSmithServer() as server:  # refuses what the service could not store
        env = {"LANGSMITH_API_KEY": server.api_key, "LANGSMITH_ENDPOINT": server.url}
        for _ in range(2):
            done = publish(given.run, "--to", "langsmith", env=env)
            assert done.returncode == 0, done.stderr[:2000]
        assert "nothing new" in done.stdout
        rows = server.state.dump()
    labels = [name for each in rows["runs"] for name in (each["name"], *(each["tags"] or []))]
    labels += [each["name"] for each in rows["sessions"]] + [each["key"] for each in rows["feedback"]]
    arrived(given.text, labels, list(texts([rows["runs"], rows["feedback"], rows["sessions"]])))


def otlp(given: Scene, _: pytest.FixtureRequest) -> None:
    with HttpReceiver() as server:
        done = publish(given.run, "--to", "otlp", "--url", server.url, "--content")
        assert done.returncode == 0, done.stderr[:2000]
        assert server.complaints == []
        spans = server.spans()
    labels = [text for span in spans for text in (span.name, span.description, *span.attributes)]
    arrived(given.text, labels, [each for span in spans for each in texts(span.attributes)])


def mlflow(given: Scene, request: pytest.FixtureRequest) -> None:
    from mlflow import MlflowClient

    write(given.run, data.collect(given.run))
    url, name = request.getfixturevalue("mlflow_server").url, f"hostile {given.run.path.parent.name}"
    for _ in range(2):
        done = publish(given.run, "--to", "mlflow", "--url", url, "--name", name)
        assert done.returncode == 0, done.stderr[:2000]
    assert "nothing new" in done.stdout
    client = MlflowClient(url)
    for found in client.search_runs([client.get_experiment_by_name(name).experiment_id]):
        tags = {key: value for key, value in found.data.tags.items() if not key.startswith("mlflow.")}
        values = [
            line for value in (*tags.values(), *found.data.params.values()) for line in value.split("\n")
        ]
        keys = [*tags, *found.data.params, *found.data.metrics]
        # artifacts are the run directory's files, byte for byte: what shows them decides how
        arrived(given.text, [found.info.run_name, *keys, *(value[:LABEL_CHARACTERS] for value in values)], [])
        note = rendered(found.data.tags["mlflow.note.content"])
        assert {tag.removeprefix("/") for tag, _ in note.found} <= {"p", "strong", "code"}
        assert not any(attributes for _, attributes in note.found)


# --- the run directory ---------------------------------------------------------------------------------


def file_names(given: Scene, _: pytest.FixtureRequest) -> None:
    """Every file is in the run directory, under a name that a shell and a file system take; a trial finds its own."""
    files = [path for path in given.run.path.rglob("*") if path.name not in ("report.md", "report.html")]
    for path in files:
        assert path.name.isprintable()
        assert not path.name.startswith((".", "-"))
        assert not set(path.name) & set("/\\:*?\"<>|'`$ ")
        assert len(path.name.encode()) <= 255
    assert len(list((given.run.path / "trajectories").iterdir())) == len(list(given.run.trials()))
    for record in given.run.trials():
        assert given.run.trajectory(record.trial_id)
        assert given.run.log(record.trial_id, 1)
        assert list(given.run.calls(record.trial_id))


SINKS: dict[str, Sink] = {
    "terminal: run": on_a_terminal(progress_of),
    "terminal: show": on_a_terminal(lambda given: command("show", given.run.path)),
    "terminal: show trial": on_a_terminal(lambda given: command("show", given.run.path, given.trial_id)),
    "terminal: compare": on_a_terminal(lambda given: command("compare", given.older.path, given.run.path)),
    "terminal: doctor": on_a_terminal(doctor),
    "terminal: publish": on_a_terminal(published),
    "terminal: error": on_a_terminal(lambda given: lambda: cli.complain(given.text, given.text)),
    "JSON: show": on_stdout("show", "RUN"),
    "JSON: show trial": on_stdout("show", "RUN", "TRIAL"),
    "JSON: compare": on_stdout("compare", "OLDER", "RUN"),
    "report.md": in_markdown(report_md),
    "step summary": in_markdown(step_summary),
    "JUnit XML": junit,
    "report.html": report_html,
    "LangSmith": langsmith,
    "OTLP": otlp,
    "MLflow": mlflow,
    "file names": file_names,
}
PUBLISHED = ("LangSmith", "OTLP", "MLflow")
SLOW = ("report.html", *PUBLISHED)


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, bool], Scene]:
    return cache(lambda payload, names: scene(tmp_path_factory.mktemp("hostile"), payload, names=names))


def plain_scene(request: pytest.FixtureRequest) -> Scene:
    made: Scene = request.getfixturevalue("scenes")(PLAIN, True)
    return made


@pytest.mark.parametrize("payload", [payload for payload in PAYLOADS if payload != PLAIN])
@pytest.mark.parametrize(
    "sink", [pytest.param(sink, marks=[pytest.mark.slow] if sink in SLOW else []) for sink in SINKS]
)
def test_a_strangers_text_is_shown_and_never_obeyed(
    sink: str, payload: str, scenes: Callable[[str, bool], Scene], request: pytest.FixtureRequest
) -> None:
    SINKS[sink](scenes(payload, sink not in PUBLISHED), request)
