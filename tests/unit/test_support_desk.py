"""The demonstration harness: every reference is true, by the real tools and by the policies."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult

from support_desk import shop, tools
from support_desk.agent import build_agent
from support_desk.tools import reports

DATASET = Path(__file__).parents[2] / "datasets" / "support_desk.jsonl"
ROWS = [json.loads(line) for line in DATASET.read_text(encoding="utf-8").splitlines()]
BY_ID = {row["id"]: row for row in ROWS}
TABLES = ("orders", "order_items", "payments", "refunds", "tickets", "customers", "products", "policies")


class Context(NamedTuple):
    workdir: Path
    config: dict[str, Any] = {}  # noqa: RUF012 - a NamedTuple's default


class Scripted(BaseChatModel):
    """Says the given messages in turn and remembers what it was shown."""

    script: list[AIMessage]
    seen: list[list[BaseMessage]] = []  # noqa: RUF012 - pydantic copies it

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Any, **_: Any) -> Any:
        return self

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        self.seen.append(list(messages))
        return ChatResult(generations=[ChatGeneration(message=self.script[len(self.seen) - 1])])


def calling(name: str, args: dict[str, Any], number: int = 0) -> AIMessage:
    return AIMessage(content="", tool_calls=[{"name": name, "args": args, "id": f"call-{number}"}])


def converse(workdir: Path, text: str, script: list[AIMessage]) -> tuple[list[BaseMessage], Scripted]:
    model = Scripted(script=script)
    result = build_agent(model, Context(workdir)).invoke({"messages": [{"role": "user", "content": text}]})
    return result["messages"], model


def results(messages: list[BaseMessage]) -> list[str]:
    return [str(message.content) for message in messages if isinstance(message, ToolMessage)]


def contents(directory: Path) -> set[tuple[Any, ...]]:
    with closing(sqlite3.connect(directory / shop.DATABASE)) as connection:
        return {
            (table, *row)
            for table in TABLES
            for row in connection.execute(f"SELECT * FROM {table}").fetchall()
        }


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A fresh working directory; the old one comes back at the end, whatever `build_agent` did."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def connection(desk: Path) -> Iterator[sqlite3.Connection]:
    with shop.connect() as connected:
        yield connected


# --- the dataset --------------------------------------------------------------------------------------


def test_the_dataset_has_the_promised_shape() -> None:
    assert len(ROWS) == len(BY_ID) >= 36
    clusters = Counter(row["metadata"]["cluster"] for row in ROWS)
    assert len(clusters) >= 6
    assert min(clusters.values()) >= 2
    assert {row["metadata"]["suite"] for row in ROWS} == {"benchmark", "coverage"}
    assert {row["metadata"]["severity"] for row in ROWS} == {0, 1, 2, 3}
    names = {tool.__name__ for tool in tools.ALL}
    assert len(names) >= 8
    assert names - {"get_customer"} == {call["name"] for row in ROWS for call in row["outputs"]["trajectory"]}


# What each reference writes, as (table, *row), or the new form of a changed row; the others write nothing.
def refund(payment: str, cents: int, reason: str) -> tuple[Any, ...]:
    return ("refunds", "R-9002", payment, cents, reason, "2026-03-16")


WRITES: dict[str, set[tuple[Any, ...]]] = {
    "return-001": {refund("P-5002", 4990, "unwanted")},
    "return-002": {refund("P-5005", 6400, "unwanted")},
    "return-003": {refund("P-5020", 6400, "unwanted")},
    "damage-001": {refund("P-5003", 7950, "damage")},
    "damage-002": {refund("P-5006", 3900, "damage")},
    "damage-003": {refund("P-5004", 5700, "damage")},
    "duplicate-001": {refund("P-5013", 6890, "duplicate_charge")},
    "duplicate-002": {refund("P-5022", 2850, "duplicate_charge")},
    "cancel-001": {refund("P-5016", 3690, "cancelled_order"), ("orders", "A-1015", "cancelled", "60313")},
    "cancel-002": {refund("P-5018", 6390, "cancelled_order"), ("orders", "A-1017", "cancelled", "20457")},
    "cancel-003": {refund("P-5008", 16790, "cancelled_order"), ("orders", "A-1008", "cancelled", "00-838")},
    "address-001": {("orders", "A-1007", "processing", "1060")},
    "address-002": {("orders", "A-1010", "processing", "69002")},
    "ticket-001": {
        ("tickets", "T-301", "C-109", "A-1011", "delivery_delay", "high", "logistics", "open", "2026-03-14")
    },
    "ticket-002": {
        ("tickets", "T-305", "C-110", "A-1013", "refund_approval", "high", "desk", "open", "2026-03-16")
    },
    "ticket-003": {("tickets", "T-305", "C-102", None, "account", "normal", "desk", "open", "2026-03-16")},
}


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS, ids=BY_ID)
def test_the_reference_is_what_the_real_agent_gets_from_the_real_tools(
    row: dict[str, Any], desk: Path
) -> None:
    shop.create(desk)
    before = contents(desk)
    calls, answer = row["outputs"]["trajectory"], row["outputs"]["answer"]
    script = [calling(call["name"], call["args"], n) for n, call in enumerate(calls)]
    messages, _ = converse(desk, row["inputs"]["messages"][0]["content"], [*script, AIMessage(answer)])

    assert len(results(messages)) == len(calls)
    for call, result in zip(calls, results(messages), strict=True):
        assert call["result"] in result
        assert "error" not in json.loads(result)
    assert messages[-1].content == answer  # no middleware stands in its way
    written = {
        (table, cells[0], cells[6], cells[9]) if table == "orders" else (table, *cells)
        for table, *cells in contents(desk) - before
    }
    assert written == WRITES.get(row["id"], set())


# not the audits: their answer is the figure in `result`, and the test above has just run the job
@pytest.mark.slow
@pytest.mark.parametrize("example", [name for name in BY_ID if not name.startswith("audit")])
def test_the_answer_follows_from_what_the_tools_said(example: str, desk: Path) -> None:
    """Every figure, id and rule of the answer stands in a tool's result, or is derived from two of them."""
    row = BY_ID[example]
    by_name = {tool.__name__: tool for tool in tools.ALL}
    said = [by_name[call["name"]](**call["args"]) for call in row["outputs"]["trajectory"]]
    answer = row["outputs"]["answer"]
    if example == "report-003":
        assert int(answer) == said[1]["orders"] - said[0]["orders"]
        return
    facts = answer
    for words in (
        "refunded ",
        "cancelled ",
        "address changed ",
        "declined: ",
        "which customer: ",
        "opened ",
        "escalated ",
        " pieces",
    ):
        facts = facts.replace(words, "")
    for fact in facts.split(", "):
        assert fact in json.dumps(said, ensure_ascii=False)


