"""Attribution: one case a cause, pairs that fix the order, and properties that hold for any evidence."""

# ruff: noqa: E501 - one case a line

import errno
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bakeoff.errors import ModelErrorKind
from bakeoff.record.evidence import (
    AnswerFacts,
    ClockFacts,
    DockerFacts,
    Evidence,
    HarnessFacts,
    HostFacts,
    KernelFacts,
    ModelFault,
)
from bakeoff.verdict import (
    CAUSES,
    INSIDE_CAUSES,
    WRONG_RESULT,
    Retry,
    attribute,
    describe,
    follows,
    resource_bound,
)

Case = tuple[
    Evidence, bool | None, list[Any]
]  # what is known, whether it passed, which kinds of evaluators failed

ANSWERED = HarnessFacts(reached="answered", exit_code=0)
TIMED_OUT = HarnessFacts(reached="answered", exit_code=0, tool_timeouts=1)
ANSWER = AnswerFacts(text="The order was shipped.")
CRASH = HarnessFacts(reached="started", exit_code=1, error_type="builtins.KeyError", error_message="'order'")
SEGFAULT = HarnessFacts(reached="started", signal=11)
REFUSED_BELOW = {"pids_refused": 3, "pids_peak": 9, "pids_limit": 64}
KILLED_BELOW = {"oom_kills": 1, "memory_peak_bytes": 300, "memory_limit_bytes": 512}
NONE_REFUSED = {"kernel": {"pids_refused": 0}}
AT_ITS_QUOTA = {"throttled_seconds": 60.0, "cpu_seconds": 60.0}


def known(**facts: Any) -> Evidence:
    return Evidence.model_validate(facts)


def lost(**facts: Any) -> Case:
    """Nothing could be judged."""
    return known(**facts), None, []


def wrong(*failing: str, **facts: Any) -> Case:
    """What was answered, or was not, did not pass."""
    return known(**facts), False, list(failing or ["answer"])


def ended(replies: int = 1, also: dict[str, Any] | None = None, **harness: Any) -> Case:
    """The harness ended on its way, after so many replies of the model."""
    return lost(harness={"reached": "started", **harness}, replies=replies, **(also or {}))


def raised(error_type: str, replies: int = 1, **harness: Any) -> Case:
    return ended(replies, exit_code=1, error_type=error_type, **harness)


def fault(kind: ModelErrorKind, **more: Any) -> Evidence:
    return known(model_fault=ModelFault(kind=kind, message="said so", status=500), harness=CRASH, **more)


def met(kind: ModelErrorKind) -> Case:
    return fault(kind), None, []


NO_SPACE = CRASH.model_copy(update={"error_errnos": [errno.ENOSPC]})


def used(mib: int) -> dict[str, int]:
    """Of a disk of 64 MiB, at most."""
    return {"disk_peak_bytes": mib * 2**20, "disk_limit_bytes": 64 * 2**20}


