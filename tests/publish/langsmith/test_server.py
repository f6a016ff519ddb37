"""The LangSmith server of the tests, by the real client: what it accepts, what it refuses, what it gives back."""

import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
from langsmith import Client
from langsmith.utils import LangSmithAuthError, LangSmithConflictError, LangSmithError, LangSmithNotFoundError
from urllib3.util import Retry

from tests.fakes.langsmith.server import Fault, Info, LangSmithServer

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
START = datetime(2026, 7, 22, 14, 15, 3, 250, tzinfo=UTC)
PROJECT = uuid.UUID(int=99)


def client_of(server: LangSmithServer, **changes: Any) -> Client:
    made: dict[str, Any] = {"api_key": server.api_key, "auto_batch_tracing": False, "retry_config": Retry(0)}
    return Client(server.url, **(made | changes))


@pytest.fixture
def server() -> Iterator[LangSmithServer]:
    with LangSmithServer() as made:
        yield made


@pytest.fixture
def client(server: LangSmithServer) -> Client:
    return client_of(server)


def example(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "id": uuid.UUID(int=number),
        "inputs": {"question": f"q{number}"},
        "reference_outputs": {"answer": f"a{number}"},
        "metadata": {"suite": "even" if number % 2 == 0 else "odd"},
    } | changes


def run(
    number: int, project: uuid.UUID, parent: dict[str, Any] | None = None, **changes: Any
) -> dict[str, Any]:
    """A finished run, as `multipart_ingest` takes it."""
    start = START + timedelta(seconds=number)
    step = f"{start:%Y%m%dT%H%M%S%fZ}{uuid.UUID(int=number)}"
    return {
        "id": str(uuid.UUID(int=number)),
        "trace_id": parent["trace_id"] if parent else str(uuid.UUID(int=number)),
        "dotted_order": f"{parent['dotted_order']}.{step}" if parent else step,
        "parent_run_id": parent["id"] if parent else None,
        "session_id": str(project),
        "name": f"run {number}",
        "run_type": "chain",
        "start_time": start,
        "end_time": start + timedelta(seconds=2),
        "inputs": {"x": number},
        "outputs": {"y": number},
    } | changes


def test_a_wrong_key_is_refused(server: LangSmithServer) -> None:
    project = client_of(server).create_project("p").id
    with pytest.raises(LangSmithAuthError, match="Invalid token"):
        client_of(server, api_key="wrong").read_dataset(dataset_name="none")
    errors: list[Exception] = []
    wrong = client_of(server, api_key="wrong", tracing_error_callback=errors.append)
    wrong.multipart_ingest(create=[run(1, project)])
    assert "Forbidden" in str(errors[0])
    with pytest.raises(LangSmithError, match="org-scoped"):
        list(client_of(server, api_key=f"org-{server.api_key}").list_datasets())
    right = client_of(server, api_key=f"org-{server.api_key}", workspace_id=server.workspace_id)
    assert list(right.list_datasets()) == []
    assert not server.state.runs


@pytest.mark.parametrize("multipart", [True, False], ids=["multipart", "legacy"])
def test_examples_have_versions_and_what_is_not_updated_stays(multipart: bool) -> None:
    with LangSmithServer(info=Info(examples_multipart=multipart)) as server:
        client = client_of(server)
        dataset = client.create_dataset("desk").id
        client.create_examples(dataset_id=dataset, examples=[example(number) for number in (1, 2, 3)])
        first = client.read_dataset_version(dataset_id=dataset, tag="latest").as_of
        client.update_dataset_tag(dataset_id=dataset, as_of=first, tag="prod")
        changed = {"id": uuid.UUID(int=1), "outputs": {"answer": "b"}}
        client.update_examples(dataset_id=dataset, updates=[changed])
        client.delete_examples([uuid.UUID(int=2)])

        def answers(**how: Any) -> dict[int, Any]:
            found = client.list_examples(dataset_id=dataset, **how)
            return {each.id.int: (each.outputs or {})["answer"] for each in found}

        assert answers() == {1: "b", 3: "a3"}
        assert answers(as_of="prod") == answers(as_of=first) == {1: "a1", 2: "a2", 3: "a3"}
        assert answers(as_of="prod", metadata={"suite": "even"}) == {2: "a2"}
        kept = client.read_example(uuid.UUID(int=1))
        assert (kept.inputs, (kept.metadata or {})["suite"]) == ({"question": "q1"}, "odd")
        versions = list(client.list_dataset_versions(dataset_id=dataset))
        assert [each.tags for each in versions] == [["latest"], None, ["prod"]]
        with pytest.raises(LangSmithError, match="not found"):
            list(client.list_examples(dataset_id=dataset, as_of="nowhere"))


