"""What every record is made of."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

VerdictName = Literal["passed", "failed", "infra_error"]


JsonDict = dict[str, Any]


class Record(BaseModel):
    """Base of every record: immutable, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")