# --- the policies -------------------------------------------------------------------------------------


def facts_of(connection: sqlite3.Connection, order_id: str) -> dict[str, Any]:
    """Read straight from the tables, so that a fault in a tool cannot make a wrong reference look right."""
    order = connection.execute("SELECT * FROM orders WHERE order_id = ?", (order_id,)).fetchone()
    items = connection.execute(
        "SELECT i.*, final_sale FROM order_items i JOIN products USING (sku) WHERE order_id = ?", (order_id,)
    ).fetchall()
    payments = connection.execute(
        "SELECT captured FROM payments WHERE order_id = ? ORDER BY payment_id", (order_id,)
    ).fetchall()
    now = date.fromisoformat(shop.today(connection))
    delivered = order["delivered_on"] and date.fromisoformat(order["delivered_on"])
    return {
        "days": (now - delivered).days if delivered else None,
        "status": order["status"],
        "country": order["country"],
        "final_sale": any(item["final_sale"] for item in items),
        "total": order["shipping"] + sum(item["quantity"] * item["unit_price"] for item in items),
        "prices": {item["quantity"] * item["unit_price"] for item in items},
        "payments": [payment["captured"] for payment in payments],
    }


DECLINED = {
    "decline-001": ("A-1009", "return_window", lambda facts: facts["days"] > 30),
    "decline-002": ("A-1014", "final_sale", lambda facts: facts["final_sale"] and facts["days"] <= 30),
    "decline-003": ("A-1018", "damage_window", lambda facts: facts["days"] > 60),
    "decline-004": ("A-1003", "no_duplicate", lambda facts: len(facts["payments"]) == 1),
    "decline-005": ("A-1016", "already_shipped", lambda facts: facts["status"] == "shipped"),
    "decline-006": ("A-1001", "already_shipped", lambda facts: facts["status"] == "shipped"),
    "decline-007": ("A-1007", "other_country", lambda facts: facts["country"] == "AT"),  # asked for: Germany
    "decline-008": (None, "privacy", None),  # a brother is not the customer: nothing to compute
}


def test_every_refusal_is_accounted_for() -> None:
    assert set(DECLINED) == {row["id"] for row in ROWS if row["outputs"]["answer"].startswith("declined")}


