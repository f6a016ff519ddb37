"""Trials, experiments and profiles: what they are called, and what of it is written down."""

from __future__ import annotations

from bakeoff.record.manifest import Manifest
from bakeoff.record.trial import Profile, TrialRecord, trial_id
from tests.fakes import synthetic


def test_the_default_profile_is_in_no_id_and_in_no_line() -> None:
    trial = synthetic.trial()
    assert trial_id("steady", "default", "case-000", 1) == "steady/case-000/1"
    assert trial.experiment == "steady"
    assert "profile" not in trial.model_dump(mode="json")


def test_another_profile_is_part_of_the_id_the_experiment_and_the_line() -> None:
    trial = synthetic.trial(profile="3x")
    assert trial_id("steady", "3x", "case-000", 1) == "steady@3x/case-000/1"
    assert trial.experiment == "steady@3x"
    assert TrialRecord.model_validate_json(trial.model_dump_json()) == trial


def test_a_manifest_that_names_no_profile_has_the_default_one() -> None:
    manifest = synthetic.manifest()
    assert manifest.profiles == [
        Profile(limits=synthetic.LIMITS, reserved_cpus=0.5, reserved_memory_bytes=256 * synthetic.MIB)
    ]
    assert "profiles" not in manifest.model_dump(mode="json")


def test_a_manifest_keeps_the_profiles_that_it_names() -> None:
    first = synthetic.manifest().profiles[0]
    manifest = synthetic.manifest(profiles=[first, first.model_copy(update={"name": "3x"})])
    assert Manifest.model_validate_json(manifest.model_dump_json()) == manifest
