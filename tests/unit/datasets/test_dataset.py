"""Reading the dataset: what rows become, and where each mistake is."""

# ruff: noqa: E501 - one mistake a line

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bakeoff.config.located import Located
from bakeoff.config.schema import Config
from bakeoff.datasets import Dataset, load, select
from bakeoff.errors import InputError

GOOD = {"id": "a-1", "inputs": {"question": "Where?"}, "outputs": {"answer": "here"}}


def config_in(root: Path, dataset: str = "rows.jsonl") -> Config:
    (root / "harness.yaml").write_text(f"version: 1\nname: x\ndataset: {dataset}\n")
    parts = {"name": "x", "harness": {"entrypoint": "a:b"}, "candidates": [], "evaluators": []}
    lines = {("dataset",): 3}
    config = Config(**parts, dataset=dataset)
    return config.read_from(root / "harness.yaml", Located(str(root / "harness.yaml"), 1, lines))


def load_text(root: Path, text: str | bytes) -> Dataset:
    (root / "rows.jsonl").write_bytes(text if isinstance(text, bytes) else text.encode())
    return load(config_in(root))


def rows(*changes: dict[str, object]) -> str:
    return "".join(json.dumps(GOOD | change) + "\n" for change in changes)


def test_a_good_dataset(tmp_path: Path) -> None:
    (tmp_path / "orders.json").write_text("{}")
    trajectory = [{"name": "get", "args": {"n": 1}, "result": "shipped"}, {"name": "close"}]
    text = rows(
        {"outputs": {"answer": "x", "trajectory": trajectory, "mine": 1}, "files": {"data/o.json": "orders.json"}},
        {"id": "a-2", "inputs": {"messages": [{"role": "user", "content": "Hi\u2028!"}], "tone": "dry"}},
    )  # fmt: skip
    dataset = load_text(tmp_path, b"\xef\xbb\xbf\n" + text.encode() + b"  \r\n")
    first, second = dataset.examples
    assert (first.id, first.line, first.messages) == ("a-1", 2, [{"role": "user", "content": "Where?"}])
    assert first.files == {"data/o.json": str((tmp_path / "orders.json").resolve())}
    assert first.outputs["mine"] == 1
    assert (second.line, second.messages[0]["content"], second.inputs["tone"]) == (3, "Hi\u2028!", "dry")


def test_the_digest_covers_rows_and_files(tmp_path: Path) -> None:
    (tmp_path / "o").write_text("1")
    with_file = rows({"files": {"o": "o"}})
    one = load_text(tmp_path, with_file).digest
    assert one == load_text(tmp_path, with_file).digest
    (tmp_path / "o").write_text("2")
    two = load_text(tmp_path, with_file).digest
    three = load_text(tmp_path, rows({"files": {"o": "o"}, "id": "b"})).digest
    assert len({one, two, three}) == 3
    assert len(one) == 64


QUESTION = {"question": "?"}


def nested(levels: int) -> object:
    return [nested(levels - 1)] if levels else 1


def calling(calls: object, *answers: str) -> dict[str, object]:
    """A row whose conversation began with calls, and perhaps answers to some."""
    said = [{"role": "user", "content": "?"}, {"role": "assistant", "content": None, "tool_calls": calls}]
    said += [{"role": "tool", "tool_call_id": answer, "content": "x"} for answer in answers]
    return {"inputs": {"messages": said}}


