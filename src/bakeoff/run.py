"""One run, from a checked configuration to a report: what `bakeoff run` does after reading its options."""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from docker import DockerClient

from bakeoff import __version__, config_file, dataset, gateway, host, live, plan, preflight, scoring
from bakeoff.config import Config
from bakeoff.dataset import Dataset
from bakeoff.engine import Engine, Job
from bakeoff.errors import InputError
from bakeoff.gateway.types import ChatBackend, ModelRequest
from bakeoff.messages import text_of
from bakeoff.records import JsonDict, Manifest, TrialSpec
from bakeoff.sandbox import image
from bakeoff.sandbox.container import sweep
from bakeoff.sandbox.docker_engine import Say
from bakeoff.store import RunDirectory, new_run_id

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from bakeoff.evaluator_options import LlmJudge


@dataclass(frozen=True)
class Task:
    """What is to be run: read, selected and planned; nothing started."""

    config: Config
    dataset: Dataset  # the selected examples, with the digest of the whole
    trials: list[TrialSpec]


def read(path: Path, overrides: config_file.Overrides) -> Task:
    """Read harness.yaml and its dataset and make the plan.

    Raises:
        InputError: the first thing wrong with either.
    """
    config = config_file.load(path, overrides)
    selected = dataset.load(config)
    if overrides.examples:
        selected = dataset.select(selected, overrides.examples)
    return Task(config, selected, plan.trials(config, selected.examples))


def admit(task: Task, client: DockerClient) -> int:
    """Check everything that can be checked before anything starts; how many trials may run at once.

    Raises:
        InputError: something is missing or larger than the host.
    """
    capacity = host.capacity(client)
    preflight.check(
        task.config, task.dataset, cpus_available=capacity.cpus, memory_available=capacity.memory_bytes
    )
    slots = plan.slots(task.config, capacity.cpus, capacity.memory_bytes)
    if slots < 1:
        reserve = task.config.resources.reserve
        raise InputError(
            f"not even one trial fits: it reserves {reserve.cpus:g} CPUs and {reserve.memory / 2**20:.0f} MiB, the host "
            f"can promise {capacity.cpus:g} CPUs and {capacity.memory_bytes / 2**20:.0f} MiB",
            file=str(task.config.file),
            line=config_file.line_of(task.config.file, "resources.reserve"),
            key="resources.reserve",
            mend="Lower the reserve, or free memory on the host.",
        )
    return min(slots, len(task.trials))


def execute(task: Task, client: DockerClient, slots: int, *, out: Path, display: live.Display, say: Say) -> RunDirectory:
    """Run the whole plan and write the record; returns the run directory, its manifest's state final.

    The first Ctrl-C cancels what runs and keeps what is finished; the second stops at once.
    """
    config = task.config
    harness_image = image.ensure(client, config, say)
    manifest = _manifest(task, client, harness_image, slots)
    with ExitStack() as stack:
        backends = {}
        for candidate in config.candidates:
            backends[candidate.name] = gateway.open_backend(candidate, retries=config.harness.retries.model_call)
            stack.callback(backends[candidate.name].close)
        scorer = scoring.build(config.evaluators, root=config.root, judge_factory=_judge_factory(config))
        run = RunDirectory.create(out, manifest)
        job = Job(
            config=config,
            examples={example.id: example for example in task.dataset.examples},
            plan=task.trials,
            image=harness_image,
            backends=backends,
            scorer=scorer,
            run=run,
            slots=slots,
        )
        engine = Engine(client, job, display)
        with display, _interruptible(engine, client, run.run_id):
            display.planned(Counter(trial.candidate for trial in task.trials))
            finished = engine.run()
    run.update_manifest(
        state="finished" if finished else "interrupted",
        finished_at=datetime.now(UTC),
        observed_harness=_observed(engine.first_request),
    )
    return run


@contextmanager
def _interruptible(engine: Engine, client: DockerClient, run_id: str) -> Iterator[None]:
    """Ctrl-C and SIGTERM: first stop in good order, then at once."""
    presses = 0

    def on_signal(number: int, frame: FrameType | None) -> None:
        nonlocal presses
        presses += 1
        if presses == 1:
            engine.display.note("stopping: what runs is cancelled, what is finished is kept; again to stop at once")
            engine.stop()
        else:
            sweep(client, run_id)
            os._exit(130)

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _judge_factory(config: Config) -> scoring.JudgeFactory:
    def judge(options: LlmJudge) -> BaseChatModel:
        return gateway.judge_model(
            options.model,
            params=options.params,
            base_url=options.base_url,
            api_key_env=options.api_key_env,
            retries=config.harness.retries.model_call,
        )

    return judge


def _manifest(task: Task, client: DockerClient, harness_image: image.Image, slots: int) -> Manifest:
    config, now = task.config, datetime.now(UTC)
    parts = plan.fingerprint_parts(
        config, task.dataset, harness_image.key, harness_image.source_digest, harness_image.packages, harness_image.base
    )
    examples = task.dataset.examples
    return Manifest(
        run_id=new_run_id(config.name, now),
        bakeoff_version=__version__,
        state="running",
        started_at=now,
        harness_file=str(config.file),
        config=config_file.dump(config),
        candidates=[
            {"name": c.name, "model": c.model, "params": c.params, "simulated": c.simulated} for c in config.candidates
        ],
        dataset={
            "path": config.dataset,
            "digest": task.dataset.digest,
            "rows": len(examples),
            "example_ids": [example.id for example in examples],
            "clusters": {example.id: example.cluster for example in examples},
            "suites": {e.id: e.metadata["suite"] for e in examples if "suite" in e.metadata},
        },
        fingerprint=plan.fingerprint(parts),
        fingerprint_parts=parts,
        resources=plan.requested(config),
        image=harness_image.record(),
        host=host.facts(client),
        max_concurrency=slots,
        trials_planned=len(task.trials),
        command=["bakeoff", *sys.argv[1:]],
        notes=_notes(harness_image),
    )


def _notes(harness_image: image.Image) -> list[str]:
    base = harness_image.base
    if base["kind"] != "built":
        return []
    return [
        f"No registry answered: {base['reference']} was stood in for by a base image made from Debian's packages "
        f"(Python {harness_image.python}, {base['digest'][:19]})."
    ]


def _observed(request: ModelRequest | None) -> JsonDict:
    """What the first harness really asked of its model: the prompt and the tools, whatever the source says."""
    if request is None:
        return {}
    system = [text_of(m["data"]["content"]) for m in request.messages if m["type"] == "system"]
    tools: list[Any] = request.tools or []
    return {"system_prompt": "\n\n".join(system), "tools": tools, "params": request.params}
