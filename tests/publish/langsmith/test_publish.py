"""Publishing to LangSmith: once or again, cut off or killed, old or new; what it must refuse, and what it must say."""

import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from langsmith import Client

from bakeoff.config.targets import LangSmith
from bakeoff.datasets.langsmith import snapshot
from bakeoff.datasets.langsmith.account import Account
from bakeoff.datasets.langsmith.example import row_files
from bakeoff.datasets.langsmith.reference import Reference
from bakeoff.errors import InputError, NotPublished
from bakeoff.publish import source
from bakeoff.publish.langsmith import client, publisher
from bakeoff.publish.table import Publication
from bakeoff.record.store import RunDirectory
from bakeoff.record.trial import TrialRecord
from tests.fakes import synthetic
from tests.fakes.http_server import HttpServer
from tests.fakes.langsmith.server import Fault, Info, LangSmithServer
from tests.publish.demonstration import COMMAND, ROOT, another, environment
from tests.publish.demonstration import publish as command

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
CANDIDATES = ("steady", "hasty")
NAME = "support-desk"


def records() -> Iterator[TrialRecord]:
    """Passes, failures, an infra error in every attempt, and one that a re-attempt brought to a verdict."""
    special: dict[int, dict[str, Any]] = {
        1: {"verdict": "failed", "cause": "model.wrong_answer", "because": "final_answer 0.0 is below 1.0"},
        2: {
            "verdict": "infra_error",
            "cause": "infra.oom_killed",
            "because": "the kernel killed 1 process for memory",
            "earlier": ["infra.oom_killed"],
        },
        3: {"earlier": ["infra.provider_unavailable"]},
    }
    index = itertools.count()
    for number, candidate, repetition in itertools.product(range(6), CANDIDATES, (1, 2)):
        n = next(index)
        yield synthetic.trial(candidate, f"case-{number:03d}", repetition, index=n, **special.get(n, {}))


def manifest(**changes: Any) -> Any:
    made = synthetic.manifest(CANDIDATES, examples=6, repetitions=2)
    made.dataset.row_digests.update({row["id"]: row["digest"] for row in synthetic.examples(made)})
    return made.model_copy(update=changes)


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return synthetic.run_directory(tmp_path / "runs", records(), manifest(), files=True)


@pytest.fixture
def server() -> Iterator[LangSmithServer]:
    with LangSmithServer() as made:
        yield made


def publish(run: RunDirectory, server: LangSmithServer, **settings: Any) -> Publication:
    whole = source.read(run, allow_inconclusive=True)
    environ = {"LANGSMITH_API_KEY": server.api_key, "LANGSMITH_ENDPOINT": server.url}
    return publisher.publish(whole, LangSmith(**settings), environ, print)


def client_of(server: LangSmithServer) -> Client:
    return Client(server.url, api_key=server.api_key, auto_batch_tracing=False)


def undisturbed(run: RunDirectory) -> Any:
    """What a server has after one publication in peace."""
    with LangSmithServer() as server:
        publish(run, server)
        assert server.state.held() == []
        return server.state.content()


def rewrite(run: RunDirectory, **changes: dict[str, Any] | None) -> None:
    """Change rows of the run's examples, by `id` with `_` for `-`; None takes one out."""
    path = run.path / "examples.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    kept = [row | (changes.get(row["id"].replace("-", "_")) or {}) for row in rows]
    path.write_text("".join(json.dumps(row) + "\n" for row in kept))


def answers(server: LangSmithServer, **how: Any) -> dict[str, str]:
    """The reference answer of each row of the dataset."""
    found = client_of(server).list_examples(dataset_name=NAME, **how)
    return {(each.metadata or {})["bakeoff"]["id"]: (each.outputs or {})["answer"] for each in found}


# --- again ------------------------------------------------------------------------------------------


def test_publishing_again_changes_nothing_from_another_machine_too(
    run: RunDirectory, server: LangSmithServer, tmp_path: Path
) -> None:
    first = publish(run, server)
    before, asked = server.state.dump(), len(server.requests)
    shutil.copytree(run.path, tmp_path / "elsewhere" / "renamed")
    publish(RunDirectory.open(tmp_path / "elsewhere" / "renamed"), server)
    second = publish(run, server)
    assert server.state.dump() == before
    writes = [
        each
        for each in server.requests[asked:]
        if each.method != "GET" and not each.path.endswith(("/query", "/runs/query"))
    ]
    assert writes == []
    assert second.where == first.where
    assert not any(second.sent.values())
    assert second.present == first.sent


