"""`dataset: langsmith://NAME`: the real client reads from the strict server; rows, versions, the cache, every error."""

# ruff: noqa: E501 - one case a line

import gc
import json
import logging
import os
import subprocess
import sys
import uuid
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from langsmith import Client
from langsmith.schemas import ExampleCreate

from bakeoff import datasets
from bakeoff.backends.base import Capacity
from bakeoff.config import loading
from bakeoff.config.cache import cache_dir
from bakeoff.config.schema import Config
from bakeoff.datasets import Dataset
from bakeoff.datasets.langsmith import attachment, cache
from bakeoff.datasets.langsmith import example as form
from bakeoff.errors import InputError
from bakeoff.record.base import JsonDict
from bakeoff.record.manifest import Dataset as Pinned
from bakeoff.run import examine, plan, preflight
from tests.fakes.http_server import Exchange, HttpServer
from tests.fakes.langsmith.server import Fault, LangSmithServer

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
HERE = Path(__file__).resolve().parents[3]
NAME = "support desk"
REST = """version: 1
name: x
harness: {entrypoint: "agent:build", source: src}
candidates: [{name: sim, model: "simulated:skill=1"}]
evaluators: [{final_answer: {match: contains}, threshold: 1.0}]
"""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LangSmithServer]:
    """With its address and key in the environment, and a cache of the test's own."""
    for name in [each for each in os.environ if each.startswith(("LANGSMITH_", "LANGCHAIN_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with LangSmithServer() as made:
        monkeypatch.setenv("LANGSMITH_ENDPOINT", made.url)
        monkeypatch.setenv("LANGSMITH_API_KEY", made.api_key)
        yield made


@pytest.fixture
def client(server: LangSmithServer) -> Client:
    return Client(server.url, api_key=server.api_key, auto_batch_tracing=False)


def config(root: Path, name: str = f"langsmith://{NAME}", more: str = "") -> Config:
    (root / "harness.yaml").write_text(f"{REST}dataset: {json.dumps(name)}\n{more}")
    return loading.load(root / "harness.yaml")


def read(root: Path, name: str = f"langsmith://{NAME}", more: str = "", **how: Any) -> Dataset:
    return datasets.load(config(root, name, more), **how)


def refused(root: Path, name: str = f"langsmith://{NAME}", more: str = "", **how: Any) -> InputError:
    with pytest.raises(InputError) as caught:
        read(root, name, more, **how)
    assert caught.value.hint
    return caught.value


def refused_name(root: Path, name: str = f"langsmith://{NAME}") -> str:
    """What is wrong with harness.yaml's key, and the hint."""
    error = refused(root, name)
    assert (error.file, error.line, error.key) == (str(root / "harness.yaml"), 6, "dataset")
    return f"{error.problem} {error.hint}"


def put(client: Client, *examples: dict[str, Any], name: str = NAME) -> str:
    """A dataset of a user's own making; its id."""
    made = client.create_dataset(name)
    if examples:
        client.create_examples(dataset_id=made.id, examples=[ExampleCreate(**each) for each in examples])
    return str(made.id)


def put_rows(client: Client, rows: Iterable[JsonDict], root: Path) -> None:
    """What publishing makes of a run's examples."""
    made = client.create_dataset(NAME)
    examples = []
    for row in rows:
        metadata = form.metadata_of(row)
        names = form.attachment_names(row["files"])
        files = {
            names[name]: ("application/octet-stream", (root / file["path"]).read_bytes())
            for name, file in row["files"].items()
        }
        fields = {"inputs": row["inputs"], "reference_outputs": row["outputs"], "metadata": metadata}
        examples.append(ExampleCreate(id=uuid.uuid5(made.id, row["id"]), attachments=files, **fields))
    client.create_examples(dataset_id=made.id, examples=examples)


ROW: dict[str, Any] = {"inputs": {"question": "Where is A-17?"}, "reference_outputs": {"answer": "shipped"}}


# --- rows -------------------------------------------------------------------------------------------


def test_what_was_published_is_read_back_as_the_same_dataset(
    client: Client, tmp_path: Path, server: LangSmithServer
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "orders.json").write_bytes(b'{"a": 1}\n')
    (tmp_path / "other").write_bytes(bytes(range(256)))
    demonstration = [json.loads(line) for line in (HERE / "datasets/support_desk.jsonl").open()]
    awkward = [
        {
            "id": "Z.1-x",
            "inputs": {
                "messages": [{"role": "user", "content": "é\u2028\x00 <b>"}],
                "n": [1, 1.5, None, True],
            },
            "outputs": {"answer": "", "mine": {"deep": [{}]}},
            "files": {
                "orders.json": "data/orders.json",
                "orders_json": "other",
                "d/o.json": "data/orders.json",
            },
            "metadata": {"cluster": 7, "severity": 0.5, "dataset_split": ["mine"], "bakeoff": {"id": "no"}},
        },
        {"id": "a", "inputs": {"question": "?"}},
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in demonstration + awkward))
    local = read(tmp_path, "rows.jsonl")
    put_rows(client, local.rows(tmp_path), tmp_path)
    remote = read(tmp_path)
    assert remote.row_digests == local.row_digests
    assert len(remote.examples) == 41
    assert [each.id for each in remote.examples] == [each.id for each in local.examples]
    for ours, theirs in zip(local.examples, remote.examples, strict=True):
        assert theirs.model_copy(update={"files": {}, "line": 0}) == ours.model_copy(
            update={"files": {}, "line": 0}
        )
        assert {n: Path(p).read_bytes() for n, p in theirs.files.items()} == {
            n: Path(p).read_bytes() for n, p in ours.files.items()
        }
    parts = [
        plan.trials(config(tmp_path, "rows.jsonl"), local.examples),
        plan.trials(config(tmp_path), remote.examples),
    ]
    assert parts[0] == parts[1]
    rows = {row["id"]: row for row in remote.rows(tmp_path)}
    made = next(iter(server.state.datasets))
    assert rows["a"]["langsmith_id"] == str(uuid.uuid5(made, "a"))
    assert all(Path(file["path"]).is_file() for file in rows["Z.1-x"]["files"].values())
    # a published row of a row that was read is the same example again
    assert form.metadata_of(rows["Z.1-x"]) == form.metadata_of(
        next(row for row in local.rows(tmp_path) if row["id"] == "Z.1-x")
    )


def test_a_dataset_of_the_users_own(client: Client, tmp_path: Path) -> None:
    ids = [uuid.UUID(int=9), uuid.UUID(int=2), uuid.UUID(int=5)]
    messages = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}]
    put(
        client,
        {**ROW, "id": ids[0], "metadata": {"suite": "s", "cluster": "c"}, "split": "test"},
        {"id": ids[1], "inputs": {"messages": messages}},
        {**ROW, "id": ids[2], "metadata": {"bakeoff": {"id": "named"}}, "attachments": {"a": ("text/plain", b"x")}},
    )  # fmt: skip
    found = read(tmp_path)
    first, second, third = found.examples  # in the order of their creation, not of their ids
    assert (first.id, second.id, third.id) == (str(ids[0]), str(ids[1]), "named")
    assert first.metadata == {"suite": "s", "cluster": "c"}  # a split is LangSmith's, not the row's
    assert (second.messages, second.outputs) == (messages, {})
    assert Path(third.files["a"]).read_bytes() == b"x"
    assert datasets.select(found, ["named"]).examples == [third]
    assert datasets.select(found, [], ["s"]).examples == [first]


