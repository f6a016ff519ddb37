"""One run, from a checked configuration to a report: what `bakeoff run` does after reading its options."""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from bakeoff import __version__, gateway, scoring
from bakeoff.backends.base import Backend, Capacity, Image, Say
from bakeoff.config import loading
from bakeoff.config.cache import require_cache
from bakeoff.config.schema import Config, ModelSpec
from bakeoff.datasets import dataset
from bakeoff.datasets.dataset import Dataset
from bakeoff.errors import BakeoffError, InputError
from bakeoff.gateway.policy.context import RunContext
from bakeoff.gateway.policy.retry import RetryPolicy
from bakeoff.gateway.recording.cassette import Recorder
from bakeoff.gateway.types import ModelRequest
from bakeoff.record import fingerprint
from bakeoff.record.base import JsonDict
from bakeoff.record.manifest import Manifest
from bakeoff.record.messages import text_of
from bakeoff.record.store import RunDirectory, new_run_id
from bakeoff.record.trial import TrialSpec
from bakeoff.run import plan, preflight, progress
from bakeoff.run.engine import Engine, Job
from bakeoff.run.host_monitor import HostWatch
from bakeoff.run.ledger import Ledger
from bakeoff.scoring import source

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from bakeoff.config.evaluators import LlmJudge


@dataclass(frozen=True)
class Task:
    """What is to be run: read, selected and planned; nothing started."""

    config: Config
    dataset: Dataset  # the selected examples, with the digest of the whole
    trials: list[TrialSpec]
    overrides: loading.Overrides

    @cached_property
    def environ(self) -> Mapping[str, str]:
        """Where the models' keys are looked up; asked for once, for a command behind it may ask its user.

        Raises:
            InputError: .env or a `key_command` is at fault.
        """
        return gateway.environment(self.config)


def read(path: Path, overrides: loading.Overrides, *, pinned: JsonDict | None = None) -> Task:
    """Read harness.yaml and its dataset and make the plan.

    Args:
        path: of harness.yaml.
        overrides: the command line's changes.
        pinned: `dataset` of the manifest of a run that goes on.

    Raises:
        InputError: the first thing wrong with either.
    """
    config = loading.load(path, overrides)
    selected = dataset.load(config, pinned=pinned)
    selected = dataset.select(selected, overrides.examples, overrides.suites)
    return Task(config, selected, plan.trials(config, selected.examples), overrides)


def read_again(run: RunDirectory) -> Task:
    """The task of a run that was stopped, read anew from its harness file.

    Raises:
        InputError: the run is finished, or what is read now differs from what was run; names the differing parts.
    """
    manifest = run.manifest()
    if manifest.state == "finished":
        raise InputError(
            "this run is finished", file=str(run.path), hint="read it with `bakeoff show`, or start another"
        )
    overrides = TypeAdapter(loading.Overrides).validate_python(manifest.overrides)
    task = read(run.harness_file(manifest), overrides, pinned=manifest.dataset)
    _refuse_changes(run, _differing(manifest.config, loading.dump(task.config)))
    if task.dataset.digest != manifest.dataset["digest"]:
        _refuse_changes(run, ["dataset (its rows or files)"])
    return task


def _differing(before: JsonDict, now: JsonDict) -> list[str]:
    """Dotted keys of the resolved configuration that differ, two levels deep; pace, keys and money may change."""
    found = []
    for key in sorted(
        (before.keys() | now.keys()) - {"max_concurrency", "rate", "budget", "key_command", "publish"}
    ):
        old, new = before.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            found += [
                f"{key}.{part}" for part in sorted(old.keys() | new.keys()) if old.get(part) != new.get(part)
            ]
        elif old != new:
            found.append(key)
    return found


def _refuse_changes(run: RunDirectory, differing: list[str]) -> None:
    if differing:
        raise InputError(
            f"this run cannot be continued, since these have changed: {', '.join(differing)}",
            file=str(run.path),
            hint="put them back as they were, or start a new run",
        )


@dataclass(frozen=True)
class Admission:
    """What the Docker host grants this run: trials at once, out of a room shared with all other runs."""

    slots: int
    room: Capacity


def admit(task: Task, backend: Backend) -> Admission:
    """Check everything that can be checked before anything starts.

    Raises:
        InputError: something is missing or larger than the host.
    """
    room = _room(backend)
    preflight.check(
        task.config,
        task.dataset,
        cpus_available=room.cpus,
        memory_available=room.memory_bytes,
        environ=task.environ,
    )
    slots = plan.slots(task.config, room.cpus, room.memory_bytes)
    if slots < 1:
        reserve = task.config.resources.reserve
        raise InputError(
            f"not even one trial fits: it reserves {reserve.cpus:g} CPUs and {reserve.memory / 2**20:.0f} MiB, "
            f"the host can promise {room.cpus:g} CPUs and {room.memory_bytes / 2**20:.0f} MiB",
            file=str(task.config.file),
            line=loading.line_of(task.config.file, "resources.reserve"),
            key="resources.reserve",
            hint="Lower the reserve, or free memory on the host.",
        )
    return Admission(min(slots, len(task.trials)), room)


