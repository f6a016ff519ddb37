"""What many attempts may hold together."""

import platform
import threading

import psutil
import pytest

from bakeoff.attempt.holdings import HEAVY_BYTES, Holdings


def test_a_share_is_always_there_and_one_may_go_beyond_the_room() -> None:
    everyone = Holdings(room=100)
    first, second, third, fourth = (everyone.join() for _ in range(4))
    assert first.fits(90)
    assert second.fits(25), "a fourth of the room is its share"
    assert second.fits(1000), "one must go on, or all would wait"
    assert not third.fits(26), "one at a time"
    assert fourth.fits(25), "who holds little is never held up"
    second.leave()
    assert third.fits(26)


def test_who_waits_goes_on_when_another_ends_or_holds_less() -> None:
    everyone = Holdings(room=100)
    first, second, third = (everyone.join() for _ in range(3))
    assert first.fits(90)
    assert second.fits(200)
    went: list[bool] = []
    waiting = threading.Thread(target=lambda: went.append(third.wait(60, lambda: False)))
    waiting.start()
    first.holds(5)
    assert not third.wait(90, lambda: True), "stopped"
    second.leave()
    waiting.join(10)
    assert went == [True]


def test_who_has_left_is_not_counted_again_by_a_late_question() -> None:
    everyone = Holdings(room=100)
    first, second = everyone.join(), everyone.join()
    first.leave()
    assert first.fits(10**9), "its call is about to be given up"
    assert second.fits(1000), "nobody is beyond the room for it"


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="others are left alone")
def test_what_was_freed_between_blocks_that_stay_is_given_back_when_a_heavy_attempt_leaves() -> None:
    def used() -> int:
        return psutil.Process().memory_info().rss

    holding = Holdings().join()
    holding.holds(HEAVY_BYTES)
    blocks = [b"%d" % n * 10_000 for n in range(10_000, 12_000)]
    stay = blocks[::50]
    del blocks
    before = used()
    holding.leave()
    assert used() < before - 40 * 2**20
    assert len(stay) == 40
