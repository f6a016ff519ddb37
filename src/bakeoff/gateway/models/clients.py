"""How each provider's client library is made: its retries off, its timeouts set, its HTTP over our transport."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bakeoff.gateway.transport import bounded
from bakeoff.gateway.types import JsonDict

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel


@dataclass(frozen=True, slots=True)
class Wiring:
    """What a client is made with. Seconds, and the URL of a proxy."""

    read: float
    connect: float
    proxy: str | None = None


def plain(wiring: Wiring) -> JsonDict:
    """Of most classes."""
    return {"max_retries": 0, "timeout": wiring.read}


def wired(model: BaseChatModel, wiring: Wiring) -> None:
    """Nothing is left to do."""


def openai(wiring: Wiring) -> JsonDict:
    """OpenAI, and every server that is compatible with it."""
    # a streamed reply of a compatible server says what it used only when it is asked to
    return {**openai_sdk(wiring), "stream_usage": True}


def openai_sdk(wiring: Wiring) -> JsonDict:
    """Classes of other providers that are built on OpenAI's SDK."""
    import openai as sdk

    return {
        "max_retries": 0,
        "timeout": sdk.Timeout(wiring.read, connect=wiring.connect),
        "http_client": bounded.client(sdk.DefaultHttpxClient, wiring.proxy),
    }


def groq(wiring: Wiring) -> JsonDict:
    sdk = importlib.import_module("groq")
    return {**plain(wiring), "http_client": bounded.client(sdk.DefaultHttpxClient, wiring.proxy)}


def wire_anthropic(model: BaseChatModel, wiring: Wiring) -> None:
    """Its class has no parameter for an HTTP client; its SDK has."""
    import anthropic

    chat: Any = model
    sdk = chat._client.with_options(http_client=bounded.client(anthropic.DefaultHttpxClient, wiring.proxy))
    chat.__dict__["_client"] = sdk  # where its cached property keeps it


def wire_fireworks(model: BaseChatModel, wiring: Wiring) -> None:
    """Its class has no parameter for an HTTP client either."""
    chat: Any = model
    http = bounded.client(importlib.import_module("fireworks").DefaultHttpxClient, wiring.proxy)
    chat.client = chat._sdk_client.with_options(http_client=http).chat.completions


def google(wiring: Wiring) -> JsonDict:
    try:
        httpx = importlib.import_module("httpx")  # what its SDK prefers
    except ImportError:
        httpx = importlib.import_module("httpx2")
    way = {"transport": bounded.transport(httpx, wiring.proxy), "trust_env": False}
    return {**plain(wiring), "client_args": way}


def whole_seconds(wiring: Wiring) -> JsonDict:
    return {"max_retries": 0, "timeout": max(round(wiring.read), 1)}


def wire_mistral(model: BaseChatModel, wiring: Wiring) -> None:
    """Its class takes an HTTP client only without the address and the key that it sets itself."""
    chat: Any = model
    made = chat.client
    httpx = bounded.library(type(made))
    chat.client = httpx.Client(
        base_url=made.base_url,
        headers=made.headers,
        timeout=made.timeout,
        transport=bounded.transport(httpx, wiring.proxy),
        trust_env=False,
    )


def ollama(wiring: Wiring) -> JsonDict:
    import httpx

    way = {"transport": bounded.transport(httpx, wiring.proxy), "trust_env": False}
    return {"sync_client_kwargs": {"timeout": wiring.read, **way}}  # its client does not retry


def bedrock(wiring: Wiring) -> JsonDict:
    from botocore.config import Config

    timeouts = {"read_timeout": wiring.read, "connect_timeout": wiring.connect}
    # none at all rather than those of the environment, which it would take for a loopback address too
    proxies = {"http": wiring.proxy, "https": wiring.proxy} if wiring.proxy else {}
    # its own pool has 10: every call above that would begin with a new handshake
    pool = {"max_pool_connections": bounded.CONNECTIONS}
    return {"config": Config(**timeouts, **pool, proxies=proxies, retries={"total_max_attempts": 1})}
