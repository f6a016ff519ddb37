"""A host-side chat model for LLM-as-judge evaluators, with the gateway's retries and errors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, cast

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatResult
from langchain_core.runnables import Runnable, RunnableBinding
from langchain_core.tools import BaseTool
from pydantic import Field

from bakeoff.config.schema import ModelSpec
from bakeoff.gateway.models import providers
from bakeoff.gateway.models.backend import build, counts_of, received
from bakeoff.gateway.policy.context import CallPolicy
from bakeoff.gateway.policy.retry import call
from bakeoff.gateway.policy.spending import Spending
from bakeoff.gateway.transport.raw import RawReply
from bakeoff.gateway.types import TokenCounts


def open_judge(model: ModelSpec, policy: CallPolicy, spending: Spending | None) -> BaseChatModel:
    """The judge behind its provider's client. A judge is never refused for money: its trial is paid for."""
    policy = replace(policy, price=policy.price or providers.price(model))
    inner = build(model, policy.environ)
    wired = providers.PROVIDERS[model.ref.provider].over_transport
    return Judge(inner=inner, policy=policy, spending=spending or Spending(), wired=wired)


class Judge(BaseChatModel):
    """Delegates each generation to `inner`. Every failure for good is a ModelCallError."""

    inner: BaseChatModel
    policy: Any  # CallPolicy; pydantic would want to look into it
    spending: Spending = Field(default_factory=Spending)
    wired: bool = True

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
        policy: CallPolicy = self.policy
        result: ChatResult | None = None
        counts = TokenCounts()

        def ask() -> AIMessage:
            nonlocal result
            result = self.inner._generate(messages, stop=stop, **kwargs)
            message = result.generations[0].message
            # only the public methods of a chat model move these into the message
            message.response_metadata |= {
                **(result.llm_output or {}),
                **(result.generations[0].generation_info or {}),
            }
            return cast(AIMessage, message)

        def send() -> ChatResult:
            nonlocal counts
            raw = RawReply()
            counts = counts_of(received(ask, raw, wired=self.wired), raw)
            return cast(ChatResult, result)

        outcome = call(
            send,
            policy.retry,
            cancelled=lambda: False,
            secrets=policy.secrets,
            turn=lambda: policy.limiter.turn(0, lambda: False, lambda: counts.total),
        )
        self.spending.add(policy.price.cost_usd(counts) if policy.price else None)
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
