"""A pydantic class made from a schema that crossed from the container, where the harness has the real class.

Providers' classes ask for an answer differently where they get a class: OpenAI's makes its schema strict. Reading the
answer is the harness's part, so this class accepts everything.
"""

from __future__ import annotations

import copy
import json
from typing import Any

from pydantic import BaseModel, ConfigDict

from bakeoff.gateway.types import JsonDict


class _Answer(BaseModel):
    model_config = ConfigDict(extra="allow")

    @classmethod
    def model_validate_json(cls, json_data: Any, **_: Any) -> Any:
        """What is no JSON object is the harness's to refuse, and no fault of the provider."""
        try:
            found = json.loads(json_data)
        except ValueError:
            return None
        return cls.model_construct(**found) if isinstance(found, dict) else None


def answer_class(schema: JsonDict) -> type[BaseModel]:
    """A class whose schema is this one."""

    def model_json_schema(_: Any, *__: Any, **___: Any) -> JsonDict:
        return copy.deepcopy(schema)

    body = {"model_json_schema": classmethod(model_json_schema), "__doc__": schema.get("description")}
    made: type[BaseModel] = type(str(schema.get("title") or "Answer"), (_Answer,), body)
    return made