def test_a_run_of_many_examples_is_read_page_by_page(client: Client, tmp_path: Path) -> None:
    put(client, *({**ROW, "inputs": {"question": f"{n}"}} for n in range(250)))
    assert [each.messages[0]["content"] for each in read(tmp_path).examples] == [str(n) for n in range(250)]


# --- versions ---------------------------------------------------------------------------------------


def edited(client: Client) -> tuple[str, datetime, datetime]:
    """A dataset in two versions, the first of them tagged; its id and the versions' times."""
    number = uuid.UUID(int=1)
    key = put(client, {**ROW, "id": number})
    first = next(iter(client.list_dataset_versions(dataset_id=key))).as_of
    client.update_dataset_tag(dataset_id=key, as_of=first, tag="prod")
    client.update_example(number, inputs={"question": "Where now?"})
    client.create_examples(dataset_id=key, examples=[ExampleCreate(**ROW)])
    return key, first, next(iter(client.list_dataset_versions(dataset_id=key))).as_of


def test_a_version_is_a_tag_or_a_time(client: Client, tmp_path: Path) -> None:
    key, first, last = edited(client)
    for version in ("prod", first.isoformat(), f"{(first + timedelta(microseconds=1)).replace(tzinfo=None)}"):
        found = read(tmp_path, f"langsmith://{NAME}@{version}")
        assert [each.messages[0]["content"] for each in found.examples] == ["Where is A-17?"]
        assert found.origin
        assert found.origin.as_of == first.isoformat()
    for version in ("", "@latest", f"@{(last + timedelta(days=1)).isoformat()}"):
        found = read(tmp_path, f"langsmith://{NAME}{version}")
        assert [each.messages[0]["content"] for each in found.examples] == ["Where now?", "Where is A-17?"]
        assert found.origin
        assert (found.origin.as_of, found.origin.dataset_id) == (last.isoformat(), key)


