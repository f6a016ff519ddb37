"""The stand-in base image: what a package list is worth."""

from bakeoff.provision import stand_in


def test_the_digest_is_of_the_contents_and_not_of_their_order() -> None:
    assert stand_in.digest_of({"a": "1", "b": "2"}) == stand_in.digest_of({"b": "2", "a": "1"})
    assert stand_in.digest_of({"a": "1"}) != stand_in.digest_of({"a": "2"})