BAD = [
    ("{", None, "is not JSON", "complete JSON object"),
    ("3", None, "expected a mapping, found 3", "id, inputs"),
    ('{"id": "x", "id": "y"}', "id", "given twice", "Keep one"),
    ('{"id": NaN}', None, "NaN is not JSON", "null"),
    ('{"id": "\\ud800"}', None, "surrogate", "character"),
    ("[" * 100_000, None, "nested too deeply", "Flatten"),
    ({"inputs": {"question": "?", "deep": nested(101)}}, None, "nested deeper than 100 levels", "Flatten"),
    ('{"id": ' + "9" * 5000 + "}", None, "not usable JSON", "as text"),
    ('{"inputs": {"question": "?"}}', "id", "is missing", "Add `id`"),
    ({"id": 7}, "id", "expected text, found 7", "text"),
    ({"id": "a/b"}, "id", "'a/b' cannot be part of a file name", "letters"),
    ({"id": ".."}, "id", "cannot be part", "letters"),
    ({"id": "x" * 101}, "id", "cannot be part", "100"),
    ({"id": "good"}, "id", "already used in line 1", "its own id"),
    ({"id": "GOOD"}, "id", "already used in line 1", "its own id"),
    ({"input": {}}, "input", "unknown key 'input'", "`inputs`"),
    ({"inputs": []}, "inputs", "expected a mapping, found a list", "mapping"),
    ({"inputs": {}}, "inputs", "neither `messages` nor `question`", "question"),
    ({"inputs": {"messages": [], "question": "?"}}, "inputs", "both", "question"),
    ({"inputs": {"question": " "}}, "inputs.question", "text that is not empty", "question"),
    ({"inputs": {"messages": []}}, "inputs.messages", "a list that is not empty", "role"),
    ({"inputs": {"messages": ["hi"]}}, "inputs.messages[0]", "expected a message", "role"),
    ({"inputs": {"messages": [{"role": "human", "content": "x"}]}}, "inputs.messages[0].role", "a role, found the text 'human'", "`user`"),
    ({"inputs": {"messages": [{"content": "x"}]}}, "inputs.messages[0].role", "found nothing", "one of user"),
    ({"inputs": {"messages": [{"role": "user"}]}}, "inputs.messages[0].content", "found nothing", "text"),
    ({"inputs": {"messages": [{"role": "function", "content": "x"}]}}, "inputs.messages[0].role", "a role, found the text 'function'", "one of user"),
    ({"inputs": {"messages": [{"role": "user", "content": [3]}]}}, "inputs.messages[0].content[0]", "a content block, found 3", "text"),
    ({"inputs": {"messages": [{"role": "user", "content": "x", "tool_calls": []}]}}, "inputs.messages[0].tool_calls", "of the role user", "assistant"),
    (calling(3), "inputs.messages[1].tool_calls", "a list of calls, found 3", "function"),
    (calling(["x"]), "inputs.messages[1].tool_calls[0]", "a call, found the text 'x'", "function"),
    (calling([{"function": {"name": "f", "arguments": "{}"}}]), "inputs.messages[1].tool_calls[0].id", "text, found nothing", "call_1"),
    (calling([{"id": "1", "function": "f"}]), "inputs.messages[1].tool_calls[0].function", "a function, found the text 'f'", "function"),
    (calling([{"id": "1", "function": {"arguments": "{}"}}]), "inputs.messages[1].tool_calls[0].function.name", "a name, found nothing", "function"),
    (calling([{"id": "1", "function": {"name": "f", "arguments": "{"}}]), "inputs.messages[1].tool_calls[0].function.arguments", "a JSON object as text", "function"),
    (calling([{"id": "1", "function": {"name": "f", "arguments": "[1]"}}]), "inputs.messages[1].tool_calls[0].function.arguments", "a JSON object as text", "function"),
    (calling([{"id": "1", "name": "f", "args": {}}]), "inputs.messages[1].tool_calls[0].id", "no message with the call's result follows", "tool_call_id"),
    (calling([{"id": "1", "name": "f", "args": {}}] * 2, "1"), "inputs.messages[1].tool_calls[1].id", "no message with the call's result follows", "tool_call_id"),
    ({"inputs": {"messages": [{"role": "user", "content": [{"text": "x"}]}]}}, "inputs.messages[0].content[0]", "a content block, found a mapping", "text"),
    (calling([{"id": "1", "name": "f", "args": "x"}]), "inputs.messages[1].tool_calls[0].args", "a mapping, found the text 'x'", "function"),
    ({"inputs": {"messages": [{"role": "tool", "content": "x"}]}}, "inputs.messages[0].tool_call_id", "a call before it, found nothing", "the call that it answers"),
    (calling([{"id": "1", "name": "f", "args": {}}], "2"), "inputs.messages[2].tool_call_id", "a call before it, found the text '2'", "Ids there are 1"),
    ({"outputs": {"trajectory": {}}}, "outputs.trajectory", "expected a list, found a mapping", "list"),
    ({"outputs": {"trajectory": [{}]}}, "outputs.trajectory[0].name", "is missing", "Add `name`"),
    ({"outputs": {"trajectory": [{"name": "a", "arg": 1}]}}, "outputs.trajectory[0].arg", "unknown key", "`args`"),
    ({"outputs": {"trajectory": [{"name": "a", "args": "x"}]}}, "outputs.trajectory[0].args", "a mapping", "mapping"),
    ({"outputs": {"trajectory": [{"name": "a", "result": 1}]}}, "outputs.trajectory[0].result", "text", "text"),
    ({"metadata": {"cluster": [1]}}, "metadata.cluster", "found a list", "text"),
    ({"files": {"o": "gone.json"}}, "files.o", "there is no file 'gone.json'", "Add the file"),
    ({"files": {"o": "."}}, "files.o", "not a regular file", "by itself"),
    ({"files": {"o": "../outside"}}, "files.o", "is outside the project", "Copy"),
    ({"files": {"o": "link"}}, "files.o", "is outside the project", "Copy"),
    ({"files": {"o": "loop"}}, "files.o", "there is no file", "Add the file"),
    ({"files": {"o": "/etc/hostname"}}, "files.o", "not a relative path", "relative"),
    ({"files": {"o": "a\0b"}}, "files.o", "not a relative path", "relative"),
    ({"files": {"../o": "rows.jsonl"}}, "files.../o", "not a path below /task", "plain relative"),
    ({"files": {"/o": "rows.jsonl"}}, "files./o", "not a path below /task", "plain relative"),
    ({"files": {"a//b": "rows.jsonl"}}, "files.a//b", "not a path below /task", "plain relative"),
    ({"files": {"": "rows.jsonl"}}, "files.''", "not a path below /task", "plain relative"),
    ({"files": {"a/b": "rows.jsonl", "a": "rows.jsonl"}}, "files.a/b", "'a' is a file", "Rename"),
    ({"files": {"o": 3}}, "files.o", "expected text, found 3", "text"),
]  # fmt: skip


