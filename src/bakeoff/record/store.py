"""The run directory: every fact of a run on disk, appended as it happens, readable with `jq`.

    <run_id>/
    ├── manifest.json                     what was run, on what; replaced atomically
    ├── examples.jsonl                    the examples that were run, whole: one line each, with its digest
    ├── trials.jsonl                      one line a finished trial; only ever appended
    ├── trajectories/<trial>.json         ATIF, the last attempt
    ├── attempts/<trial>.<n>.log          the harness's stderr
    ├── spans/<trial>.<n>.jsonl           the harness's own OTLP exports {content_type, encoding, body}, body in base64
    ├── calls/<trial>.jsonl               one line a model call of any attempt: request, response, times, tokens
    ├── report.md, report.html            made from the rest
    └── published/<target>-<where>.jsonl  what a target that cannot be asked has taken; see publish/

A trial counts as finished when its line is on disk, so write its trajectory and logs first.
"""

from __future__ import annotations

import contextlib
import difflib
import errno
import hashlib
import json
import math
import os
import re
import secrets
import threading
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bakeoff.errors import InputError, UnfitEnvironment
from bakeoff.record.base import JsonDict
from bakeoff.record.manifest import Manifest
from bakeoff.record.trial import TrialRecord

RUNS = Path("runs")  # where runs are kept unless `--out` says otherwise
BASELINE = "baseline"  # file below it that names the run to compare with
ANEW = "remove the file, and make a good run the baseline with `bakeoff compare --set-baseline`"
MANIFEST, EXAMPLES, TRIALS, REPORT = "manifest.json", "examples.jsonl", "trials.jsonl", "report.md"
HTML_REPORT = "report.html"
# In calls/: the calls of executions that were cut off. No trial's file has this name
UNFINISHED = "unfinished.jsonl"
NAME_BYTES = 180  # longest readable part of a file name; file systems take 255 bytes


def new_run_id(name: str, now: datetime) -> str:
    """A run's id: UTC time, so that names sort by age; the harness's name; four random characters."""
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40] or "run"
    return f"{now.astimezone(UTC):%Y%m%d-%H%M%S}-{slug}-{secrets.token_hex(2)}"


def file_name(trial_id: str) -> str:
    """The trial's file name without its suffix: slashes become `__`.

    Where that alone could collide, be hidden or not be a file name, a digest of the id keeps it unique and
    harmless.
    """
    name = trial_id.replace("/", "__")
    plain = re.sub(r"[^\w.@+=,-]", "-", name).lstrip(".-") or "trial"
    if plain == name and "__" not in trial_id and len(name.encode()) <= NAME_BYTES:
        return name
    digest = hashlib.sha256(trial_id.encode(errors="surrogatepass")).hexdigest()[:10]
    return f"{plain.encode()[:NAME_BYTES].decode(errors='ignore')}.{digest}"


def baseline(runs: Path) -> str | None:
    """The id of the run that the pointer `runs/baseline` names; None when there is no pointer."""
    try:
        return (runs / BASELINE).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise InputError(f"cannot be read: {why}", file=str(runs / BASELINE), hint=ANEW) from error


def set_baseline(runs: Path, run_id: str) -> Path:
    """Let the pointer `runs/baseline` name this run; returns the pointer."""
    path = runs / BASELINE
    temporary = path.with_name(f"{BASELINE}.tmp")
    with _writing(path):
        temporary.write_text(f"{run_id}\n", encoding="utf-8")
        temporary.replace(path)
    return path


