"""A model as harness.yaml names it: `provider:model`, and the server that answers where it is not the provider's."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

# The kinds of models that bakeoff answers for itself; any other prefix is a provider's name.
OWN_KINDS = ("simulated", "local", "replay")


@dataclass(frozen=True, slots=True)
class ModelRef:
    """A parsed model name.

    Attributes:
        text: as it was written.
        base_url: address of an OpenAI-compatible server, if it was given one.

    >>> ref = ModelRef("anthropic:claude-opus-4-7")
    >>> ref.provider, ref.name
    ('anthropic', 'claude-opus-4-7')
    """

    text: str
    base_url: str | None = None

    @property
    def provider(self) -> str:
        """The word before the colon. For a bare name: `openai` where there is a `base_url`, else empty."""
        provider, colon, _ = self.text.partition(":")
        return provider if colon else "openai" if self.base_url else ""

    @property
    def name(self) -> str:
        """What follows the colon: the provider's name for the model. A bare name is all of it."""
        head, colon, tail = self.text.partition(":")
        return tail if colon else head

    @property
    def own(self) -> bool:
        """Whether no provider is asked: a simulated, local or replayed model."""
        return self.provider in OWN_KINDS

    @property
    def simulated(self) -> bool:
        """Whether its numbers are a simulation's and must be stamped as such."""
        return self.provider == "simulated"

    @property
    def server(self) -> str:
        """Who answers, and so whose rate limits apply: host and port of `base_url`, else the provider."""
        if self.base_url:
            return urlsplit(self.base_url).netloc or self.base_url
        return self.provider or self.text
