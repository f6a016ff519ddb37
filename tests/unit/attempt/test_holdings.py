"""What many attempts may hold together."""

import threading

from bakeoff.attempt.holdings import Holdings


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
