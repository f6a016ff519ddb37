"""The displays: right counts from many threads, bounded output, nothing hostile, nothing on stdout."""

from __future__ import annotations

import heapq
import io
import random
import threading

import pytest
from rich.console import Console

from bakeoff.run import progress
from tests.fakes import synthetic


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def console(*, terminal: bool = False) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=120, color_system=None)


def printed(target: Console) -> str:
    assert isinstance(target.file, io.StringIO)
    return target.file.getvalue()


def test_the_display_fits_where_it_is_shown() -> None:
    assert type(progress.display(quiet=True, console=console(terminal=True))) is progress.Display
    assert isinstance(progress.display(console=console(terminal=True)), progress.Dashboard)
    assert isinstance(progress.display(console=console()), progress.Lines)


def test_everything_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.display() as display:
        display.planned({"steady": 1})
        display.note("hello")
        display.finished(synthetic.trial())
    out, err = capsys.readouterr()
    assert out == ""
    assert "hello" in err


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.display(quiet=True) as display:
        display.planned({"steady": 1})
        display.started("steady/case-000/1")
        display.memory("steady/case-000/1", 1)
        display.note("hello")
        display.finished(synthetic.trial())
    assert capsys.readouterr() == ("", "")


def test_a_small_run_gets_a_line_a_trial() -> None:
    target = console()
    with progress.Lines(target) as display:
        display.planned({"steady": 2})
        display.finished(synthetic.trial(seconds=4.2))
        display.finished(synthetic.trial(repetition=2, verdict="infra_error", cause="infra.oom_killed"))
    lines = printed(target).splitlines()
    assert lines[1] == "[1/2] steady/case-000/1: passed, 4.2 s"
    assert lines[2] == "[2/2] steady/case-000/2: infra_error infra.oom_killed, 4.2 s"
    assert lines[3] == "2 of 2 trials; steady: 1 passed, 0 failed, 1 infra"


def test_a_large_run_gets_a_summary_now_and_then() -> None:
    target, clock = console(), Clock()
    with progress.Lines(target, clock) as display:
        display.planned({"steady": 1000})
        for number in range(100):
            clock.now += 0.25
            display.finished(synthetic.trial(repetition=number + 1))
    lines = printed(target).splitlines()
    assert len(lines) == 1 + 2 + 1  # plan, two summaries in 25 seconds, the last word
    assert "40 of 1000 trials" in lines[1]
    assert "about 4 min 00 s left" in lines[1]


def test_the_dashboard_counts_from_many_threads() -> None:
    clock = Clock()
    display = progress.Dashboard(console(terminal=True), clock)
    display.planned({"steady": 90, "hasty": 90})

    def work(candidate: str, verdict: str) -> None:
        for repetition in range(1, 31):
            record = synthetic.trial(candidate, verdict, repetition, verdict=verdict)
            display.started(record.trial_id)
            display.memory(record.trial_id, 100 * 2**20)
            display.finished(record)

    threads = [
        threading.Thread(target=work, args=(candidate, verdict))
        for candidate in ("steady", "hasty")
        for verdict in ("passed", "failed", "infra_error")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    clock.now += 60
    target = console()
    target.print(display.render())
    rows = [line.split() for line in printed(target).splitlines()]
    assert ["90/90", "30", "30", "30"] in [row[-4:] for row in rows]
    assert not any("running" in row for row in rows)


def test_the_dashboard_shows_running_containers_and_time_left() -> None:
    clock = Clock()
    display = progress.Dashboard(console(terminal=True), clock)
    display.planned({"steady": 48})
    for number in range(12):
        display.started(f"steady/case-{number:03d}/1")
    display.memory("steady/case-001/1", 150 * 2**20)
    display.memory("steady/gone/1", 1)  # a late sample brings nothing back
    clock.now += 30
    display.finished(synthetic.trial())
    display.started("steady/case-012/1")
    target = console()
    target.print(display.render())
    shown = printed(target)
    assert "12 running" in shown
    assert "150 MiB" in shown
    assert "left" not in shown, "one trial of twelve that began together tells nothing of the pace"
    for number in range(1, 12):
        display.finished(synthetic.trial(example=f"case-{number:03d}"))
        display.started(f"steady/case-{12 + number:03d}/1")
    target = console()
    target.print(display.render())
    shown = printed(target)
    assert "about 1 min 30 s left" in shown
    assert shown.count("/1 ") == progress.SHOWN_CONTAINERS
    assert "gone" not in shown


@pytest.mark.parametrize("slots", [1, 2, 8])
def test_the_time_left_is_near_the_truth_from_the_first_time_it_is_told(slots: int) -> None:
    """Eighty trials of 5 to 15 seconds, so many at once: each estimate against when the last one really ends."""
    dice, clock = random.Random(slots), Clock()
    lasts = [dice.uniform(5, 15) for _ in range(80)]
    board = progress._Board(clock)
    board.plan({"steady": len(lasts)})
    ends: list[tuple[float, int]] = []
    told: list[tuple[float, float]] = []  # when, seconds left
    for number in range(len(lasts) + slots):
        if number >= slots:
            clock.now, done = heapq.heappop(ends)
            board.finish(synthetic.trial(example=f"case-{done:03d}"))
            if (left := board.seconds_left()) is not None:
                told.append((clock.now, left))
        if number < len(lasts):
            board.start(f"steady/case-{number:03d}/1")
            heapq.heappush(ends, (clock.now + lasts[number], number))
    assert len(told) == len(lasts) - max(slots, progress.FEW) + 1
    assert told[-1] == (clock.now, 0.0)
    for when, left in told:
        assert left == pytest.approx(clock.now - when, rel=0.3, abs=10)


def test_the_dashboard_runs_and_stops_on_an_exception() -> None:
    target = console(terminal=True)

    def stopped() -> None:
        with progress.Dashboard(target) as display:
            display.planned({"steady": 1})
            display.note("a \x1b[2Jnote [bold]")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        stopped()
    assert "a ␛[2Jnote [bold]" in printed(target)