def execute(
    task: Task,
    backend: Backend,
    admission: Admission,
    *,
    out: Path,
    display: progress.Display,
    say: Say,
    resumed: RunDirectory | None = None,
    record: Path | None = None,
) -> RunDirectory:
    """Run the plan, or what is left of it, and write the record; returns the run directory, its manifest's state final.

    The first Ctrl-C cancels what runs and keeps what is finished; the second stops at once.

    Raises:
        InputError: a resumed run's harness image is no longer the same.
    """
    config = task.config
    shared = RunContext.of(config, task.environ, spent_usd=resumed.spent_usd() if resumed else 0.0)
    if record is not None:
        recorder = Recorder(record, config.candidates, shared.secrets, resumed=resumed is not None)
        shared = replace(shared, recorder=recorder)
    scorer = scoring.build(config.evaluators, root=config.root, judge_factory=_judge_factory(config, shared))
    require_cache()
    harness_image = backend.prepare(config, say)
    machine = backend.facts()
    manifest = _manifest(task, machine, harness_image, admission.slots)
    if resumed is not None:
        left = _left_over(task, backend, resumed, manifest)
        say(
            f"resuming {resumed.run_id}: {len(task.trials) - len(left)} of {len(task.trials)} trials are finished"
        )
    with ExitStack() as stack:
        models = {}
        for candidate in config.candidates:
            models[candidate.name] = gateway.open_backend(
                candidate, retry=RetryPolicy(config.harness.retries.model_call), run=shared
            )
            stack.callback(models[candidate.name].close)
        watch = HostWatch(local=backend.local)
        watch.start()
        stack.callback(watch.stop)
        run = resumed or RunDirectory.create(out, manifest, task.dataset.rows(config.root))
        stack.enter_context(_closed_on_error(run))
        if resumed is not None:
            run.update_manifest(state="running", finished_at=None, not_run={})
        ledger = Ledger(backend.host_id, run.run_id, admission.room)
        job = Job(
            config=config,
            examples={example.id: example for example in task.dataset.examples},
            file_digests=task.dataset.file_digests,
            plan=task.trials if resumed is None else left,
            image=harness_image,
            models=models,
            scorer=scorer,
            run=run,
            slots=admission.slots,
            ledger=stack.enter_context(ledger),
            watch=watch,
            out_of_money=lambda: shared.spending.exhausted,
            secrets=shared.secrets,
        )
        engine = Engine(backend, job, display)
        with display, _interruptible(engine, run):
            display.planned(Counter(trial.candidate for trial in job.plan))
            finished = engine.run()
        changes: JsonDict = (
            {"observed_harness": _observed(engine.first_request)} if engine.first_request else {}
        )
        if config.budget and shared.spending.unpriced:
            unpriced = f"{shared.spending.unpriced} model calls have no known cost and are not in the budget."
            changes["notes"] = [*run.manifest().notes, unpriced]
        if not finished and shared.spending.exhausted:
            changes["not_run"] = _not_run(run, shared.spending.spent_usd, config)
            say(
                "{trials} trials are not run: {reason}; raise it and go on with --resume".format(
                    **changes["not_run"]
                )
            )
        run.update_manifest(
            state="finished" if finished else "interrupted",
            finished_at=datetime.now(UTC),
            host_worst=_worse(run.manifest().host_worst, watch.worst()),
            **changes,
        )
    return run


@contextmanager
def _closed_on_error(run: RunDirectory) -> Iterator[None]:
    """Whatever breaks the run off, a bug of bakeoff's too: its record says so, where it can still be written."""
    try:
        yield
    except BaseException:
        # what broke the run off says more than a second error; and a run left at `running` can go on too
        with suppress(BakeoffError, OSError):
            run.update_manifest(state="interrupted", finished_at=datetime.now(UTC))
        raise


def _left_over(task: Task, backend: Backend, run: RunDirectory, now: Manifest) -> list[TrialSpec]:
    """What a stopped run still has to do, its orphaned containers removed."""
    before = run.manifest()
    parts = before.fingerprint_parts
    _refuse_changes(
        run, [name for name, digest in now.fingerprint_parts.items() if parts.get(name) != digest]
    )
    backend.sweep(run.run_id)
    finished = {trial.trial_id for trial in run.trials()}
    return [trial for trial in task.trials if trial.trial_id not in finished]


def _room(backend: Backend) -> Capacity:
    """What the host can promise to all runs together; what other runs hold is in the ledger."""
    with Ledger(backend.host_id, f"look-{os.getpid()}", Capacity(0, 0)) as ledger:
        return backend.capacity(sum(claim.memory_bytes for claim in ledger.others()))


def _worse(before: JsonDict, now: JsonDict) -> JsonDict:
    """The worse of two stretches of one run, key by key."""
    keys = before.keys() | now.keys()

    def worse(key: str) -> Any:
        seen = [part[key] for part in (before, now) if key in part]
        return sum(seen) if key == "samples" else min(seen) if "_min_" in key else max(seen)

    return {key: worse(key) for key in sorted(keys)}


