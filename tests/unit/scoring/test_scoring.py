"""Evaluators: what each mode takes for a match, hostile outputs, broken evaluators, nothing sent away."""

import json
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import RunnableLambda

from bakeoff.config.evaluators import BUILT_IN, LlmJudge
from bakeoff.config.schema import EvaluatorSpec
from bakeoff.errors import EvaluatorError, InputError, ModelCallError, ModelErrorKind
from bakeoff.record.trial import Example
from bakeoff.scoring import Outputs, Scorer, ScoreSheet, build, source
from bakeoff.scoring.scorer import BUILT_INS


def no_judge(options: LlmJudge) -> BaseChatModel:
    raise AssertionError("no judge was asked for")


def spec(kind: str, threshold: float | None = 1.0, **options: Any) -> EvaluatorSpec:
    return EvaluatorSpec(kind=kind, name=kind, options=options, threshold=threshold)


def scorer(*specs: EvaluatorSpec, root: Path = Path(), judge: Any = no_judge) -> Scorer:
    return build(specs, root=root, judge_factory=judge)


def example(
    trajectory: Any = None, answer: Any = None, messages: list[dict[str, Any]] | None = None
) -> Example:
    reference = {"trajectory": trajectory, "answer": answer}
    asked = messages or [{"role": "user", "content": "Where is it?"}]
    outputs = {key: value for key, value in reference.items() if value is not None}
    return Example(id="e", inputs={"question": "Where is it?"}, messages=asked, outputs=outputs)


def called(*calls: tuple[str, Any], answer: str = "", together: bool = False) -> Outputs:
    """The agent's conversation; arguments that are text go in as they are."""
    raw = [
        {
            "id": f"call-{i}",
            "type": "function",
            "function": {"name": name, "arguments": args if isinstance(args, str) else json.dumps(args)},
        }
        for i, (name, args) in enumerate(calls)
    ]
    turns = [raw] if together else [[call] for call in raw]
    messages: list[dict[str, Any]] = [{"role": "user", "content": "Where is it?"}]
    for turn in turns:
        messages.append({"role": "assistant", "content": "Let me see.", "tool_calls": turn})
        messages += [{"role": "tool", "tool_call_id": call["id"], "content": "ok"} for call in turn]
    return {"messages": [*messages, {"role": "assistant", "content": answer}], "answer": answer}


A, B, C = ("get_order", {"id": "A-17"}), ("get_policy", {}), ("refund", {"id": "A-17", "amount": 5})
WANTED = [{"name": name, "args": args, "result": "ok"} for name, args in (A, B)]


def one(kind: str, made: Outputs, reference: Example, **options: Any) -> float:
    return scorer(spec(kind, **options)).score(reference, made).scores[kind]


# --- trajectory_match -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("calls", "matching"),
    [
        ([A, B], {"strict", "unordered", "superset", "subset"}),
        ([B, A], {"unordered", "superset", "subset"}),
        ([A, B, C], {"superset"}),
        ([A], {"subset"}),
        ([A, A, B], {"superset"}),
        ([], {"subset"}),
        ([A, C], set()),
    ],
)
def test_modes(calls: list[tuple[str, Any]], matching: set[str]) -> None:
    for mode in ("strict", "unordered", "superset", "subset"):
        score = one("trajectory_match", called(*calls), example(WANTED), mode=mode)
        assert score == float(mode in matching), mode


def test_strict_does_not_mind_calls_in_one_message() -> None:
    assert one("trajectory_match", called(A, B, together=True), example(WANTED), mode="strict") == 1.0
    assert one("trajectory_match", called(B, A, together=True), example(WANTED), mode="strict") == 0.0


def test_no_call_wanted_and_none_made_is_a_match() -> None:
    assert one("trajectory_match", called(), example([]), mode="strict") == 1.0
    assert one("trajectory_match", called(A), example([]), mode="strict") == 0.0


