"""Reports on the order archive: a frugal summary, and the audit job that needs half a gigabyte."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from support_desk.shop import connect, create, eur

AUDIT_JOB = Path(__file__).with_name("audit_job.py")
# a backstop only: the harness's own limit on a tool call is shorter, and is the one that gets recorded
AUDIT_SECONDS = 60


def export_orders_report(
    period: Annotated[str, "A month or the year of the archive, such as 2025-03 or 2025"],
    mode: Annotated[
        Literal["summary", "full"],
        "summary: counts and revenue, cheap. full: row-level audit, heavy, only when asked for",
    ],
) -> dict[str, Any]:
    """Report on last year's archived orders: totals by region (summary) or an audit of every row (full)."""
    if not re.fullmatch(r"2025(-(0[1-9]|1[0-2]))?", period, re.ASCII):
        return {"error": "the archive holds 2025: give 2025 or a month such as 2025-03"}
    return _summary(period) if mode == "summary" else _audit(period)


def _summary(period: str) -> dict[str, Any]:
    """Streams in SQL: one row of the archive is in memory at a time."""
    with connect() as shop:
        rows = shop.execute(
            "SELECT region, count(*) AS orders, sum(total) AS revenue FROM archived_orders"
            " WHERE substr(placed_on, 1, length(:period)) = :period GROUP BY region ORDER BY revenue DESC",
            {"period": period},
        ).fetchall()
    return {
        "period": period,
        "orders": sum(row["orders"] for row in rows),
        "revenue": eur(sum(row["revenue"] for row in rows)),
        "regions": [
            {"region": row["region"], "orders": row["orders"], "revenue": eur(row["revenue"])} for row in rows
        ],
    }


def _audit(period: str) -> dict[str, Any]:
    """Runs the job in a process of its own, as production does: when it dies, the conversation goes on."""
    try:
        # -I -S: nothing but the standard library is needed, and nothing else is looked for
        done = subprocess.run(
            [sys.executable, "-I", "-S", str(AUDIT_JOB), str(create(Path.cwd())), period],
            capture_output=True,
            text=True,
            timeout=AUDIT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"error": f"the audit job was stopped after {AUDIT_SECONDS} seconds; no report was made"}
    if done.returncode < 0:
        return {"error": f"the audit job was killed (signal {-done.returncode}); no report was made"}
    if done.returncode > 0:
        return {"error": f"the audit job failed: {done.stderr[-300:]}"}
    report: dict[str, Any] = json.loads(done.stdout)
    return report
