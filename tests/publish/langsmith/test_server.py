"""The LangSmith server of the tests, by the real client: what it takes, what it refuses, what it gives back."""

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
SELECT = ["id", "name", "run_type", "start_time", "trace_id"]  # what the client cannot do without
START = datetime(2026, 7, 22, 14, 15, 3, 250, tzinfo=UTC)


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


def run(number: int, project: str, parent: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """A finished run, as `multipart_ingest` takes it."""
    start = START + timedelta(seconds=number)
    own = f"{start:%Y%m%dT%H%M%S%fZ}{uuid.UUID(int=number)}"
    return {
        "id": str(uuid.UUID(int=number)),
        "trace_id": parent["trace_id"] if parent else str(uuid.UUID(int=number)),
        "dotted_order": f"{parent['dotted_order']}.{own}" if parent else own,
        "parent_run_id": parent["id"] if parent else None,
        "session_name": project,
        "name": f"run {number}",
        "run_type": "chain",
        "start_time": start,
        "end_time": start + timedelta(seconds=2),
        "inputs": {"x": number},
        "outputs": {"y": number},
    } | changes


def test_info_is_the_handshake(client: Client) -> None:
    assert client.info.batch_ingest_config
    assert client.info.batch_ingest_config["use_multipart_endpoint"]
    assert client.info.instance_flags
    assert client.info.instance_flags["zstd_compression_enabled"]


def test_a_wrong_key_is_refused(server: LangSmithServer) -> None:
    with pytest.raises(LangSmithAuthError, match="Invalid token"):
        client_of(server, api_key="wrong").read_dataset(dataset_name="none")
    errors: list[Exception] = []
    wrong = client_of(server, api_key="wrong", tracing_error_callback=errors.append)
    wrong.multipart_ingest(create=[run(1, "p")])
    assert "Forbidden" in str(errors[0])
    with pytest.raises(LangSmithError, match="org-scoped"):
        list(client_of(server, api_key=f"org-{server.api_key}").list_datasets())
    right = client_of(server, api_key=f"org-{server.api_key}", workspace_id=server.workspace_id)
    assert list(right.list_datasets()) == []
    assert not server.state.runs


def test_a_dataset_is_kept_found_and_deleted(client: Client) -> None:
    made = client.create_dataset("desk", description="d", metadata={"by": "bakeoff"})
    assert client.read_dataset(dataset_name="desk").id == made.id
    found = client.read_dataset(dataset_id=made.id)
    assert found.description == "d"
    assert found.metadata
    assert found.metadata["by"] == "bakeoff"
    assert [each.id for each in client.list_datasets(metadata={"by": "bakeoff"})] == [made.id]
    assert list(client.list_datasets(metadata={"by": "somebody"})) == []
    with pytest.raises(LangSmithConflictError):
        client.create_dataset("desk")
    client.delete_dataset(dataset_id=made.id)
    with pytest.raises(LangSmithNotFoundError):
        client.read_dataset(dataset_name="desk")


@pytest.mark.parametrize("multipart", [True, False], ids=["multipart", "legacy"])
def test_examples_have_versions(multipart: bool) -> None:
    with LangSmithServer(info=Info(examples_multipart=multipart)) as server:
        client = client_of(server)
        dataset = client.create_dataset("desk").id
        client.create_examples(dataset_id=dataset, examples=[example(number) for number in (1, 2, 3)])
        first = client.read_dataset_version(dataset_id=dataset, tag="latest").as_of
        client.update_dataset_tag(dataset_id=dataset, as_of=first, tag="prod")
        client.update_examples(
            dataset_id=dataset, updates=[{"id": uuid.UUID(int=1), "outputs": {"answer": "b"}}]
        )
        client.delete_examples([uuid.UUID(int=2)])

        def answers(**how: Any) -> dict[int, Any]:
            found = client.list_examples(dataset_id=dataset, **how)
            return {each.id.int: (each.outputs or {})["answer"] for each in found}

        assert answers() == {1: "b", 3: "a3"}
        assert answers(as_of="prod") == answers(as_of=first) == {1: "a1", 2: "a2", 3: "a3"}
        assert answers(as_of="prod", metadata={"suite": "even"}) == {2: "a2"}
        assert answers(example_ids=[uuid.UUID(int=3)]) == {3: "a3"}
        assert client.read_example(uuid.UUID(int=1), as_of=first).outputs == {"answer": "a1"}
        versions = list(client.list_dataset_versions(dataset_id=dataset))
        assert [each.tags for each in versions] == [["latest"], None, ["prod"]]
        with pytest.raises(LangSmithError, match="not found"):
            list(client.list_examples(dataset_id=dataset, as_of="nowhere"))


def test_what_is_not_updated_stays(client: Client) -> None:
    dataset = client.create_dataset("desk").id
    client.create_examples(dataset_id=dataset, examples=[example(1, split="train")])
    client.update_examples(
        dataset_id=dataset, updates=[{"id": uuid.UUID(int=1), "metadata": {"suite": "new"}}]
    )
    found = client.read_example(uuid.UUID(int=1))
    assert (found.inputs, found.outputs) == ({"question": "q1"}, {"answer": "a1"})
    assert found.metadata == {"suite": "new", "dataset_split": ["train"]}
    assert client.list_dataset_splits(dataset_id=dataset) == ["train"]


def test_attachments_come_back_as_bytes(client: Client) -> None:
    dataset = client.create_dataset("desk").id
    files = {"a.bin": ("application/octet-stream", b"\r\n--x\r\n\x00\xff"), "b.txt": ("text/plain", b"b")}
    client.create_examples(dataset_id=dataset, examples=[example(1, attachments=files)])

    def attached() -> dict[str, bytes]:
        (found,) = client.list_examples(dataset_id=dataset, include_attachments=True)
        return {name: each["reader"].read(-1) for name, each in (found.attachments or {}).items()}

    assert attached() == {name: data for name, (_, data) in files.items()}
    client.update_examples(
        dataset_id=dataset,
        updates=[
            {
                "id": uuid.UUID(int=1),
                "attachments_operations": {"retain": ["b.txt"]},
                "attachments": {"c.txt": ("text/plain", b"c")},
            }
        ],
    )
    assert attached() == {"b.txt": b"b", "c.txt": b"c"}
    (plain,) = client.list_examples(dataset_id=dataset)
    assert not plain.attachments


def test_examples_are_paged(client: Client) -> None:
    dataset = client.create_dataset("desk").id
    client.create_examples(dataset_id=dataset, examples=[example(number) for number in range(1, 251)])
    assert len({each.id for each in client.list_examples(dataset_id=dataset)}) == 250
    assert client.read_dataset(dataset_id=dataset).example_count == 250


def test_wrong_examples_are_refused_and_none_is_kept(client: Client, server: LangSmithServer) -> None:
    dataset = client.create_dataset("desk").id
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


def test_an_unknown_or_wrong_field_is_named(server: LangSmithServer) -> None:
    headers = {"x-api-key": server.api_key}
    wrong: list[tuple[str, dict[str, Any], str]] = [
        ("/datasets", {"description": "no name"}, "name"),
        ("/datasets", {"name": 7}, "name"),
        ("/datasets", {"name": "x", "rows": 3}, "rows"),
        ("/sessions", {"name": "x", "start_time": "yesterday"}, "start_time"),
        (
            "/runs",
            {"id": "x", "name": "n", "run_type": "agent", "start_time": "2026-01-01T00:00:00Z"},
            "run_type",
        ),
        ("/feedback", {"key": "k", "run_id": str(uuid.uuid4()), "score": "high"}, "score"),
        ("/feedback", {"key": "k", "run_id": str(uuid.uuid4()), "score": 0.123456}, "score"),
        ("/runs/query", {"session": [str(uuid.uuid4())], "limit": 500}, "limit"),
    ]
    for path, body, name in wrong:
        got = requests.post(server.url + path, json=body, headers=headers, timeout=10)
        assert (got.status_code, name in got.text) == (422, True), (path, got.text)
    got = requests.get(f"{server.url}/datasets?nme=x", headers=headers, timeout=10)
    assert got.status_code == 422
    assert "nme" in got.text
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
    assert client.read_project(project_id=str(made.id)).reference_dataset_id == dataset
    assert [each.name for each in client.list_projects(reference_dataset_id=dataset)] == ["exp-1"]
    assert list(client.list_projects(metadata={"run": 2})) == []
    with pytest.raises(LangSmithConflictError, match="already exists"):
        client.create_project("exp-1")
    with pytest.raises(LangSmithNotFoundError):
        client.create_project("exp-2", reference_dataset_id=uuid.uuid4())
    client.delete_project(project_id=str(made.id))
    assert not client.has_project("exp-1")


@pytest.mark.parametrize("way", ["multipart", "zstd", "batch", "single"])
def test_runs_come_back_as_they_went(way: str) -> None:
    with LangSmithServer(info=Info(use_multipart_endpoint=way != "batch")) as server:
        errors: list[Exception] = []
        client = client_of(server, auto_batch_tracing=way == "zstd", tracing_error_callback=errors.append)
        while way == "zstd" and client.compressed_traces is None:
            time.sleep(0.01)  # its thread reads /info first
        root = run(1, "p", tags=["t"], extra={"metadata": {"a": 1}})
        events = [{"name": "new_token", "time": START.isoformat()}]
        usage = {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15, "total_cost": 0.25}
        child = run(2, "p", root, run_type="llm", events=events, outputs={"usage_metadata": usage})
        failed = run(3, "p", root, run_type="tool", error="no such order", outputs=None)
        for each in (root, child, failed):
            if way == "multipart":
                client.multipart_ingest(create=[dict(each)])
            elif way == "batch":
                client.batch_ingest_runs(create=[dict(each)])
            else:
                parts = {key: value for key, value in each.items() if key != "session_name"}
                client.create_run(project_name="p", **parts)
        client.flush()
        assert errors == []
        project = client.read_project(project_name="p", include_stats=True)
        found = {item.name: item for item in client.list_runs(project_id=project.id)}
        assert found.keys() == {"run 1", "run 2", "run 3"}
        got = found["run 1"]
        assert (got.start_time, got.end_time) == (root["start_time"], root["end_time"])
        assert (got.inputs, got.outputs, got.tags, got.status) == ({"x": 1}, {"y": 1}, ["t"], "success")
        assert got.metadata["a"] == 1
        assert got.dotted_order == root["dotted_order"]
        assert (got.total_tokens, str(got.total_cost)) == (15, "0.25")  # its children's
        assert found["run 2"].first_token_time
        assert found["run 2"].parent_run_id == got.id
        assert (found["run 3"].error, found["run 3"].status) == ("no such order", "error")
        assert (project.run_count, project.total_tokens) == (1, 15)
        roots = client.list_runs(project_id=project.id, is_root=True, select=SELECT)
        assert [item.id for item in roots] == [got.id]
        assert client.read_run(got.id, load_child_runs=True).child_runs
        posted = [asked for asked in server.requests if asked.runs]
        assert {asked.encoding for asked in posted} == ({"zstd"} if way == "zstd" else {None})


def broken_runs() -> dict[str, list[dict[str, Any]]]:
    """Requests that cannot be taken, each beside a good run."""
    good = run(1, "p")
    other = run(2, "p")
    child = run(3, "p", good)
    return {
        "does not match first part": [good, run(4, "p", trace_id=str(uuid.UUID(int=9)))],
        "does not match last part": [
            good,
            run(4, "p", dotted_order=good["dotted_order"], trace_id=good["id"]),
        ],
        "single part for root": [good, child | {"parent_run_id": None}],
        "second last": [good, child | {"parent_run_id": other["id"]}],
        "starts before its parent": [other, run(1, "p", other)],
        "start_time does not match": [good, other | {"start_time": START}],
        "end_time is before": [good, other | {"end_time": START - timedelta(seconds=1)}],
        "name": [good, other | {"name": None}],
        "run_type": [good, other | {"run_type": "agent"}],
        "inputs": [good, other | {"inputs": [1]}],
        "surprise": [good, other | {"surprise": 1}],
        "session_id": [good, {**other, "session_id": str(uuid.uuid4()), "session_name": None}],
        "reference_example_id": [good, other | {"reference_example_id": str(uuid.uuid4())}],
    }


@pytest.mark.parametrize("problem", broken_runs())
def test_one_wrong_run_spoils_its_request(server: LangSmithServer, problem: str) -> None:
    errors: list[Exception] = []
    client = client_of(server, tracing_error_callback=errors.append)
    client.multipart_ingest(create=broken_runs()[problem])
    assert problem in str(errors[0])
    assert server.state.runs == {}


def test_what_is_received_once_is_not_received_again(client: Client, server: LangSmithServer) -> None:
    client.multipart_ingest(create=[run(1, "p")])
    client.multipart_ingest(create=[run(1, "p"), run(2, "p")])  # the client takes 409 for success
    assert [asked.status for asked in server.requests if asked.path == "/runs/multipart"] == [202, 409]
    assert len(server.state.runs) == 1  # the new one is lost with the other: never send both


def test_a_child_waits_for_its_parent_and_feedback_for_its_run(
    client: Client, server: LangSmithServer
) -> None:
    root = run(1, "p")
    client.create_project("p")
    project = client.read_project(project_name="p").id
    client.multipart_ingest(create=[run(2, "p", root)])
    assert server.state.held() == [uuid.UUID(int=2)]
    assert list(client.list_runs(project_id=project)) == []
    client.multipart_ingest(create=[root])
    assert len(list(client.list_runs(project_id=project))) == 2
    assert server.state.held() == []
    with pytest.raises(LangSmithNotFoundError):
        client.create_feedback(uuid.uuid4(), "k", score=1, session_id=project, stop_after_attempt=1)


@pytest.mark.parametrize("background", [False, True])
def test_feedback_is_read_back(server: LangSmithServer, background: bool) -> None:
    errors: list[Exception] = []
    client = client_of(server, auto_batch_tracing=background, tracing_error_callback=errors.append)
    project = client.create_project("p").id
    client.multipart_ingest(create=[run(1, "p"), run(2, "p", run(1, "p"))])
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
    stats = client.read_project(project_name="p", include_stats=True)
    assert stats.feedback_stats
    assert stats.feedback_stats["final_answer"]["avg"] == 0.5
    assert stats.session_feedback_stats
    assert stats.session_feedback_stats["score"]["avg"] == 0.75
    posted = [asked for asked in server.requests if asked.path == "/feedback" and asked.method == "POST"]
    assert len(posted) == (1 if background else 3)


def test_experiment_results_join_examples_and_runs(client: Client) -> None:
    dataset = client.create_dataset("desk").id
    client.create_examples(dataset_id=dataset, examples=[example(number) for number in (101, 102, 103)])
    project = client.create_project("exp", reference_dataset_id=dataset)
    runs = [run(n, "exp", reference_example_id=str(uuid.UUID(int=101 + n % 2))) for n in (1, 2, 3)]
    client.multipart_ingest(create=runs)
    client.create_feedback(uuid.UUID(int=1), "ok", score=1, session_id=project.id)
    results = client.get_experiment_results(name="exp")
    rows = {row.id.int: [each.name for each in row.runs] for row in results["examples_with_runs"]}
    assert rows == {101: ["run 2"], 102: ["run 1", "run 3"]}
    assert results["run_stats"]["run_count"] == 3
    assert results["feedback_stats"]["ok"]["n"] == 1


def test_runs_are_paged_by_cursor(client: Client) -> None:
    client.multipart_ingest(create=[run(number, "p") for number in range(1, 251)])
    project = client.read_project(project_name="p").id
    assert len({each.id for each in client.list_runs(project_id=project, select=SELECT)}) == 250
    with pytest.raises(LangSmithError, match="At least one"):
        list(client.list_runs(run_type="llm"))


def test_faults(server: LangSmithServer) -> None:
    errors: list[Exception] = []
    client = client_of(server, tracing_error_callback=errors.append)
    server.faults = [Fault("drop", "/runs", after=1, times=3)]
    client.multipart_ingest(create=[run(1, "p")])
    client.multipart_ingest(create=[run(2, "p")])  # three tries, each cut off
    assert len(errors) == 1
    assert len(server.state.runs) == 1
    server.faults = [Fault("lost_reply", "/runs", times=1)]
    client.multipart_ingest(create=[run(2, "p")])
    assert len(errors) == 1
    assert len(server.state.runs) == 2
    server.faults = [Fault("status", "/sessions", status=429, retry_after=7, times=1)]
    got = requests.get(server.url + "/sessions", headers={"x-api-key": server.api_key}, timeout=10)
    assert (got.status_code, got.headers["Retry-After"]) == (429, "7")
    called: list[int] = []
    server.faults = [Fault("call", "/sessions", action=lambda: called.append(len(server.state.runs)))]
    assert client.has_project("p")
    assert called == [2]


def test_what_was_accepted_can_be_read_later(client: Client, server: LangSmithServer) -> None:
    server.state.ingest_delay = 3600
    client.multipart_ingest(create=[run(1, "p")])
    project = client.read_project(project_name="p").id
    assert list(client.list_runs(project_id=project)) == []
    server.state.ingest_delay = 0
    assert len(list(client.list_runs(project_id=project))) == 1