def test_argument_modes_and_overrides() -> None:
    reference = example([{"name": "get_order", "args": {"id": "A-17", "why": "refund"}}])
    made = called(("get_order", {"id": "A-17", "why": "he asked"}))
    assert one("trajectory_match", made, reference) == 0.0
    assert one("trajectory_match", made, reference, args="ignore") == 1.0
    assert one("trajectory_match", made, reference, overrides={"get_order": ["id"]}) == 1.0
    assert one("trajectory_match", made, reference, overrides={"get_order": ["why"]}) == 0.0
    assert one("trajectory_match", called(("get_order", {"id": "A-17"})), reference, args="subset") == 1.0


@pytest.mark.parametrize("arguments", ["", "{not json", "[1]", "null", "[" * 100_000, "9" * 10_000])
def test_a_call_that_does_not_parse_never_ran(arguments: str) -> None:
    made = called(A, ("get_policy", arguments))
    assert one("trajectory_match", made, example(WANTED), mode="superset") == 0.0
    assert one("trajectory_match", made, example(WANTED[:1]), mode="strict") == 1.0
    assert one("tool_call_precision", made, example(WANTED)) == 0.5
    assert one("tool_call_recall", made, example(WANTED)) == 0.5


def test_calls_that_the_example_began_with_are_not_the_agents() -> None:
    history = called(C, answer="Anything else?")["messages"]
    outputs: Outputs = {"messages": [*history, {"role": "assistant", "content": "No."}], "answer": "No."}
    assert one("trajectory_match", outputs, example([], messages=history), mode="strict") == 1.0


# --- precision and recall ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("calls", "precision", "recall"),
    [([A, B], 1, 1), ([A, C], 0.5, 0.5), ([A, A, B], 2 / 3, 1), ([A], 1, 0.5), ([], 0, 0), ([B, A], 1, 1)],
)
def test_precision_and_recall(calls: list[tuple[str, Any]], precision: float, recall: float) -> None:
    assert one("tool_call_precision", called(*calls), example(WANTED)) == pytest.approx(precision)
    assert one("tool_call_recall", called(*calls), example(WANTED)) == pytest.approx(recall)


def test_precision_and_recall_where_nothing_is_wanted() -> None:
    assert one("tool_call_precision", called(), example([])) == 1.0
    assert one("tool_call_recall", called(A), example([])) == 1.0
    assert one("tool_call_precision", called(A), example([])) == 0.0


def test_names_alone() -> None:
    made = called(("get_order", {"id": "Z"}), B)
    assert one("tool_call_precision", made, example(WANTED), args="ignore") == 1.0
    assert one("tool_call_precision", made, example(WANTED)) == 0.5


# --- final_answer -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "reference", "answer", "score"),
    [
        ({"match": "exact"}, "Shipped today", " shipped\n today ", 1),
        ({"match": "exact", "case_sensitive": True}, "Shipped", "shipped", 0),
        ({"match": "exact", "collapse_whitespace": False}, "a b", "a  b", 0),
        ({"match": "contains"}, "SHIPPED", "It was shipped.", 1),
        ({"match": "contains"}, "shipped", "", 0),
        ({"match": "contains"}, 42, "It is 42.", 1),
        ({"match": "regex"}, r"^\$?12\.50$", "$12.50", 1),
        ({"match": "regex"}, r"^\$?12\.50$", "$12150", 0),
        ({"match": "json"}, '{"a": 1, "b": [2]}', '{"b": [2], "a": 1.0}', 1),
        ({"match": "json"}, {"a": 1}, '{"a": 1}', 1),
        ({"match": "json"}, {"a": 1}, "a is 1", 0),
        ({"match": "json"}, {"a": 1}, "[" * 100_000, 0),
    ],
)
def test_final_answer(options: dict[str, Any], reference: Any, answer: str, score: float) -> None:
    assert one("final_answer", called(answer=answer), example(answer=reference), **options) == score


def test_a_pattern_that_would_search_for_ever_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bakeoff.scoring.final_answer.REGEX_SECONDS", 0.1)
    with pytest.raises(EvaluatorError, match="TimeoutError"):
        one(
            "final_answer", called(answer="a" * 60 + "bc"), example(answer=r"^(a|a)*(a|aa)*c$"), match="regex"
        )


@pytest.mark.parametrize(
    ("kind", "reference"),
    [
        ("trajectory_match", example(answer="x")),
        ("tool_call_recall", example(["get_order"])),
        ("final_answer", example([])),
        ("final_answer", example(answer="")),
    ],
)
def test_without_a_reference_there_is_no_score(kind: str, reference: Example) -> None:
    with pytest.raises(EvaluatorError, match=kind):
        one(kind, called(A, answer="x"), reference)


