"""The desk's tools: plain typed functions over the shop in the working directory, one module a subject.

A tool answers with a dict that LangChain sends to the model as JSON. What the model can fix (an unknown id,
an amount too high) comes back as `{"error": ...}`; what it cannot (a full disk) is raised.
"""

from collections.abc import Callable
from typing import Any

from support_desk.tools.customers import find_customer, get_customer
from support_desk.tools.orders import cancel_order, change_address, get_order, list_orders
from support_desk.tools.payments import get_payments, issue_refund
from support_desk.tools.policies import get_policy
from support_desk.tools.products import find_product
from support_desk.tools.reports import export_orders_report
from support_desk.tools.tickets import escalate_ticket, list_tickets, open_ticket

ALL: list[Callable[..., dict[str, Any]]] = [
    find_customer,
    get_customer,
    list_orders,
    get_order,
    cancel_order,
    change_address,
    get_payments,
    issue_refund,
    get_policy,
    find_product,
    list_tickets,
    open_ticket,
    escalate_ticket,
    export_orders_report,
]
