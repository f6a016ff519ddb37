"""Who is it: finding a customer, and the customer's record."""

from __future__ import annotations

from typing import Annotated, Any

from support_desk.shop import connect


def find_customer(
    query: Annotated[str, "Full or partial name, or the email address, as the request gives it"],
) -> dict[str, Any]:
    """Find customers by name or email. Several matches: the request may be ambiguous, so ask, never guess."""
    if not query.strip():
        return {"error": "the query is empty"}
    with connect() as shop:
        # instr, not LIKE: a query of "%" must not list the whole shop
        rows = shop.execute(
            "SELECT customer_id, name, email, city FROM customers"
            " WHERE instr(lower(name), lower(:query)) OR lower(email) = lower(:query) ORDER BY customer_id",
            {"query": query.strip()},
        ).fetchall()
    return {"matches": len(rows), "customers": [dict(row) for row in rows]}


def get_customer(customer_id: Annotated[str, "Such as C-101"]) -> dict[str, Any]:
    """Read a customer's record: contact details, home city and country, tier (standard or plus)."""
    with connect() as shop:
        row = shop.execute("SELECT * FROM customers WHERE customer_id = ?", (customer_id,)).fetchone()
    return dict(row) if row else {"error": f"no customer {customer_id}"}