CASES: dict[str, list[Case]] = {
    "infra.oom_killed": [
        wrong(kernel={"oom_kills": 1}, harness=ANSWERED, answer=ANSWER),
        lost(docker={"oom_killed": True, "exit_code": 137}),
        lost(kernel=KILLED_BELOW | {"memory_peak_bytes": 511}, harness=CRASH),
        # a peak that was only sampled may have been higher, and the kernel's own count decides where it has one
        lost(kernel=KILLED_BELOW | {"sampled": ["memory_peak_bytes"]}, harness=CRASH),
        lost(kernel=KILLED_BELOW | {"memory_limit_hits": 1}, harness=CRASH),
    ],
    "infra.disk_full": [
        wrong(kernel={"disk_full": True}, answer=ANSWER),
        wrong(kernel={"inodes_full": True}, answer=ANSWER),
        lost(kernel=used(60), harness=NO_SPACE),
    ],
    "infra.pids_exhausted": [
        wrong(kernel={"pids_refused": 3}, answer=ANSWER),
        lost(harness=CRASH.model_copy(update={"error_errnos": [errno.EAGAIN]})),
        lost(kernel=REFUSED_BELOW | {"pids_peak": 64}, harness=CRASH),
        # between two samples there may have been more
        lost(kernel=REFUSED_BELOW | {"sampled": ["pids_peak"]}, harness=CRASH),
    ],
    "infra.host_pids": [lost(kernel=REFUSED_BELOW, harness=CRASH), wrong(kernel=REFUSED_BELOW, answer=ANSWER)],
    "infra.start_refused": [
        ended(exit_code=1, error_errnos=[errno.EAGAIN], also=NONE_REFUSED),
        wrong(
            harness=ANSWERED.model_copy(update={"error_errnos": [errno.EAGAIN]}),
            answer=ANSWER,
            **NONE_REFUSED,
        ),
    ],
    "infra.host_memory": [
        lost(kernel={"oom_kills": 1, "memory_limit_hits": 0}, harness=CRASH),
        lost(kernel=KILLED_BELOW, harness=CRASH),
        wrong(kernel={"oom_kills": 1, "memory_limit_hits": 0}, answer=ANSWER),
    ],
    "infra.limits_not_enforced": [lost(limits_mismatch=["memory: asked 512 MiB, effective 1 GiB"])],
    "infra.image": [lost(docker={"error_kind": "image"}), lost(docker={"failed_step": "image", "error": "no such image"})],
    "infra.docker_unavailable": [lost(docker={"error_kind": "unavailable"})],
    "infra.container_start": [
        lost(docker={"error_kind": "start", "failed_step": "start"}),
        lost(docker={"failed_step": "create", "error": "bad mount"}),
        lost(startup_timeout=True, harness={"reached": "supervisor", "signal": 9}),
    ],
    "infra.container_lost": [
        lost(docker={"error_kind": "lost", "exit_code": 137}),
        lost(docker={"error_kind": "lost"}, time_limit_hit=True),  # left paused
        lost(docker={"error_kind": "lost"}, startup_timeout=True),
        wrong(docker={"paused_seconds": 9.0}, harness=TIMED_OUT, answer=ANSWER),
    ],
    "infra.supervisor_lost": [lost(docker={"failed_step": "run", "exit_code": 1, "error": "no last word"})],
    "infra.provider_auth": [met(ModelErrorKind.AUTH)],
    "infra.provider_unsupported": [met(ModelErrorKind.UNSUPPORTED)],
    "infra.provider_rate_limited": [met(ModelErrorKind.RATE_LIMITED)],
    "infra.provider_unavailable": [met(ModelErrorKind.UNAVAILABLE)],
    "infra.provider_timeout": [met(ModelErrorKind.TIMEOUT)],
    "infra.not_on_tape": [met(ModelErrorKind.NOT_ON_TAPE)],
    "infra.provider_bad_response": [met(ModelErrorKind.BAD_RESPONSE)],
    "infra.unknown": [
        lost(),
        wrong(),  # nothing was answered, so no answer can be wrong
        wrong(internal_error="ZeroDivisionError", harness=ANSWERED, answer=ANSWER),
        met(ModelErrorKind.INTERNAL),
        lost(harness={"reached": "started"}, answer={"text": ""}),
    ],
    "infra.output_limit": [
        lost(output_overflow=True, harness=CRASH),
        lost(output_overflow=True, budget="lines", replies=3),
        ended(exit_code=None, signal=9, stopped_for="overflow", also={"output_overflow": True}),
        met(ModelErrorKind.TOO_LARGE),
        (fault(ModelErrorKind.TOO_LARGE, answer=ANSWER), False, ["answer"]),
    ],
    "infra.protocol": [
        lost(protocol_errors=["not JSON: \x1b[31m"], harness=CRASH),
        # its answer was garbled, then it exited
        ended(exit_code=0, also={"protocol_errors": ["not a list"]}),
    ],
    "infra.interrupted": [ended(exit_code=0, interrupt="approve issue_refund(amount=5)?")],
    "infra.harness_crash": [
        lost(harness=CRASH),
        lost(harness={"reached": "started", "signal": 9}, kernel={"oom_kills": 0}),
        lost(harness={"reached": "started", "exit_code": 0}),
        wrong(harness=ANSWERED, answer={"text": "shipped", "source": "harness"}),
        wrong(harness=ANSWERED),
        raised("langgraph.errors.GraphRecursionError", 0),
        raised(WRONG_RESULT, 3),
        ended(0, exit_code=None, signal=9, stopped_for="channel_closed"),
        raised("MemoryError", 0),
        met(ModelErrorKind.BAD_REQUEST),
        lost(harness=SEGFAULT, answer={"truncated": True}),
    ],
    "infra.evaluator": [lost(evaluator_error="judge: NaN", harness=ANSWERED, answer=ANSWER)],
    "infra.host_contention": [
        lost(time_limit_hit=True, host={"contended": True}),
        lost(startup_timeout=True, host={"contended": True}, harness={"signal": 9}),
    ],
    "infra.cpu_throttled": [lost(time_limit_hit=True, kernel=AT_ITS_QUOTA, clock={"working_seconds": 120.0})],
    "model.context_overflow": [met(ModelErrorKind.CONTEXT_OVERFLOW)],
    "model.killed_harness": [
        ended(signal=9),
        ended(signal=15),
        ended(exit_code=3),  # os._exit in a tool
        raised("builtins.KeyboardInterrupt"),
        raised("builtins.SystemExit"),
        ended(signal=9, stopped_for="channel_closed"),
        ended(signal=9, also={"protocol_errors": ["noise"]}),
    ],
    "model.broke_harness": [
        ended(signal=11, stopped_for="channel_closed"),
        raised("builtins.KeyError", error_message="'A-99'"),
        raised("builtins.RecursionError"),
        raised("builtins.MemoryError"),
        raised("openai.RateLimitError"),  # of a client of its own
        raised("urllib3.exceptions.MaxRetryError"),
        ended(signal=11),
    ],
    "model.turn_limit": [
        lost(turn_limit_hit=True, harness=CRASH),
        raised("langgraph.errors.GraphRecursionError"),
        raised("langchain.agents.middleware.model_call_limit.ModelCallLimitExceededError"),
        raised("langchain.agents.middleware.tool_call_limit.ToolCallLimitExceededError"),
        raised("agents.exceptions.MaxTurnsExceeded"),
        raised("pydantic_ai.exceptions.UsageLimitExceeded"),
        raised("smolagents.utils.AgentMaxStepsError"),
        raised("google.adk.agents.invocation_context.LlmCallsLimitExceededError"),
        raised("minisweagent.exceptions.LimitsExceeded"),
        raised("haystack.core.errors.PipelineMaxComponentRuns"),
        raised("shop.errors.MaxIterationsReached"),
        raised(
            "shop.errors.GaveUp",
            error_bases=["langgraph.errors.GraphRecursionError", "builtins.RecursionError"],
        ),
    ],
    "model.token_limit": [
        lost(token_limit_hit=True, harness=CRASH),
        met(ModelErrorKind.LENGTH),
        wrong(harness=ANSWERED, answer={"text": "The", "truncated": True}),
    ],
    "model.time_limit": [
        lost(time_limit_hit=True, harness={"reached": "started", "signal": 9}),
        lost(time_limit_hit=True, docker={"paused_seconds": 9.0}),  # not counted
        lost(time_limit_hit=True, kernel={"throttled_seconds": 59.0}, clock={"working_seconds": 120.0}),
    ],
    "model.refusal": [met(ModelErrorKind.REFUSAL), wrong(harness=ANSWERED, answer={"text": "", "refusal": True})],
    "model.invalid_tool_call": [
        wrong("trajectory", harness=ANSWERED, answer={"invalid_tool_call": True}),
        lost(harness=CRASH, answer={"invalid_tool_call": True}),
        met(ModelErrorKind.INVALID_TOOL_CALL),
    ],
    "model.empty_answer": [wrong(harness=ANSWERED, answer={"text": " \n"})],
    "model.wrong_trajectory": [wrong("trajectory", harness=ANSWERED, answer=ANSWER)],
    "model.wrong_answer": [
        wrong(docker={"paused_seconds": 9.0}, harness=ANSWERED, answer=ANSWER),
        wrong(docker={"paused_seconds": 0.1}, harness=TIMED_OUT, answer=ANSWER),
        wrong(harness=ANSWERED, answer=ANSWER),
        wrong("trajectory", "answer", harness=ANSWERED, answer=ANSWER),
        wrong(harness=ANSWERED.model_copy(update={"signal": 11}), answer=ANSWER),
    ],
}  # fmt: skip

