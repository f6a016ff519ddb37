"""Signals stop a run in good order, then at once, and change nothing after that."""

import os
import signal
import threading

import pytest

from bakeoff.run import interrupts


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
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
