"""A host-side chat model for LLM-as-judge evaluators, with the gateway's retries and errors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatResult
from langchain_core.runnables import Runnable, RunnableBinding
from langchain_core.tools import BaseTool

from bakeoff.gateway.retrying import Budget, call


class Judge(BaseChatModel):
    """Delegates each generation to `inner`. Every failure for good is a ModelCallError."""

    inner: BaseChatModel
    budget: Budget
    secrets: tuple[str, ...] = ()

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
        def send() -> ChatResult:
            result = self.inner._generate(messages, stop=stop, **kwargs)
            result.generations[0]  # an empty answer is a bad response, and known as one only here
            return result

        return call(send, self.budget, cancelled=lambda: False, secrets=self.secrets).value

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