class RunDirectory:
    """One run on disk. Writing is thread-safe within one process; reading needs no lock.

    Attributes:
        path: the directory.
        warnings: what was found damaged and could be lived with, filled in by `trials`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.warnings: list[str] = []
        self._lock = threading.Lock()

    @property
    def run_id(self) -> str:
        """The run's id: the directory's name."""
        return self.path.resolve().name

    @classmethod
    def create(cls, out: Path, manifest: Manifest, examples: Iterable[JsonDict] = ()) -> RunDirectory:
        """Make `out/<run_id>/` with its manifest and examples. Raises InputError when it is there already."""
        path = out / manifest.run_id
        with _writing(path):
            try:
                path.mkdir(parents=True)
            except FileExistsError as error:
                raise InputError(
                    "the run directory is there already", file=str(path), hint="give another --out"
                ) from error
            (path / "trajectories").mkdir()
            (path / "attempts").mkdir()
            (path / "calls").mkdir()
            (path / TRIALS).touch()
        run = cls(path)
        run.write_examples(examples)
        run._write_manifest(manifest)
        return run

    @classmethod
    def open(cls, path: Path) -> RunDirectory:
        """A run that is on disk. Raises InputError when `path` is not a run directory."""
        if not (path / MANIFEST).is_file():
            raise InputError(
                f"this is not a run directory: there is no {MANIFEST} in it"
                if path.is_dir()
                else "no such run",
                file=str(path),
                hint=f"give a directory made by `bakeoff run`, a run id below {RUNS}/, or `latest`",
            )
        return cls(path)

    @classmethod
    def resolve(cls, run: str, runs: Path = RUNS) -> RunDirectory:
        """A run as its user names it: a path, a run id below `runs` or its beginning, `latest` or `baseline`."""
        known = sorted(entry.parent.name for entry in runs.glob(f"*/{MANIFEST}"))
        if run == BASELINE:
            named = baseline(runs)
            if named is None:
                raise InputError(
                    "there is no baseline yet",
                    file=str(runs / BASELINE),
                    hint="make a good run the baseline with `bakeoff compare --set-baseline`",
                )
            if named not in known:
                raise InputError(f"no run called {named!r} is here", file=str(runs / BASELINE), hint=ANEW)
            return cls.open(runs / named)
        if run == "latest":
            if not known:
                raise InputError("there is no run yet", file=str(runs), hint="start one with `bakeoff run`")
            return cls.open(runs / known[-1])
        if (Path(run) / MANIFEST).is_file():
            return cls.open(Path(run))
        begins = [name for name in known if name.startswith(run)]
        if run in known or len(begins) == 1:
            return cls.open(runs / (run if run in known else begins[0]))
        if near := (begins or difflib.get_close_matches(run, known)):
            raise InputError(
                "this names several runs" if begins else "no such run",
                file=run,
                hint=f"perhaps {' or '.join(near[-3:])}",
            )
        return cls.open(Path(run))

    # --- writing ------------------------------------------------------------------------------------

    def append(self, trial: TrialRecord) -> None:
        """Add one finished trial; it is on the disk when this returns.

        Raises UnfitEnvironment when the disk refuses; no half line is left then and earlier lines are
        untouched.
        """
        line = _encode(trial.model_dump(mode="json")) + b"\n"
        path = self.path / TRIALS
        # unbuffered: a failed write must not leave bytes behind that a later flush would write
        with self._lock, _writing(path), path.open("ab", buffering=0) as file:
            before = file.seek(0, os.SEEK_END)
            try:
                _write_all(file.fileno(), line)
                os.fsync(file.fileno())
            except OSError:
                with contextlib.suppress(OSError):  # the first error is the one to tell
                    file.truncate(before)
                raise

    def repair(self) -> list[str]:
        """Make trials.jsonl whole after a crash, a power loss or a full disk; a sentence for each thing found.

        A line that records no trial, or records a trial again, is moved aside to trials.jsonl.torn. A trial without a
        record counts as not run. Only for the one who holds the run's lock. The lock is on the file, which is replaced
        when anything was found: take the lock of the new one too.
        """
        path, aside = self.path / TRIALS, self.path / f"{TRIALS}.torn"
        found = [f"{TRIALS}:{number}: {problem}" for number, _, problem in _examined(path) if problem]
        with _writing(path):
            if found:
                temporary = path.with_name(f"{TRIALS}.tmp")
                with temporary.open("wb") as whole, aside.open("ab") as torn:
                    for _, line, problem in _examined(path):
                        (whole if problem in ("", _REPAIRED) else torn).write(line + b"\n")
                    for file in (torn, whole):
                        file.flush()
                        os.fsync(file.fileno())
                temporary.replace(path)
                _sync_directory(self.path)
            for left in self.path.glob("**/*.tmp"):
                left.unlink(missing_ok=True)
        return found

    def write_examples(self, examples: Iterable[JsonDict]) -> None:
        """Write the examples of the run, whole."""
        self._replace(self.path / EXAMPLES, b"".join(_encode(example) + b"\n" for example in examples))

    def write_trajectory(self, trial_id: str, trajectory: JsonDict) -> Path:
        """Write the trial's trajectory; a re-attempt's replaces it."""
        path = self.trajectory_path(trial_id)
        # Without indentation: what is nested 95 deep, as a model may write it, would take 95 spaces a value.
        try:
            self._replace(path, _encoded(trajectory))
        except ValueError:
            self._replace(path, _encoded(_finite(trajectory)))
        return path

    def write_log(self, trial_id: str, attempt: int, text: str) -> Path:
        """Write the stderr of one attempt (1-based)."""
        path = self.log_path(trial_id, attempt)
        self._replace(path, text.encode(errors="backslashreplace"))
        return path

    def write_spans(self, trial_id: str, attempt: int, exports: Iterable[JsonDict]) -> Path:
        """Write the harness's own spans of one attempt (1-based)."""
        path = self.spans_path(trial_id, attempt)
        with _writing(path):
            path.parent.mkdir(exist_ok=True)
        self._replace(path, b"".join(_encode(export) + b"\n" for export in exports))
        return path

    def begin_calls(self, trial_id: str) -> None:
        """Set the calls of an earlier, unfinished execution of the trial aside: their money stays spent."""
        path = self.calls_path(trial_id)
        with self._lock, _writing(path):
            if path.exists():
                whole, newline, _ = path.read_bytes().rpartition(b"\n")  # the last line may be torn
                with path.with_name(UNFINISHED).open("ab", buffering=0) as file:
                    _write_all(file.fileno(), whole + newline)
                path.unlink()

    def append_call(self, trial_id: str, call: JsonDict) -> None:
        """Add one model call, as it happens. It is evidence beside the trial's line, so it is not synced to disk."""
        path = self.calls_path(trial_id)
        with _writing(path):
            path.parent.mkdir(exist_ok=True)
            with path.open("ab", buffering=0) as file:
                _write_all(file.fileno(), _encode_said(call) + b"\n")

    def write_report(self, text: str, name: str = REPORT) -> Path:
        """Write report.md, or report.html."""
        path = self.path / name
        self._replace(path, text.encode(errors="backslashreplace"))
        return path

    def update_manifest(self, **changes: Any) -> Manifest:
        """Change fields of the manifest, atomically: a reader sees the old one or the new one."""
        with self._lock:
            manifest = Manifest.model_validate(self.manifest().model_dump() | changes)
            self._write_manifest(manifest)
        return manifest

    def _write_manifest(self, manifest: Manifest) -> None:
        self._replace(self.path / MANIFEST, _encode(manifest.model_dump(mode="json"), indent=2) + b"\n")

    def _replace(self, path: Path, content: bytes | Iterator[bytes]) -> None:
        temporary = path.with_name(f"{path.name}.{threading.get_ident()}.tmp")
        with _writing(path):
            try:
                with temporary.open("wb") as file:
                    file.writelines([content] if isinstance(content, bytes) else content)
                    file.flush()
                    os.fsync(file.fileno())
                temporary.replace(path)
                _sync_directory(path.parent)
            finally:
                temporary.unlink(missing_ok=True)

    # --- reading ------------------------------------------------------------------------------------

    def harness_file(self, manifest: Manifest) -> Path:
        """Where harness.yaml should be: beside this run's `runs/`, else as it was given to `bakeoff run`, from here."""
        given = Path(manifest.harness_file)
        beside = self.path.resolve().parent.parent / given
        return beside if beside.is_file() else given

    def manifest(self) -> Manifest:
        """The manifest; keys that only another version knows are left out. Raises InputError when it is damaged."""
        path = self.path / MANIFEST
        try:
            return Manifest.model_validate_json(path.read_bytes(), extra="ignore")
        except ValidationError as error:
            hint = "Restore the file from a backup, or run again; trials.jsonl is readable without it."
            raise _damaged("this manifest", error, hint, path) from error

    def trials(self) -> Iterator[TrialRecord]:
        """Every finished trial, in the order it finished; one in memory at a time.

        `warnings` names what is left out: a torn last line, since its writer was killed and the trial is not
        finished, and every record of a trial but its first. Raises InputError with file and line for any other damage.
        """
        path = self.path / TRIALS
        if not path.exists():
            return
        seen: set[str] = set()
        with path.open("rb") as file:
            for number, raw in enumerate(file, start=1):
                try:
                    trial = TrialRecord.model_validate_json(raw, extra="ignore")
                except ValidationError as error:
                    if not raw.endswith(b"\n"):
                        self._warn(f"{TRIALS}:{number}: the last line is torn: its trial is not finished")
                        return
                    hint = "Go on with `bakeoff run --resume`: it moves the line aside, and its trial runs again."
                    raise _damaged("this line", error, hint, path, number) from error
                if trial.trial_id in seen:
                    self._warn(f"{trial.trial_id} is recorded twice; only its first record counts")
                    continue
                seen.add(trial.trial_id)
                yield trial

    def _warn(self, warning: str) -> None:
        if warning not in self.warnings:
            self.warnings.append(warning)

    def trajectory_path(self, trial_id: str) -> Path:
        """Where the trial's trajectory is, or will be."""
        return self.path / "trajectories" / f"{file_name(trial_id)}.json"

    def log_path(self, trial_id: str, attempt: int) -> Path:
        """Where the log of one attempt (1-based) is, or will be."""
        return self.path / "attempts" / f"{file_name(trial_id)}.{attempt}.log"

    def spans_path(self, trial_id: str, attempt: int) -> Path:
        """Where the harness's own spans of one attempt (1-based) are, if it made any."""
        return self.path / "spans" / f"{file_name(trial_id)}.{attempt}.jsonl"

    def calls_path(self, trial_id: str) -> Path:
        """Where the trial's model calls are, or will be."""
        return self.path / "calls" / f"{file_name(trial_id)}.jsonl"

    def examples(self) -> Iterator[JsonDict]:
        """The examples that were run: `id`, `inputs`, `outputs`, `metadata`, `files` {name: {path, sha256}}, `digest`.

        `langsmith_id` too, where the dataset was read from LangSmith: the UUID of the example there.

        Raises InputError when they are damaged, or were not kept.
        """
        path = self.path / EXAMPLES
        if not path.is_file():
            raise InputError(
                "the examples of this run are not in its directory",
                file=str(path),
                hint="an older version of bakeoff did not keep them: run again",
            )
        yield from _json_lines(path)

    def calls(self, trial_id: str) -> Iterator[JsonDict]:
        """The trial's model calls, all attempts, in the order they ended. `warnings` names damaged lines, left out."""
        path = self.calls_path(trial_id)
        if path.exists():
            yield from self._calls(path)

    def spans(self, trial_id: str, attempt: int) -> Iterator[JsonDict]:
        """The harness's own exports of one attempt, hostile until read. Raises InputError for a damaged line."""
        path = self.spans_path(trial_id, attempt)
        if path.exists():
            yield from _json_lines(path)

    def spent_usd(self) -> float:
        """What all recorded calls cost, those of trials without a verdict too; US dollars."""
        files = sorted((self.path / "calls").glob("*.jsonl"))
        return sum(call.get("cost_usd") or 0.0 for file in files for call in self._calls(file))

    def _calls(self, path: Path) -> Iterator[JsonDict]:
        """The calls of one file. Nobody waits for the disk to have them, so that a power loss may damage any."""
        with path.open("rb") as file:
            for number, raw in enumerate(file, start=1):
                try:
                    call = json.loads(raw.strip(b"\0\r\n "))
                except ValueError:
                    call = None
                if isinstance(call, dict):
                    yield call
                else:
                    name = path.relative_to(self.path)
                    self._warn(f"{name}:{number}: this model call is damaged, and counts nowhere")

    def trajectory(self, trial_id: str) -> JsonDict | None:
        """The trial's trajectory; None when there is none. Raises InputError when it is damaged."""
        path = self.trajectory_path(trial_id)
        if not path.exists():
            return None
        try:
            loaded = json.loads(path.read_bytes())
        except ValueError as error:
            raise InputError(f"the trajectory is damaged: {error}", file=str(path)) from error
        if not isinstance(loaded, dict):
            raise InputError("the trajectory is damaged: not a JSON object", file=str(path))
        return loaded

    def log(self, trial_id: str, attempt: int) -> str | None:
        """The stderr of one attempt (1-based); None when there is none."""
        path = self.log_path(trial_id, attempt)
        return path.read_text(errors="replace") if path.exists() else None


