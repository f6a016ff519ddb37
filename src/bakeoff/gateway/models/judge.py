"""A host-side chat model for LLM-as-judge evaluators, with the gateway's retries and errors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatResult
from langchain_core.runnables import Runnable, RunnableBinding
from langchain_core.tools import BaseTool
from pydantic import Field

from bakeoff.gateway.policy.prices import Unknown
from bakeoff.gateway.policy.retry import call
from bakeoff.gateway.policy.spending import Spending
from bakeoff.gateway.policy.terms import Terms


class Judge(BaseChatModel):
    """Delegates each generation to `inner`. Every failure for good is a ModelCallError."""

    inner: BaseChatModel
    terms: Any  # Terms; pydantic would want to look into it
    spending: Spending = Field(
        default_factory=Spending
    )  # counts; a judge is never refused: its trial is paid for

    @property
    def _llm_type(self) -> str:
        return f"bakeoff-judge-{self.inner._llm_type}"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        result: ChatResult | None = None

        def send() -> ChatResult:
            nonlocal result
            result = self.inner._generate(messages, stop=stop, **kwargs)
            result.generations[0]  # an empty answer is a bad response, and known as one only here
            return result

        terms: Terms = self.terms
        outcome = call(
            send,
            terms.retry,
            cancelled=lambda: False,
            secrets=terms.secrets,
            turn=lambda: terms.limiter.turn(0, lambda: False, lambda: _tokens(result)),
        )
        self.spending.add((terms.price or Unknown()).cost_usd(_usage(outcome.value)))
        return outcome.value

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Bind tools in the provider's own form."""
        bound = self.inner.bind_tools(tools, tool_choice=tool_choice, **kwargs)
        if not isinstance(bound, RunnableBinding):
            raise NotImplementedError(f"{self._llm_type} cannot bind tools")
        return self.bind(**bound.kwargs)


def _usage(result: ChatResult | None) -> UsageMetadata | None:
    message = result.generations[0].message if result and result.generations else None
    return message.usage_metadata if isinstance(message, AIMessage) else None


def _tokens(result: ChatResult | None) -> int | None:
    usage = _usage(result)
    return usage["total_tokens"] if usage else None