# The codes are a contract: records have them
CONTRACT = {
    *("model.wrong_answer", "model.wrong_trajectory", "model.invalid_tool_call", "model.turn_limit"),
    *("model.time_limit", "model.token_limit", "model.context_overflow", "model.refusal"),
    *("model.empty_answer", "infra.oom_killed", "infra.disk_full", "infra.pids_exhausted"),
    *("infra.container_start", "infra.container_lost", "infra.docker_unavailable", "infra.image"),
    *("infra.limits_not_enforced", "infra.host_contention", "infra.provider_rate_limited"),
    *("infra.provider_unavailable", "infra.provider_timeout", "infra.provider_auth"),
    "infra.provider_unsupported",
    "infra.not_on_tape",
    *("infra.provider_bad_response", "infra.harness_crash", "infra.protocol", "infra.evaluator"),
    *("infra.output_limit", "infra.unknown", "infra.cpu_throttled", "infra.host_memory"),
    *("infra.host_pids", "infra.start_refused"),
    *("infra.supervisor_lost", "infra.interrupted", "model.broke_harness", "model.killed_harness"),
}


@pytest.mark.parametrize(
    ("cause", "evidence", "passed", "failing"),
    [(cause, *case) for cause, cases in CASES.items() for case in cases],
)
def test_every_cause_is_found(
    cause: str, evidence: Evidence, passed: bool | None, failing: list[Any]
) -> None:
    verdict = attribute(evidence, passed, failing)
    assert verdict.cause == cause
    assert verdict.verdict == ("failed" if cause.startswith("model.") else "infra_error")
    assert verdict.because
    assert verdict.because.isprintable()


