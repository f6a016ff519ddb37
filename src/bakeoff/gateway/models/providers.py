"""Real models: any LangChain provider by `provider:model`, and any OpenAI-compatible server by `base_url`.

`base_url` goes to the client of the named provider; for an OpenAI-compatible server that is `openai:<model>`, or the
bare model name. With a `base_url` a key is sent only when `api_key_env` names it, so that one provider's key never
reaches another.

Timeouts are the candidate's params `timeout` (seconds until the reply comes, 120) and `connect_timeout` (10; where the
SDK tells the two apart). Parameters that the harness passes with a call win over the candidate's, as in production.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from bakeoff.config.extras import install_command
from bakeoff.config.schema import ModelSpec
from bakeoff.gateway.models import clients
from bakeoff.gateway.policy.prices import Price, price_of
from bakeoff.gateway.transport.route import Proxy, proxy_for

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from bakeoff.gateway.models.clients import Wiring
    from bakeoff.gateway.types import JsonDict

READ_SECONDS = 120.0
CONNECT_SECONDS = 10.0
# Of classes whose address is no base_url: Azure's, AWS's.
_ADDRESS_PARAMS = ("azure_endpoint", "endpoint_url")

_ADDRESS = "write the address as base_url in harness.yaml"
_PROXY = "name the proxy in HTTPS_PROXY"
_AWS = "set AWS_REGION and AWS_PROFILE, which are noted in the manifest, or unset it"

# Of every LangChain class: variable -> how to say the same in harness.yaml.
ANY_CLASS: dict[str, str] = {
    "LANGSMITH_GATEWAY": _ADDRESS,
    "LC_OUTPUT_VERSION": "write `params: {output_version: ...}`",
}
_OPENAI: dict[str, str] = {
    "OPENAI_BASE_URL": _ADDRESS,
    "OPENAI_API_BASE": _ADDRESS,
    "OPENAI_PROXY": _PROXY,
    "OPENAI_ORG_ID": "write `params: {organization: ...}`",
    "OPENAI_ORGANIZATION": "write `params: {organization: ...}`",
    "OPENAI_PROJECT": "write `params: {default_headers: {OpenAI-Project: ...}}`",
    "OPENAI_PROJECT_ID": "write `params: {default_headers: {OpenAI-Project: ...}}`",
    "OPENAI_CUSTOM_HEADERS": "write `params: {default_headers: {...}}`",
}
_ANTHROPIC: dict[str, str] = {
    "ANTHROPIC_BASE_URL": _ADDRESS,
    "ANTHROPIC_API_URL": _ADDRESS,
    "ANTHROPIC_PROXY": _PROXY,
    "ANTHROPIC_CUSTOM_HEADERS": "write `params: {default_headers: {...}}`",
}
_GOOGLE: dict[str, str] = {
    "GOOGLE_GEMINI_BASE_URL": _ADDRESS,
    "GOOGLE_VERTEX_BASE_URL": _ADDRESS,
    "GOOGLE_GENAI_USE_VERTEXAI": "write `params: {vertexai: true, project: ..., location: ...}`",
    "GOOGLE_GENAI_USE_ENTERPRISE": "write `params: {vertexai: true, project: ..., location: ...}`",
}
_AZURE: dict[str, str] = {
    "AZURE_OPENAI_ENDPOINT": "write `params: {azure_endpoint: ...}`",
    "OPENAI_API_VERSION": "write `params: {api_version: ...}`",
    "OPENAI_API_TYPE": "write `params: {openai_api_type: ...}`",
    "AZURE_OPENAI_AD_TOKEN": "give a key in AZURE_OPENAI_API_KEY",  # it wins over the key
}
_BEDROCK: dict[str, str] = {"AWS_ENDPOINT_URL": _AWS, "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": _AWS}


@dataclass(frozen=True, slots=True)
class Provider:
    """One provider of `langchain.chat_models.init_chat_model`."""

    package: str  # what is imported
    key_env: str | None = None  # None: it finds its credentials itself, or needs none
    extra: str | None = None  # bakeoff's extra; None: the package is to be installed by its own name
    prices: str | None = None  # genai-prices' id of it
    address: str | None = None  # where its library calls; None: the library alone knows
    ambient: Mapping[str, str] = field(
        default_factory=dict
    )  # variables that choose address or account -> hint
    noted: tuple[str, ...] = ()  # variables that are used, and noted in the manifest
    client: Callable[[Wiring], JsonDict] = clients.plain  # timeouts, no retries, the gateway's transport
    wire: Callable[[BaseChatModel, Wiring], None] = clients.wired  # the same, for what no parameter reaches
    over_transport: bool = True  # its library uses the gateway's transport
    address_key: str = "base_url"  # of its class

    @property
    def install(self) -> str:
        """The command that installs its package."""
        if self.extra:
            return install_command(self.extra)
        return f"pip install {self.package.replace('_', '-')}"


_AWS_CONVERSE = Provider(
    "langchain_aws",
    None,
    "bedrock",
    "aws",
    None,
    _BEDROCK,
    noted=("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"),
    client=clients.bedrock,
    over_transport=False,
)

# A new provider is one new entry.
PROVIDERS: dict[str, Provider] = {
    "openai": Provider(
        "langchain_openai",
        "OPENAI_API_KEY",
        "openai",
        "openai",
        "https://api.openai.com/v1",
        _OPENAI,
        client=clients.openai,
    ),
    "anthropic": Provider(
        "langchain_anthropic",
        "ANTHROPIC_API_KEY",
        "anthropic",
        "anthropic",
        "https://api.anthropic.com",
        _ANTHROPIC,
        wire=clients.wire_anthropic,
    ),
    "google_genai": Provider(
        "langchain_google_genai",
        "GOOGLE_API_KEY",
        "google-genai",
        "google",
        "https://generativelanguage.googleapis.com",
        _GOOGLE,
        client=clients.google,
    ),
    "mistralai": Provider(
        "langchain_mistralai",
        "MISTRAL_API_KEY",
        "mistralai",
        "mistral",
        "https://api.mistral.ai/v1",
        {"MISTRAL_BASE_URL": _ADDRESS},
        client=clients.whole_seconds,
        wire=clients.wire_mistral,
    ),
    "ollama": Provider(
        "langchain_ollama",
        None,
        "ollama",
        None,
        "http://127.0.0.1:11434",
        {"OLLAMA_HOST": _ADDRESS},
        client=clients.ollama,
    ),
    "bedrock_converse": _AWS_CONVERSE,
    "bedrock": replace(_AWS_CONVERSE, address_key="endpoint_url"),  # the class for InvokeModel
    "azure_openai": Provider(
        "langchain_openai",
        "AZURE_OPENAI_API_KEY",
        "openai",
        "azure",
        None,
        {**_OPENAI, **_AZURE},
        client=clients.openai,
    ),
    "deepseek": Provider(
        "langchain_deepseek",
        "DEEPSEEK_API_KEY",
        None,
        "deepseek",
        "https://api.deepseek.com/v1",
        {**_OPENAI, "DEEPSEEK_API_BASE": _ADDRESS},
        client=clients.openai_sdk,
    ),
    "fireworks": Provider(
        "langchain_fireworks",
        "FIREWORKS_API_KEY",
        None,
        "fireworks",
        "https://api.fireworks.ai/inference/v1",
        {"FIREWORKS_API_BASE": _ADDRESS},
        wire=clients.wire_fireworks,
    ),
    "groq": Provider(
        "langchain_groq",
        "GROQ_API_KEY",
        None,
        "groq",
        "https://api.groq.com",
        {"GROQ_API_BASE": _ADDRESS, "GROQ_BASE_URL": _ADDRESS, "GROQ_PROXY": _PROXY},
        client=clients.groq,
    ),
    "together": Provider(
        "langchain_together",
        "TOGETHER_API_KEY",
        None,
        "together",
        "https://api.together.xyz/v1",
        {**_OPENAI, "TOGETHER_API_BASE": _ADDRESS},
        client=clients.openai_sdk,
    ),
    "xai": Provider(
        "langchain_xai",
        "XAI_API_KEY",
        None,
        "x-ai",
        "https://api.x.ai/v1",
        {**_OPENAI, "XAI_API_BASE": _ADDRESS},
        client=clients.openai_sdk,
    ),
}


def proxy_of(model: ModelSpec, environ: Mapping[str, str]) -> Proxy | None:
    """The proxy that calls of this model go through."""
    named = next((str(model.params[key]) for key in _ADDRESS_PARAMS if model.params.get(key)), None)
    return proxy_for(model.base_url or named or PROVIDERS[model.ref.provider].address, environ)


def notes(model: ModelSpec, environ: Mapping[str, str]) -> list[str]:
    """What of the environment bears on how this model is called, for the manifest and the report."""
    found = []
    if proxy := proxy_of(model, environ):
        found.append(f"calls go through the proxy {proxy.shown} ({proxy.variable})")
    for variable in PROVIDERS[model.ref.provider].noted:
        if value := environ.get(variable):
            found.append(f"{variable} is {value}")
    return found


def timeouts(params: Mapping[str, Any]) -> tuple[float, float]:
    """Seconds until the reply comes, and of these until there is a connection."""
    return params.get("timeout", READ_SECONDS), params.get("connect_timeout", CONNECT_SECONDS)


def price(model: ModelSpec) -> Price | None:
    """What the bundled table says. It knows the provider's own address only."""
    return None if model.base_url else price_of(PROVIDERS[model.ref.provider].prices, model.ref.name)
