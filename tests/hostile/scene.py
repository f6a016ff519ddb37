"""One real run: hostile candidates, their honest twin, and a neighbour; and what came of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from bakeoff import stats, verdict
from bakeoff.compare.side import Trial
from bakeoff.record.trial import TrialRecord
from bakeoff.report import data
from tests.docker.project import Outcome, Project
from tests.hostile.deeds import Deed
from tests.hostile.model import HONEST, NEIGHBOUR, Scripted, answer

HERE = Path(__file__).parent
LOCAL = {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1", "OPENAI_API_KEY": "none"}
RUN_SECONDS = 900.0
SLOTS = 4
# What one run may cost the host, at most.
MEMORY_MIB = 300
DISK_MIB_PER_TRIAL = 40
CPU_SECONDS_PER_TRIAL = 20.0

# An evaluator of the user's, which some text breaks.
MARKS = """
def mark(*, outputs, **_):
    if "BREAK THE EVALUATOR" in str(outputs):
        raise ValueError("this evaluator is broken by what it reads")
    return 1.0
"""


@dataclass
class Seen:
    """What came of one deed."""

    deed: Deed
    problems: list[str] = field(default_factory=list)
    blamed: Counter[str] = field(default_factory=Counter)
    scores: tuple[stats.ScoreSet, stats.ScoreSet] | None = None  # of the deed and of its honest twin


@dataclass
class Scene:
    """One run."""

    outcome: Outcome
    seen: list[Seen]
    problems: list[str]  # of the run as a whole
    disk_bytes: int
    trials: int

    @property
    def contained(self) -> bool:
        return not self.problems and not any(seen.problems for seen in self.seen)


def play(deeds: Sequence[Deed], times: int, root: Path, at_once: int = SLOTS) -> Scene:
    """Run these deeds, all for one kind of harness and limit, beside the honest ones.

    Args:
        deeds: one candidate each.
        times: rows of each kind.
        root: where the project is made.
        at_once: trials; more than usual: all of them do their deed, and have time for it.
    """
    crowded = at_once > SLOTS
    project = _project(deeds, times, root, ("unknown",) if crowded else ("known", "unknown"))
    if crowded:
        project.config["harness"]["limits"] |= {"seconds": 900, "tool_seconds": 600}
        project.config["resources"]["reserve"] = {"cpus": 1 / at_once, "memory": "64MiB"}
    with Scripted({deed.name: deed for deed in deeds}) as server:
        for candidate in project.config["candidates"]:
            candidate["base_url"] = server.base_url
        outcome = project.bake("--max-concurrency", str(at_once), env=LOCAL, timeout=RUN_SECONDS)
    scene = Scene(outcome, [Seen(deed) for deed in deeds], [], 0, 0)
    if outcome.run is None or outcome.code not in (0, 3):
        scene.problems.append(f"exit {outcome.code}: {outcome.stderr[-500:]}")
        return scene
    trials = list(outcome.run.trials())
    scene.trials = len(trials)
    scene.disk_bytes = sum(path.stat().st_size for path in outcome.run.path.rglob("*") if path.is_file())
    scene.problems += _of_the_run(scene, project, trials)
    scores = {row.name: row.scores for row in data.collect(outcome.run).candidates}
    for seen in scene.seen:
        seen.scores = scores[seen.deed.name], scores[HONEST]
        _judge(seen, trials)
    return scene


def _project(deeds: Sequence[Deed], times: int, root: Path, kinds: Sequence[str]) -> Project:
    project = Project(root)
    first = deeds[0]
    source = root / "hostile"
    source.mkdir()
    if first.program:
        (source / "program.py").write_text((HERE / "program.py").read_text())
        harness = {"command": ["python3", "program.py"], "source": "hostile"}
    else:
        (source / "__init__.py").write_text("")
        (source / "agent.py").write_text((HERE / "agent.py").read_text())
        harness = {"entrypoint": "hostile.agent:build_agent", "source": "hostile"}
    seconds = 8 if first.hasty else 40
    limits = {"turns": 12, "seconds": seconds, "tool_seconds": 25}
    project.config["harness"] = {**harness, "limits": limits, "retries": {"model_call": 0}}
    project.config["resources"]["reserve"] = {"cpus": 0.5, "memory": "128MiB"}
    project.config["infra"] = {"attempts": 3, "max_error_rate": 1.0}
    (root / "marks.py").write_text(MARKS)
    project.config["evaluators"] = [
        {"final_answer": {"match": "contains"}, "threshold": 1.0},
        {"use": "marks:mark", "threshold": 1.0},
    ]
    names = [HONEST, NEIGHBOUR, *(deed.name for deed in deeds)]
    if first.program:
        names.remove(NEIGHBOUR)  # its tools are the other harness's; the twin is a neighbour too
    project.config["candidates"] = [
        {"name": name, "model": f"openai:{name}", "params": {"timeout": 4}} for name in names
    ]
    for kind in kinds:
        for number in range(times):
            row = f"{kind}-{number}"
            project.row(row, answer=answer(row))
    return project


def _of_the_run(scene: Scene, project: Project, trials: Sequence[TrialRecord]) -> list[str]:
    """What the host and the neighbours saw."""
    problems = []
    run = scene.outcome.run
    assert run is not None
    planned = run.manifest().trials_planned
    if len({trial.trial_id for trial in trials}) != planned or len(trials) != planned:
        problems.append(f"{len(trials)} of {planned} trials have a verdict")
    for trial in trials:
        honest = trial.candidate in (HONEST, NEIGHBOUR)
        right = "passed" if trial.candidate == NEIGHBOUR or trial.example_id.startswith("known") else "failed"
        if (honest or right == "passed") and trial.verdict != right:
            because = trial.attempts[-1].because if trial.attempts else ""
            problems.append(
                f"a neighbour noticed: {trial.trial_id} {trial.cause} {because[:200]} {trial.output[:80]!r}"
            )
    if peak := max(0, scene.outcome.peak_bytes // 2**20 - MEMORY_MIB):
        problems.append(f"the orchestrator's memory peaked {peak} MiB above {MEMORY_MIB}")
    if scene.disk_bytes > len(trials) * DISK_MIB_PER_TRIAL * 2**20:
        problems.append(f"the run directory has {scene.disk_bytes / 2**20:.0f} MiB")
    if scene.outcome.cpu_seconds > len(trials) * CPU_SECONDS_PER_TRIAL:
        problems.append(f"the orchestrator used {scene.outcome.cpu_seconds:.0f} s of CPU")
    if left := project.containers("-a"):
        problems.append(f"{len(left)} containers left")
    return problems


def _gained(mine: stats.ScoreSet, twin: stats.ScoreSet) -> Iterator[str]:
    """In which score it is above its twin."""
    for counting in (stats.Counting.SCORE, stats.Counting.AS_DEPLOYED):
        ours, theirs = mine.by[counting], twin.by[counting]
        if ours is not None and theirs is not None and ours.mean > theirs.mean:
            yield f"{counting} {ours.mean:.0%}, its honest twin {theirs.mean:.0%}"


def _winner(name: str, trials: Sequence[TrialRecord]) -> str | None:
    """Who would win, had each of many examples gone as these trials did."""
    pair = [
        Trial.of(trial).outcome(trial.candidate, "") for trial in trials if trial.candidate in (name, HONEST)
    ]
    many = [
        replace(outcome, example_id=f"{n}", cluster=f"{n}", repetition=repetition)
        for n in range(30)
        for repetition, outcome in enumerate(pair)
    ]
    return stats.decide(stats.count_deaths(many), [name, HONEST]).winner


def _judge(seen: Seen, of_all: Sequence[TrialRecord]) -> None:
    """What the deed gained over its honest twin, and what was blamed."""
    deed = seen.deed
    # A provider is outside: it may leave its model's trials unfinished. With more of them the report would name it.
    if seen.scores is not None and not deed.behaviour:
        seen.problems += _gained(*seen.scores)
        if _winner(deed.name, of_all) == deed.name:
            seen.problems.append("with more trials like these it would win against its honest twin")
    trials = [trial for trial in of_all if trial.candidate == deed.name]
    for trial in trials:
        if trial.example_id.startswith("known"):
            continue
        cause = trial.cause or ""
        seen.blamed[cause or "passed"] += 1
        if cause not in deed.right:
            because = trial.attempts[-1].because if trial.attempts else ""
            seen.problems.append(f"blamed {cause or 'nobody'}: {because[:200]}")
        elif deed.also is not None and (problem := deed.also(trial)):
            seen.problems.append(problem)
        if len(trial.attempts) > 1 and all(each.cause in verdict.INSIDE_CAUSES for each in trial.attempts):
            seen.problems.append(f"it got {len(trial.attempts)} attempts")
