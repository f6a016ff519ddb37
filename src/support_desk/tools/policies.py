"""The shop's rules, as the desk reads them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from support_desk.shop import connect

Topic = Literal[
    "returns", "damage", "duplicate_charge", "cancellation", "address_change", "refund_limit", "privacy"
]


def get_policy(topic: Annotated[Topic, "What the request is about"]) -> dict[str, Any]:
    """Read the policy on a topic. Each rule in it has a name; a refusal cites the name."""
    with connect() as shop:
        row = shop.execute("SELECT topic, text FROM policies WHERE topic = ?", (topic,)).fetchone()
    return dict(row) if row else {"error": f"no policy on {topic}"}
