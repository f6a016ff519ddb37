"""A run in real containers whose dataset is LangSmith's: stopped, gone on with though the dataset was edited."""

import json
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator

import pytest
from langsmith import Client

from bakeoff.config.cache import cache_dir
from bakeoff.record.manifest import Origin
from bakeoff.record.store import RunDirectory
from tests.docker.project import COMMAND, Outcome, Project, call
from tests.fakes.langsmith.server import Fault, LangSmithServer
from tests.publish.demonstration import environment

pytestmark = [
    pytest.mark.docker,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning"),
]
NAME = "faulty"  # the harness's: the dataset that it is published to
ORCHESTRATOR_BYTES = 120 * 2**20


@pytest.fixture(scope="module")
def server() -> Iterator[LangSmithServer]:
    with LangSmithServer() as made:
        yield made


@pytest.fixture(scope="module")
def client(server: LangSmithServer) -> Client:
    return Client(server.url, api_key=server.api_key, auto_batch_tracing=False)


@pytest.fixture(scope="module")
def env(server: LangSmithServer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What leads to the server, and away from the user's cache of datasets: the rest of the cache stays as it is."""
    cache = tmp_path_factory.mktemp("cache")
    (cache / "bakeoff").mkdir()
    cache_dir().mkdir(parents=True, exist_ok=True)
    for each in cache_dir().iterdir():
        if each.name != "langsmith":
            (cache / "bakeoff" / each.name).symlink_to(each)
    return environment(
        {"LANGSMITH_ENDPOINT": server.url, "LANGSMITH_API_KEY": server.api_key, "XDG_CACHE_HOME": str(cache)}
    )


def publish(project: Project, run: RunDirectory, env: dict[str, str]) -> None:
    """Beside the harness file, where the rows' files are found."""
    command = [*COMMAND, "publish", str(run.path), "--to", "langsmith"]
    done = subprocess.run(command, cwd=project.root, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stdout


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, Outcome]:
    """The project, and its run from a file."""
    project = Project(tmp_path_factory.mktemp("project"))
    (project.root / "orders.json").write_text('{"A-17": "shipped"}')
    project.config["max_concurrency"] = 1
    read = call("read_file", "shipped", name="data/orders.json")
    project.row("read", read, answer="shipped", files={"data/orders.json": "orders.json"})
    for n in range(3):
        project.row(
            f"wait-{n}", call("wait", "waited", seconds=1), answer=f"done {n}", metadata={"suite": "waits"}
        )
    outcome = project.bake()
    assert outcome.code == 0, outcome.stderr
    return project, outcome


@pytest.fixture(scope="module")
def remote(
    local: tuple[Project, Outcome], client: Client, server: LangSmithServer, env: dict[str, str]
) -> RunDirectory:
    """The run published, and run again from there: stopped after the first verdict, and gone on with after an edit."""
    project, before = local
    assert before.run
    publish(project, before.run, env)
    dataset = client.read_dataset(dataset_name=NAME)
    project.config["dataset"] = f"langsmith://{NAME}"
    process = project.start(env=env)
    deadline = time.monotonic() + 120
    while not any(
        p.read_text().strip() for p in project.root.glob("runs/*/trials.jsonl") if p.parent != before.run.path
    ):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    stopped = project.finish(process)
    assert stopped.code == 130, stopped.stderr
    assert stopped.run
    assert 0 < len(list(stopped.run.trials())) < 4
    assert stopped.peak_bytes < ORCHESTRATOR_BYTES

    for row in before.run.examples():  # an edit in the middle of the run, and then LangSmith is gone
        client.update_example(uuid.uuid5(dataset.id, row["id"]), outputs=row["outputs"] | {"answer": "else"})
    server.faults.append(Fault("drop"))
    done = subprocess.run(
        [*COMMAND, "run", "--quiet", "--resume", "latest"],
        cwd=project.root, env={**os.environ, **env}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    server.faults.clear()
    assert done.returncode == 0, done.stderr
    return stopped.run


def test_every_trial_ran_on_the_version_that_the_run_began_with(
    local: tuple[Project, Outcome], remote: RunDirectory, client: Client, server: LangSmithServer
) -> None:
    before = local[1].run
    assert before
    assert {t.trial_id: t.verdict for t in remote.trials()} == {
        t.trial_id: t.verdict for t in before.trials()
    }
    assert {t.verdict for t in remote.trials()} == {
        "passed"
    }  # the attachment was in /task: `read` needs its content
    manifest, old = remote.manifest(), before.manifest()
    dataset = client.read_dataset(dataset_name=NAME)
    first = client.read_dataset_version(dataset_id=dataset.id, tag=old.run_id).as_of  # as it was published
    assert manifest.dataset.langsmith == Origin(
        endpoint=server.url,
        dataset_id=str(dataset.id),
        name=NAME,
        as_of=first.isoformat(),
        url=dataset.url,
    )
    assert manifest.dataset.path == f"langsmith://{NAME}@{first.isoformat()}"
    assert manifest.dataset.row_digests == old.dataset.row_digests
    assert manifest.fingerprint == old.fingerprint
    rows = {row["id"]: row for row in remote.examples()}
    assert {key: row["langsmith_id"] for key, row in rows.items()} == {
        key: str(uuid.uuid5(dataset.id, key)) for key in rows
    }
    assert server.api_key not in "".join(p.read_text() for p in remote.path.rglob("*") if p.is_file())


def test_compare_takes_both_for_the_same_dataset(
    local: tuple[Project, Outcome], remote: RunDirectory
) -> None:
    before = local[1].run
    assert before
    command = [*COMMAND, "compare", str(before.path), str(remote.path), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)


def test_an_edited_dataset_is_another(
    local: tuple[Project, Outcome], remote: RunDirectory, env: dict[str, str]
) -> None:
    """A new run reads what LangSmith has now, and `compare` says what has changed."""
    project = local[0]
    now = project.bake("--example", "wait-0", env=env)
    assert now.run, now.stderr
    assert now.run.path != remote.path
    done = subprocess.run(
        [*COMMAND, "compare", str(remote.path), str(now.run.path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "4 rows changed" in " ".join((done.stdout + done.stderr).split())


def test_a_publication_of_it_links_to_those_very_examples(
    local: tuple[Project, Outcome],
    remote: RunDirectory,
    client: Client,
    server: LangSmithServer,
    env: dict[str, str],
) -> None:
    before = server.state.dump()["datasets"]
    publish(local[0], remote, env)
    dataset = client.read_dataset(dataset_name=NAME)
    after = server.state.dump()["datasets"]
    for each in (*before, *after):  # an experiment more, and nothing else
        each.pop("session_count")
    assert after == before
    [experiment] = [
        each
        for each in client.list_projects(reference_dataset_id=dataset.id)
        if remote.run_id in str(each.name)
    ]
    asked = {trial.trial_id: trial.example_id for trial in remote.trials()}
    examples = {row["id"]: row["langsmith_id"] for row in remote.examples()}
    roots = list(client.list_runs(project_id=experiment.id, is_root=True))
    assert sorted(str(root.reference_example_id) for root in roots) == sorted(
        examples[each] for each in asked.values()
    )
    assert {str(each.id) for each in client.list_examples(dataset_id=dataset.id)} == set(examples.values())
