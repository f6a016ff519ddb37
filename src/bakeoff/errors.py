"""Every exception bakeoff raises on purpose, in one tree.

    BakeoffError
    ├── InputError            bad input or usage: exit 2, names file, line, key and hint
    │   └── IncomparableRuns  two runs whose harness differs are not compared
    ├── UnfitEnvironment      this machine cannot run it: exit 4
    │   └── BackendUnavailable  the backend went away and did not return; what finished is safe
    ├── NotPublished          a target did not take everything: exit 4; the local record is whole, publishing can go on
    ├── Interrupted           the user stopped the run: exit 130, resumable
    ├── ModelCallError        one model call failed for good (kind says how); becomes evidence, never a score
    ├── BudgetSpent           the run's money is spent: this call is not made, its trial is not run
    └── EvaluatorError        an evaluator raised or gave no number; becomes evidence, never a score

Exit codes are DESIGN.md's contract; `cli` is the only place that turns an exception into one.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum


class BakeoffError(Exception):
    """The root: anything bakeoff says to its user instead of showing a traceback."""

    exit_code = 1


class InputError(BakeoffError):
    """Bad input. One sentence on what is wrong, where, and how to fix it.

    Args:
        problem: what is wrong, one sentence without the place.
        file: path as the user would write it.
        line: 1-based line, where known.
        key: dotted path of the key (`resources.memory`), where known.
        hint: what to do about it, one sentence.
    """

    exit_code = 2

    def __init__(
        self,
        problem: str,
        *,
        file: str | None = None,
        line: int | None = None,
        key: str | None = None,
        hint: str | None = None,
    ) -> None:
        self.problem, self.file, self.line, self.key, self.hint = problem, file, line, key, hint
        place = ":".join(str(part) for part in (file, line) if part is not None)
        where = ": ".join(part for part in (place, key) if part)
        super().__init__(f"{where}: {problem}" if where else problem)


class IncomparableRuns(InputError):  # noqa: N818 - it reads as a state
    """Two runs are not compared, since their harness differs. `differences`: one phrase for each."""

    def __init__(self, differences: Sequence[str], *, hint: str) -> None:
        self.differences = list(differences)
        super().__init__(f"the harness of HEAD is not that of BASE: {'; '.join(differences)}", hint=hint)


class UnfitEnvironment(BakeoffError):  # noqa: N818 - it reads as a state, not as an error of the program
    """This machine cannot run it: no Docker, no image, not enough memory. `hint` says what to do."""

    exit_code = 4

    def __init__(self, problem: str, *, hint: str | None = None) -> None:
        self.problem, self.hint = problem, hint
        super().__init__(problem)


class BackendUnavailable(UnfitEnvironment):
    """The backend does not answer. Finished trials are safe, and the run can be resumed."""


class NotPublished(BakeoffError):  # noqa: N818 - it reads as a state
    """A target did not take everything. `problem` says what is missing there; the run directory is untouched."""

    exit_code = 4

    def __init__(self, problem: str, *, hint: str | None = None) -> None:
        self.problem = problem
        self.hint = hint or "Publish again: what has arrived stays, and is not sent twice."
        super().__init__(problem)


class Interrupted(BakeoffError):  # noqa: N818
    """The user stopped the run; what finished is on disk."""

    exit_code = 130


class ModelErrorKind(StrEnum):
    """How a model call failed for good, after the retry budget was spent."""

    RATE_LIMITED = "rate_limited"
    UNAVAILABLE = "unavailable"
    TIMEOUT = "timeout"
    AUTH = "auth"
    BAD_RESPONSE = "bad_response"
    CONTEXT_OVERFLOW = "context_overflow"
    # the model's answer did not fit into `max_tokens`, and the provider made an error of it
    LENGTH = "length"
    REFUSAL = "refusal"  # the provider itself refused to answer (a content filter)
    BAD_REQUEST = "bad_request"  # the provider rejects what the harness sent
    UNSUPPORTED = "unsupported"  # this model never serves such a request: no tools, a parameter, a max_tokens
    INVALID_TOOL_CALL = "invalid_tool_call"  # the provider could not parse the model's tool call
    TOO_LARGE = "too_large"  # no line from the container can hold the request: it was never sent
    NOT_ON_TAPE = "not_on_tape"  # a replayed candidate was asked what was not recorded
    INTERNAL = "internal"  # the gateway failed


class ModelCallError(BakeoffError):
    """One model call failed for good.

    Args:
        kind: the class of failure; `verdict.py` maps it to a cause.
        message: the provider's text with keys redacted, bounded.
        status: HTTP status where there was one.
        attempts: how many times the call was sent.
    """

    def __init__(
        self, kind: ModelErrorKind, message: str, *, status: int | None = None, attempts: int = 1
    ) -> None:
        self.kind, self.message, self.status, self.attempts = kind, message, status, attempts
        super().__init__(f"{kind}: {message}")


class BudgetSpent(BakeoffError):  # noqa: N818
    """`budget.usd` is spent: the call is not made. No fault of anybody's, and no evidence about the model."""

    def __init__(self, spent_usd: float, limit_usd: float) -> None:
        self.spent_usd, self.limit_usd = spent_usd, limit_usd
        super().__init__(f"the budget of {limit_usd:g} USD is spent ({spent_usd:.4f} USD)")


class EvaluatorError(BakeoffError):
    """An evaluator raised, or returned something that is not a score in [0, 1]."""

    def __init__(self, evaluator: str, message: str) -> None:
        self.evaluator, self.message = evaluator, message
        super().__init__(f"{evaluator}: {message}")