def test_attachments_come_back_as_bytes(client: Client) -> None:
    dataset = client.create_dataset("desk").id
    files = {"a.bin": ("application/octet-stream", b"\r\n--x\r\n\x00\xff"), "b.txt": ("text/plain", b"b")}
    client.create_examples(dataset_id=dataset, examples=[example(1, attachments=files)])

    def attached() -> dict[str, bytes]:
        (found,) = client.list_examples(dataset_id=dataset, include_attachments=True)
        return {name: each["reader"].read(-1) for name, each in (found.attachments or {}).items()}

    assert attached() == {name: data for name, (_, data) in files.items()}
    operations = {"retain": ["b.txt"]}
    update = {
        "id": uuid.UUID(int=1),
        "attachments_operations": operations,
        "attachments": {"c": ("text/plain", b"c")},
    }
    client.update_examples(dataset_id=dataset, updates=[update])
    assert attached() == {"b.txt": b"b", "c": b"c"}


def test_examples_and_runs_are_paged(client: Client) -> None:
    dataset = client.create_dataset("desk").id
    client.create_examples(dataset_id=dataset, examples=[example(number) for number in range(1, 251)])
    assert len({each.id for each in client.list_examples(dataset_id=dataset)}) == 250
    project = client.create_project("p").id
    client.multipart_ingest(create=[run(number, project) for number in range(1, 251)])
    assert len({each.id for each in client.list_runs(project_id=project)}) == 250


def test_wrong_examples_are_refused_and_none_is_kept(client: Client, server: LangSmithServer) -> None:
    dataset = client.create_dataset("desk").id
    with pytest.raises(LangSmithConflictError):
        client.create_dataset("desk")
    client.create_examples(dataset_id=dataset, examples=[example(1)])
    with pytest.raises(LangSmithConflictError, match="already exists"):
        client.create_examples(dataset_id=dataset, examples=[example(2), example(1)])
    with pytest.raises(LangSmithError, match=r"inputs is required"):
        client.create_examples(dataset_id=dataset, examples=[example(3), example(4, inputs=None)])
    with pytest.raises(LangSmithNotFoundError, match="not found"):
        client.update_examples(dataset_id=dataset, updates=[{"id": uuid.UUID(int=9), "outputs": {}}])
    with pytest.raises(LangSmithNotFoundError):
        client.create_examples(dataset_id=uuid.uuid4(), examples=[example(5)])
    assert [each.id.int for each in client.list_examples(dataset_id=dataset)] == [1]
    assert len(server.state.datasets[dataset].versions) == 1


@pytest.mark.parametrize(
    ("path", "body", "named"),
    [
        ("/datasets", {"description": "no name"}, "name"),
        ("/datasets", {"name": 7}, "name"),
        ("/datasets", {"name": "x", "rows": 3}, "rows"),
        ("/sessions", {"name": "x", "start_time": "yesterday"}, "start_time"),
        ("/sessions", {"name": "x", "description": "a\0b"}, "NUL"),
        ("/feedback", {"key": "k", "id": str(PROJECT), "score": "high"}, "score"),
        ("/feedback", {"key": "k", "id": str(PROJECT), "score": 0.123456}, "score"),
        ("/runs/query", {"session": [str(PROJECT)], "limit": 500}, "limit"),
        ("/datasets?nme=x", {"name": "x"}, "nme"),
    ],
)
def test_an_unknown_or_wrong_field_is_named(
    server: LangSmithServer, path: str, body: dict[str, Any], named: str
) -> None:
    headers = {"x-api-key": server.api_key}
    got = requests.post(server.url + path, json=body, headers=headers, timeout=10)
    assert (got.status_code, named in got.text) == (422, True), got.text
    assert not server.state.datasets
    assert not server.state.sessions


