"""What the LangSmith server of the tests refuses: the tests of publishing and reading show what it accepts."""

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
from langsmith import Client
from langsmith.utils import LangSmithConflictError, LangSmithError, LangSmithNotFoundError
from urllib3.util import Retry

from tests.fakes.langsmith.server import LangSmithServer

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