@pytest.mark.parametrize("example", DECLINED)
def test_a_refusal_is_true_by_policy(example: str, connection: sqlite3.Connection) -> None:
    order_id, rule, holds = DECLINED[example]
    row = BY_ID[example]
    assert row["outputs"]["answer"] == f"declined: {rule}"
    texts = " ".join(policy["text"] for policy in connection.execute("SELECT text FROM policies"))
    assert f"Rule {rule}:" in texts
    if order_id and holds:
        assert any(call["args"] == {"order_id": order_id} for call in row["outputs"]["trajectory"])
        assert holds(facts_of(connection, order_id))


REFUNDED = [
    row["id"] for row in ROWS if any(call["name"] == "issue_refund" for call in row["outputs"]["trajectory"])
]


@pytest.mark.parametrize("example", REFUNDED)
def test_a_refund_is_allowed_by_policy_and_follows_it(example: str, connection: sqlite3.Connection) -> None:
    calls = BY_ID[example]["outputs"]["trajectory"]
    names = [call["name"] for call in calls]
    assert len(calls) >= 4
    assert names.index("get_order") < names.index("get_policy") < names.index("issue_refund")
    refunded = next(call["args"] for call in calls if call["name"] == "issue_refund")
    order_id = next(call["args"]["order_id"] for call in calls if call["name"] == "get_payments")
    facts, cents = facts_of(connection, order_id), round(refunded["amount_eur"] * 100)
    assert cents <= 20000  # above it a supervisor must approve
    match refunded["reason"]:
        case "unwanted":
            assert facts["days"] <= 30
            assert not facts["final_sale"]
            assert cents in facts["prices"]
        case "damage":
            assert facts["days"] <= 60
            assert cents in facts["prices"]
        case "duplicate_charge":
            assert facts["payments"] == [cents, cents]
        case "cancelled_order":
            assert facts["status"] == "processing"
            assert facts["payments"] == [cents]


def test_the_seed_is_consistent(connection: sqlite3.Connection) -> None:
    orders = [row["order_id"] for row in connection.execute("SELECT order_id FROM orders")]
    for order_id in orders:
        facts = facts_of(connection, order_id)
        assert set(facts["payments"]) == {facts["total"]}, order_id
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


# --- the tools ----------------------------------------------------------------------------------------


def test_tools_need_nothing_but_the_working_directory_even_all_at_once(desk: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        tickets = list(pool.map(lambda _: tools.open_ticket("C-101", "other", "normal"), range(8)))
    assert sorted(ticket["ticket_id"] for ticket in tickets) == [f"T-{n}" for n in range(305, 313)]
    assert (desk / shop.DATABASE).exists()


def test_tools_load_without_langchain() -> None:
    code = "import sys, support_desk.tools; print({'langchain_core', 'pydantic'} & set(sys.modules))"
    source = str(Path(shop.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": source}, capture_output=True, check=True
    )
    assert done.stdout.decode().strip() == "set()"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "args", "complaint"),
    [
        ("issue_refund", {"payment_id": "P-5002", "amount_eur": float("nan"), "reason": "damage"}, "at most 54.80"),
        ("issue_refund", {"payment_id": "P-5002", "amount_eur": float("inf"), "reason": "damage"}, "at most 54.80"),
        ("issue_refund", {"payment_id": "P-5002", "amount_eur": -5, "reason": "damage"}, "at most 54.80"),
        ("issue_refund", {"payment_id": "P-5002", "amount_eur": 0.001, "reason": "damage"}, "at most 54.80"),
        ("issue_refund", {"payment_id": "P-5002", "amount_eur": 54.81, "reason": "damage"}, "at most 54.80"),
        ("issue_refund", {"payment_id": "P-5002", "amount_eur": 1, "reason": "bribe"}, "reason"),
        ("issue_refund", {"payment_id": "P-0", "amount_eur": 1, "reason": "damage"}, "no payment P-0"),
        ("get_order", {"order_id": "A-1' OR '1'='1"}, "no order"),
        ("get_order", {"order_id": "\ud800"}, "not valid Unicode"),
        ("get_order", {}, "order_id"),
        ("get_order", {"order_id": "A-9"}, "no order A-9"),
        ("get_payments", {"order_id": "A-9"}, "no payment"),
        ("get_customer", {"customer_id": "C-9"}, "no customer"),
        ("find_customer", {"query": "  "}, "empty"),
        ("find_customer", {"query": "%"}, '"matches": 0'),
        ("find_product", {"query": ""}, "empty"),
        ("get_policy", {"topic": "smuggling"}, "topic"),
        ("cancel_order", {"order_id": "A-1001"}, "is shipped"),
        ("cancel_order", {"order_id": "A-9"}, "no order"),
        ("change_address", {"order_id": "A-1001", "street": "x", "postcode": "1", "city": "y"}, "is shipped"),
        ("change_address", {"order_id": "A-9", "street": "x", "postcode": "1", "city": "y"}, "no order"),
        ("open_ticket", {"customer_id": "C-9", "topic": "other", "priority": "low"}, "no customer"),
        (
            "open_ticket",
            {"customer_id": "C-101", "topic": "other", "priority": "low", "order_id": "A-1003"},
            "customer C-101 has no order A-1003",
        ),
        ("escalate_ticket", {"ticket_id": "T-302", "team": "safety"}, "is closed"),
        ("escalate_ticket", {"ticket_id": "T-9", "team": "safety"}, "no ticket"),
        ("export_orders_report", {"period": "2024", "mode": "summary"}, "the archive holds 2025"),
        ("export_orders_report", {"period": "2025-03\n", "mode": "full"}, "the archive holds 2025"),
        ("no_such_tool", {}, "not a valid tool"),
    ],
)  # fmt: skip
def test_a_models_mistake_comes_back_as_text_and_changes_nothing(
    name: str, args: dict[str, Any], complaint: str, desk: Path
) -> None:
    shop.create(desk)
    before = contents(desk)
    messages, _ = converse(desk, "Hello", [calling(name, args), AIMessage("sorry")])
    assert complaint in results(messages)[0]
    assert messages[-1].content == "sorry"
    assert contents(desk) == before


