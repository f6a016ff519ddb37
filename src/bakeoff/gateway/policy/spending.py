"""What a run spends: counts what calls cost, and admits no further call once `budget.usd` is spent."""

from __future__ import annotations

import threading
from collections import Counter

from bakeoff.errors import BudgetSpent, ModelCallError
from bakeoff.gateway.types import CallContext, ChatBackend, ModelCard, ModelReply, ModelRequest


class Spending:
    """What a run has spent, in US dollars. Threads share it.

    Calls that are out when the limit is reached end normally, so the sum may pass it by what they cost.

    Attributes:
        unpriced: calls whose cost is not known (the provider gave no token counts), and not in the sum.
        uncounted: calls by candidate whose provider gave no token counts: a limit on tokens does not see them.
    """

    def __init__(self, limit_usd: float | None = None, spent_usd: float = 0.0) -> None:
        self.limit_usd = limit_usd
        self._spent = spent_usd
        self.unpriced = 0
        self.uncounted: Counter[str] = Counter()
        self._lock = threading.Lock()

    @property
    def spent_usd(self) -> float:
        """So far."""
        return self._spent

    @property
    def exhausted(self) -> bool:
        """Whether no further call is admitted."""
        return self.limit_usd is not None and self._spent >= self.limit_usd

    def add(self, usd: float | None) -> None:
        """Count one call."""
        with self._lock:
            if usd is None:
                self.unpriced += 1
            else:
                self._spent += usd

    def count(self, candidate: str, tokens: int | None) -> None:
        """Note a reply of a candidate, and whether its tokens are known."""
        if tokens is None:
            with self._lock:
                self.uncounted[candidate] += 1


class Metered:
    """A backend whose calls are paid from `spending`. Raises BudgetSpent in place of a call that is not admitted."""

    def __init__(self, inner: ChatBackend, spending: Spending, candidate: str = "") -> None:
        self._inner, self._candidate, self._spending = inner, candidate, spending

    def complete(self, request: ModelRequest, call: CallContext) -> ModelReply:
        """Ask the backend while the budget lasts."""
        if self._spending.exhausted:
            raise BudgetSpent(self._spending.spent_usd, self._spending.limit_usd or 0.0)
        try:
            reply = self._inner.complete(request, call)
        except ModelCallError as error:
            if error.attempts:  # no provider says what a failed call cost
                self._spending.add(None)
            raise
        self._spending.add(reply.cost_usd)
        self._spending.count(self._candidate, reply.input_tokens if reply.output_tokens is not None else None)
        return reply

    def card(self) -> ModelCard:
        return self._inner.card()

    def close(self) -> None:
        self._inner.close()
