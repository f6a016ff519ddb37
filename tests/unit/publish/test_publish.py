"""What every publication has in common: which runs may be published, where to, and what happened when."""

from __future__ import annotations

import errno
import itertools
import json
import tomllib
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bakeoff.config.targets import LangSmith, Otlp, Publish
from bakeoff.errors import InputError, NotPublished, UnfitEnvironment
from bakeoff.publish import publication, source
from bakeoff.publish.journal import Journal
from bakeoff.publish.otlp.spans import Tracing
from bakeoff.publish.publication import Planned
from bakeoff.publish.source import Source
from bakeoff.publish.table import TARGETS, Publication, Target
from bakeoff.record.store import RunDirectory
from bakeoff.record.trial import Profile, trial_id
from tests.fakes import synthetic
from tests.fakes.command import bakeoff

ROOT = Path(__file__).parents[3]

# --- which runs -------------------------------------------------------------------------------------


def test_a_whole_run_is_read_front_to_back(tmp_path: Path) -> None:
    whole = source.read(synthetic.run_directory(tmp_path))
    assert [each.name for each in whole.candidates] == ["steady", "hasty"]
    assert len(list(whole.trials())) == 72
    assert {trial.candidate for trial in whole.trials("hasty")} == {"hasty"}
    assert [row["id"] for row in whole.examples()] == whole.manifest.dataset.example_ids


def test_a_trial_recorded_twice_is_published_once(tmp_path: Path) -> None:
    run = synthetic.run_directory(tmp_path)
    run.append(next(run.trials()))
    ids = [trial.trial_id for trial in source.read(run).trials()]
    assert len(ids) == len(set(ids)) == 72


@pytest.mark.parametrize("state", ["running", "interrupted"])
def test_an_unfinished_run_is_refused(tmp_path: Path, state: str) -> None:
    run = synthetic.run_directory(tmp_path, the_manifest=synthetic.manifest(state=state))
    with pytest.raises(InputError, match=f"not finished \\(its state is {state}\\)") as refused:
        source.read(run)
    assert f"--resume {run.path}`" in str(refused.value.hint)


def test_a_run_that_lost_a_trial_is_refused(tmp_path: Path) -> None:
    run = synthetic.run_directory(tmp_path, list(synthetic.trials())[:-1])
    with pytest.raises(InputError, match="71 of 72 trials can be read"):
        source.read(run)


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    run = synthetic.run_directory(tmp_path)
    lines = (run.path / "trials.jsonl").read_bytes().splitlines(keepends=True)
    (run.path / "trials.jsonl").write_bytes(b"".join([*lines[:2], b"{\n", *lines[3:]]))
    with pytest.raises(InputError) as refused:
        source.read(run)
    assert refused.value.line == 3


def test_a_run_without_its_examples_is_refused(tmp_path: Path) -> None:
    run = synthetic.run_directory(tmp_path)
    (run.path / "examples.jsonl").unlink()
    with pytest.raises(InputError, match="examples of this run are not in its directory"):
        source.read(run)


def test_an_inconclusive_run_is_refused_unless_that_is_allowed(tmp_path: Path) -> None:
    run = synthetic.run_directory(tmp_path, synthetic.trials(infra_rate=0.3))
    with pytest.raises(InputError, match="inconclusive") as refused:
        source.read(run)
    assert "--allow-inconclusive" in str(refused.value.hint)
    assert source.read(run, allow_inconclusive=True).report.inconclusive


# --- what happened, when ----------------------------------------------------------------------------


def test_events_lie_within_their_attempt_and_in_order(tmp_path: Path) -> None:
    run = synthetic.run_directory(tmp_path, files=True)
    whole = source.read(run)
    for trial in itertools.islice(whole.trials(), 10):
        (attempt,) = whole.timeline(trial).attempts
        first, second = attempt.model_calls
        (tool,) = attempt.tool_calls
        assert attempt.agent_started_at == attempt.started_at + timedelta(seconds=0.9)
        assert first.started_at == attempt.agent_started_at + timedelta(seconds=0.1)
        assert first.finished_at - first.started_at == timedelta(seconds=1.1)  # queued and with the provider
        moments = [attempt.started_at, first.started_at, first.finished_at, tool.started_at, tool.finished_at]
        assert moments == sorted(moments)
        assert second.finished_at <= attempt.finished_at
        assert (tool.name, tool.arguments, tool.result) == ("get_order", {"order_id": "A-17"}, "shipped")
        assert first.messages[0]["role"] == "user"
        assert first.answer["tool_calls"][0]["function"] == {
            "name": "get_order",
            "arguments": '{"order_id": "A-17"}',
        }
        assert tool.model_call == first.index