def test_the_table_has_each_cause_of_the_contract_once_and_a_case_for_it() -> None:
    codes = [cause.code for cause in CAUSES]
    assert sorted(codes) == sorted(CONTRACT)
    assert set(CASES) == CONTRACT
    assert all(describe(code) for code in codes)


def test_every_infra_row_stands_before_every_model_row() -> None:
    rooms = [cause.code.split(".")[0] for cause in CAUSES]
    assert rooms == sorted(rooms)


OOM = {"kernel": {"oom_kills": 2, "memory_limit_bytes": 256 * 2**20}}
LOST, CONTENDED = {"docker": {"error_kind": "lost"}}, {"host": {"contended": True}}
BAD_CALL = {"answer": {"invalid_tool_call": True}}


@pytest.mark.parametrize(
    ("wins", "evidence", "passed"),
    [
        ("infra.oom_killed", known(**LOST, **OOM), None),
        ("infra.oom_killed", known(harness={"reached": "started", "signal": 9}, **OOM), None),
        ("infra.oom_killed", known(time_limit_hit=True, **OOM), None),
        ("infra.oom_killed", known(internal_error="boom", **OOM), None),
        ("infra.oom_killed", fault(ModelErrorKind.RATE_LIMITED, **OOM), None),
        ("infra.container_lost", known(harness=CRASH, **LOST), None),
        ("infra.container_lost", known(answer=ANSWER, **LOST), False),
        ("infra.provider_unavailable", fault(ModelErrorKind.UNAVAILABLE, time_limit_hit=True), None),
        ("infra.provider_unavailable", fault(ModelErrorKind.UNAVAILABLE, answer=ANSWER), False),
        ("infra.provider_timeout", fault(ModelErrorKind.TIMEOUT, protocol_errors=["cut line"]), None),
        ("infra.harness_crash", fault(ModelErrorKind.BAD_REQUEST, turn_limit_hit=True), None),
        ("infra.unknown", fault(ModelErrorKind.INTERNAL, turn_limit_hit=True), None),
        ("infra.oom_killed", known(harness={"signal": 9}, replies=2, **OOM), None),
        ("infra.provider_timeout", fault(ModelErrorKind.TIMEOUT, replies=2), None),
        ("infra.interrupted", ended(exit_code=0, interrupt="?", also={"answer": ANSWER})[0], None),
        ("model.time_limit", ended(signal=9, also={"time_limit_hit": True})[0], None),
        ("model.invalid_tool_call", known(harness=CRASH, replies=1, **BAD_CALL), None),
        ("model.wrong_answer", known(harness=dict(ANSWERED) | {"signal": 9}, replies=1, answer=ANSWER), False),
        ("infra.evaluator", known(turn_limit_hit=True, evaluator_error="raised", answer=ANSWER), None),
        ("model.turn_limit", known(turn_limit_hit=True, time_limit_hit=True, **CONTENDED), None),
        ("model.time_limit", known(time_limit_hit=True, harness=CRASH), None),
        ("infra.host_contention", known(harness=TIMED_OUT, answer=ANSWER, **CONTENDED), False),
        ("model.wrong_answer", known(harness=TIMED_OUT, answer=ANSWER), False),
        ("model.wrong_answer", known(harness=ANSWERED, answer=ANSWER, **CONTENDED), False),
        ("model.wrong_answer", known(protocol_errors=["forged"], harness=ANSWERED, answer=ANSWER), False),
        ("model.wrong_answer", known(output_overflow=True, harness=ANSWERED, answer=ANSWER), False),
        ("model.token_limit", known(answer={"truncated": True, "invalid_tool_call": True}), False),
        ("model.refusal", known(answer={"refusal": True}), False),
    ],
)  # fmt: skip
def test_precedence(wins: str, evidence: Evidence, passed: bool | None) -> None:
    assert attribute(evidence, passed, ["answer"] if passed is False else []).cause == wins


