"""The shop's old audit job: loads the whole archive into memory, then checks the rows of one period.

Run as `python -I -S audit_job.py DATABASE PERIOD`; prints one JSON object. It was written when the archive
was small. At 400,000 rows it needs about 600 MiB: it works on a laptop and is killed in a small pod.
"""

from __future__ import annotations

import json
import sqlite3
import sys
from pathlib import Path


def expendable() -> None:
    """Have the kernel kill this process first when memory runs out: a report can be made again."""
    score = Path("/proc/self/oom_score_adj")
    if score.exists():
        score.write_text("1000")


def audit(database: str, period: str) -> dict[str, object]:
    """Compare each total with its parts, and look for tracking numbers used twice in the whole archive."""
    shop = sqlite3.connect(database)
    shop.row_factory = sqlite3.Row
    archive = [dict(row) for row in shop.execute("SELECT * FROM archived_orders")]  # all of it, slips too
    by_tracking: dict[str, dict[str, object]] = {}
    repeated = 0
    for row in archive:
        repeated += by_tracking.setdefault(row["tracking"], row) is not row
    rows = [row for row in archive if row["placed_on"].startswith(period)]
    wrong = [row["order_id"] for row in rows if row["items"] + row["shipping"] != row["total"]]
    return {
        "period": period,
        "rows_checked": len(rows),
        "wrong_totals": len(wrong),
        "first_wrong": wrong[:3],
        "repeated_tracking": repeated,
    }


if __name__ == "__main__":
    expendable()
    print(json.dumps(audit(*sys.argv[1:3])))
