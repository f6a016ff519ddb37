"""Trace and span ids of a trial, derived from its run and name: known before it starts, equal whenever published.

The harness is handed the id of its agent span, so that what it traces itself is part of the same trace.
W3C Trace Context: a trace id has 16 bytes, a span id 8, and neither is all zeros. https://www.w3.org/TR/trace-context/
"""

from __future__ import annotations

import hashlib

SAMPLED = "01"


def trace_id(run_id: str, trial_id: str) -> str:
    """The trial's trace: 32 hexadecimal digits."""
    return _digest("trace", run_id, trial_id)[:32]


def span_id(run_id: str, trial_id: str, *path: str | int) -> str:
    """One span of the trial's trace: 16 hexadecimal digits. `path` names it within the trial; none is the root."""
    return _digest("span", run_id, trial_id, *path)[:16]


def agent_span_id(run_id: str, trial_id: str, attempt: int) -> str:
    """The span of the agent's own work in one attempt (1-based)."""
    return span_id(run_id, trial_id, attempt, "agent")


def traceparent(run_id: str, trial_id: str, attempt: int) -> str:
    """The W3C header that makes spans of the harness children of its attempt's agent span."""
    return f"00-{trace_id(run_id, trial_id)}-{agent_span_id(run_id, trial_id, attempt)}-{SAMPLED}"


def _digest(*parts: str | int) -> str:
    """SHA-256, in hex. All zeros, which the standard forbids, has no known preimage."""
    text = "\0".join(str(part) for part in parts)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
