"""The catalogue: price, stock, and when more comes."""

from __future__ import annotations

from typing import Annotated, Any

from support_desk.shop import connect, eur


def find_product(
    query: Annotated[str, "SKU, or part of the product's name"],
) -> dict[str, Any]:
    """Find products: price, pieces in stock, next restocking day (null: none planned), final sale or not."""
    if not query.strip():
        return {"error": "the query is empty"}
    with connect() as shop:
        rows = shop.execute(
            "SELECT * FROM products WHERE instr(lower(name), lower(:query)) OR lower(sku) = lower(:query)"
            " ORDER BY sku",
            {"query": query.strip()},
        ).fetchall()
    return {
        "products": [
            dict(row) | {"price": eur(row["price"]), "final_sale": bool(row["final_sale"])} for row in rows
        ]
    }
