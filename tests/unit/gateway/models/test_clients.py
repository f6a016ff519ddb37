"""How the providers' own clients are made."""

import sys
from types import ModuleType
from typing import Any

import pytest

from bakeoff.gateway.models import clients
from bakeoff.gateway.models.clients import Wiring


def test_bedrock_has_a_connection_for_each_call_of_a_large_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def configured(**settings: Any) -> dict[str, Any]:
        return settings

    stand_in: Any = ModuleType("botocore.config")  # its package is of an extra
    stand_in.Config = configured
    monkeypatch.setitem(sys.modules, "botocore", ModuleType("botocore"))
    monkeypatch.setitem(sys.modules, "botocore.config", stand_in)
    made = clients.bedrock(Wiring(read=60, connect=5))
    assert made["config"]["max_pool_connections"] >= 1000
