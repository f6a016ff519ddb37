"""Which files go to an MLflow run, and which of them have arrived, by their digests.

    report.md, report.html, manifest.json, examples.jsonl, trials.jsonl   the whole run's
    resources.json                                                        the candidate's, made here
    trajectories/, calls/, attempts/                                      the candidate's, one file per trial or attempt
    trials-0001.zip, ...                                                  instead, if those would be too many
    files.json                                                            what has arrived, with sizes and digests

MLflow reports the size of a file and not its digest, so files.json records there what has arrived. The entry of a file
is removed before the file is replaced: whenever a publication is cut off, every entry is true.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bakeoff.record.base import JsonDict
from bakeoff.record.store import EXAMPLES, HTML_REPORT, MANIFEST, REPORT, TRIALS, RunDirectory

INDEX, RESOURCES = "files.json", "resources.json"
WHOLE_RUN = (MANIFEST, EXAMPLES, TRIALS, REPORT, HTML_REPORT)
SINGLE_TRIALS = 200  # of a candidate: more make MLflow's list of files useless
TRIALS_PER_PACK = 500
FORMAT = 1


@dataclass(frozen=True, slots=True)
class TrialFiles:
    """Where one trial's files are."""

    trial_id: str
    attempts: int


@dataclass(frozen=True, slots=True)
class Artifact:
    """One file as MLflow must have it: a file of the run directory, or a pack of several.

    Attributes:
        name: its path among the run's artifacts.
        digest: `sha256:` of its bytes; of a pack `contents-sha256:` of its members' names and digests, since the bytes
            of a zip depend on the library that compresses.
        members: its parts by name; a plain file has itself.
        pack: whether `members` are to be packed.
    """

    name: str
    digest: str
    members: Mapping[str, Path]
    pack: bool = False

    def local(self, scratch: Path) -> Path:
        """The path of its bytes; a pack is made in `scratch`. The last part of the path is the artifact's."""
        if not self.pack:
            return next(iter(self.members.values()))
        path = scratch / Path(self.name).name
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as pack:
            for name, member in self.members.items():
                with member.open("rb") as file, pack.open(zipfile.ZipInfo(name), "w") as inside:
                    shutil.copyfileobj(file, inside)
        return path


def of_run(run: RunDirectory) -> list[Artifact]:
    """Files of the whole run that exist; every candidate's run has them."""
    return [_plain(name, run.path / name) for name in WHOLE_RUN if (run.path / name).is_file()]


def missing_reports(run: RunDirectory) -> list[str]:
    """Reports that the run directory lacks."""
    return [name for name in (REPORT, HTML_REPORT) if not (run.path / name).is_file()]


def of_trials(run: RunDirectory, trials: Sequence[TrialFiles]) -> Iterator[Artifact]:
    """Files of one candidate's trials: one by one if the trials are few, else in packs."""
    if len(trials) <= SINGLE_TRIALS:
        for trial in trials:
            for name, path in _files(run, trial):
                yield _plain(name, path)
        return
    for number, start in enumerate(range(0, len(trials), TRIALS_PER_PACK), start=1):
        members = dict(
            each for trial in trials[start : start + TRIALS_PER_PACK] for each in _files(run, trial)
        )
        if members:
            yield _packed(f"trials-{number:04d}.zip", members)


def _files(run: RunDirectory, trial: TrialFiles) -> Iterator[tuple[str, Path]]:
    paths = [run.trajectory_path(trial.trial_id), run.calls_path(trial.trial_id)]
    paths += [run.log_path(trial.trial_id, number) for number in range(1, trial.attempts + 1)]
    for path in paths:
        if path.is_file():
            yield path.relative_to(run.path).as_posix(), path


def generated(name: str, content: JsonDict, scratch: Path) -> Artifact:
    """A JSON file that only MLflow gets, written into `scratch`."""
    path = scratch / name
    text = json.dumps(content, ensure_ascii=False, indent=1, sort_keys=True)
    path.write_bytes(text.encode(errors="backslashreplace") + b"\n")
    return _plain(name, path)


def _plain(name: str, path: Path) -> Artifact:
    return Artifact(name, f"sha256:{_sha256(path)}", {name: path})


def _packed(name: str, members: Mapping[str, Path]) -> Artifact:
    contents = hashlib.sha256()
    for member, path in members.items():
        contents.update(f"{member}\0{_sha256(path)}\n".encode())
    return Artifact(name, f"contents-sha256:{contents.hexdigest()}", members, pack=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True, slots=True)
class Entry:
    """What files.json says about a file that has arrived."""

    digest: str
    size_bytes: int


Index = dict[str, Entry]


def arrived(index: Mapping[str, Entry], sizes: Mapping[str, int], wanted: Sequence[Artifact]) -> Index:
    """The entries of wanted files that have arrived, as they must be.

    Args:
        index: files.json as the server has it.
        sizes: bytes of every file that MLflow lists, by name.
        wanted: the files that must be there.
    """
    return {
        each.name: entry
        for each in wanted
        if (entry := index.get(each.name)) is not None
        and entry.digest == each.digest
        and sizes.get(each.name) == entry.size_bytes
    }


def dumped(index: Mapping[str, Entry]) -> JsonDict:
    """files.json."""
    files = {name: {"digest": each.digest, "bytes": each.size_bytes} for name, each in index.items()}
    return {"format": FORMAT, "files": files}


def loaded(text: bytes) -> Index:
    """The entries of files.json; none if it is torn or has another format, and then all files are sent again."""
    try:
        content = json.loads(text)
        if content["format"] != FORMAT:
            return {}
        return {
            str(name): Entry(str(each["digest"]), int(each["bytes"]))
            for name, each in content["files"].items()
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}