def test_projects_are_kept(client: Client) -> None:
    dataset = client.create_dataset("desk").id
    made = client.create_project(
        "exp-1", description="d", metadata={"run": 1}, reference_dataset_id=dataset, num_examples=3
    )
    ended = made.start_time + timedelta(hours=1)
    client.update_project(made.id, end_time=ended)
    found = client.read_project(project_name="exp-1")
    assert (found.id, found.end_time, found.metadata) == (made.id, ended, {"run": 1})
    with pytest.raises(LangSmithConflictError, match="already exists"):
        client.create_project("exp-1")
    with pytest.raises(LangSmithNotFoundError):
        client.create_project("exp-2", reference_dataset_id=uuid.uuid4())
    client.delete_dataset(dataset_id=dataset)
    assert not client.has_project("exp-1")


@pytest.mark.parametrize("way", ["multipart", "zstd", "batch"])
def test_runs_come_back_as_they_went(way: str) -> None:
    with LangSmithServer(info=Info(use_multipart_endpoint=way != "batch")) as server:
        errors: list[Exception] = []
        client = client_of(server, auto_batch_tracing=way == "zstd", tracing_error_callback=errors.append)
        while way == "zstd" and client.compressed_traces is None:
            time.sleep(0.01)  # its thread reads /info first
        project = client.create_project("p").id
        root = run(1, project, tags=["t"], extra={"metadata": {"a": 1}})
        failed = run(3, project, root, run_type="tool", error="no such order", outputs=None)
        for each in (root, failed):
            if way == "multipart":
                client.multipart_ingest(create=[dict(each)])
            elif way == "batch":
                client.batch_ingest_runs(create=[dict(each)])
            else:
                client.create_run(**each)
        client.flush()
        assert errors == []
        found = {item.name: item for item in client.list_runs(project_id=project)}
        got = found["run 1"]
        assert (got.start_time, got.end_time) == (root["start_time"], root["end_time"])
        assert (got.inputs, got.outputs, got.tags, got.status) == ({"x": 1}, {"y": 1}, ["t"], "success")
        assert got.metadata["a"] == 1
        assert got.dotted_order == root["dotted_order"]
        assert found["run 3"].parent_run_id == got.id
        assert (found["run 3"].error, found["run 3"].status) == ("no such order", "error")
        assert [each.id for each in client.list_runs(project_id=project, is_root=True)] == [got.id]
        posted = [asked for asked in server.requests if asked.runs]
        assert {asked.encoding for asked in posted} == ({"zstd"} if way == "zstd" else {None})


def broken_runs(project: uuid.UUID) -> dict[str, list[dict[str, Any]]]:
    """Requests that cannot be taken, each beside a good run."""
    good, other = run(1, project), run(2, project)
    child = run(3, project, good)
    return {
        "does not match first part": [good, run(4, project, trace_id=str(uuid.UUID(int=9)))],
        "does not match last part": [
            good,
            run(4, project, dotted_order=good["dotted_order"], trace_id=good["id"]),
        ],
        "single part for root": [good, child | {"parent_run_id": None}],
        "second last": [good, child | {"parent_run_id": other["id"]}],
        "starts before its parent": [other, run(1, project, other)],
        "start_time does not match": [good, other | {"start_time": START}],
        "end_time is before": [good, other | {"end_time": START - timedelta(seconds=1)}],
        "name": [good, other | {"name": None}],
        "at most 128 characters": [good, other | {"name": "x" * 129}],
        "run_type": [good, other | {"run_type": "agent"}],
        "inputs": [good, other | {"inputs": [1]}],
        "NUL": [good, other | {"inputs": {"deep": [{"a\0b": 1}]}}],
        "surprise": [good, other | {"surprise": 1}],
        "session_id": [good, other | {"session_id": str(uuid.uuid4())}],
        "reference_example_id": [good, other | {"reference_example_id": str(uuid.uuid4())}],
    }


@pytest.mark.parametrize("problem", broken_runs(PROJECT))
def test_one_wrong_run_spoils_its_request(server: LangSmithServer, problem: str) -> None:
    errors: list[Exception] = []
    client = client_of(server, tracing_error_callback=errors.append)
    client.multipart_ingest(create=broken_runs(client.create_project("p").id)[problem])
    assert problem in str(errors[0])
    assert server.state.runs == {}