def test_every_attempt_is_there_with_its_own_calls(tmp_path: Path) -> None:
    trial = synthetic.trial(earlier=["infra.provider_unavailable"])
    start = synthetic.START
    attempts = [
        record.model_copy(
            update={
                "started_at": start + timedelta(seconds=10 * number),
                "finished_at": start + timedelta(seconds=10 * number + 9),
                "agent_started_at": start + timedelta(seconds=10 * number + 1) if number else None,
            }
        )
        for number, record in enumerate(trial.attempts)
    ]
    trial = trial.model_copy(update={"attempts": attempts})
    run = synthetic.run_directory(
        tmp_path, [trial], synthetic.manifest(["steady"], examples=1, repetitions=1), files=True
    )
    whole = source.read(run)
    timeline = whole.timeline(trial)
    early, last = timeline.attempts
    assert (timeline.started_at, timeline.finished_at) == (start, start + timedelta(seconds=19))
    assert early.record.cause == "infra.provider_unavailable"
    assert (list(early.model_calls), list(early.tool_calls)) == ([], [])
    assert last.agent_started_at == start + timedelta(seconds=11)
    assert [call.index for call in last.model_calls] == [0, 1]


def test_a_trial_without_files_still_has_its_attempts(tmp_path: Path) -> None:
    whole = source.read(synthetic.run_directory(tmp_path))
    timeline = whole.timeline(next(whole.trials()))
    assert [len(attempt.model_calls) for attempt in timeline.attempts] == [0]


# --- the journal ------------------------------------------------------------------------------------