def test_what_the_model_cannot_mend_is_raised(desk: Path) -> None:
    (desk / shop.DATABASE).mkdir()
    with pytest.raises(sqlite3.OperationalError):
        tools.get_order("A-1001")


def test_money_goes_out_once(desk: Path) -> None:
    assert "refunded" in tools.issue_refund("P-5002", 54.80, "damage")
    assert "at most 0.00 EUR" in tools.issue_refund("P-5002", 0.01, "damage")["error"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("import os; os.kill(os.getpid(), 9)", "was killed (signal 9)"),
        ("raise MemoryError('no room')", "no room"),
        ("import time; time.sleep(60)", "was stopped after"),
    ],
)
def test_the_agent_lives_on_when_the_audit_job_does_not(
    body: str, complaint: str, desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (desk / "job.py").write_text(body)
    monkeypatch.setattr(reports, "AUDIT_JOB", desk / "job.py")
    monkeypatch.setattr(reports, "AUDIT_SECONDS", 0.5)
    call = calling("export_orders_report", {"period": "2025-03", "mode": "full"})
    messages, _ = converse(desk, "Audit, please", [call, AIMessage("There is no report.")])
    assert complaint in json.loads(results(messages)[0])["error"]
    assert messages[-1].content == "There is no report."


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
def test_the_audit_needs_what_it_is_said_to_need(desk: Path) -> None:
    """The job's own peak, read by itself: ru_maxrss would count what this process was at the fork."""
    peak = "import runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__'); "
    peak += "print(*(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", peak, str(reports.AUDIT_JOB), str(shop.create(desk)), "2025"],
        capture_output=True,
        text=True,
        check=True,
    )
    mib = int(done.stdout.split()[-1]) / 1024
    assert 560 < mib < 700  # more than a trial of 512 MiB has, less than one of 1 GiB


# --- the middleware -----------------------------------------------------------------------------------


def test_card_numbers_and_emails_are_redacted(desk: Path) -> None:
    said = AIMessage("The card 4111 1111 1111 1111 of maria.keller@example.com is fine.")
    messages, model = converse(desk, "Card 4111 1111 1111 1111, maria.keller@example.com", [said])
    assert "4111 1111 1111 1111" not in str(model.seen)
    assert "maria.keller@example.com" in str(model.seen)  # needed to find her
    assert messages[-1].text == "The card **** **** **** 1111 of [REDACTED_EMAIL] is fine."


@pytest.mark.slow
def test_exports_are_limited(desk: Path) -> None:
    call = {"period": "2025-01", "mode": "summary"}
    script = [calling("export_orders_report", call, n) for n in range(3)]
    messages, _ = converse(desk, "Again and again", [*script, AIMessage("Enough.")])
    assert ["limit exceeded" in result for result in results(messages)] == [False, False, True]


def test_the_prompt_says_what_day_it_is(desk: Path) -> None:
    _, model = converse(desk, "Hello", [AIMessage("Hello")])
    assert "Today is 2026-03-16." in str(model.seen[0][0].content)
