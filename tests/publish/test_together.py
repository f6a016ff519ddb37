"""Two publications of one run at once, in two real processes: the second waits, and finds everything there."""

from __future__ import annotations

import subprocess
from collections import Counter
from pathlib import Path

from tests.fakes import synthetic
from tests.fakes.otlp_receiver import HttpReceiver, Reply
from tests.publish import otlp_expected
from tests.publish.demonstration import COMMAND, environment


def test_the_second_waits_for_the_first_and_sends_nothing_twice(tmp_path: Path) -> None:
    run = synthetic.run_directory(tmp_path, files=True)
    with HttpReceiver() as server:
        words = [COMMAND, "publish", str(run.path), "--to", "otlp", "--url", server.url]
        env = environment({"OTEL_EXPORTER_OTLP_TIMEOUT": "300"})  # while the second one starts

        def start() -> subprocess.Popen[str]:
            return subprocess.Popen(words, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

        seconds: list[subprocess.Popen[str]] = []
        waits: list[str] = []

        def another() -> None:
            seconds.append(start())
            assert seconds[0].stderr
            waits.append(seconds[0].stderr.readline())

        server.plan = [Reply(action=another)]
        first = start()
        out, err = first.communicate(timeout=300)
        assert (first.returncode, err) == (0, "")
        assert "otlp: 72 traces" in out
        (second,) = seconds
        out, err = second.communicate(timeout=300)
        assert waits == ["another publication of this run is under way: waiting for its end\n"]
        assert (second.returncode, err) == (0, "")
        assert "otlp: nothing new; there already: 72 traces" in out
        arrived = Counter(span.span_id for span in server.spans())
    assert arrived == Counter(otlp_expected.spans(run.path, inconclusive=False).keys())
