"""A model's card: what a harness may ask of its chat model, answered by the provider's own class."""

from __future__ import annotations

import inspect
import warnings
from typing import TYPE_CHECKING, Any

from bakeoff.gateway.types import JsonDict, ModelCard

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

# Fields that say how the model is asked. Nothing else leaves the host: other fields hold keys, addresses and accounts.
_ATTRIBUTES = frozenset(
    {
        "temperature",
        "top_p",
        "top_k",
        "max_tokens",
        "max_output_tokens",
        "n",
        "seed",
        "stop",
        "stop_sequences",
    }
    | {"reasoning_effort", "reasoning", "effort", "thinking", "thinking_budget", "verbosity", "service_tier"}
    | {"presence_penalty", "frequency_penalty", "streaming", "stream_usage", "output_version", "betas"}
)
_METHODS = (None, "function_calling", "json_mode", "json_schema")


def card_of(model: BaseChatModel) -> ModelCard:
    """The card of a client."""
    kind = type(model)
    names = (getattr(model, key, None) for key in ("model_name", "model", "model_id"))
    return ModelCard(
        name=str(next((name for name in names if name), "")),
        llm_type=model._llm_type,
        # a client of an older langchain_core has no profile
        profile=_jsonable(getattr(model, "profile", None) or {}) or None,
        ls_params=_jsonable(model._get_ls_params()),
        use_responses_api=getattr(model, "use_responses_api", None) is True,
        class_path=f"{kind.__module__}.{kind.__qualname__}",
        bind_parameters=[
            name
            for name, one in inspect.signature(kind.bind_tools).parameters.items()
            if name not in ("self", "tools") and one.kind is not one.VAR_KEYWORD
        ],
        structured_output={method or "default": _way(model, method) for method in _METHODS},
        attributes=_jsonable(
            {name: getattr(model, name) for name in sorted(_ATTRIBUTES & set(kind.model_fields))}
        ),
    )


def _way(model: BaseChatModel, method: str | None) -> str:
    """How the class reads a structured reply: from tool calls, from the text, or the reason why it does not."""
    schema = {"title": "probe", "type": "object", "description": "-", "properties": {"x": {"type": "string"}}}
    options: JsonDict = {"method": method} if method else {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            chain: Any = model.with_structured_output(schema, **options)
    except Exception as error:  # noqa: BLE001 - the harness gets it where it asks for this method
        return f"{type(error).__name__}: {error}"[:300]
    return "tools" if "Tools" in type(getattr(chain, "last", chain)).__name__ else "text"


def _jsonable(value: Any) -> JsonDict:
    from pydantic_core import to_jsonable_python

    plain: JsonDict = to_jsonable_python(value, bytes_mode="base64", fallback=str)
    return plain