@pytest.mark.parametrize(("row", "key", "problem", "hint"), BAD, ids=[f"{b[1]}-{b[2]}" for b in BAD])
def test_bad_rows(
    tmp_path: Path, row: str | dict[str, object], key: str | None, problem: str, hint: str
) -> None:
    root = tmp_path / "project"
    root.mkdir()
    (tmp_path / "outside").write_text("secret")
    (root / "link").symlink_to(tmp_path / "outside")
    (root / "loop").symlink_to("loop")
    text = row if isinstance(row, str) else json.dumps({"id": "b", "inputs": QUESTION} | row)
    with pytest.raises(InputError) as caught:
        load_text(root, rows({"id": "good"}) + "\n" + text + "\n")
    error = caught.value
    assert (error.file, error.line, error.key) == (str(root / "rows.jsonl"), 3, key)
    assert problem in error.problem
    assert hint in (error.hint or "")


@pytest.mark.parametrize(
    ("content", "line", "problem"),
    [(b"", None, "no rows"), (b"\n \n", None, "no rows"), (b"\n\xff\xfe{\n", 2, "not UTF-8")],
)
def test_a_file_that_is_no_dataset(tmp_path: Path, content: bytes, line: int | None, problem: str) -> None:
    with pytest.raises(InputError, match=problem) as caught:
        load_text(tmp_path, content)
    assert (caught.value.line, bool(caught.value.hint)) == (line, True)


@pytest.mark.parametrize(
    ("dataset", "problem"), [("gone.jsonl", "there is no file"), (".", "is a directory")]
)
def test_no_dataset_is_the_harness_file_s_mistake(tmp_path: Path, dataset: str, problem: str) -> None:
    with pytest.raises(InputError, match=problem) as caught:
        load(config_in(tmp_path, dataset))
    error = caught.value
    assert (error.file, error.line, error.key) == (str(tmp_path / "harness.yaml"), 3, "dataset")
    assert error.hint


def test_a_conversation_that_is_accepted_is_one_that_langchain_reads(tmp_path: Path) -> None:
    from langchain_core.messages import convert_to_messages

    openai = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    langchain = {"id": "1", "name": "f", "args": {"a": 1}}
    for call in (openai, langchain):
        row = calling([call, {**call, "id": ""}], "1", "")
        [example] = load_text(tmp_path, rows(row)).examples
        _, message, *_ = convert_to_messages(example.messages)
        assert [made["args"] for made in message.tool_calls] == [{"a": 1}, {"a": 1}]


def test_a_reference_answer_may_be_any_json_value(tmp_path: Path) -> None:
    answers = ["x", 3, 2.5, ["a", 3], {"a": [True]}, False]
    text = rows(*({"id": f"r{i}", "outputs": {"answer": answer}} for i, answer in enumerate(answers)))
    assert [example.outputs["answer"] for example in load_text(tmp_path, text).examples] == answers


def test_select(tmp_path: Path) -> None:
    dataset = load_text(tmp_path, rows({"id": "refund-1"}, {"id": "refund-2"}, {"id": "order-1"}))

    def ids(*patterns: str) -> list[str]:
        chosen = select(dataset, patterns)
        assert chosen.digest == dataset.digest
        return [example.id for example in chosen.examples]

    assert ids() == ["refund-1", "refund-2", "order-1"]
    assert ids("order-1", "refund-*") == ["refund-1", "refund-2", "order-1"]
    assert ids("*-2") == ["refund-2"]
    with pytest.raises(InputError, match="--example: no example has the id 'refund-9'") as caught:
        select(dataset, ["refund-9"])
    assert "Did you mean refund-" in (caught.value.hint or "")
    with pytest.raises(InputError) as caught:
        select(dataset, ["zzz*"])
    assert "refund-1, refund-2, order-1" in (caught.value.hint or "")


@pytest.mark.slow
def test_many_rows_sharing_a_file_read_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "o").write_text("1")
    reads = []
    monkeypatch.setattr("bakeoff.datasets.rows._file_digest", lambda file, *_: reads.append(file) or "d")
    text = "".join(rows({"id": f"r{i}", "files": {"o": "o"}}) for i in range(2000))
    assert len(load_text(tmp_path, text).examples) == 2000
    assert len(reads) == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.slow
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    key=st.sampled_from(["id", "inputs", "outputs", "files", "metadata"]),
    value=JSON,
    junk=st.binary(max_size=6),
)
def test_any_row_is_read_or_refused(tmp_path: Path, key: str, value: object, junk: bytes) -> None:
    try:
        dataset = load_text(tmp_path, json.dumps(GOOD | {key: value}).encode() + junk)
    except InputError as error:
        assert error.hint  # noqa: PT017 - either outcome is right
    else:
        assert dataset.examples[0].model_dump_json()
