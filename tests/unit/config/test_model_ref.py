"""`provider:model` as a value."""

from __future__ import annotations

import pytest

from bakeoff.config.model_ref import ModelRef

SERVER = "http://localhost:8000/v1"


@pytest.mark.parametrize(
    ("text", "base_url", "provider", "name", "server"),
    [
        ("openai:gpt-5-mini", None, "openai", "gpt-5-mini", "openai"),
        ("openai:org/model:tag", SERVER, "openai", "org/model:tag", "localhost:8000"),
        ("llama-3", SERVER, "openai", "llama-3", "localhost:8000"),
        ("llama-3", None, "", "llama-3", "llama-3"),
        ("openai:", None, "openai", "", "openai"),
        ("simulated:skill=0.9", None, "simulated", "skill=0.9", "simulated"),
        ("openai:gpt-5-mini", "not an address", "openai", "gpt-5-mini", "not an address"),
    ],
)
def test_a_model_s_text_names_its_provider_its_name_and_who_answers(
    text: str, base_url: str | None, provider: str, name: str, server: str
) -> None:
    ref = ModelRef(text, base_url)
    assert (ref.provider, ref.name, ref.server) == (provider, name, server)


def test_no_provider_is_asked_for_models_of_bakeoffs_kinds() -> None:
    kinds = ("simulated:skill=1", "local:smollm2", "replay:tape.jsonl", "openai:gpt-5-mini")
    assert [ModelRef(each).own for each in kinds] == [True, True, True, False]
    assert [ModelRef(each).simulated for each in kinds] == [True, False, False, False]