def test_what_is_received_once_is_not_received_again(client: Client, server: LangSmithServer) -> None:
    project = client.create_project("p").id
    client.multipart_ingest(create=[run(1, project)])
    client.multipart_ingest(create=[run(1, project), run(2, project)])  # the client takes 409 for success
    assert [asked.status for asked in server.requests if asked.path == "/runs/multipart"] == [202, 409]
    assert len(server.state.runs) == 1  # the new one is lost with the other: never send both


def test_what_belongs_to_something_waits_for_it(client: Client, server: LangSmithServer) -> None:
    project = client.create_project("p").id
    root = run(1, project)
    client.multipart_ingest(create=[run(2, project, root)])
    assert server.state.held() == [uuid.UUID(int=2)]
    assert list(client.list_runs(project_id=project)) == []
    server.state.ingest_delay = 3600
    client.multipart_ingest(create=[root])
    assert server.state.held() == []
    assert list(client.list_runs(project_id=project)) == []
    server.state.ingest_delay = 0
    assert len(list(client.list_runs(project_id=project))) == 2
    with pytest.raises(LangSmithNotFoundError):
        client.create_feedback(uuid.uuid4(), "k", score=1, session_id=project, stop_after_attempt=1)


@pytest.mark.parametrize("background", [False, True])
def test_feedback_is_read_back(server: LangSmithServer, background: bool) -> None:
    errors: list[Exception] = []
    client = client_of(server, auto_batch_tracing=background, tracing_error_callback=errors.append)
    project = client.create_project("p").id
    client.multipart_ingest(create=[run(1, project), run(2, project, run(1, project))])
    for key, given in (("final_answer", {"score": 0.5}), ("verdict", {"value": "passed"})):
        client.create_feedback(
            key=key,
            trace_id=uuid.UUID(int=1),
            session_id=project,
            feedback_id=uuid.uuid4(),
            comment="c",
            **given,
        )
    client.create_feedback(key="score", project_id=project, score=0.75)
    client.flush()
    assert errors == []
    found = {each.key: each for each in client.list_feedback(run_ids=[uuid.UUID(int=1)])}
    assert (found["final_answer"].score, found["final_answer"].comment) == (0.5, "c")
    assert (found["verdict"].value, found["verdict"].session_id) == ("passed", project)
    posted = [asked for asked in server.requests if asked.path == "/feedback" and asked.method == "POST"]
    assert len(posted) == (1 if background else 3)


def test_experiment_results_join_examples_and_runs(client: Client) -> None:
    dataset = client.create_dataset("desk").id
    client.create_examples(dataset_id=dataset, examples=[example(number) for number in (101, 102, 103)])
    project = client.create_project("exp", reference_dataset_id=dataset).id
    runs = [run(n, project, reference_example_id=str(uuid.UUID(int=101 + n % 2))) for n in (1, 2, 3)]
    client.multipart_ingest(create=runs)
    results = client.get_experiment_results(name="exp")
    rows = {row.id.int: [each.name for each in row.runs] for row in results["examples_with_runs"]}
    assert rows == {101: ["run 2"], 102: ["run 1", "run 3"]}


def test_faults(server: LangSmithServer) -> None:
    errors: list[Exception] = []
    client = client_of(server, tracing_error_callback=errors.append)
    project = client.create_project("p").id
    server.faults = [Fault("drop", "/runs", after=1, times=3)]
    client.multipart_ingest(create=[run(1, project)])
    client.multipart_ingest(create=[run(2, project)])  # three tries, each cut off
    assert (len(errors), len(server.state.runs)) == (1, 1)
    server.faults = [Fault("lost_reply", "/runs", times=1)]
    client.multipart_ingest(create=[run(2, project)])
    assert (len(errors), len(server.state.runs)) == (1, 2)
    server.faults = [Fault("status", "/sessions", status=429, retry_after=7, times=1)]
    got = requests.get(server.url + "/sessions", headers={"x-api-key": server.api_key}, timeout=10)
    assert (got.status_code, got.headers["Retry-After"]) == (429, "7")
    called: list[int] = []
    server.faults = [Fault("call", "/sessions", action=lambda: called.append(len(server.state.runs)))]
    assert client.has_project("p")
    assert called == [2]
