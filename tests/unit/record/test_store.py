"""The run directory keeps every finished trial, whatever happens while it is written."""

from __future__ import annotations

import errno
import json
import os
import stat
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bakeoff.errors import InputError, UnfitEnvironment
from bakeoff.record.store import NAME_BYTES, RunDirectory, file_name, new_run_id
from tests.fakes import synthetic


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory.create(tmp_path, synthetic.manifest())


def test_what_is_appended_is_read_back(run: RunDirectory) -> None:
    written = list(synthetic.trials(infra_rate=0.1))
    for record in written:
        run.append(record)
    again = RunDirectory.open(run.path)
    assert list(again.trials()) == written
    assert again.warnings == []
    assert again.manifest() == synthetic.manifest()


@pytest.mark.parametrize(("code", "fine"), [(errno.EINVAL, True), (errno.ENOTSUP, True), (errno.EIO, False)])
def test_a_file_system_that_syncs_no_directories_is_written_to_all_the_same(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch, code: int, fine: bool
) -> None:
    really = os.fsync

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(code, os.strerror(code))  # as network drives under WSL do (microsoft/WSL#2557)
        really(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    if fine:
        run.update_manifest(state="finished")
        assert RunDirectory.open(run.path).manifest().state == "finished"
    else:
        with pytest.raises(UnfitEnvironment, match="Input/output error"):
            run.update_manifest(state="finished")


def test_a_line_is_plain_json_for_jq(run: RunDirectory) -> None:
    run.append(synthetic.trial())
    (line,) = (run.path / "trials.jsonl").read_text().splitlines()
    assert json.loads(line)["resources"]["requested"]["memory_bytes"] == 512 * 2**20


def test_threads_never_mix_their_lines(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    real_write = os.write
    # the kernel may take less than it is given: a line then needs several writes
    monkeypatch.setattr(os, "write", lambda descriptor, content: real_write(descriptor, content[:500]))

    def work(worker: int) -> None:
        for repetition in range(1, 11):
            run.append(synthetic.trial(f"worker-{worker}", repetition=repetition, output="x" * 5000))

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({record.trial_id for record in run.trials()}) == 60


def test_a_torn_last_line_is_told_and_the_rest_is_read(run: RunDirectory) -> None:
    run.append(synthetic.trial(repetition=1))
    with (run.path / "trials.jsonl").open("ab") as file:
        file.write(b'{"trial_id": "steady/case-0')
    again = RunDirectory.open(run.path)
    assert [record.repetition for record in again.trials()] == [1]
    assert len(again.warnings) == 1
    assert "trials.jsonl:2" in again.warnings[0]


# What a crash or a power loss leaves of trials.jsonl, and which of the trials 1 to 3 still count then.
DAMAGE = {
    "torn": (lambda lines: [*lines[:2], lines[2][:40]], [1, 2]),
    "without its last newline": (lambda lines: [*lines[:2], lines[2].rstrip(b"\n")], [1, 2, 3]),
    "with a tail of NUL bytes": (lambda lines: [*lines, b"\0" * 4096], [1, 2, 3]),
    "with NUL bytes after a line": (
        lambda lines: [lines[0].rstrip(b"\n") + b"\0\0\n", *lines[1:]],
        [1, 2, 3],
    ),
    "with NUL bytes for a line": (lambda lines: [lines[0], b"\0" * len(lines[1]), lines[2]], [1, 3]),
    "damaged in the middle": (lambda lines: [lines[0], b"not json\n", lines[2]], [1, 3]),
    "torn in the middle": (lambda lines: [lines[0], lines[1][:40], lines[2]], [1]),
    "doubled": (lambda lines: [*lines, *lines[:2]], [1, 2, 3]),
    "not text": (lambda lines: [*lines, b"\xff\xfe\n"], [1, 2, 3]),
    "empty": (lambda lines: [], []),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_repair_keeps_every_whole_record_and_moves_the_rest_aside(run: RunDirectory, damage: str) -> None:
    for repetition in (1, 2, 3):
        run.append(synthetic.trial(repetition=repetition))
    path = run.path / "trials.jsonl"
    (run.path / "manifest.json.140.tmp").touch()
    damaged, left = DAMAGE[damage]
    before = b"".join(damaged(path.read_bytes().splitlines(keepends=True)))
    path.write_bytes(before)
    found = run.repair()
    assert bool(found) == (damage != "empty")
    assert all(each.startswith("trials.jsonl:") for each in found)
    assert [record.repetition for record in run.trials()] == left
    assert run.repair() == run.warnings == []
    aside = path.with_name("trials.jsonl.torn")
    kept = path.read_bytes() + (aside.read_bytes() if aside.exists() else b"")
    assert sorted(filter(None, before.replace(b"\0", b"\n").split(b"\n"))) == sorted(
        filter(None, kept.split(b"\n"))
    )
    assert not list(run.path.glob("*.tmp"))
    run.append(synthetic.trial(repetition=4))
    assert [record.repetition for record in run.trials()] == [*left, 4]


def test_repair_leaves_a_whole_file_alone(run: RunDirectory) -> None:
    run.append(synthetic.trial())
    before = (run.path / "trials.jsonl").stat()
    assert run.repair() == []
    after = (run.path / "trials.jsonl").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_damaged_model_call_is_told_and_the_others_are_read(run: RunDirectory) -> None:
    for cost in (1.0, 2.0):
        run.append_call("a", {"cost_usd": cost})
    with run.calls_path("a").open("ab") as file:
        file.write(b'{"cost_us\n[1]\n\0\0\0')
    run.append_call("a", {"cost_usd": 4.0})  # after the NUL bytes, in their line
    assert [call["cost_usd"] for call in run.calls("a")] == [1.0, 2.0, 4.0]
    assert run.spent_usd() == 7.0
    assert [each.partition(":")[0] for each in run.warnings] == ["calls/a.jsonl"] * 2


def test_damage_in_the_middle_is_an_error_with_its_place(run: RunDirectory) -> None:
    run.append(synthetic.trial(repetition=1))
    with (run.path / "trials.jsonl").open("ab") as file:
        file.write(b"not json\n")
    run.append(synthetic.trial(repetition=2))
    with pytest.raises(InputError) as caught:
        list(run.trials())
    assert caught.value.line == 2
    assert caught.value.file.endswith("trials.jsonl")
    assert caught.value.hint


def test_a_full_disk_is_told_and_leaves_no_half_line(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.append(synthetic.trial(repetition=1))
    before = (run.path / "trials.jsonl").read_bytes()
    real_write = os.write

    def full(descriptor: int, content: bytes) -> int:
        if len(content) <= 100:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real_write(descriptor, content[:-100])

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(UnfitEnvironment, match="No space left") as caught:
        run.append(synthetic.trial(repetition=2))
    assert caught.value.hint
    assert (run.path / "trials.jsonl").read_bytes() == before
    monkeypatch.undo()
    run.append(synthetic.trial(repetition=2))
    assert [record.repetition for record in run.trials()] == [1, 2]


def test_a_full_disk_keeps_the_old_manifest(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UnfitEnvironment):
        run.update_manifest(state="interrupted")
    monkeypatch.undo()
    assert run.manifest() == synthetic.manifest()
    assert not list(run.path.glob("*.tmp"))


def test_hostile_text_is_written_and_readable(run: RunDirectory) -> None:
    hostile = "\ud800\x00\x1b[2J\u202e\u2028\n\r"
    run.append(synthetic.trial(output=hostile))
    (record,) = run.trials()
    assert record.output == hostile.replace("\ud800", "?")
    run.write_trajectory(record.trial_id, {"text": hostile})
    assert run.trajectory(record.trial_id) == {"text": hostile.replace("\ud800", "?")}
    run.write_log(record.trial_id, 1, hostile)
    assert "\\ud800" in (run.log(record.trial_id, 1) or "")


def test_what_is_no_json_number_is_kept_as_text(run: RunDirectory) -> None:
    """A model may ask for a tool with NaN, and Python's JSON takes it."""
    run.write_trajectory("a", {"arguments": {"amount": float("nan"), "others": [float("-inf"), 1.5]}})
    assert run.trajectory("a") == {"arguments": {"amount": "nan", "others": ["-inf", 1.5]}}
    run.append_call("a", {"response": {"amount": float("inf")}})
    assert list(run.calls("a")) == [{"response": {"amount": "inf"}}]


def test_a_score_that_is_no_number_is_refused_before_it_is_written(run: RunDirectory) -> None:
    with pytest.raises(ValueError, match="JSON"):
        run.append(synthetic.trial(scores={"final_answer": float("nan")}))
    assert list(run.trials()) == []


def test_trajectory_and_log_have_the_names_the_contract_gives(run: RunDirectory) -> None:
    assert run.write_trajectory("steady/refund-007/2", {}).name == "steady__refund-007__2.json"
    assert run.write_log("steady/refund-007/2", 1, "hi").name == "steady__refund-007__2.1.log"
    assert run.log("steady/refund-007/2", 1) == "hi"
    assert run.log("steady/refund-007/2", 2) is None
    assert run.trajectory("steady/none/1") is None


@given(st.lists(st.text(alphabet="ab_/.\x00- é\ud800" + "x" * 3, min_size=1), min_size=2, unique=True))
def test_file_names_are_unique_and_stay_in_their_directory(ids: list[str]) -> None:
    names = [file_name(each) for each in ids]
    assert len(set(names)) == len(names)
    for name in names:
        assert name
        assert not name.startswith((".", "-"))
        assert not set(name) & set("/\\\x00\n")
        assert len(name.encode()) <= NAME_BYTES + 11


def test_file_names_that_slashes_would_make_equal_differ() -> None:
    assert file_name("a__b/c/1") != file_name("a/b__c/1")


def test_manifest_changes_are_checked_and_kept(run: RunDirectory) -> None:
    run.update_manifest(state="interrupted", notes=["the host was busy"])
    manifest = RunDirectory.open(run.path).manifest()
    assert (manifest.state, manifest.notes) == ("interrupted", ["the host was busy"])
    with pytest.raises(ValueError, match="nonsense"):
        run.update_manifest(nonsense=1)


def test_the_same_run_is_not_made_twice(run: RunDirectory) -> None:
    with pytest.raises(InputError, match="there already"):
        RunDirectory.create(run.path.parent, synthetic.manifest())


def test_something_else_is_no_run_directory(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(InputError) as caught:
            RunDirectory.open(path)
        assert caught.value.hint


def test_a_damaged_manifest_is_an_error_with_its_key(run: RunDirectory) -> None:
    path = run.path / "manifest.json"
    path.write_text(path.read_text().replace('"finished"', '"perhaps"', 1))
    with pytest.raises(InputError) as caught:
        run.manifest()
    assert caught.value.key == "state"


def test_a_run_is_found_by_path_id_beginning_and_latest(tmp_path: Path) -> None:
    for day in (20, 22, 21):
        RunDirectory.create(tmp_path, synthetic.manifest(run_id=f"202607{day}-101500-desk-ab12"))
    newest = "20260722-101500-desk-ab12"
    for name in (newest, "20260722", "latest", str(tmp_path / newest)):
        assert RunDirectory.resolve(name, tmp_path).run_id == newest
    with pytest.raises(InputError) as caught:
        RunDirectory.resolve("20260722-101500-desk-ab13", tmp_path)
    assert newest in (caught.value.hint or "")
    with pytest.raises(InputError, match="several"):
        RunDirectory.resolve("202607", tmp_path)
    with pytest.raises(InputError, match="no run yet"):
        RunDirectory.resolve("latest", tmp_path / "empty")


def test_run_ids_sort_by_time_and_are_unique() -> None:
    early = new_run_id("Support Desk!", datetime(2026, 7, 22, 9, 5, tzinfo=UTC))
    late = new_run_id("a", datetime(2026, 7, 22, 10, 5, tzinfo=UTC))
    assert early.startswith("20260722-090500-support-desk-")
    assert early < late
    same_moment = {new_run_id("x", datetime(2026, 1, 1, tzinfo=UTC)) for _ in range(5)}
    assert len(same_moment) == 5
