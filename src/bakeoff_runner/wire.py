"""The wire: JSON-RPC 2.0, one object a line, over the container's stdin and stdout.

    host -> supervisor   supervisor/start {token, workdir, log_bytes, output_bytes}   always the first line
                         supervisor/started {}                           the agent's clock runs
                         supervisor/stop {}
    host -> harness      harness/run (id 1) {...}                             answered at the end of the trial
                         model/chunk {id, chunk}                          pieces of a streamed reply
                         replies to model/generate {message}              null once all of it came as model/chunk
                         replies to model/http {status, content_type, body}
    supervisor -> host   supervisor/ready {token, kernel}
                         supervisor/sample {token, memory_bytes}
                         supervisor/exit {token, exit_code, signal, kernel, overflow, terminated, stopped_for,
                                          log_dropped}
    harness -> host      model/generate (id) {messages, tools, ...}
                         model/http (id) {method, path, body}             a program's own request, body parsed
                         model/too_large {bytes}                          a call too large for a line; it has failed
                         harness/loaded {}, harness/started {}
                         tool/start {run, call_id, name, args}
                         tool/end {run, call_id, name, seconds, result, error, errnos, timed_out, rejected}
                         trace/export {content_type, encoding, body}      the harness's spans (OTLP), body in base64

Only the supervisor knows its token: it reads it after it has forked the harness, so a forged `supervisor/exit`
cannot carry it. Every line of the harness carries a second token beside `method`, which comes with `harness/run`
and proves that a process of this attempt made the line. A line of another attempt, or one that a tool's child wrote
into a descriptor it found, is refused; code that runs inside the harness's process is the harness, and no token
tells them apart. Both tokens are random and used for one attempt. Lines and totals are bounded on both sides.
"""

from __future__ import annotations

import json
from typing import Any

MAX_LINE = 8 * 2**20  # bytes of one line, newline included
MAX_OUTPUT = 64 * 2**20  # bytes a harness may send over the channel in one attempt
MAX_LOG = 2**20  # bytes of what the harness prints that are kept
MAX_SPANS = 4 * 2**20  # bytes of the harness's spans, in base64, that are kept of one attempt
MAX_RESULT_TEXT = 16 * 2**10  # characters of a tool result in a tool/end notification

RUN_ID = 1  # the id of harness/run

INVALID_PARAMS = -32602  # of JSON-RPC: a malformed model call
# JSON-RPC error codes of our own, in the range the specification leaves to implementations
HARNESS_ERROR = -32000
MODEL_ERROR = -32001
LIMIT_REACHED = -32002

SUPERVISOR_PREFIX = b'{"jsonrpc": "2.0", "method": "supervisor/'


def encode(message: dict[str, Any]) -> bytes:
    """One message as one line. `jsonrpc` comes first, so that the supervisor knows its own lines by their prefix."""
    return json.dumps({"jsonrpc": "2.0", **message}, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


def notification(method: str, params: dict[str, Any]) -> bytes:
    """A notification, as a line."""
    return encode({"method": method, "params": params})
