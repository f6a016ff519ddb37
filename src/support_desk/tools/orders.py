"""Orders: reading, cancelling, sending elsewhere."""

from __future__ import annotations

import sqlite3
from datetime import date
from typing import Annotated, Any

from support_desk.shop import connect, eur, today

OrderId = Annotated[str, "Such as A-1001"]


def _order(shop: sqlite3.Connection, order_id: str) -> sqlite3.Row | None:
    row: sqlite3.Row | None = shop.execute("SELECT * FROM orders WHERE order_id = ?", (order_id,)).fetchone()
    return row


def list_orders(customer_id: Annotated[str, "Such as C-101"]) -> dict[str, Any]:
    """List a customer's orders, newest first: id, date, status, total."""
    with connect() as shop:
        rows = shop.execute(
            "SELECT o.order_id, placed_on, status, shipping + sum(quantity * unit_price) AS total"
            " FROM orders o JOIN order_items USING (order_id) WHERE customer_id = ?"
            " GROUP BY o.order_id ORDER BY placed_on DESC, o.order_id DESC",
            (customer_id,),
        ).fetchall()
    return {"orders": [dict(row) | {"total": eur(row["total"])} for row in rows]}


def get_order(order_id: OrderId) -> dict[str, Any]:
    """Read an order: customer, status, dates, days since delivery, tracking, items, total, address."""
    with connect() as shop:
        order = _order(shop, order_id)
        if order is None:
            return {"error": f"no order {order_id}"}
        items = shop.execute(
            "SELECT sku, name, quantity, unit_price, final_sale FROM order_items JOIN products USING (sku)"
            " WHERE order_id = ? ORDER BY sku",
            (order_id,),
        ).fetchall()
        now = date.fromisoformat(today(shop))
    delivered = order["delivered_on"]
    return {
        "order_id": order_id,
        "customer_id": order["customer_id"],
        "status": order["status"],
        "placed_on": order["placed_on"],
        "promised_on": order["promised_on"],
        "delivered_on": delivered,
        "days_since_delivery": (now - date.fromisoformat(delivered)).days if delivered else None,
        "tracking": order["tracking"],
        "items": [
            {
                "sku": item["sku"],
                "name": item["name"],
                "quantity": item["quantity"],
                "unit_price": eur(item["unit_price"]),
                "final_sale": bool(item["final_sale"]),
            }
            for item in items
        ],
        "shipping": eur(order["shipping"]),
        "total": eur(order["shipping"] + sum(item["quantity"] * item["unit_price"] for item in items)),
        "address": {key: order[key] for key in ("street", "postcode", "city", "country")},
    }


def cancel_order(order_id: OrderId) -> dict[str, Any]:
    """Cancel an order that is still processing. Returns no money: that is issue_refund's part."""
    with connect(write=True) as shop:
        order = _order(shop, order_id)
        if order is None:
            return {"error": f"no order {order_id}"}
        if order["status"] != "processing":
            return {
                "error": f"order {order_id} is {order['status']}: only a processing order can be cancelled"
            }
        shop.execute("UPDATE orders SET status = 'cancelled' WHERE order_id = ?", (order_id,))
    return {"order_id": order_id, "status": "cancelled"}


def change_address(
    order_id: OrderId,
    street: Annotated[str, "Street and number"],
    postcode: str,
    city: str,
) -> dict[str, Any]:
    """Send a processing order to another address in the same country."""
    with connect(write=True) as shop:
        order = _order(shop, order_id)
        if order is None:
            return {"error": f"no order {order_id}"}
        if order["status"] != "processing":
            return {"error": f"order {order_id} is {order['status']}: its address is fixed"}
        shop.execute(
            "UPDATE orders SET street = ?, postcode = ?, city = ? WHERE order_id = ?",
            (street, postcode, city, order_id),
        )
    return {"order_id": order_id, "address": f"{street}, {postcode} {city}, {order['country']}"}