_REPAIRED = "repaired: it had NUL bytes, or no newline"


def _examined(path: Path) -> Iterator[tuple[int, bytes, str]]:
    """Each line of trials.jsonl: its number, its text, and what is wrong with it, or ""."""
    seen: set[str] = set()
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            line, problem = raw.strip(b"\0\r\n "), ""  # a power loss leaves a tail of NUL bytes
            try:
                trial = TrialRecord.model_validate_json(line, extra="ignore").trial_id
            except ValidationError:
                problem = "damaged, and moved aside: its trial runs again"
            else:
                if trial in seen:
                    problem = f"a second record of {trial}, moved aside"
                elif line + b"\n" != raw:
                    problem = _REPAIRED
                seen.add(trial)
            yield number, line, problem


def _damaged(what: str, error: ValidationError, hint: str, path: Path, line: int | None = None) -> InputError:
    first = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in first["loc"]) or None
    return InputError(f"{what} is damaged: {first['msg']}", file=str(path), line=line, key=key, hint=hint)


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turn a refusal of the file system into a sentence the user can act on."""
    try:
        yield
    except OSError as error:
        raise UnfitEnvironment(
            f"cannot write {path}: {error.strerror or error}",
            hint="free some space or make the directory writable; the trials written so far are safe",
        ) from error


def _encode(value: JsonDict, indent: int | None = None) -> bytes:
    """JSON in UTF-8. A lone surrogate, which a hostile agent can send, has no UTF-8 form and becomes `?`.

    Raises ValueError for NaN and infinities: they are not JSON, and a line with one could not be read again.
    """
    return json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent).encode(errors="replace")


def _encoded(value: JsonDict) -> Iterator[bytes]:
    """A line of JSON as `_encode` makes it, piece by piece: an agent may have said megabytes."""
    for piece in json.JSONEncoder(ensure_ascii=False, allow_nan=False).iterencode(value):
        yield piece.encode(errors="replace")
    yield b"\n"


def _encode_said(value: JsonDict) -> bytes:
    """JSON of what a model or an agent said: Python's JSON takes NaN and infinities, so they become text here."""
    try:
        return _encode(value)
    except ValueError:
        return _encode(_finite(value))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _write_all(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def _sync_directory(path: Path) -> None:
    """A rename is durable only when its directory is on the disk too. Some file systems have no way to ask for that."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def _json_lines(path: Path) -> Iterator[JsonDict]:
    """The objects of a JSON Lines file. A torn last line (its writer was killed) is left out."""
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            try:
                value = json.loads(raw)
            except ValueError as error:
                if not raw.endswith(b"\n"):
                    return
                raise InputError(f"this line is damaged: {error}", file=str(path), line=number) from error
            yield value
