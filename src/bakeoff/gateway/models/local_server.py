"""The child process that serves a local model: `python -m bakeoff.gateway.models.local_server MODEL SLOTS CONTEXT`.

Prints one JSON line `{"url": ...}` when it answers, then serves until its standard input ends: so it cannot
outlive its parent, however that died. The key it asks for is the first line of its standard input: other
users of this machine can reach the loopback too.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path


def serve(model: str, slots: int, context_tokens: int) -> None:
    """Serve `model` (path of a GGUF file) with `slots` conversations at a time, each of `context_tokens`."""
    import xllamacpp  # type: ignore[import-untyped]

    params = xllamacpp.CommonParams()
    params.model.path = model
    params.model_alias = {Path(model).stem}  # else replies name a path of this machine
    params.api_keys = [sys.stdin.readline().strip()]
    params.hostnames = ["127.0.0.1"]
    params.port = 0  # a free one
    params.n_parallel = slots
    params.n_ctx = slots * context_tokens
    params.use_jinja = True
    params.chat_template = (Path(__file__).parent / "local_chat_template.jinja").read_text("utf-8")
    params.ui = False
    params.warmup = False
    params.cache_ram_mib = 0  # its default keeps up to 8 GiB of old prompts
    # a thread that waits for a core spins on the others: leave one to the containers
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = max((os.cpu_count() or 1) - 1, 1)
    server = xllamacpp.Server(params)  # returns when the model is loaded; raises when it cannot be
    print(json.dumps({"url": server.listening_address}), flush=True)
    sys.stdin.read()
    os._exit(0)  # requests in flight have no reader any more; the destructor would wait for them


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