# --- the sheet --------------------------------------------------------------------------------------


def sheet(calls: list[tuple[str, Any]], answer: str) -> ScoreSheet:
    specs = (
        spec("trajectory_match", mode="superset"),
        spec("tool_call_precision", None),
        spec("final_answer"),
    )
    return scorer(*specs).score(example(WANTED, "shipped"), called(*calls, answer=answer))


def test_a_trial_passes_when_every_threshold_is_reached() -> None:
    passed = sheet([A, B, C], "Shipped.")
    assert passed.passed
    assert passed.scores == {
        "trajectory_match": 1.0,
        "tool_call_precision": pytest.approx(2 / 3),
        "final_answer": 1.0,
    }


def test_what_falls_short_is_named_by_kind() -> None:
    assert sheet([A], "Shipped.").failing_kinds == {"trajectory"}
    assert sheet([A, B], "Lost.").failing_kinds == {"answer"}
    both = sheet([], "")
    assert (both.passed, both.failing) == (False, ("trajectory_match", "final_answer"))
    assert both.failing_kinds == {"trajectory", "answer"}


def test_the_table_has_every_built_in_that_harness_yaml_may_name() -> None:
    assert BUILT_INS.keys() == BUILT_IN.keys()


# --- a user's own -----------------------------------------------------------------------------------

