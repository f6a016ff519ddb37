"""Attribution: one case a cause, pairs that fix the order, and properties that hold for any evidence."""

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

ANSWERED = HarnessFacts(reached="answered", exit_code=0)
TIMED_OUT = HarnessFacts(reached="answered", exit_code=0, tool_timeouts=1)
ANSWER = AnswerFacts(text="The order was shipped.")
CRASH = HarnessFacts(reached="started", exit_code=1, error_type="builtins.KeyError", error_message="'order'")


def ended(replies: int = 1, **harness: Any) -> Evidence:
    """The harness ended on its way, after so many replies of the model."""
    return Evidence(harness=HarnessFacts(reached="started", **harness), replies=replies)


def fault(kind: ModelErrorKind, **more: Any) -> Evidence:
    return Evidence(model_fault=ModelFault(kind=kind, message="said so", status=500), harness=CRASH, **more)


NONE_REFUSED: dict[str, Any] = {"kernel": KernelFacts(pids_refused=0)}

# cause -> (evidence, passed, failing)
CASES: dict[str, list[tuple[Evidence, bool | None, list[str]]]] = {
    "infra.oom_killed": [
        (Evidence(kernel=KernelFacts(oom_kills=1), harness=ANSWERED, answer=ANSWER), False, ["answer"]),
        (Evidence(docker=DockerFacts(oom_killed=True, exit_code=137)), None, []),
    ],
    "infra.disk_full": [
        (Evidence(kernel=KernelFacts(disk_full=True), answer=ANSWER), False, ["answer"]),
        (Evidence(harness=CRASH.model_copy(update={"error_errnos": [errno.ENOSPC]})), None, []),
    ],
    "infra.pids_exhausted": [
        (Evidence(kernel=KernelFacts(pids_refused=3), answer=ANSWER), False, ["answer"]),
        (Evidence(harness=CRASH.model_copy(update={"error_errnos": [errno.EAGAIN]})), None, []),
        (Evidence(kernel=KernelFacts(pids_refused=3, pids_peak=64, pids_limit=64), harness=CRASH), None, []),
        # between two samples there may have been more
        (
            Evidence(
                kernel=KernelFacts(pids_refused=3, pids_peak=9, pids_limit=64, sampled=["pids_peak"]),
                harness=CRASH,
            ),
            None,
            [],
        ),
    ],
    "infra.host_pids": [
        (Evidence(kernel=KernelFacts(pids_refused=3, pids_peak=9, pids_limit=64), harness=CRASH), None, []),
        (
            Evidence(kernel=KernelFacts(pids_refused=3, pids_peak=9, pids_limit=64), answer=ANSWER),
            False,
            ["answer"],
        ),
    ],
    "infra.start_refused": [
        (ended(exit_code=1, error_errnos=[errno.EAGAIN]).model_copy(update=NONE_REFUSED), None, []),
        (
            Evidence(
                harness=ANSWERED.model_copy(update={"error_errnos": [errno.EAGAIN]}),
                answer=ANSWER,
                **NONE_REFUSED,
            ),
            False,
            ["answer"],
        ),
    ],
    "infra.host_memory": [
        (Evidence(kernel=KernelFacts(oom_kills=1, memory_limit_hits=0), harness=CRASH), None, []),
        (Evidence(kernel=KernelFacts(oom_kills=1, memory_limit_hits=0), answer=ANSWER), False, ["answer"]),
    ],
    "infra.limits_not_enforced": [
        (Evidence(limits_mismatch=["memory: asked 512 MiB, effective 1 GiB"]), None, [])
    ],
    "infra.image": [
        (Evidence(docker=DockerFacts(error_kind="image")), None, []),
        (Evidence(docker=DockerFacts(failed_step="image", error="no such image")), None, []),
    ],
    "infra.docker_unavailable": [(Evidence(docker=DockerFacts(error_kind="unavailable")), None, [])],
    "infra.container_start": [
        (Evidence(docker=DockerFacts(error_kind="start", failed_step="start")), None, []),
        (Evidence(docker=DockerFacts(failed_step="create", error="bad mount")), None, []),
        (Evidence(startup_timeout=True, harness=HarnessFacts(reached="supervisor", signal=9)), None, []),
    ],
    "infra.container_lost": [
        (Evidence(docker=DockerFacts(error_kind="lost", exit_code=137)), None, []),
        (Evidence(docker=DockerFacts(error_kind="lost"), time_limit_hit=True), None, []),  # left paused
        (Evidence(docker=DockerFacts(error_kind="lost"), startup_timeout=True), None, []),
        (
            Evidence(docker=DockerFacts(paused_seconds=9.0), harness=TIMED_OUT, answer=ANSWER),
            False,
            ["answer"],
        ),
    ],
    "infra.supervisor_lost": [
        (Evidence(docker=DockerFacts(failed_step="run", exit_code=1, error="no last word")), None, []),
    ],
    "infra.provider_auth": [(fault(ModelErrorKind.AUTH), None, [])],
    "infra.provider_unsupported": [(fault(ModelErrorKind.UNSUPPORTED), None, [])],
    "infra.provider_rate_limited": [(fault(ModelErrorKind.RATE_LIMITED), None, [])],
    "infra.provider_unavailable": [(fault(ModelErrorKind.UNAVAILABLE), None, [])],
    "infra.provider_timeout": [(fault(ModelErrorKind.TIMEOUT), None, [])],
    "infra.not_on_tape": [(fault(ModelErrorKind.NOT_ON_TAPE), None, [])],
    "infra.provider_bad_response": [(fault(ModelErrorKind.BAD_RESPONSE), None, [])],
    "infra.unknown": [
        (Evidence(), None, []),
        (Evidence(), False, ["answer"]),  # nothing was answered, so no answer can be wrong
        (Evidence(internal_error="ZeroDivisionError", harness=ANSWERED, answer=ANSWER), False, ["answer"]),
        (fault(ModelErrorKind.INTERNAL), None, []),
        (Evidence(harness=HarnessFacts(reached="started"), answer=AnswerFacts(text="")), None, []),
    ],
    "infra.output_limit": [
        (Evidence(output_overflow=True, harness=CRASH), None, []),
        (Evidence(output_overflow=True, budget="lines", replies=3), None, []),
        (
            ended(exit_code=None, signal=9, stopped_for="overflow").model_copy(
                update={"output_overflow": True}
            ),
            None,
            [],
        ),
        (fault(ModelErrorKind.TOO_LARGE), None, []),
        (fault(ModelErrorKind.TOO_LARGE, answer=ANSWER), False, ["answer"]),
    ],
    "infra.protocol": [
        (Evidence(protocol_errors=["not JSON: \x1b[31m"], harness=CRASH), None, []),
        # its answer was garbled, then it exited
        (ended(exit_code=0).model_copy(update={"protocol_errors": ["not a list"]}), None, []),
    ],
    "infra.interrupted": [
        (ended(exit_code=0, interrupt="approve issue_refund(amount=5)?"), None, []),
    ],
    "infra.harness_crash": [
        (Evidence(harness=CRASH), None, []),
        (
            Evidence(harness=HarnessFacts(reached="started", signal=9), kernel=KernelFacts(oom_kills=0)),
            None,
            [],
        ),
        (Evidence(harness=HarnessFacts(reached="started", exit_code=0)), None, []),
        (Evidence(harness=ANSWERED, answer=AnswerFacts(text="shipped", source="harness")), False, ["answer"]),
        (Evidence(harness=ANSWERED), False, ["answer"]),
        (ended(0, exit_code=1, error_type="langgraph.errors.GraphRecursionError"), None, []),
        (ended(3, exit_code=1, error_type=WRONG_RESULT), None, []),
        (ended(0, exit_code=None, signal=9, stopped_for="channel_closed"), None, []),
        (Evidence(harness=HarnessFacts(reached="started", exit_code=1, error_type="MemoryError")), None, []),
        (fault(ModelErrorKind.BAD_REQUEST), None, []),
        (
            Evidence(harness=HarnessFacts(reached="started", signal=11), answer=AnswerFacts(truncated=True)),
            None,
            [],
        ),
    ],
    "infra.evaluator": [(Evidence(evaluator_error="judge: NaN", harness=ANSWERED, answer=ANSWER), None, [])],
    "infra.host_contention": [
        (Evidence(time_limit_hit=True, host=HostFacts(contended=True)), None, []),
        (
            Evidence(startup_timeout=True, host=HostFacts(contended=True), harness=HarnessFacts(signal=9)),
            None,
            [],
        ),
    ],
    "infra.cpu_throttled": [
        (
            Evidence(
                time_limit_hit=True,
                kernel=KernelFacts(throttled_seconds=60.0, cpu_seconds=60.0),
                clock=ClockFacts(working_seconds=120.0),
            ),
            None,
            [],
        )
    ],
    "model.context_overflow": [(fault(ModelErrorKind.CONTEXT_OVERFLOW), None, [])],
    "model.killed_harness": [
        (ended(signal=9), None, []),
        (ended(signal=15), None, []),
        (ended(exit_code=3), None, []),  # os._exit in a tool
        (ended(exit_code=1, error_type="builtins.KeyboardInterrupt"), None, []),
        (ended(exit_code=1, error_type="builtins.SystemExit"), None, []),
        (ended(signal=9, stopped_for="channel_closed"), None, []),
        (ended(signal=9).model_copy(update={"protocol_errors": ["noise"]}), None, []),
    ],
    "model.broke_harness": [
        (ended(signal=11, stopped_for="channel_closed"), None, []),
        (ended(exit_code=1, error_type="builtins.KeyError", error_message="'A-99'"), None, []),
        (ended(exit_code=1, error_type="builtins.RecursionError"), None, []),
        (ended(exit_code=1, error_type="builtins.MemoryError"), None, []),
        (ended(exit_code=1, error_type="openai.RateLimitError"), None, []),  # of a client of its own
        (ended(exit_code=1, error_type="urllib3.exceptions.MaxRetryError"), None, []),
        (ended(signal=11), None, []),
    ],
    "model.turn_limit": [
        (Evidence(turn_limit_hit=True, harness=CRASH), None, []),
        *(
            (ended(exit_code=1, error_type=name), None, [])
            for name in (
                "langgraph.errors.GraphRecursionError",
                "langchain.agents.middleware.model_call_limit.ModelCallLimitExceededError",
                "langchain.agents.middleware.tool_call_limit.ToolCallLimitExceededError",
                "agents.exceptions.MaxTurnsExceeded",
                "pydantic_ai.exceptions.UsageLimitExceeded",
                "smolagents.utils.AgentMaxStepsError",
                "google.adk.agents.invocation_context.LlmCallsLimitExceededError",
                "minisweagent.exceptions.LimitsExceeded",
                "haystack.core.errors.PipelineMaxComponentRuns",
                "shop.errors.MaxIterationsReached",
            )
        ),
        (
            ended(
                exit_code=1,
                error_type="shop.errors.GaveUp",
                error_bases=["langgraph.errors.GraphRecursionError", "builtins.RecursionError"],
            ),
            None,
            [],
        ),
    ],
    "model.token_limit": [
        (Evidence(token_limit_hit=True, harness=CRASH), None, []),
        (fault(ModelErrorKind.LENGTH), None, []),
        (Evidence(harness=ANSWERED, answer=AnswerFacts(text="The", truncated=True)), False, ["answer"]),
    ],
    "model.time_limit": [
        (Evidence(time_limit_hit=True, harness=HarnessFacts(reached="started", signal=9)), None, []),
        (Evidence(time_limit_hit=True, docker=DockerFacts(paused_seconds=9.0)), None, []),  # not counted
        (
            Evidence(
                time_limit_hit=True,
                kernel=KernelFacts(throttled_seconds=59.0),
                clock=ClockFacts(working_seconds=120.0),
            ),
            None,
            [],
        ),
    ],
    "model.refusal": [
        (fault(ModelErrorKind.REFUSAL), None, []),
        (Evidence(harness=ANSWERED, answer=AnswerFacts(text="", refusal=True)), False, ["answer"]),
    ],
    "model.invalid_tool_call": [
        (Evidence(harness=ANSWERED, answer=AnswerFacts(invalid_tool_call=True)), False, ["trajectory"]),
        (Evidence(harness=CRASH, answer=AnswerFacts(invalid_tool_call=True)), None, []),
        (fault(ModelErrorKind.INVALID_TOOL_CALL), None, []),
    ],
    "model.empty_answer": [(Evidence(harness=ANSWERED, answer=AnswerFacts(text=" \n")), False, ["answer"])],
    "model.wrong_trajectory": [(Evidence(harness=ANSWERED, answer=ANSWER), False, ["trajectory"])],
    "model.wrong_answer": [
        (
            Evidence(docker=DockerFacts(paused_seconds=9.0), harness=ANSWERED, answer=ANSWER),
            False,
            ["answer"],
        ),
        (
            Evidence(docker=DockerFacts(paused_seconds=0.1), harness=TIMED_OUT, answer=ANSWER),
            False,
            ["answer"],
        ),
        (Evidence(harness=ANSWERED, answer=ANSWER), False, ["answer"]),
        (Evidence(harness=ANSWERED, answer=ANSWER), False, ["trajectory", "answer"]),
        (Evidence(harness=ANSWERED.model_copy(update={"signal": 11}), answer=ANSWER), False, ["answer"]),
    ],
}

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


