"""Money: what was paid for an order, and giving it back."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from support_desk.shop import connect, eur, next_id, today

Reason = Literal["unwanted", "damage", "duplicate_charge", "cancelled_order"]

_PAID = (
    "SELECT p.*, captured - coalesce("
    "(SELECT sum(amount) FROM refunds r WHERE r.payment_id = p.payment_id), 0) AS refundable FROM payments p"
)


def get_payments(order_id: Annotated[str, "Such as A-1001"]) -> dict[str, Any]:
    """List the payments of an order: method, captured amount and day, and how much is still refundable."""
    with connect() as shop:
        rows = shop.execute(f"{_PAID} WHERE order_id = ? ORDER BY payment_id", (order_id,)).fetchall()
    if not rows:
        return {"error": f"no payment for order {order_id}"}
    return {
        "payments": [
            dict(row) | {"captured": eur(row["captured"]), "refundable": eur(row["refundable"])}
            for row in rows
        ]
    }


def issue_refund(
    payment_id: Annotated[str, "Such as P-5001"],
    amount_eur: Annotated[float, "Amount in EUR, such as 49.90"],
    reason: Annotated[Reason, "The reason code that the policy names"],
) -> dict[str, Any]:
    """Pay money back to the original payment. Final: read the order and the policy first."""
    with connect(write=True) as shop:
        row = shop.execute(f"{_PAID} WHERE payment_id = ?", (payment_id,)).fetchone()
        if row is None:
            return {"error": f"no payment {payment_id}"}
        # written so that NaN fails too: JSON from a model can hold it
        if not 0.01 <= amount_eur <= row["refundable"] / 100:
            return {"error": f"the amount must be at least 0.01 EUR and at most {eur(row['refundable'])}"}
        cents = round(amount_eur * 100)
        refund_id = next_id(shop, "refunds", "refund_id")
        shop.execute(
            "INSERT INTO refunds VALUES (?, ?, ?, ?, ?)", (refund_id, payment_id, cents, reason, today(shop))
        )
    return {"refund_id": refund_id, "payment_id": payment_id, "refunded": eur(cents), "reason": reason}