def test_a_tag_that_looks_like_a_time_is_a_tag(client: Client, tmp_path: Path) -> None:
    key, first, _ = edited(client)
    client.update_dataset_tag(dataset_id=key, as_of=first, tag="20300101")
    found = read(tmp_path, f"langsmith://{NAME}@20300101")
    assert found.origin
    assert found.origin.as_of == first.isoformat()


def test_a_run_that_goes_on_reads_its_own_version(
    client: Client, tmp_path: Path, server: LangSmithServer
) -> None:
    number = uuid.UUID(int=3)
    put(client, {**ROW, "id": number, "attachments": {"a": ("text/plain", b"content")}})
    before = read(tmp_path)
    assert before.origin
    pinned = Pinned(path="", digest=before.digest, rows=1, langsmith=before.origin)
    client.update_example(number, inputs={"question": "Where now?"})
    assert read(tmp_path).digest != before.digest
    asked = len(server.requests)
    assert read(tmp_path, pinned=pinned) == before
    assert len(server.requests) == asked  # from what was kept

    attachment = Path(before.examples[0].files["a"])
    for damage in (attachment, *(tmp_path / "cache/bakeoff/langsmith").glob("*.jsonl")):
        damage.write_text(damage.read_text().replace("A-17", "A-18").replace("content", "Content"))
        assert read(tmp_path, pinned=pinned) == before  # the damaged file was fetched again
        assert attachment.read_bytes() == b"content"
    assert len(server.requests) > asked
    attachment.unlink()
    server.state.datasets.clear()
    assert "no longer" in refused(tmp_path, pinned=pinned).problem


