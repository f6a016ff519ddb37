"""Tickets: what the desk hands to people."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from support_desk.shop import connect, next_id, today

Topic = Literal["refund_approval", "delivery_delay", "damage", "account", "other"]
Priority = Literal["low", "normal", "high"]
Team = Literal["logistics", "supervisors", "safety"]


def list_tickets(customer_id: Annotated[str, "Such as C-101"]) -> dict[str, Any]:
    """List a customer's tickets, newest first."""
    with connect() as shop:
        rows = shop.execute(
            "SELECT * FROM tickets WHERE customer_id = ? ORDER BY opened_on DESC, ticket_id DESC",
            (customer_id,),
        ).fetchall()
    return {"tickets": [dict(row) for row in rows]}


def open_ticket(
    customer_id: Annotated[str, "Such as C-101"],
    topic: Topic,
    priority: Annotated[Priority, "high for damage and refund approvals, otherwise normal"],
    order_id: Annotated[str | None, "The order it is about, where there is one"] = None,
) -> dict[str, Any]:
    """Open a ticket for the human team, which answers within a day."""
    with connect(write=True) as shop:
        if not shop.execute("SELECT 1 FROM customers WHERE customer_id = ?", (customer_id,)).fetchone():
            return {"error": f"no customer {customer_id}"}
        owner = shop.execute("SELECT customer_id FROM orders WHERE order_id = ?", (order_id,)).fetchone()
        if order_id is not None and (owner is None or owner[0] != customer_id):
            return {"error": f"customer {customer_id} has no order {order_id}"}
        ticket_id = next_id(shop, "tickets", "ticket_id")
        shop.execute(
            "INSERT INTO tickets VALUES (?, ?, ?, ?, ?, 'desk', 'open', ?)",
            (ticket_id, customer_id, order_id, topic, priority, today(shop)),
        )
    return {"ticket_id": ticket_id, "status": "open", "topic": topic, "priority": priority}


def escalate_ticket(
    ticket_id: Annotated[str, "Such as T-301"],
    team: Annotated[Team, "logistics: parcels; supervisors: money and complaints; safety: injuries, fire"],
) -> dict[str, Any]:
    """Hand an open ticket to a specialist team; its priority becomes high."""
    with connect(write=True) as shop:
        row = shop.execute("SELECT status FROM tickets WHERE ticket_id = ?", (ticket_id,)).fetchone()
        if row is None:
            return {"error": f"no ticket {ticket_id}"}
        if row["status"] != "open":
            return {"error": f"ticket {ticket_id} is {row['status']}"}
        shop.execute("UPDATE tickets SET team = ?, priority = 'high' WHERE ticket_id = ?", (team, ticket_id))
    return {"ticket_id": ticket_id, "team": team, "priority": "high"}