OOM = {"kernel": KernelFacts(oom_kills=2, memory_limit_bytes=256 * 2**20)}


@pytest.mark.parametrize(
    ("wins", "evidence", "passed"),
    [
        ("infra.oom_killed", Evidence(docker=DockerFacts(error_kind="lost"), **OOM), None),
        ("infra.oom_killed", Evidence(harness=HarnessFacts(reached="started", signal=9), **OOM), None),
        ("infra.oom_killed", Evidence(time_limit_hit=True, **OOM), None),
        ("infra.oom_killed", Evidence(internal_error="boom", **OOM), None),
        ("infra.oom_killed", fault(ModelErrorKind.RATE_LIMITED, **OOM), None),
        ("infra.container_lost", Evidence(docker=DockerFacts(error_kind="lost"), harness=CRASH), None),
        ("infra.container_lost", Evidence(docker=DockerFacts(error_kind="lost"), answer=ANSWER), False),
        ("infra.provider_unavailable", fault(ModelErrorKind.UNAVAILABLE, time_limit_hit=True), None),
        ("infra.provider_unavailable", fault(ModelErrorKind.UNAVAILABLE, answer=ANSWER), False),
        ("infra.provider_timeout", fault(ModelErrorKind.TIMEOUT, protocol_errors=["cut line"]), None),
        ("infra.harness_crash", fault(ModelErrorKind.BAD_REQUEST, turn_limit_hit=True), None),
        ("infra.unknown", fault(ModelErrorKind.INTERNAL, turn_limit_hit=True), None),
        ("infra.oom_killed", Evidence(harness=HarnessFacts(signal=9), replies=2, **OOM), None),
        ("infra.provider_timeout", fault(ModelErrorKind.TIMEOUT, replies=2), None),
        ("infra.interrupted", ended(exit_code=0, interrupt="?").model_copy(update={"answer": ANSWER}), None),
        ("model.time_limit", ended(signal=9).model_copy(update={"time_limit_hit": True}), None),
        (
            "model.invalid_tool_call",
            Evidence(harness=CRASH, replies=1, answer=AnswerFacts(invalid_tool_call=True)),
            None,
        ),
        (
            "model.wrong_answer",
            Evidence(harness=ANSWERED.model_copy(update={"signal": 9}), replies=1, answer=ANSWER),
            False,
        ),
        ("infra.evaluator", Evidence(turn_limit_hit=True, evaluator_error="raised", answer=ANSWER), None),
        (
            "model.turn_limit",
            Evidence(turn_limit_hit=True, time_limit_hit=True, host=HostFacts(contended=True)),
            None,
        ),
        ("model.time_limit", Evidence(time_limit_hit=True, harness=CRASH), None),
        (
            "infra.host_contention",
            Evidence(harness=TIMED_OUT, answer=ANSWER, host=HostFacts(contended=True)),
            False,
        ),
        ("model.wrong_answer", Evidence(harness=TIMED_OUT, answer=ANSWER), False),
        (
            "model.wrong_answer",
            Evidence(harness=ANSWERED, answer=ANSWER, host=HostFacts(contended=True)),
            False,
        ),
        ("model.wrong_answer", Evidence(protocol_errors=["forged"], harness=ANSWERED, answer=ANSWER), False),
        ("model.wrong_answer", Evidence(output_overflow=True, harness=ANSWERED, answer=ANSWER), False),
        ("model.token_limit", Evidence(answer=AnswerFacts(truncated=True, invalid_tool_call=True)), False),
        ("model.refusal", Evidence(answer=AnswerFacts(refusal=True)), False),
    ],
)
def test_precedence(wins: str, evidence: Evidence, passed: bool | None) -> None:
    assert attribute(evidence, passed, ["answer"] if passed is False else []).cause == wins


def test_a_process_killed_for_memory_is_named_with_its_limit() -> None:
    because = attribute(Evidence(**OOM), None).because
    assert because == "The kernel killed 2 processes in the container for memory at the limit of 256 MiB."


def test_text_of_the_agent_is_bounded_and_disarmed_in_the_sentence() -> None:
    hostile = HarnessFacts(reached="started", error_type="E", error_message="\x1b[2J\r\n" + "a" * 10_000)
    because = attribute(Evidence(harness=hostile), None).because
    assert len(because) < 300
    assert because.isprintable()


def test_only_what_the_outside_caused_is_tried_again_and_nothing_inside_is() -> None:
    again = {cause.code for cause in CAUSES if cause.retry is not Retry.NEVER}
    assert again == {
        *(
            "infra.host_memory",
            "infra.host_pids",
            "infra.docker_unavailable",
            "infra.container_start",
            "infra.container_lost",
        ),
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