def test_what_is_kept_needs_neither_network_nor_key(
    client: Client, tmp_path: Path, server: LangSmithServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(client, ROW)
    before = read(tmp_path)
    assert before.origin
    monkeypatch.delenv("LANGSMITH_API_KEY")
    assert (
        read(tmp_path, pinned=Pinned(path="", digest=before.digest, rows=1, langsmith=before.origin))
        == before
    )
    refused(tmp_path)  # a new run asks


def test_what_is_kept_is_for_its_owner_alone(client: Client, tmp_path: Path) -> None:
    put(client, {**ROW, "attachments": {"a": ("text/plain", b"x")}})
    read(tmp_path)
    for path in (cache_dir() / "langsmith").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


def test_a_cache_that_cannot_be_written_is_said(client: Client, tmp_path: Path) -> None:
    put(client, ROW)
    (tmp_path / "cache").write_text("a file")
    assert "cannot be written" in refused_name(tmp_path)


# --- the account ------------------------------------------------------------------------------------


def test_key_and_address_come_from_the_settings_and_dotenv(
    client: Client, server: LangSmithServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(client, ROW)
    for name in ("LANGSMITH_ENDPOINT", "LANGSMITH_API_KEY"):
        monkeypatch.delenv(name)
    settings = f"publish: {{langsmith: {{endpoint: {server.url}/api/v1, api_key_env: MINE}}}}\n"
    assert "MINE is not set" in refused(tmp_path, more=settings).problem
    (tmp_path / ".env").write_text(f"MINE=org-{server.api_key}\n")
    error = refused(tmp_path, more=settings)
    assert "organization" in error.problem
    assert "LANGSMITH_WORKSPACE_ID" in str(error.hint)
    settings = settings.replace("MINE", f"MINE, workspace: {server.workspace_id}")
    assert len(read(tmp_path, more=settings).examples) == 1
    (tmp_path / ".env").unlink()
    command = f"key_command: {{MINE: [echo, org-{server.api_key}]}}\n"
    assert len(read(tmp_path, more=settings + command).examples) == 1


NOBODY = "http://127.0.0.1:9"


@pytest.mark.parametrize(
    ("variable", "value", "problem"),
    [
        ("API_KEY", "", "LANGSMITH_API_KEY is not set"),
        ("API_KEY", "lsv2_pt_another_0123", "refused the key in LANGSMITH_API_KEY"),
        ("API_KEY", "not\na key", "is not a key"),
        ("WORKSPACE_ID", str(uuid.UUID(int=4)), str(uuid.UUID(int=4))),
        ("ENDPOINT", NOBODY, f"{NOBODY} cannot be reached"),
        ("ENDPOINT", "smith.langchain.com", "is not an http or https address"),
    ],
)
def test_an_account_that_cannot_be_used_is_refused_by_name(
    server: LangSmithServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    value: str,
    problem: str,
) -> None:
    monkeypatch.setenv(f"LANGSMITH_{variable}", value)
    error = refused(tmp_path)
    assert problem in error.problem
    assert "lsv2" not in f"{error} {error.hint}"
    assert value or (error.key, server.requests) == ("dataset", [])


@pytest.mark.parametrize(
    "body", [b"<html>", b"{}", b"[1]", b'["a"]', b"null", b'[{"id": 1}]', b"[" * 100_000]
)
def test_a_server_that_is_not_langsmith(
    body: bytes, tmp_path: Path, server: LangSmithServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    gc.disable()  # the clients of tests before would be finalized where the stack has no more room, which pytest fails
    try:
        with HttpServer(lambda exchange: exchange.say(200, body)) as other:
            monkeypatch.setenv("LANGSMITH_ENDPOINT", other.url)
            assert "did not answer as LangSmith does" in refused_name(tmp_path)
    finally:
        gc.enable()


@pytest.mark.parametrize("status", [400, 404, 429, 500, 503])
def test_a_server_that_fails(status: int, client: Client, server: LangSmithServer, tmp_path: Path) -> None:
    put(client, ROW)
    server.faults.append(Fault("status", path="/examples", method="GET", status=status, retry_after=0))
    assert f"HTTP {status}" in refused_name(tmp_path)


# --- the name ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "problem", "hint"),
    [
        ("suport desk", "no dataset 'suport desk'", "Did you mean langsmith://support desk?"),
        (f"{NAME}@prd", "no version 'prd'", "Did you mean @prod?"),
        (f"{NAME}@1999-01-01", "its first is of 20", ""),
    ],
)
def test_no_such_dataset_or_version(
    client: Client, tmp_path: Path, name: str, problem: str, hint: str
) -> None:
    edited(client)
    said = refused_name(tmp_path, f"langsmith://{name}")
    assert problem in said
    assert hint in said


def test_no_examples(client: Client, tmp_path: Path) -> None:
    key = put(client)
    assert "has no examples" in refused_name(tmp_path)
    client.create_examples(dataset_id=key, examples=[ExampleCreate(**ROW, id=uuid.UUID(int=1))])
    client.delete_examples([uuid.UUID(int=1)])
    assert "has no examples" in refused(tmp_path).problem


@pytest.mark.parametrize(
    "name", ["langsmith://", "langsmith:// ", "langsmith://@prod", "langsmith://a@", "langsmith:a", "LangSmith://a"]
)  # fmt: skip
def test_a_name_that_is_none(name: str, server: LangSmithServer, tmp_path: Path) -> None:
    refused_name(tmp_path, name)
    assert server.requests == []


def test_a_name_with_an_at(client: Client, tmp_path: Path) -> None:
    put(client, ROW, name="a@b")
    assert len(read(tmp_path, "langsmith://a@b@latest").examples) == 1


# --- examples ---------------------------------------------------------------------------------------

BAD = {
    "other inputs": ({"inputs": {"input": "x"}}, "inputs", "neither"),
    "LangChain's messages": (
        {"inputs": {"messages": [{"type": "human", "data": {"content": "x"}}]}},
        "inputs.messages[0].role",
        "expected a role",
    ),
    "a wrong cluster": ({**ROW, "metadata": {"cluster": []}}, "metadata.cluster", "found a list"),
    "a wrong id": ({**ROW, "metadata": {"bakeoff": {"id": "a/b"}}}, "metadata.bakeoff.id", "file name"),
    "ours is none": ({**ROW, "metadata": {"bakeoff": "x"}}, "metadata.bakeoff", "expected a mapping"),
    "ours is other": ({**ROW, "metadata": {"bakeoff": {"row": 1}}}, "metadata.bakeoff.row", "unknown key"),
    "a missing file": ({**ROW, "metadata": {"bakeoff": {"files": {"o.json": "o_json"}}}}, "attachments", "'o_json' is missing"),
    "a path": (
        {
            **ROW,
            "metadata": {"bakeoff": {"files": {"../o": "o"}}},
            "attachments": {"o": ("text/plain", b"")},
        },
        "files.../o",
        "not a path below /task",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_an_example_that_is_no_row(case: str, client: Client, tmp_path: Path) -> None:
    bad, key, problem = BAD[case]
    number = uuid.UUID(int=77)
    dataset_id = put(client, ROW, {**bad, "id": number})
    error = refused(tmp_path, f"langsmith://{NAME}@latest")
    assert error.key == key
    assert problem in error.problem
    assert str(error.file).startswith(f"langsmith://{NAME}, example ")
    assert f"/datasets/{dataset_id}/e/{number}." in str(error.hint)  # the address


def test_an_id_twice(client: Client, tmp_path: Path) -> None:
    one, two = uuid.UUID(int=1), uuid.UUID(int=2)
    named = [{**ROW, "id": one, "metadata": {"bakeoff": {"id": "a"}}}]
    put(client, *named, {**ROW, "id": two, "metadata": {"bakeoff": {"id": "A"}}})
    error = refused(tmp_path)
    assert error.key == "metadata.bakeoff.id"
    assert f"the id 'A' is already used by the example {one}" in error.problem
    assert str(two) in str(error.hint)


def test_an_attachment_that_cannot_be_had(
    client: Client,
    server: LangSmithServer,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    put(client, {**ROW, "attachments": {"orders": ("text/plain", b"x")}})
    server.faults.append(Fault("status", path="/attachments/", status=403))
    with caplog.at_level(logging.DEBUG, logger="bakeoff"):
        error = refused(tmp_path)
    assert (error.key, "'orders' cannot be downloaded" in error.problem) == ("attachments", True)
    token = next(each.path for each in server.requests if each.path.startswith("/attachments/"))
    said = f"{error} {error.hint} {caplog.text} {''.join(capfd.readouterr())}"
    assert token.removeprefix("/attachments/") not in said  # whoever has the address has the file
    assert error.__cause__ is None
    assert error.__suppress_context__


def test_an_attachment_is_asked_for_again_when_the_connection_breaks(
    client: Client, server: LangSmithServer, tmp_path: Path
) -> None:
    content = os.urandom(3 * 2**20 + 5)
    put(client, {**ROW, "attachments": {"big": ("application/octet-stream", content)}})
    server.faults.append(Fault("drop", path="/attachments/", times=1))
    server.faults.append(Fault("status", path="/attachments/", times=1, status=503))
    assert Path(read(tmp_path).examples[0].files["big"]).read_bytes() == content
    assert [each.status for each in server.requests if "/attachments/" in each.path] == [0, 503, 200]


def test_half_an_attachment_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def half(exchange: Exchange) -> None:
        exchange.begin(200, {"content-length": str(3 * 2**20)})
        exchange.wfile.write(bytes(2 * 2**20))

    with HttpServer(half) as server, attachment.session() as session:
        with pytest.raises(attachment.NotDownloaded) as caught:
            cache.keep_file(attachment.download(session, f"{server.url}/signed"))
    assert "signed" not in str(caught.value)
    assert list((tmp_path / "bakeoff/langsmith/files").iterdir()) == []


@pytest.mark.parametrize(
    ("endpoint", "given", "address"),
    [
        ("https://api.x.com", "https://s3.y.com/a?sig=1", "https://s3.y.com/a?sig=1"),
        ("https://x.com/api", "/public/download?jwt=1", "https://x.com/api/public/download?jwt=1"),
        ("https://x.com/api/v1", "/api/public/download", "https://x.com/api/public/download"),
        ("https://x.com/api", "/api/public/download", "https://x.com/api/public/download"),
        ("http://x:1984", "public/a", "http://x:1984/public/a"),
    ],
)
def test_where_an_attachment_is(endpoint: str, given: str, address: str) -> None:
    assert attachment.address(endpoint, given) == address
    from langsmith.client import _construct_url

    assert address == _construct_url(endpoint, given)  # as the client has it


def test_checks_that_need_more_than_the_dataset_name_the_example(client: Client, tmp_path: Path) -> None:
    number = uuid.UUID(int=5)
    put(client, {"id": number, "inputs": {"question": "x"}})
    (tmp_path / "src").mkdir()
    (tmp_path / "src/agent.py").write_text("def build(model, context): ...\n")
    with pytest.raises(InputError) as caught:
        preflight.check(config(tmp_path), read(tmp_path), Capacity(64, 2**40))
    assert (caught.value.file, caught.value.key) == (
        f"langsmith://{NAME}, example {number}",
        "outputs.answer",
    )
    assert f"/e/{number}." in str(caught.value.hint)


# --- the commands -----------------------------------------------------------------------------------


def test_doctor_says_which_version(client: Client, tmp_path: Path) -> None:
    _, _, last = edited(client)
    check = next(iter(examine._inputs(config(tmp_path))))
    assert (check.state, check.subject) == ("ok", "dataset")
    assert f"langsmith://{NAME}: 2 examples, version {last.isoformat()}" in check.says


@pytest.mark.parametrize("there", [True, False])
def test_the_command_says_it_and_nothing_else(there: bool, server: LangSmithServer, tmp_path: Path) -> None:
    config(tmp_path, more="" if there else "publish: {langsmith: {endpoint: 'http://127.0.0.1:9'}}\n")
    command = [str(Path(sys.executable).parent / "bakeoff"), "run", "--dry-run"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    said = " ".join(done.stderr.split())
    problem = (
        f"there is no dataset '{NAME}' at {server.url}" if there else "http://127.0.0.1:9 cannot be reached"
    )
    assert said.startswith(f"error: harness.yaml:6: dataset: {problem}")
    assert len(done.stderr.splitlines()) <= 4
    assert server.api_key[:5] not in done.stderr + done.stdout