OWN = """
import sys

def polite(*, inputs, outputs, reference_outputs, word="please"):
    return {"key": "polite", "score": word in outputs["answer"], "comment": inputs["question"]}

def vandal(*, inputs, outputs, reference_outputs):
    outputs["messages"].clear(); reference_outputs.clear()
    return 1

def gives(*, inputs, outputs, reference_outputs, what):
    return {"nan": float("nan"), "big": 1.5, "negative": -0.1, "none": None, "text": "1", "inf": float("inf"),
            "dict": {}, "list": [1]}[what]

def raises(*, inputs, outputs, reference_outputs):
    raise KeyError("order")

def leaves(**_):
    sys.exit(0)

async def slow(**_):
    return 1

number = 1
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "own_checks.py").write_text(OWN)
    (tmp_path / "broken_checks.py").write_text("import a_module_that_is_not_there")
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    sys.modules.pop("own_checks", None)


def use(name: str, *, module: str = "own_checks", threshold: float = 1.0, **options: Any) -> EvaluatorSpec:
    return EvaluatorSpec(kind="use", name=name, use=f"{module}:{name}", options=options, threshold=threshold)


def test_a_users_own_evaluator(own: Path) -> None:
    got = scorer(use("polite", word="thanks"), root=own).score(example(), called(answer="Many thanks."))
    assert got.scores == {"polite": 1.0}
    assert got.comments == {"polite": "Where is it?"}
    assert got.passed


def test_it_cannot_change_what_the_next_one_sees(own: Path) -> None:
    both = scorer(use("vandal"), spec("trajectory_match", mode="strict"), root=own)
    assert both.score(example(WANTED), called(A, B)).passed


@pytest.mark.parametrize("what", ["nan", "big", "negative", "none", "text", "inf", "dict", "list"])
def test_what_is_no_score_is_an_error_and_never_zero(own: Path, what: str) -> None:
    with pytest.raises(EvaluatorError, match="gives"):
        scorer(use("gives", what=what), root=own).score(example(), called())


@pytest.mark.parametrize(("name", "says"), [("raises", "KeyError"), ("leaves", "SystemExit")])
def test_one_that_raises_is_an_error_and_never_zero(own: Path, name: str, says: str) -> None:
    with pytest.raises(EvaluatorError, match=says):
        scorer(use(name), root=own).score(example(), called())


@pytest.mark.parametrize(
    "bad",
    [
        use("absent"),
        use("number"),
        use("slow"),
        use("polite", unknown_option=1),
        use("polite", module="not_there"),
        use("x", module="broken_checks"),
    ],
)
def test_one_that_cannot_work_is_found_before_anything_starts(own: Path, bad: EvaluatorSpec) -> None:
    with pytest.raises(InputError) as caught:
        scorer(bad, root=own)
    assert caught.value.key == bad.use
    assert caught.value.hint


# --- llm_judge --------------------------------------------------------------------------------------


class Judge(BaseChatModel):
    """Answers the structured question with what it was given, and keeps what it was asked."""

    reply: Any = None
    asked: list[Any] = []  # noqa: RUF012 - a pydantic field

    @property
    def _llm_type(self) -> str:
        return "judge"

    def _generate(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("the judge is asked for structured output")

    def with_structured_output(self, schema: Any, **_: Any) -> Any:
        def answer(messages: Any) -> Any:
            self.asked.append((schema, messages))
            if isinstance(self.reply, Exception):
                raise self.reply
            return self.reply

        return RunnableLambda(answer)


def judged(judge: Judge, answer: str = "Shipped.", **options: Any) -> ScoreSheet:
    made = scorer(spec("llm_judge", model="test:judge", **options), judge=lambda _: judge)
    return made.score(example(answer="shipped"), called(A, answer=answer))


def test_the_judges_word_is_the_score() -> None:
    judge = Judge(reply={"score": True, "reasoning": "It says so."})
    got = judged(judge, answer="{braces} stay")
    assert got.scores == {"llm_judge": 1.0}
    assert got.comments == {"llm_judge": "It says so."}
    assert "{braces} stay" in judge.asked[0][1][0]["content"]
    assert judged(Judge(reply={"score": 0.25, "reasoning": ""}), continuous=True).failing_kinds == {"answer"}


def test_a_prompt_may_ask_for_the_conversation() -> None:
    judge = Judge(reply={"score": True, "reasoning": ""})
    judged(judge, prompt="{inputs} | {messages} | {reference_outputs}")
    assert "get_order" in judge.asked[0][1][0]["content"]


@pytest.mark.parametrize("reply", [None, {}, {"score": None, "reasoning": ""}, {"score": 7, "reasoning": ""}])
def test_a_judge_that_gives_no_score_is_an_error(reply: Any) -> None:
    with pytest.raises(EvaluatorError, match="llm_judge"):
        judged(Judge(reply=reply), continuous=True)


def test_a_judge_that_cannot_be_reached_is_the_providers_error() -> None:
    with pytest.raises(ModelCallError):
        judged(Judge(reply=ModelCallError(ModelErrorKind.RATE_LIMITED, "slow down")))


@pytest.mark.parametrize("prompt", ["{output}", "{", "{0}", "{outputs.secret}"])
def test_a_prompt_that_cannot_be_filled_is_found_before_anything_starts(prompt: str) -> None:
    with pytest.raises(InputError, match="prompt"):
        judged(Judge(), prompt=prompt)


# --- what scoring must not do -----------------------------------------------------------------------


def test_nothing_is_sent_to_langsmith_even_where_tracing_is_on(monkeypatch: pytest.MonkeyPatch) -> None:
    from langsmith import Client, utils

    sent: list[Any] = []
    monkeypatch.setattr(Client, "create_run", lambda *args, **kwargs: sent.append(args))
    monkeypatch.setenv("LANGSMITH_TRACING", "true")
    monkeypatch.setenv("LANGSMITH_API_KEY", "x")
    monkeypatch.setenv("LANGSMITH_ENDPOINT", "http://127.0.0.1:9")
    utils.get_env_var.cache_clear()
    try:
        assert utils.tracing_is_enabled()
        assert one("trajectory_match", called(A, B), example(WANTED)) == 1.0
        judged(Judge(reply={"score": True, "reasoning": ""}))
    finally:
        utils.get_env_var.cache_clear()
    assert sent == []


def test_nothing_heavy_is_imported_before_it_is_used() -> None:
    code = (
        "import sys; from pathlib import Path; from bakeoff.config.schema import EvaluatorSpec;"
        "import bakeoff.scoring as s;"
        "s.build([EvaluatorSpec(kind='trajectory_match', name='t')], root=Path('.'), judge_factory=None);"
        "print(sys.modules.keys() & {'openevals', 'langsmith', 'langchain_core', 'numpy', 'regex'})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# --- what a user's own evaluators are made of -------------------------------------------------------------


def digest(root: Path, path: str) -> str:
    [found] = source.digests([EvaluatorSpec(kind="use", name="f", use=path)], root).values()
    return found


def test_built_ins_have_no_source_of_the_users(tmp_path: Path) -> None:
    assert source.digests([spec("final_answer", match="exact")], tmp_path) == {}


def test_the_digest_is_of_the_module_and_of_what_it_imports(own: Path) -> None:
    (own / "entry_checks.py").write_text("def f(**_):\n    import __main__, words_checks\n    return 1\n")
    (own / "words_checks.py").write_text("import json, deep_checks\n")
    (own / "deep_checks.py").write_text("WORDS = ['thanks']\n")
    before, other = digest(own, "entry_checks:f"), digest(own, "own_checks:polite")
    assert before == digest(own, "entry_checks:f") == digest(own, "entry_checks:g")
    (own / "deep_checks.py").write_text("WORDS = ['please']\n")
    assert digest(own, "entry_checks:f") != before
    assert digest(own, "own_checks:polite") == other, "an unrelated file beside it changes nothing"
    (own / "deep_checks.py").write_text("WORDS = ['thanks']\n")
    assert digest(own, "entry_checks:f") == before
    assert "entry_checks" not in sys.modules, "it is read, not imported"


def test_the_digest_is_of_the_whole_package_with_its_data(own: Path) -> None:
    package = own / "checks_package"
    (package / "inner").mkdir(parents=True)
    for name in ("__init__.py", "inner/__init__.py", "rubric.txt"):
        (package / name).write_text("")
    (package / "inner" / "a.py").write_text("from . import nothing_here\ndef f(**_): return 1\n")
    before = digest(own, "checks_package.inner.a:f")
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "a.cpython-312.pyc").write_bytes(b"x")
    (package / ".cache").write_text("x")
    assert digest(own, "checks_package.inner.a:f") == before
    (package / "rubric.txt").write_text("be strict")
    assert digest(own, "checks_package.inner.a:f") != before


def test_modules_of_a_plain_directory_are_followed_one_by_one(own: Path) -> None:
    (own / "plain_folder").mkdir()
    (own / "plain_folder" / "a.py").write_text("from . import b\nfrom plain_folder import c\n")
    for name in "bcd":
        (own / "plain_folder" / f"{name}.py").write_text("")
    seen = [digest(own, "plain_folder.a:f")]
    for name in "bc":
        (own / "plain_folder" / f"{name}.py").write_text("x = 1")
        seen.append(digest(own, "plain_folder.a:f"))
    assert len(set(seen)) == 3
    (own / "plain_folder" / "d.py").write_text("x = 1")
    assert digest(own, "plain_folder.a:f") == seen[-1]


def test_of_an_installed_package_the_version_counts(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (own / "library_checks.py").write_text("from openevals import exact\n")
    before = [digest(own, "library_checks:f"), digest(own, "openevals.exact:exact_match")]
    real = source.metadata.version
    monkeypatch.setattr(source.metadata, "version", lambda name: "999" if name == "openevals" else real(name))
    after = [digest(own, "library_checks:f"), digest(own, "openevals.exact:exact_match")]
    assert all(one != other for one, other in zip(before, after, strict=True))


def test_source_that_cannot_be_parsed_still_has_a_digest(own: Path) -> None:
    (own / "torn_checks.py").write_text("def f(:")
    before = digest(own, "torn_checks:f")
    (own / "torn_checks.py").write_text("def f((:")
    assert digest(own, "torn_checks:f") != before


def test_a_project_that_is_installed_for_editing_is_found(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """setuptools and others put a finder of their own on `sys.meta_path` for it."""
    away = own / "elsewhere"
    away.mkdir()
    (away / "edited_checks.py").write_text("x = 1")

    class Finder:
        @staticmethod
        def find_spec(name: str, path: object = None, target: object = None) -> object:
            found = away / "edited_checks.py"
            return spec_from_file_location(name, found) if name == "edited_checks" else None

    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder])
    before = digest(own, "edited_checks:f")
    (away / "edited_checks.py").write_text("x = 2")
    assert digest(own, "edited_checks:f") != before
