"""Fingerprints: what is shared by a run, what belongs to a profile."""

from __future__ import annotations

from bakeoff.record import fingerprint
from bakeoff.record.trial import Profile
from tests.fakes.synthetic import LIMITS

DEFAULT = Profile(limits=LIMITS, reserved_cpus=0.5, reserved_memory_bytes=2**28)
LARGE = DEFAULT.model_copy(update={"name": "3x", "limits": LIMITS.model_copy(update={"cpus": 3.0})})
RUN = {"harness": "h", "dataset": "d"}


def test_the_default_profile_is_the_part_called_resources() -> None:
    assert fingerprint.of_profiles([DEFAULT]).keys() == {"resources"}


def test_another_profile_has_a_part_of_its_own_name() -> None:
    assert fingerprint.of_profiles([DEFAULT, LARGE]).keys() == {"resources", "resources@3x"}


def test_the_same_limits_have_the_same_digest_under_any_name() -> None:
    renamed = DEFAULT.model_copy(update={"name": "1x"})
    assert (
        fingerprint.of_profiles([DEFAULT])["resources"] == fingerprint.of_profiles([renamed])["resources@1x"]
    )


def test_the_reserve_is_in_no_digest() -> None:
    other = DEFAULT.model_copy(update={"reserved_cpus": 0.1})
    assert fingerprint.of_profiles([DEFAULT]) == fingerprint.of_profiles([other])


def test_a_profile_s_parts_are_those_of_a_run_with_this_profile_alone() -> None:
    both = RUN | fingerprint.of_profiles([DEFAULT, LARGE])
    assert fingerprint.under(both, "default") == RUN | fingerprint.of_profiles([DEFAULT])
    alone = fingerprint.of_profiles([LARGE.model_copy(update={"name": "default"})])
    assert fingerprint.under(both, "3x") == RUN | alone