def test_the_journal_remembers_what_was_taken_and_by_whom(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    Journal(run, "otlp", "http://a").acknowledge(["x/1", "y/1"])
    Journal(run, "otlp", "http://a").acknowledge(["z/1"])
    assert Journal(run, "otlp", "http://a").taken == {"x/1", "y/1", "z/1"}
    assert Journal(run, "otlp", "http://b").taken == set()


def test_a_torn_line_of_the_journal_is_no_acknowledgement(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    journal = Journal(run, "otlp", "http://a")
    journal.acknowledge(["x/1"])
    with journal.path.open("ab") as file:
        file.write(b'{"address": "http://a", "trials": ["y/')
    again = Journal(run, "otlp", "http://a")
    assert again.taken == {"x/1"}
    again.acknowledge(["y/1"])
    assert Journal(run, "otlp", "http://a").taken == {"x/1", "y/1"}


# --- where to ---------------------------------------------------------------------------------------


def planned(run: RunDirectory, *names: str, **options: Any) -> dict[str, Any]:
    return {name: due.settings for name, due in publication.plan(run, names, options).items()}


def with_settings(tmp_path: Path, publish: dict[str, Any]) -> RunDirectory:
    return synthetic.run_directory(tmp_path, the_manifest=synthetic.manifest(config={"publish": publish}))


def test_options_win_over_the_runs_own_settings(tmp_path: Path) -> None:
    run = with_settings(
        tmp_path, {"otlp": {"endpoint": "http://own:4318", "protocol": "grpc"}, "langsmith": None}
    )
    assert planned(run) == {"otlp": Otlp(endpoint="http://own:4318", protocol="grpc")}
    chosen = planned(run, "otlp", url="http://other:4317", content=True)
    assert chosen == {"otlp": Otlp(endpoint="http://other:4317", protocol="grpc", content=True)}
    assert planned(run, "langsmith", name="desk") == {"langsmith": LangSmith(dataset="desk")}


@pytest.mark.parametrize(
    ("names", "options", "key", "problem", "hint"),
    [
        ((), {}, "--to", "nothing says where", "langsmith, otlp, mlflow"),
        (("otlp",), {"name": "x"}, "--name", "means nothing to otlp", "Leave it out"),
        (("langsmith",), {"protocol": "grpc"}, "--protocol", "means nothing to langsmith", "Leave it out"),
        (("otlp",), {"protocol": "udp"}, "--protocol", "'http/protobuf'", "Write"),
        (("otlp",), {"url": "nowhere"}, "--url", "not an http or https address", "http"),
        (("otlp",), {"url": "https://user:pw@host"}, "--url", "may hold a secret", "Remove"),
        (("mlflow",), {"url": "https://user:pw@host"}, "--url", "may hold a secret", "MLFLOW_TRACKING_USERNAME"),
        (("otlp", "langsmith"), {"url": "http://x"}, "--url", "is of one target", "one target at a time"),
    ],
)  # fmt: skip
def test_a_bad_command_line_is_one_error(
    tmp_path: Path, names: tuple[str, ...], options: dict[str, Any], key: str, problem: str, hint: str
) -> None:
    with pytest.raises(InputError) as refused:
        publication.plan(synthetic.run_directory(tmp_path), names, options)
    assert refused.value.key == key
    assert problem in refused.value.problem
    assert hint in str(refused.value.hint)
    assert "pw" not in str(refused.value)


def test_an_unknown_target_is_refused_with_the_names_of_those_there_are() -> None:
    done = bakeoff("publish", "--to", "langsmiht")
    assert done.returncode == 2
    assert all(word in done.stderr for word in ("--to", "langsmiht", *TARGETS))


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS.values(), ids=str)
def test_a_row_of_the_table_is_all_that_a_target_needs(target: Target) -> None:
    keys = target.settings.model_fields
    assert {target.url, target.label or target.url, target.key_env or target.url} <= keys.keys()
    assert target.publisher()
    assert getattr(Publish(**{target.name: {}}), target.name) == target.settings()
    section = (ROOT / "docs/publishing.md").read_text().split(f"\n## {target.title}\n")[1].split("\n## ")[0]
    assert all(f"{key}:" in section or f"{target.name}.{key}" in section for key in keys)
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert (target.name in extras) == (f"PATH[{target.name}]" in section) == (target.package is not None)


def test_a_target_whose_package_is_missing_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = replace(TARGETS["otlp"], package="no_such_package")
    monkeypatch.setattr(publication, "TARGETS", {"otlp": absent})
    with pytest.raises(InputError) as refused:
        publication.plan(synthetic.run_directory(tmp_path), ["otlp"], {})
    assert (refused.value.hint or "").startswith("Install it: pip install '")


def test_one_target_that_fails_keeps_no_other_from_its_turn(tmp_path: Path) -> None:
    run = synthetic.run_directory(tmp_path)

    def takes(_: Source, *__: Any) -> Publication:
        return Publication("http://here", {"trials": 72})

    def breaks(_: Source, *__: Any) -> Publication:
        raise NotPublished("10 of 72 trials are missing there")

    def cannot_write(_: Source, *__: Any) -> Publication:
        raise UnfitEnvironment("cannot write the journal", hint="Make it writable.")

    said: list[str] = []
    plan: Any = {
        "otlp": Planned(breaks, Otlp()),
        "mlflow": Planned(cannot_write, Otlp()),
        "langsmith": Planned(takes, LangSmith()),
    }
    publications = publication.publish(run, plan, lambda _: {}, said.append)
    assert next(publications)[0] == "langsmith"
    with pytest.raises(NotPublished, match="10 of 72"):
        next(publications)
    assert said == ["error: cannot write the journal", "  hint: Make it writable."]


def test_a_directory_that_cannot_be_locked_is_told_and_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As some network file systems answer, none of which is here."""

    def flock(*_: Any) -> None:
        raise OSError(errno.EBADF, "Bad file descriptor")

    monkeypatch.setattr(publication.fcntl, "flock", flock)
    plan = {"otlp": Planned(lambda *_: Publication("http://here", {}), Otlp())}
    said: list[str] = []
    run = synthetic.run_directory(tmp_path)
    assert [name for name, _ in publication.publish(run, plan, lambda _: {}, said.append)] == ["otlp"]
    assert "cannot be locked (Bad file descriptor)" in said[0]


def test_the_examples_are_kept_with_their_files_digests(tmp_path: Path) -> None:
    from bakeoff import datasets
    from bakeoff.cli.init import write
    from bakeoff.config import loading

    write(tmp_path)
    config = loading.load(tmp_path / "harness.yaml")
    path = config.root / config.dataset
    first, *rest = path.read_text().splitlines()
    (tmp_path / "orders.json").write_text("{}")
    path.write_text("\n".join([json.dumps({**json.loads(first), "files": {"o.json": "orders.json"}}), *rest]))
    read = datasets.load(config)
    row, *_ = read.rows(config.root)
    assert row["files"]["o.json"]["path"] == "orders.json"
    assert len(row["files"]["o.json"]["sha256"]) == 64
    assert row["digest"] == read.row_digests[row["id"]]


def test_the_harness_file_is_found_from_any_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "project").mkdir()
    (tmp_path / "project/harness.yaml").touch()
    (tmp_path / "harness.yaml").touch()  # of another project, in the current directory
    monkeypatch.chdir(tmp_path)
    mine = source.read(synthetic.run_directory(tmp_path / "project/runs"))
    assert mine.file_of("data/a.json") == tmp_path / "project/data/a.json"
    apart = source.read(synthetic.run_directory(tmp_path / "else/where"))
    assert apart.file_of("data/a.json") == tmp_path / "data/a.json"


def test_what_is_published_names_a_profile_that_is_not_the_default(tmp_path: Path) -> None:
    profiles = [
        Profile(name=name, limits=synthetic.LIMITS, reserved_cpus=0.5, reserved_memory_bytes=2**28)
        for name in ("1x", "2x")
    ]
    records = [
        synthetic.trial("one", profile=name, trial_id=trial_id("one", name, "case-000", 1))
        for name in ("1x", "2x")
    ]
    made = synthetic.manifest(["one"], 1, 1, profiles=profiles, trials_planned=2)
    whole = source.read(synthetic.run_directory(tmp_path, records, made), allow_inconclusive=True)
    assert whole.profiles == ["1x", "2x"]
    roots = [next(Tracing(whole, content=False).spans(whole.timeline(trial))) for trial in whole.trials()]
    assert [root.name for root in roots] == ["trial one@1x", "trial one@2x"]
    named = [{each.key: each.value.string_value for each in root.attributes} for root in roots]
    assert [attributes["bakeoff.profile"] for attributes in named] == ["1x", "2x"]


def test_the_default_profile_is_not_mentioned(tmp_path: Path) -> None:
    whole = source.read(synthetic.run_directory(tmp_path))
    root = next(Tracing(whole, content=False).spans(whole.timeline(next(iter(whole.trials())))))
    assert whole.profiles == []
    assert root.name == "trial steady"
    assert "bakeoff.profile" not in {each.key for each in root.attributes}