def test_a_process_killed_for_memory_is_named_with_its_limit() -> None:
    because = attribute(known(**OOM), None).because
    assert because == "The kernel killed 2 processes in the container for memory at the limit of 256 MiB."


def test_text_of_the_agent_is_bounded_and_disarmed_in_the_sentence() -> None:
    hostile = HarnessFacts(reached="started", error_type="E", error_message="\x1b[2J\r\n" + "a" * 10_000)
    because = attribute(Evidence(harness=hostile), None).because
    assert len(because) < 300
    assert because.isprintable()


@pytest.mark.parametrize("kernel", [{}, used(0), used(57)])
def test_a_full_disk_that_only_the_harness_speaks_of_is_an_exception_like_others(kernel: Any) -> None:
    said = known(kernel=kernel, harness=NO_SPACE)
    assert attribute(said, None).cause == "infra.harness_crash"
    assert attribute(said.model_copy(update={"replies": 1}), None).cause == "model.broke_harness"
    assert resource_bound(said) == []


def test_only_what_the_outside_caused_is_tried_again_and_nothing_inside_is() -> None:
    again = {cause.code for cause in CAUSES if cause.retry is not Retry.NEVER}
    assert again == {
        *("infra.host_memory", "infra.host_pids", "infra.docker_unavailable", "infra.container_start"),
        "infra.container_lost",
        *("infra.provider_rate_limited", "infra.provider_unavailable", "infra.provider_timeout"),
        *("infra.provider_bad_response", "infra.host_contention"),
    }
    assert {
        *("infra.oom_killed", "infra.disk_full", "infra.pids_exhausted", "infra.cpu_throttled"),
        *("infra.supervisor_lost", "infra.output_limit", "infra.protocol", "infra.harness_crash"),
        *("infra.interrupted", "infra.unknown", "infra.start_refused"),
    } == INSIDE_CAUSES
    assert not again & INSIDE_CAUSES
    assert not any(code.startswith("model.") for code in INSIDE_CAUSES)


def test_what_follows_from_a_cause_is_in_its_row() -> None:
    assert follows("infra.docker_unavailable").retry is Retry.WHEN_BACKEND_RETURNS
    stopping = [cause.code for cause in CAUSES if cause.stops_candidate]
    assert stopping == ["infra.provider_auth", "infra.provider_unsupported"]
    assert follows("infra.from_the_future").code == "infra.unknown"
    assert "does not know" in describe("infra.from_the_future")