def test_what_was_deleted_there_comes_back(run: RunDirectory, server: LangSmithServer) -> None:
    first = publish(run, server)
    client = client_of(server)
    names = sorted(each.name or "" for each in client.list_projects(reference_dataset_name=NAME))
    client.delete_project(project_name=names[0])
    again = publish(run, server)
    assert (again.sent["experiments"], again.present["experiments"]) == (1, 1)
    assert again.sent["runs"] + again.present["runs"] == first.sent["runs"]
    assert again.sent["runs"] > 0
    assert sorted(each.name or "" for each in client.list_projects(reference_dataset_name=NAME)) == names


# --- cut off ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.5, 0.8, 0.95])
def test_killed_at_any_moment_and_begun_again_it_ends_the_same(run: RunDirectory, share: float) -> None:
    with LangSmithServer() as counted:
        publish(run, counted)
        whole, requests = counted.state.content(), len(counted.requests)
    with LangSmithServer() as server:
        kill = Fault("call", after=int(share * requests), times=1)
        server.faults = [kill]
        words = [COMMAND, "publish", str(run.path), "--to", "langsmith", "--allow-inconclusive"]
        silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        process = subprocess.Popen(words, env=environment(_leading_to(server)), **silent)
        kill.action = lambda: os.kill(process.pid, signal.SIGKILL)
        assert process.wait(timeout=120) == -signal.SIGKILL
        server.faults = []
        publish(run, server)
        assert server.state.content() == whole


def _leading_to(server: LangSmithServer, **changes: str) -> dict[str, str]:
    return {"LANGSMITH_API_KEY": server.api_key, "LANGSMITH_ENDPOINT": server.url} | changes


TROUBLE = {
    "every second request is dropped": {"kind": "drop", "every": 2},  # whatever is asked is asked twice
    "every second reply is lost": {"kind": "lost_reply", "every": 2},
    "429 to runs": {"path": "/runs/multipart", "status": 429, "times": 2},
    "500 to runs": {"path": "/runs/multipart", "status": 500, "times": 2},
    "503 to runs": {"path": "/runs/multipart", "status": 503, "times": 2},
    "429 to queries": {"path": "/runs/query", "status": 429, "times": 6},
    "runs are accepted and lost": {"path": "/runs/multipart", "status": 202, "times": 1},
}


