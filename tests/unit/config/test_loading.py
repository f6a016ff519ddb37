"""Reading harness.yaml: what a good one becomes, and where each mistake in a bad one is."""

# ruff: noqa: E501 - one mistake a line

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bakeoff.config.loading import Overrides, dump, load
from bakeoff.config.schema import Candidate, Config, Harness
from bakeoff.errors import InputError

GOOD = """\
version: 1
name: support-desk
harness:
  entrypoint: support_desk.agent:build_agent
  source: src/support_desk
  limits: {turns: 12, seconds: 120}
resources:
  cpus: 1.0
  memory: 512MiB
  reserve: {cpus: 0.5, memory: 256MiB}
candidates:
  - {name: steady, model: "simulated:skill=0.9"}
  - name: opus
    model: anthropic:claude-opus-4-7
    params: {temperature: 0}
dataset: data.jsonl
evaluators:
  - {trajectory_match: {mode: superset}, threshold: 1.0}
  - final_answer:
      match: contains
    threshold: 1.0
  - tool_call_recall
trials: 3
"""


def write(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "harness.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    return path


def test_a_good_file(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    config = load(path)
    assert (config.name, config.trials, config.seed, config.max_concurrency) == ("support-desk", 3, 0, "auto")
    assert (config.file, config.root) == (path, tmp_path.resolve())
    assert config.resources.memory == 512 * 2**20
    assert config.candidates[1].params == {"temperature": 0}
    match, answer, recall = config.evaluators
    assert (match.kind, match.name, match.threshold) == ("trajectory_match", "trajectory_match", 1.0)
    assert match.options == {"mode": "superset", "args": "exact", "overrides": {}}
    assert (answer.kind, answer.options["match"], answer.threshold) == ("final_answer", "contains", 1.0)
    assert (recall.kind, recall.threshold, recall.use) == ("tool_call_recall", None, None)


def test_the_file_is_named_as_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, GOOD + "bogus: 1\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        load(Path("harness.yaml"))
    assert str(caught.value).startswith("harness.yaml:24: bogus: unknown key")
    assert load(write(tmp_path, GOOD)).root == tmp_path.resolve()


def test_forms_of_evaluators(tmp_path: Path) -> None:
    text = """
  - {use: "checks:polite", with: {strict: true}, threshold: 0.8}
  - {trajectory_match: {overrides: {pay: [order_id], search: ignore}}, name: loose, threshold: &t 1}
  - trajectory_match:
  - {llm_judge: {model: "openai:gpt-4.1"}, threshold: *t}
"""
    head, _, _ = GOOD.partition("  - {trajectory_match")
    use, loose, bare, judge = load(write(tmp_path, head + text)).evaluators
    assert (use.kind, use.name, use.use, use.options) == ("use", "polite", "checks:polite", {"strict": True})
    assert (loose.name, loose.threshold) == ("loose", 1.0)
    assert loose.options["overrides"] == {"pay": ["order_id"], "search": "ignore"}
    assert (bare.name, bare.options["mode"]) == ("trajectory_match", "strict")
    assert (judge.options["model"], judge.options["params"]) == ("openai:gpt-4.1", {})


def test_anchors_and_merge_keys_work(tmp_path: Path) -> None:
    text = GOOD.replace("    params: {temperature: 0}", "    params: &p {temperature: 0, stream: &no false}")
    text = text.replace("dataset: ", "  - {name: third, model: 'a:b', params: {<<: *p, n: *no}}\ndataset: ")
    assert load(write(tmp_path, text)).candidates[2].params == {"temperature": 0, "stream": False, "n": False}


def test_a_reserve_that_is_not_given_stays_below_the_ceiling(tmp_path: Path) -> None:
    text = GOOD.replace("512MiB", "128MiB").replace("  reserve: {cpus: 0.5, memory: 256MiB}\n", "")
    resources = load(write(tmp_path, text)).resources
    assert (resources.memory, resources.reserve.memory) == (128 * 2**20, 128 * 2**20)


# (what is replaced, by what, line, key, part of the problem, part of the hint)
BAD = [
    ("trials: 3", "trails: 3", 23, "trails", "unknown key 'trails'", "`trials`"),
    ("  source:", "  sorce:", 5, "harness.sorce", "unknown key 'sorce'", "`source`"),
    ("seconds: 120", "zzzz: 1", 6, "harness.limits.zzzz", "unknown key", "turns, seconds"),
    ("    params: {t", "    parms: {t", 15, "candidates[1].parms", "unknown key", "`params`"),
    ("evaluators:", "evaluator:", 17, "evaluator", "unknown key", "`evaluators`"),
    ("dataset: data.jsonl\n", "", 1, "dataset", "is missing", "Add `dataset`"),
    (", model: \"simulated:skill=0.9\"", "", 12, "candidates[0].model", "is missing", "Add `model`"),
    ("turns: 12", "turns: '12'", 6, "harness.limits.turns", "expected a whole number, found the text '12'", "turns: 12"),
    ("turns: 12", "turns: 1.5", 6, "harness.limits.turns", "expected a whole number, found 1.5", "`turns: 12`"),
    ("turns: 12", "turns: true", 6, "harness.limits.turns", "expected a whole number, found true", "`turns: 12`"),
    ("turns: 12", "turns: 0", 6, "harness.limits.turns", "a number of at least 1, found 0", "`turns: 12`"),
    ("  limits: {turns: 12, seconds: 120}", "  limits: [1]", 6, "harness.limits", "a mapping, found a list", "turns, "),
    ("  cpus: 1.0", "  cpus: lots", 8, "resources.cpus", "expected a number, found the text 'lots'", "`cpus: 1.0`"),
    ("  cpus: 1.0", "  cpus: .inf", 8, "resources.cpus", "expected a finite number, found inf", "`cpus: 1.0`"),
    ("  cpus: 1.0", "  cpus: -1", 8, "resources.cpus", "a number greater than 0, found -1", "`cpus: 1.0`"),
    ("  cpus: 1.0", "  cpus: 0.001", 8, "resources.cpus", "less than 0.01 of a CPU", "0.5"),
    ("memory: 512MiB", "memory: 512 Mb", 9, "resources.memory", "'512 Mb' is not a size", "Write 512MiB"),
    ("memory: 512MiB", "memory: 512Mi", 9, "resources.memory", "'512Mi' is not a size", "Write 512MiB"),
    ("memory: 512MiB", "memory: 0.5", 9, "resources.memory", "expected a size such as 512MiB, found 0.5", "512MiB"),
    ("memory: 512MiB", "memory: null", 9, "resources.memory", "expected a size", "512MiB"),
    ("memory: 512MiB", "memory: 1MiB", 9, "resources.memory", "less than the 6MiB", "512MiB"),
    ("memory: 512MiB", "memory: 128MiB", 10, "resources.reserve.memory", "larger than the ceiling", "Lower the reserve"),
    ("cpus: 0.5", "cpus: 2", 10, "resources.reserve.cpus", "larger than the ceiling", "`resources.cpus`"),
    ("trials: 3", "max_concurrency: x", 23, "max_concurrency", "expected a whole number or 'auto', found", "auto"),
    ("trials: 3", "name: again", 23, "name", "given twice", "Keep one"),
    ("version: 1", "version: 2", 1, "version", "expected version 1, found 2", "version: 1"),
    ("version: 1", "version: '1'", 1, "version", "expected version 1, found the text '1'", "version: 1"),
    ("version: 1", "version: true", 1, "version", "expected version 1, found true", "version: 1"),
    ("name: support-desk", "name: 2026-01-01", 2, "name", "found '2026-01-01'", "Quote"),
    ("name: support-desk", "name: ../x", 2, "name", "cannot be part of a file name", "letters"),
    ("name: support-desk", "name: !x y", 2, "name", "YAML tag '!x'", "Remove the tag"),
    ("name: support-desk", 'name: "a\\ud800"', 2, "name", "surrogate", "character"),
    ("name: support-desk", "name: [", 4, None, "is not valid YAML", "syntax"),
    ("name: support-desk", "1: x", 1, None, "the key '1' is not text", "quote"),
    ("  entrypoint: support_desk.agent:build_agent\n", "", 3, "harness", "neither `entrypoint` nor `prompt`", "Give"),
    ("  source:", "  prompt: Hi\n  source:", 5, "harness.prompt", "together with `entrypoint`", "Remove"),
    ("  source:", "  tools: ['a:b']\n  source:", 5, "harness.tools", "together with `entrypoint`", "Remove"),
    ("  source:", "  middleware: [{use: 'a:b'}]\n  source:", 5, "harness.middleware", "together with", "Remove"),
    ("agent:build_agent", "agent.build_agent", 4, "harness.entrypoint", "not of the form module:name", "my_agent"),
    ("  entrypoint: support_desk.agent:build_agent", "  prompt: Hi\n  tools:\n  - a:b\n  - nope", 7, "harness.tools[1]", "not of the form", "my_agent"),
    ("name: opus", "name: steady", 13, "candidates[1].name", "named twice", "Rename"),
    ("name: opus", "name: Steady", 13, "candidates[1].name", "named twice", "Rename"),
    ("name: opus", "name: a/b", 13, "candidates[1].name", "'a/b' cannot be part of a file name", "letters"),
    ("name: opus", "name: a__b", 13, "candidates[1].name", "cannot be part of a file name", "without `__`"),
    ("name: opus", "name: " + "a" * 65, 13, "candidates[1].name", "cannot be part", "64"),
    ("{temperature: 0}", "{api_key: hush}", 15, "candidates[1].params.api_key", "secret", "api_key_env"),
    ("    params:", "    base_url: nowhere\n    params:", 15, "candidates[1].base_url", "http or https", "http://"),
    ("    params:", "    base_url: 'http://[::1'\n    params:", 15, "candidates[1].base_url", "http or https", "http://"),
    ("    params:", "    base_url: http://h:port/v1\n    params:", 15, "candidates[1].base_url", "http or https", "http://"),
    ("    params:", "    base_url: http://u:p@h/v1\n    params:", 15, "candidates[1].base_url", "secret", "api_key_env"),
    ("    params:", "    api_key_env: sk-1\n    params:", 15, "candidates[1].api_key_env", "environment variable", "never"),
    ("name: support-desk", "name: x\npublish: {langsmit: {}}", 3, "publish.langsmit", "unknown key", "`langsmith`"),
    ("name: support-desk", "name: x\npublish: {mlflow: {tracking_uri: 'file:x'}}", 3, "publish.mlflow.tracking_uri", "http or https", "http://"),
    ("name: support-desk", "name: x\npublish: {mlflow: {tracking_uri: 'http://a:b@c'}}", 3, "publish.mlflow.tracking_uri", "secret", "MLFLOW_TRACKING_USERNAME"),
    ("name: support-desk", "name: x\npublish: {otlp: {headers_env: 'a=b'}}", 3, "publish.otlp.headers_env", "environment variable", "never"),
    ("name: support-desk", "name: x\npublish: {langsmith: {endpoint: 'https://h?key=1'}}", 3, "publish.langsmith.endpoint", "secret", "api_key_env"),
    ("{mode: superset}", "{mode: some}", 18, "evaluators[0].trajectory_match.mode", "'strict', 'unordered'", "Write"),
    ("{mode: superset}", "{mod: superset}", 18, "evaluators[0].trajectory_match.mod", "unknown key", "`mode`"),
    ("{mode: superset}", "{overrides: {pay: 3}}", 18, "evaluators[0].trajectory_match.overrides.pay", "a list", "list"),
    ("{mode: superset}", "superset", 18, "evaluators[0].trajectory_match", "a mapping, found the text", "mode, args"),
    ("trajectory_match:", "trajectory_mach:", 18, "evaluators[0].trajectory_mach", "unknown key", "`trajectory_match`"),
    ("tool_call_recall", "tool_call_recal", 22, "evaluators[2].tool_call_recal", "unknown key", "`tool_call_recall`"),
    ("tool_call_recall", "{threshold: 1.0}", 22, "evaluators[2]", "names no evaluator", "exactly one of"),
    ("tool_call_recall", "{final_answer: {}, use: 'a:b'}", 22, "evaluators[2]", "names final_answer and use", "one of"),
    ("tool_call_recall", "{tool_call_recall: {}, with: {a: 1}}", 22, "evaluators[2].with", "is for `use`", "{...}"),
    ("tool_call_recall", "{use: null}", 22, "evaluators[2].use", "is empty", "my_checks"),
    ("tool_call_recall", "{use: polite}", 22, "evaluators[2].use", "not of the form module:name", "my_checks"),
    ("tool_call_recall", "7", 22, "evaluators[2]", "expected an evaluator, found 7", "final_answer"),
    ("tool_call_recall", "final_answer", 22, "evaluators[2]", "two evaluators are named 'final_answer'", "`name:`"),
    ("tool_call_recall", "llm_judge", 22, "evaluators[2].llm_judge.model", "is missing", "Add `model`"),
    ("    threshold: 1.0", "    threshold: 1.5", 21, "evaluators[1].threshold", "of at most 1", "Write"),
    ("    threshold: 1.0", "    threshold: 0", 21, "evaluators[1].threshold", "greater than 0", "Write"),
    ("threshold: 1.0", "name: t%d", 17, "evaluators", "no evaluator has a threshold", "threshold: 1.0"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "line", "key", "problem", "hint"), BAD, ids=[f"{b[3]}-{b[1][:20]}" for b in BAD]
)
def test_bad_input(
    tmp_path: Path, old: str, new: str, line: int, key: str | None, problem: str, hint: str
) -> None:
    assert old in GOOD
    text = GOOD
    for i in range(GOOD.count(old) if "%d" in new else 1):
        text = text.replace(old, new.replace("%d", str(i)), 1)
    path = write(tmp_path, text)
    with pytest.raises(InputError) as caught:
        load(path)
    error = caught.value
    assert (error.file, error.line, error.key) == (str(path), line, key)
    assert problem in error.problem
    assert hint in (error.hint or "")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "line", "problem"),
    [
        (b"", 1, "is empty"),
        (b"# only a comment\n", 1, "is empty"),
        (b"version: 1\nname: \xff\n", 2, "not UTF-8"),
        (b"- a\n", 1, "expected a mapping, found a list"),
        (b"a: 1\n--- \nb: 2\n", 2, "not valid YAML"),
        (b"a: !!int foo\n", None, "not valid YAML"),
        (b"a: \x07\n", None, "not valid YAML"),
        (b"a: " + b"[" * 5000, None, "nested too deeply"),
        (b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(b"%c: &%c [%s]\n" % (c + 1, c + 1, b",".join([b"*%c" % c] * 9)) for c in range(97, 105)), 1, "too many values"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_harness(tmp_path: Path, content: bytes, line: int | None, problem: str) -> None:
    with pytest.raises(InputError) as caught:
        load(write(tmp_path, content))
    assert caught.value.line == line
    assert problem in caught.value.problem
    assert caught.value.hint


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file") as caught:
        load(tmp_path / "nowhere.yaml")
    assert "bakeoff init" in (caught.value.hint or "")
    with pytest.raises(InputError, match="is a directory") as caught:
        load(tmp_path)
    assert "harness.yaml" in (caught.value.hint or "")


def test_control_characters_of_a_file_do_not_reach_the_message(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        load(write(tmp_path, GOOD + '"\\e[31m": 1\n'))
    assert "\x1b" not in str(caught.value)
    assert "\\x1b" in str(caught.value)


# --- overrides --------------------------------------------------------------------------------------


def test_overrides(tmp_path: Path) -> None:
    changes = Overrides(candidates=("opus",), trials=5, memory="128MiB", cpus=0.25, seed=9, max_concurrency=2)
    config = load(write(tmp_path, GOOD), changes)
    assert [one.name for one in config.candidates] == ["opus"]
    assert (config.trials, config.seed, config.max_concurrency) == (5, 9, 2)
    assert (config.resources.memory, config.resources.reserve.memory) == (128 * 2**20, 128 * 2**20)
    assert (config.resources.cpus, config.resources.reserve.cpus) == (0.25, 0.25)


def test_a_larger_memory_leaves_the_reserve(tmp_path: Path) -> None:
    assert load(write(tmp_path, GOOD), Overrides(memory="1GiB")).resources.reserve.memory == 256 * 2**20


@pytest.mark.parametrize(
    ("overrides", "key", "problem", "hint"),
    [
        (Overrides(memory="512 Mb"), "--memory", "'512 Mb' is not a size", "512MiB"),
        (Overrides(memory="1MiB"), "--memory", "less than", "512MiB"),
        (Overrides(cpus=0.0), "--cpus", "less than", "0.5"),
        (Overrides(cpus=float("nan")), "--cpus", "not a number", "0.5"),
        (Overrides(trials=0), "--trials", "less than 1", "whole number"),
        (Overrides(max_concurrency=0), "--max-concurrency", "less than 1", "whole number"),
        (Overrides(candidates=("opsu",)), "--candidate", "no candidate 'opsu'", "Did you mean opus?"),
        (Overrides(candidates=("zz",)), "--candidate", "no candidate 'zz'", "steady, opus"),
    ],
)
def test_bad_overrides(tmp_path: Path, overrides: Overrides, key: str, problem: str, hint: str) -> None:
    with pytest.raises(InputError) as caught:
        load(write(tmp_path, GOOD), overrides)
    assert (caught.value.file, caught.value.key) == (None, key)
    assert problem in caught.value.problem
    assert hint in (caught.value.hint or "")


# --- the rest ---------------------------------------------------------------------------------------


def test_a_config_knows_the_line_of_every_key(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    config = load(path)
    path.unlink()  # nothing is read again
    assert config.line("candidates[1].model") == 14
    assert config.line(("evaluators", 1, "final_answer", "match")) == 20
    assert config.line("harness.requirements[3]") == 3  # not there: its section
    error = config.error("resources.reserve", "the problem", "The hint.")
    assert (error.file, error.key, error.problem, error.hint) == (
        str(path),
        "resources.reserve",
        "the problem",
        "The hint.",
    )


def test_a_key_that_is_merged_in_has_the_line_of_the_section_that_merges_it(tmp_path: Path) -> None:
    limits = "  limits: {turns: 12, seconds: 120}\n"
    merging = """\
  config:
    base: &base
      deep: {key: 1}
    merged:
      <<: *base
      other: 1
"""
    config = load(write(tmp_path, GOOD.replace(limits, limits + merging)))
    assert config.line("harness.config.base.deep.key") == 9
    assert config.line("harness.config.merged.deep.key") == 10
    assert config.line("harness.config.merged.other") == 12


def test_a_candidate_keeps_its_place_in_the_file_when_others_are_dropped(tmp_path: Path) -> None:
    config = load(write(tmp_path, GOOD), Overrides(candidates=("opus",), memory="128MiB", trials=5))
    error = config.candidate_error("opus", "the problem", "The hint.")
    assert (error.key, error.line) == ("candidates[1].model", 14)


def test_a_config_that_was_not_read_from_a_file_has_no_lines() -> None:
    candidate = Candidate(name="one", model="simulated:skill=1")
    config = Config(name="x", harness=Harness(prompt="x"), candidates=[candidate], dataset="d", evaluators=[])
    error = config.candidate_error("one", "the problem", "The hint.")
    assert (error.file, error.line, error.key) == ("harness.yaml", None, "candidates[0].model")


def test_production_and_change_are_read_for_the_report_alone(tmp_path: Path) -> None:
    blocks = """
production: {cpus: 2, memory: 1GiB, network: the shop's own services, seconds: 60, retries: {model_call: 1}}
change: {replaces: gpt-old, owner: Support platform, rollback: set MODEL back and restart}
"""
    config = load(write(tmp_path, GOOD + blocks))
    assert config.production.memory == 2**30
    assert config.production.turns is None  # not known is not a default
    assert config.change.owner == "Support platform"
    assert dump(config)["production"]["retries"] == {"model_call": 1}
    plain = load(write(tmp_path, GOOD))
    assert (plain.production, plain.change) == (None, None)


@pytest.mark.parametrize(
    ("block", "key", "hint"),
    [
        ("production: {memry: 1GiB}", "production.memry", "memory"),
        ("production: {memory: much}", "production.memory", "512MiB"),
        ("production: {seconds: 0}", "production.seconds", "greater than 0"),
        ("production: 1GiB", "production", "cpus, memory"),
        ("change: {owner: [me]}", "change.owner", "text"),
    ],
)
def test_a_mistake_in_production_or_change_names_its_key(
    tmp_path: Path, block: str, key: str, hint: str
) -> None:
    with pytest.raises(InputError) as caught:
        load(write(tmp_path, f"{GOOD}\n{block}\n"))
    assert caught.value.key == key
    assert caught.value.line == len(GOOD.splitlines()) + 2
    assert hint in f"{caught.value} {caught.value.hint}"


def test_dump_is_json_without_secrets(tmp_path: Path) -> None:
    text = GOOD.replace(
        "  limits:", "  config: {db: {password: hush, hosts: [{auth_token: hush}]}, max_tokens: 5}\n  limits:"
    )
    dumped = dump(load(write(tmp_path, text)))
    assert "hush" not in json.dumps(dumped)
    assert dumped["harness"]["config"]["max_tokens"] == 5
    assert dumped["resources"]["memory"] == 512 * 2**20
    assert "file" not in dumped
    assert "root" not in dumped


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
LINES = GOOD.splitlines()


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(line=st.integers(0, len(LINES) - 1), column=st.integers(0, 30), junk=st.text(max_size=12))
def test_text_thrown_into_a_good_file_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, line: int, column: int, junk: str
) -> None:
    lines = LINES.copy()
    lines[line] = lines[line][:column] + junk + lines[line][column:]
    _read_or_refused(tmp_path_factory, "\n".join(lines))


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(
    key=st.sampled_from(
        ["name", "harness", "resources", "candidates", "evaluators", "infra", "trials", "seed"]
    ),
    value=VALUES,
)
def test_any_value_under_any_key_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, key: str, value: object
) -> None:
    good = {"version": 1, "name": "x", "harness": {"entrypoint": "a:b"}, "dataset": "d", "evaluators": [{"final_answer": {}, "threshold": 1}], "candidates": [{"name": "a", "model": "b:c"}]}  # fmt: skip
    _read_or_refused(tmp_path_factory, json.dumps(good | {key: value}))


def _read_or_refused(factory: pytest.TempPathFactory, text: str) -> None:
    path = factory.getbasetemp() / "fuzz.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        config = load(path)
    except InputError as error:
        assert error.hint  # noqa: PT017 - either outcome is right
    else:
        json.dumps(dump(config), allow_nan=False).encode()
