"""Signals stop a run in good order, then at once, and change nothing after that."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from bakeoff.run import interrupts


@pytest.mark.parametrize("number", interrupts.ENDING)
def test_however_many_signals_come_each_order_is_given_once(number: signal.Signals) -> None:
    orders: list[str] = []
    before = signal.getsignal(number)
    with interrupts.handled(
        lambda: orders.append("stop"), lambda: orders.append("abandon"), lambda _: orders.append("say")
    ) as asked:
        os.kill(os.getpid(), number)
        assert not asked.urgent
        for _ in range(3):
            os.kill(os.getpid(), number)
        assert asked.urgent
    assert orders == (["stop", "abandon"] if number == signal.SIGHUP else ["stop", "say", "abandon"])
    assert signal.getsignal(number) == before


def test_in_another_thread_nothing_is_handled() -> None:
    before = signal.getsignal(signal.SIGINT)
    seen: list[object] = []

    def work() -> None:
        with interrupts.handled(lambda: None, lambda: None, lambda _: None):
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]


CLEANS_UP = """
import sys, time
from bakeoff.run import interrupts
interrupts.raised()
try:
    print("ready", flush=True)
    time.sleep(30)
except KeyboardInterrupt:
    time.sleep(0.5)
    print("cleaned up")
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", interrupts.ENDING)
def test_signals_that_follow_at_once_do_not_cut_short_what_the_first_set_off(number: signal.Signals) -> None:
    process = subprocess.Popen([sys.executable, "-c", CLEANS_UP], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    for _ in range(3):
        process.send_signal(number)
        time.sleep(0.1)
    assert (process.communicate(timeout=20)[0], process.returncode) == ("cleaned up\n", 0)


@pytest.mark.slow
@pytest.mark.parametrize("moment", [0.1, 0.2, 0.3, 0.5])
def test_a_signal_while_the_program_still_loads_ends_it_without_a_traceback(moment: float) -> None:
    command = [sys.executable, "-m", "bakeoff", "doctor"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(moment)
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=20)
    assert "Traceback" not in stderr
    # Before its first line there is no handler; CPython ends itself by SIGINT where the signal met an `exec` of text.
    assert process.returncode in (130, -signal.SIGTERM, -signal.SIGINT)