def _not_run(run: RunDirectory, spent_usd: float, config: Config) -> JsonDict:
    """How many trials the budget left out, and why."""
    limit = config.budget.usd if config.budget else 0.0
    left = run.manifest().trials_planned - sum(1 for _ in run.trials())
    return {"trials": left, "reason": f"the budget of {limit:g} USD is spent ({spent_usd:.4f} USD)"}


@contextmanager
def _interruptible(engine: Engine, run: RunDirectory) -> Iterator[None]:
    """Ctrl-C, SIGTERM and a terminal that closes: first stop in good order, then at once."""
    presses = 0

    def on_signal(number: int, frame: FrameType | None) -> None:
        nonlocal presses
        presses += 1
        if presses == 1:
            engine.stop()
            if number != signal.SIGHUP:  # then nobody is there to read it, and writing it fails
                engine.display.note(
                    "stopping: what runs is cancelled, what is finished is kept; again to stop at once"
                )
        else:
            if presses == 2:
                # a run left at `running`, or with containers, can go on too, which removes them
                with suppress(BakeoffError, OSError):
                    run.update_manifest(state="interrupted", finished_at=datetime.now(UTC))
                with suppress(BakeoffError):
                    engine.backend.sweep(run.run_id)
            os._exit(130)

    ending = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as `nohup` has it
        ending.append(signal.SIGHUP)
    before = {number: signal.signal(number, on_signal) for number in ending}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _judge_factory(config: Config, shared: RunContext) -> scoring.JudgeFactory:
    def judge(options: LlmJudge) -> BaseChatModel:
        model = ModelSpec(**{key: getattr(options, key) for key in ModelSpec.model_fields})
        return gateway.judge_model(model, retry=RetryPolicy(config.harness.retries.model_call), run=shared)

    return judge


def _manifest(task: Task, machine: JsonDict, harness_image: Image, slots: int) -> Manifest:
    config, now = task.config, datetime.now(UTC)
    profiles = plan.profiles(config)
    parts = fingerprint.of_run(
        config,
        row_digests=task.dataset.row_digests,
        image_key=harness_image.key,
        source_digest=harness_image.source_digest,
        packages=harness_image.packages,
        base_digest=harness_image.base["digest"],
        host=machine,
        evaluators=source.digests(config.evaluators, config.root),
    ) | fingerprint.of_profiles(profiles)
    examples = task.dataset.examples
    return Manifest(
        run_id=new_run_id(config.name, now),
        bakeoff_version=__version__,
        state="running",
        started_at=now,
        harness_file=str(config.file),
        config=loading.dump(config),
        candidates=[
            {
                "name": c.name,
                "model": c.model,
                "params": c.params,
                "simulated": gateway.is_simulated(c, config.root),
            }
            for c in config.candidates
        ],
        dataset={
            # of LangSmith's, the very version: what the report names, and a run that goes on reads again
            "path": config.dataset if task.dataset.origin is None else str(task.dataset.origin),
            **({} if task.dataset.origin is None else {"langsmith": task.dataset.origin.json()}),
            "digest": task.dataset.digest,
            "rows": len(examples),
            "example_ids": [example.id for example in examples],
            "clusters": {example.id: example.cluster for example in examples},
            "suites": {e.id: e.metadata["suite"] for e in examples if "suite" in e.metadata},
            "severities": {e.id: e.metadata["severity"] for e in examples if "severity" in e.metadata},
            "row_digests": task.dataset.row_digests,
        },
        fingerprint=fingerprint.digest(parts),
        fingerprint_parts=parts,
        resources=profiles[0].limits,
        profiles=profiles,
        image=harness_image.record(),
        host=machine,
        max_concurrency=slots,
        trials_planned=len(task.trials),
        command=["bakeoff", *sys.argv[1:]],
        overrides={key: value for key, value in asdict(task.overrides).items() if value},
        notes=[*_notes(config, harness_image), *gateway.notes(config, task.environ)],
    )


def _notes(config: Config, harness_image: Image) -> list[str]:
    """What bears on the numbers and is known before the first trial."""
    notes, base, limits = [], harness_image.base, config.harness.limits
    if base["kind"] == "built":
        notes.append(
            f"No registry answered: {base['reference']} was stood in for by a base image made from Debian's packages "
            f"(Python {harness_image.python}, {base['digest'][:19]})."
        )
    if config.harness.command and "tool_seconds" in limits.model_fields_set:
        notes.append(
            f"harness.limits.tool_seconds ({limits.tool_seconds:g} s) is not enforced: the harness is a program, whose "
            "tools are its own; it is only told the limit."
        )
    return notes


def _observed(request: ModelRequest | None) -> JsonDict:
    """What the first harness really asked of its model: the prompt and the tools, whatever the source says."""
    if request is None:
        return {}
    system = [text_of(m["data"]["content"]) for m in request.messages if m["type"] == "system"]
    tools: list[Any] = request.tools or []
    return {"system_prompt": "\n\n".join(system), "tools": tools, "params": request.params}