@pytest.mark.parametrize("trouble", TROUBLE)
def test_what_goes_wrong_for_a_while_is_asked_for_again(
    run: RunDirectory, server: LangSmithServer, trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "lost" in trouble:
        monkeypatch.setattr(publisher, "READABLE_SECONDS", 0.2)
    server.faults = [Fault(**({"kind": "status", "retry_after": 1} | TROUBLE[trouble]))]
    publish(run, server)
    server.faults = []
    assert server.state.content() == undisturbed(run)


@pytest.mark.parametrize("path", ["/runs/multipart", "/platform/datasets", "/sessions", "/runs/query"])
def test_a_broken_connection_is_told_and_publishing_goes_on(
    run: RunDirectory, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = undisturbed(run)
    monkeypatch.setattr(client, "TRIES", 1)
    with LangSmithServer(info=Info(size_limit=10)) as server:
        server.faults = [Fault("drop", path, "POST", after=0 if "runs" not in path else 1)]
        with pytest.raises(NotPublished, match="cannot be reached") as told:
            publish(run, server)
        assert server.api_key not in str(told.value) + str(told.value.hint)
        assert all(
            session["end_time"] is None for session in server.state.sessions.values()
        )  # half published
        server.faults = []
        publish(run, server)
        assert server.state.content() == whole


def test_what_is_missing_is_said(run: RunDirectory, server: LangSmithServer) -> None:
    server.faults = [Fault("status", "/runs/multipart", status=422)]
    with pytest.raises(NotPublished) as told:
        publish(run, server)
    text = str(told.value)
    assert "HTTP 422" in text
    assert "broken on purpose" in text  # what the service said
    assert f"0 of 12 trials of support-desk-steady-{run.run_id} had been sent" in text


def test_what_is_accepted_and_never_there_is_a_failure(
    run: RunDirectory, server: LangSmithServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher, "READABLE_SECONDS", 0.2)
    server.faults = [Fault("status", "/runs/multipart", status=202)]
    with pytest.raises(NotPublished, match="cannot be read there"):
        publish(run, server)
    assert all(session["end_time"] is None for session in server.state.sessions.values())


def test_what_is_accepted_may_take_its_time(run: RunDirectory, server: LangSmithServer) -> None:
    whole = undisturbed(run)
    server.state.ingest_delay = 1.0
    publish(run, server)
    time.sleep(1.1)
    assert server.state.content() == whole
    assert len([each for each in server.requests if each.runs]) <= 4  # nothing was sent twice meanwhile


def test_a_key_that_is_revoked_in_the_middle(run: RunDirectory, server: LangSmithServer) -> None:
    server.faults = [Fault("status", "/runs/multipart", status=403)]
    done = command(run, "--to", "langsmith", env=_leading_to(server))
    assert done.returncode == 4
    assert "refused the key in LANGSMITH_API_KEY" in done.stderr
    assert server.api_key not in done.stdout + done.stderr
    assert server.api_key[:5] not in done.stdout + done.stderr


# --- what the service can, and what it takes --------------------------------------------------------


@pytest.mark.parametrize(
    "info",
    [
        Info(zstd=False),
        Info(use_multipart_endpoint=False),
        Info(examples_multipart=False),
        Info(size_limit=7),
    ],
    ids=["no zstd", "no multipart", "no attachments", "small batches"],
)
def test_older_and_smaller_services(run: RunDirectory, info: Info) -> None:
    whole = undisturbed(run)
    with LangSmithServer(info=info) as server:
        publish(run, server)
        found = server.state.content()
        if not info.use_multipart_endpoint:  # its feedback goes one by one, with the same content
            for each in (found, whole):
                each["feedback"].sort(key=lambda entry: entry["id"])
        assert found == whole
        assert max(each.runs for each in server.requests) <= info.size_limit


def test_a_service_that_cannot_be_asked_is_refused(run: RunDirectory) -> None:
    with LangSmithServer(info=Info(runs_query=False)) as server:
        with pytest.raises(InputError, match="SmithDB"):
            publish(run, server)
        assert not server.state.datasets


def test_requests_stay_within_what_the_service_takes(run: RunDirectory) -> None:
    whole = undisturbed(run)
    info = Info(size_limit_bytes=14_000, zstd=False)  # a trial takes two requests
    with LangSmithServer(info=info) as server:
        publish(run, server)
        assert 413 not in {each.status for each in server.requests}
        assert server.state.content() == whole


def test_a_run_that_no_request_can_hold_is_cut_and_said(tmp_path: Path) -> None:
    run = synthetic.run_directory(tmp_path, records(), manifest(), files=True)
    trial = next(run.trials())
    (path,) = (run.path / "calls").glob("steady__case-000__1*")
    calls = [json.loads(line) for line in path.read_text().splitlines()]
    calls[0]["request"]["messages"][0]["data"]["content"] = "x" * 200_000
    path.write_text("".join(json.dumps(call) + "\n" for call in calls))
    with LangSmithServer(info=Info(size_limit_bytes=100_000, zstd=False)) as server:
        done = publish(run, server)
        assert any("1 trials" in warning and "left out" in warning for warning in done.warnings)
        cut = [each for each in server.state.dump()["runs"] if "left_out" in (each["inputs"] or {})]
        assert [each["run_type"] for each in cut] == ["llm"]
        assert trial.trial_id == "steady/case-000/1"


def test_the_users_own_tracing_settings_do_not_tell(run: RunDirectory, server: LangSmithServer) -> None:
    whole = undisturbed(run)
    foreign = {
        "LANGSMITH_HIDE_INPUTS": "true",
        "LANGSMITH_HIDE_OUTPUTS": "true",
        "LANGSMITH_HIDE_METADATA": "true",
        "LANGSMITH_TRACING_SAMPLING_RATE": "0",
        "LANGSMITH_PROJECT": "another",
        "LANGCHAIN_ENDPOINT": "http://127.0.0.1:1",
        "LANGSMITH_RUNS_ENDPOINTS": '{"http://127.0.0.1:1": "key"}',
        "LANGSMITH_TRACING_QUEUE_MAX_SIZE": "many",
        "LANGSMITH_TRACING_MODE": "otel",
        "LANGSMITH_DISABLE_RUN_COMPRESSION": "true",
        "LANGSMITH_AGENT_ENVIRONMENT": "prod",
    }
    done = command(run, "--to", "langsmith", env=_leading_to(server, **foreign), process=True)
    assert done.returncode == 0, done.stderr
    assert server.state.content() == whole


def test_a_workspace_of_an_organization(run: RunDirectory, server: LangSmithServer) -> None:
    key = {"LANGSMITH_API_KEY": f"org-{server.api_key}"}
    done = command(run, "--to", "langsmith", env=_leading_to(server, **key))
    assert done.returncode == 2
    assert "no workspace is named" in done.stderr
    named = {**key, "LANGSMITH_WORKSPACE_ID": server.workspace_id}
    assert command(run, "--to", "langsmith", env=_leading_to(server, **named)).returncode == 0


def test_hostile_content_arrives_as_it_is(tmp_path: Path, server: LangSmithServer) -> None:
    hostile = "\x1b[2J\u202e\u2028 --abc\r\nContent-Type: x\r\n\r\n <script> \N{PILE OF POO}"
    made = list(records())
    made[0] = made[0].model_copy(update={"output": hostile, "scores": {hostile: 0.123456789}})
    run = synthetic.run_directory(tmp_path, made, manifest(), files=True)
    answer = {"answer": hostile, "number": 2**70, "deep": {hostile: [None, 1e-300, -0.0]}}
    rewrite(run, case_000={"outputs": answer})
    publish(run, server)
    (example,) = client_of(server).list_examples(dataset_name=NAME, metadata={"cluster": "cluster-0"})
    assert example.outputs == answer
    dumped = server.state.dump()
    assert [each for each in dumped["runs"] if (each["outputs"] or {}).get("answer") == hostile]
    (entry,) = [each for each in dumped["feedback"] if each["key"] == hostile]
    assert entry["score"] == 0.1235
    before = server.state.dump()
    publish(run, server)
    assert server.state.dump() == before


def test_the_documentation_names_every_field(run: RunDirectory, server: LangSmithServer) -> None:
    publish(run, server)
    page = (ROOT / "docs" / "publishing.md").read_text()
    section = page.partition("\n## LangSmith\n")[2].partition("\n## ")[0]
    text = re.sub("```.*?```", "", section, flags=re.DOTALL)
    named = {
        word.rpartition(".")[2]
        for words in re.findall("`([^`]+)`", text)
        for word in re.split("[ ,]+", words)
    }
    dumped = server.state.dump()
    sent = {key for each in dumped["sessions"] for key in each["extra"]["metadata"]}
    sent |= {each["key"] for each in dumped["feedback"]} - {"trajectory_match", "final_answer"}
    for each in dumped["runs"]:
        sent |= {key for key in ("inputs", "outputs", "error", "tags", "reference_example_id") if each[key]}
        if each["run_type"] in ("llm", "tool"):
            sent |= each["extra"].keys() | each["extra"]["metadata"].keys() | (each["outputs"] or {}).keys()
    assert sent - named - {"metadata"} == set()


# --- bad input --------------------------------------------------------------------------------------


@pytest.fixture
def stranger() -> Iterator[str]:
    """A web server that is no LangSmith."""

    with HttpServer(lambda exchange: exchange.say(200, "<html>hello</html>")) as http:
        yield http.url


@pytest.mark.parametrize(
    ("changes", "options", "said"),
    [
        ({"LANGSMITH_API_KEY": ""}, [], "LANGSMITH_API_KEY is not set"),
        ({"LANGSMITH_API_KEY": "lsv2_pt_wrong_key_000"}, [], "refused the key in LANGSMITH_API_KEY"),
        ({"LANGSMITH_API_KEY": "lsv2_pt_ключ"}, [], "is not a key"),
        ({"LANGSMITH_WORKSPACE_ID": "2e2a9a3e-0000-4000-8000-000000000000"}, [], "no access to workspace"),
        ({}, ["--url", "unreachable"], "cannot be reached"),
        ({}, ["--url", "stranger"], "did not answer as LangSmith does"),
        ({}, ["--url", "ftp://x"], "--url"),
        ({}, ["--name", "taken"], "has a dataset 'taken' already"),
    ],
)
def test_bad_input_is_one_clear_error(
    run: RunDirectory,
    server: LangSmithServer,
    stranger: str,
    changes: dict[str, str],
    options: list[str],
    said: str,
) -> None:
    client_of(server).create_dataset("taken", description="somebody's own")
    before = server.state.dump()
    places = {"unreachable": "http://127.0.0.1:9", "stranger": stranger}
    given = [places.get(option, option) for option in options]
    env = _leading_to(server, **changes)
    done = command(run, "--to", "langsmith", *given, env=env, process="unreachable" in options)
    assert done.returncode == 2, done.stderr
    assert said in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert done.stderr.count("error:") == 1
    assert server.state.dump() == before
    for key in filter(None, (env["LANGSMITH_API_KEY"], server.api_key)):
        assert key not in done.stdout + done.stderr


def test_an_inconclusive_run_is_published_only_when_that_is_said(
    tmp_path: Path, server: LangSmithServer
) -> None:
    trials = synthetic.trials(CANDIDATES, 6, 2, infra_rate=0.5)
    run = synthetic.run_directory(tmp_path, trials, manifest())
    env = environment(_leading_to(server))
    words = [COMMAND, "publish", str(run.path), "--to", "langsmith"]
    refused = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "inconclusive" in refused.stderr
    assert server.requests == []
    assert command(run, "--to", "langsmith", env=_leading_to(server)).returncode == 0
    (one, _) = server.state.dump()["sessions"]
    assert one["extra"]["metadata"]["inconclusive"] is True
    assert "INCONCLUSIVE" in one["description"]


def test_another_harness_of_the_same_name_of_dataset(
    run: RunDirectory, server: LangSmithServer, tmp_path: Path
) -> None:
    publish(run, server)
    config = run.manifest().config.model_dump() | {"name": "another-desk"}
    other = another(run, tmp_path, "20260801-000000-another", config=config)
    before = server.state.dump()
    with pytest.raises(InputError, match="of the harness 'support-desk'"):
        publish(other, server, dataset=NAME)
    assert server.state.dump() == before
    publish(other, server)
    assert len(server.state.datasets) == 2


def test_a_project_of_that_name_is_not_taken_over(run: RunDirectory, server: LangSmithServer) -> None:
    client_of(server).create_project(f"support-desk-hasty-{run.run_id}")
    with pytest.raises(InputError, match="not this candidate's experiment"):
        publish(run, server)
    assert not server.state.datasets


# --- the dataset, over time -------------------------------------------------------------------------


def later(run: RunDirectory, out: Path, days: int, **changes: Any) -> RunDirectory:
    started = synthetic.START + timedelta(days=days)
    return another(run, out, f"{started:%Y%m%d}-000000-desk", started_at=started, **changes)


def test_only_changed_rows_are_written_and_versions_are_kept(
    run: RunDirectory, server: LangSmithServer, tmp_path: Path
) -> None:
    publish(run, server)
    second = later(run, tmp_path / "later", 1)
    rewrite(second, case_002={"outputs": {"answer": "delayed"}, "digest": "new"})
    done = publish(second, server)
    assert (done.sent["examples"], done.present["examples"]) == (1, 5)
    assert answers(server)["case-002"] == "delayed"
    assert answers(server, as_of=run.run_id)["case-002"] == "shipped"  # each run's version has its tag
    assert answers(server, as_of=second.run_id)["case-002"] == "delayed"
    before = server.state.dump()
    old = publish(run, server)  # the older one again: nothing is rolled back
    assert server.state.dump() == before
    assert any(
        f"the newer run {second.run_id} changed 1 of the examples (case-002)" in w for w in old.warnings
    )


def test_an_older_run_that_comes_late_rolls_nothing_back(
    run: RunDirectory, server: LangSmithServer, tmp_path: Path
) -> None:
    newer = later(run, tmp_path / "later", 1)
    rewrite(newer, case_002={"outputs": {"answer": "delayed"}, "digest": "new"})
    publish(newer, server)
    assert publish(run, server).sent["experiments"] == 2
    assert answers(server)["case-002"] == "delayed"
    same = later(run, tmp_path / "later", 2)  # the newest has the first's content again
    publish(same, server)
    publish(newer, server)
    assert answers(server)["case-002"] == "shipped"


def test_rows_that_are_gone_are_deleted_and_those_not_selected_stay(
    run: RunDirectory, server: LangSmithServer, tmp_path: Path
) -> None:
    publish(run, server)
    digests = dict(run.manifest().dataset.row_digests)
    del digests["case-005"]
    rest = dict(run.manifest().dataset) | {"row_digests": digests, "example_ids": ["case-000", "case-001"]}
    kept = ("case-000", "case-001")
    smaller = later(run, tmp_path / "later", 1, dataset=rest, trials_planned=8)
    lines = (smaller.path / "examples.jsonl").read_text().splitlines(keepends=True)
    (smaller.path / "examples.jsonl").write_text("".join(x for x in lines if json.loads(x)["id"] in kept))
    trials = (smaller.path / "trials.jsonl").read_text().splitlines(keepends=True)
    (smaller.path / "trials.jsonl").write_text(
        "".join(x for x in trials if json.loads(x)["example_id"] in kept)
    )
    done = publish(smaller, server)
    assert done.sent["examples"] == 1
    assert sorted(answers(server)) == [f"case-00{n}" for n in range(5)]
    assert len(answers(server, as_of=run.run_id)) == 6
    publish(run, server)  # an older run does not bring it back
    assert len(answers(server)) == 5
    back = later(run, tmp_path / "later", 2)  # a newer one does, under another id: the old one is spoken for
    publish(back, server)
    assert len(answers(server)) == 6
    rows = client_of(server).get_experiment_results(name=f"support-desk-steady-{back.run_id}")
    assert sum(len(row.runs) for row in rows["examples_with_runs"]) == 12


def test_files_are_attached_where_they_are_as_the_run_had_them(
    server: LangSmithServer, tmp_path: Path
) -> None:
    import hashlib

    (tmp_path / "orders.json").write_bytes(b'{"A-17": "shipped"}')
    digest = hashlib.sha256(b'{"A-17": "shipped"}').hexdigest()
    made = manifest(harness_file=str(tmp_path / "harness.yaml"))
    run = synthetic.run_directory(tmp_path / "runs", records(), made)
    files = {"data/orders.json": {"path": "orders.json", "sha256": digest}}
    rewrite(run, case_000={"files": files}, case_001={"files": files})

    def attached() -> dict[str, bytes]:
        found = client_of(server).list_examples(dataset_name=NAME, include_attachments=True)
        from bakeoff.datasets.langsmith.example import Ours

        return {
            f"{ours.id}:{name}": each["reader"].read(-1)
            for example in found
            for ours in [Ours.model_validate((example.metadata or {})["bakeoff"])]
            for name, each in row_files(example.attachments or {}, ours).items()
        }

    (tmp_path / "orders.json").write_bytes(b"changed since")
    done = publish(run, server)
    assert attached() == {}
    assert any("2 files are not attached" in w or "1 files are not attached" in w for w in done.warnings)
    (tmp_path / "orders.json").write_bytes(b'{"A-17": "shipped"}')  # the machine that has it publishes too
    publish(run, server)
    whole = {f"case-00{n}:data/orders.json": b'{"A-17": "shipped"}' for n in (0, 1)}
    assert attached() == whole
    before = server.state.dump()
    (tmp_path / "orders.json").unlink()
    publish(run, server)
    assert server.state.dump() == before


def test_a_run_read_from_langsmith_refers_to_that_dataset(
    run: RunDirectory, server: LangSmithServer, tmp_path: Path
) -> None:
    client = client_of(server)
    dataset = client.create_dataset("people's own")
    ids = run.manifest().dataset.example_ids
    client.create_examples(
        dataset_id=dataset.id, examples=[{"id": UUID(int=n), "inputs": {"q": n}} for n in range(1, 7)]
    )
    as_of = client.read_dataset_version(dataset_id=dataset.id, tag="latest").as_of.isoformat()
    origin = {"endpoint": server.url, "dataset_id": str(dataset.id), "as_of": as_of, "url": ""}
    origin["name"] = "people's own"
    linked = later(run, tmp_path / "x", 1, dataset=dict(run.manifest().dataset) | {"langsmith": origin})
    rewrite(
        linked, **{id_.replace("-", "_"): {"langsmith_id": str(UUID(int=n))} for n, id_ in enumerate(ids, 1)}
    )
    before = server.state.dump()["datasets"]
    publish(linked, server)
    after = server.state.dump()["datasets"]
    assert [each["history"] for each in after] == [each["history"] for each in before]
    results = client.get_experiment_results(name=f"support-desk-steady-{linked.run_id}")
    assert {row.id.int: len(row.runs) for row in results["examples_with_runs"]} == dict.fromkeys(
        range(1, 7), 2
    )
    project = client.read_project(project_name=f"support-desk-steady-{linked.run_id}")
    assert project.metadata["dataset_version"] == as_of
    client.delete_dataset(dataset_id=dataset.id)
    with pytest.raises(InputError, match="not in LangSmith any more"):
        publish(linked, server)
    publish(linked, server, dataset="a copy")
    assert len(list(client.list_examples(dataset_name="a copy"))) == 6


def test_what_was_published_reads_back_as_the_same_rows(
    run: RunDirectory, server: LangSmithServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    publish(run, server)
    rewritten = later(run, tmp_path / "later", 1)
    rewrite(rewritten, case_002={"outputs": {"answer": "delayed"}, "digest": "new"})
    publish(rewritten, server)
    environ = {"LANGSMITH_API_KEY": server.api_key, "LANGSMITH_ENDPOINT": server.url}
    account = Account.of(LangSmith(), environ)
    read = snapshot.fetch(Reference(NAME, run.run_id), account)
    rows = {line.id: json.loads(line.row) for line in read.lines}
    wanted = [{name: row[name] for name in ("id", "inputs", "outputs", "metadata")} for row in run.examples()]
    found = [{name: rows[row["id"]][name] for name in row} for row in wanted]
    assert found == wanted
    assert [line.id for line in read.lines] == [row["id"] for row in wanted]  # in their order


# --- many -------------------------------------------------------------------------------------------

TRIALS = int(os.environ.get("PUBLISHED_TRIALS", "2000"))  # 10000 takes three minutes
PEAK_MIB, GROWTH_MIB = 160, 40


@pytest.mark.slow
def test_thousands_of_trials_in_bounded_memory(tmp_path: Path) -> None:
    """The publisher's own peak, by the kernel's count: of many trials hardly more than of a tenth of them."""
    peaks = {}
    for trials in (TRIALS // 10, TRIALS):
        examples = trials // 10
        made = synthetic.manifest(CANDIDATES, examples=examples, repetitions=5)
        whole = synthetic.trials(CANDIDATES, examples, 5)
        run = synthetic.run_directory(tmp_path / str(trials), whole, made, files=True)
        with LangSmithServer() as server:
            words = [COMMAND, "publish", str(run.path), "--to", "langsmith", "--json"]
            process = subprocess.Popen(
                words, env=environment(_leading_to(server)), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
            peaks[trials] = _peak_mib(process)
            assert process.stdout
            done = json.loads(process.stdout.read())["langsmith"]
            process.stdout.close()
            assert process.returncode == 0
            assert done["sent"]["runs"] == 5 * trials == len(server.state.runs)
            roots = [each for each in server.state.runs.values() if len(each.path) == 1]
            assert len(roots) == trials
            assert server.state.held() == []
    print(f"peak RSS of the publisher: {peaks} MiB")
    assert peaks[TRIALS] < PEAK_MIB
    assert peaks[TRIALS] < peaks[TRIALS // 10] + GROWTH_MIB


def _peak_mib(process: subprocess.Popen[bytes]) -> int:
    """Its high-water mark, read until it ends."""
    peak = 0
    while process.poll() is None:
        try:
            status = Path(f"/proc/{process.pid}/status").read_text()
        except (FileNotFoundError, ProcessLookupError):
            break
        for line in status.splitlines():
            if line.startswith("VmHWM:"):
                peak = max(peak, int(line.split()[1]) // 1024)
        time.sleep(0.05)
    process.wait()
    return peak