def test_resource_bound_names_what_was_met_even_when_it_passed() -> None:
    kernel = KernelFacts(oom_kills=1, disk_full=True, pids_refused=1, throttled_seconds=5.0, cpu_seconds=15.0)
    assert resource_bound(Evidence(kernel=kernel)) == ["memory", "disk", "pids", "cpu"]
    assert resource_bound(Evidence(kernel=KernelFacts(throttled_seconds=4.9, cpu_seconds=15.0))) == []
    assert resource_bound(Evidence(kernel=KernelFacts(throttled_seconds=0.9, cpu_seconds=0.1))) == []
    assert resource_bound(Evidence()) == []


# --- properties ---------------------------------------------------------------------------------------

few = st.integers(0, 3)
seconds = st.floats(0, 1e6)
text = st.text(max_size=20)
flag = st.booleans()
evidences = st.builds(
    Evidence,
    docker=st.builds(
        DockerFacts,
        error_kind=st.sampled_from([None, None, None, "image", "start", "lost", "unavailable"]),
        paused_seconds=st.none() | seconds,
    ),
    kernel=st.builds(
        KernelFacts,
        oom_kills=st.none() | few,
        pids_refused=st.none() | few,
        throttled_seconds=st.none() | seconds,
        disk_full=flag,
    ),
    harness=st.builds(
        HarnessFacts,
        reached=st.sampled_from(["nothing", "supervisor", "loaded", "started", "answered"]),
        signal=st.none() | st.integers(-1, 200),
        exit_code=st.none() | few,
        error_type=st.none() | text,
        error_message=st.none() | text,
        error_errnos=st.lists(st.sampled_from([2, 11, 28]), max_size=2),
    ),
    clock=st.builds(ClockFacts, working_seconds=seconds),
    host=st.builds(HostFacts, contended=flag),
    answer=st.none()
    | st.builds(AnswerFacts, text=text, invalid_tool_call=flag, refusal=flag, truncated=flag),
    model_fault=st.none() | st.builds(ModelFault, kind=st.sampled_from(ModelErrorKind), message=text),
    turn_limit_hit=flag,
    time_limit_hit=flag,
    token_limit_hit=flag,
    startup_timeout=flag,
    output_overflow=flag,
    limits_mismatch=st.just([]) | st.lists(text, max_size=1),
    protocol_errors=st.just([]) | st.lists(text, max_size=2),
    evaluator_error=st.none() | text,
    internal_error=st.none() | text,
)
outcomes = st.sampled_from([None, False, True])
failings = st.sets(st.sampled_from(["trajectory", "answer"]))


@given(evidences, outcomes, failings)
def test_any_evidence_gets_a_verdict(evidence: Evidence, passed: bool | None, failing: set[Any]) -> None:
    verdict = attribute(evidence, passed, failing)
    assert (verdict.verdict == "passed") == (passed is True)
    assert (verdict.cause is None) == (passed is True)
    assert passed or verdict.cause in CONTRACT
    assert set(resource_bound(evidence)) <= {"memory", "disk", "pids", "cpu"}


@given(evidences, st.sampled_from([None, False]), failings)
def test_the_kernel_has_the_first_word(evidence: Evidence, passed: bool | None, failing: set[Any]) -> None:
    killed = evidence.kernel.model_copy(update={"oom_kills": 1})
    assert (
        attribute(evidence.model_copy(update={"kernel": killed}), passed, failing).cause == "infra.oom_killed"
    )


@given(evidences, st.sampled_from([None, False]), failings)
def test_a_model_is_blamed_only_when_no_infrastructure_fact_speaks(
    evidence: Evidence, passed: bool | None, failing: set[Any]
) -> None:
    if attribute(evidence, passed, failing).verdict == "failed":
        assert evidence.internal_error is None
        assert not evidence.limits_mismatch
        assert evidence.harness.reached == "answered" or not evidence.protocol_errors
        assert evidence.docker.error_kind is None
        assert not evidence.kernel.disk_full
        provider = evidence.model_fault.kind if evidence.model_fault else None
        assert provider in (None, "context_overflow", "length", "refusal", "invalid_tool_call")


@given(evidences)
def test_nothing_unscored_is_a_wrong_answer(evidence: Evidence) -> None:
    assert attribute(evidence, None).cause not in ("model.wrong_answer", "model.wrong_trajectory")
