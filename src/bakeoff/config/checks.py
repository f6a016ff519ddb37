"""What the schema cannot say: values of the right type that still make no sense, alone or together."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from bakeoff.config import selectors
from bakeoff.config.fitting import Loc, dotted, nearest
from bakeoff.config.model_ref import ModelRef
from bakeoff.config.schema import UNCAPPED, Config, Harness, Resources, Sweep
from bakeoff.errors import InputError

SMALLEST_MEMORY = 6 * 2**20  # Docker refuses less
SMALLEST_PIDS = 8
SMALLEST_CPUS = 0.01  # one cgroup quota of 1 ms in 100 ms; the kernel refuses less
# A key whose value is a secret.
SECRET = re.compile(
    r"(api[-_]?key|secret([-_]?key)?|passw(or)?d|credentials?|authorization|(access|auth|bearer)[-_]?token)$",
    re.IGNORECASE,
)
_REFERENCE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)
# No `__`: file names write the slash of a trial_id so, and it must stay reversible.
_SAFE_NAME = re.compile(r"(?!.*__)[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_NPM_PACKAGE = re.compile(
    r"(@[a-z0-9][\w.~-]*/)?[a-z0-9][\w.~-]*(@[\w.~^<>=|* +-]+)?", re.ASCII | re.IGNORECASE
)
_NAME_HINT = "Use up to 64 letters, digits, `.`, `_` or `-`, starting with a letter or digit, without `__`."
_RAISE = "Raise the smallest level, or the base."

Contradiction = tuple[Loc, str, str]  # where, problem, hint


def contradictions(config: Config) -> Iterator[Contradiction]:
    """Everything in the file that is of the right type and still makes no sense."""
    if not _SAFE_NAME.fullmatch(config.name):
        yield ("name",), f"{config.name!r} cannot be part of a file name", _NAME_HINT
    yield from _harness_contradictions(config)
    yield from _resource_contradictions(config.resources, ("resources",))
    if config.sweep is not None:
        for loc, problem, hint in sweep_contradictions(config.sweep, config.resources):
            yield ("sweep", *loc), problem, hint
    yield from _candidate_contradictions(config)
    yield from _evaluator_contradictions(config)
    yield from _gateway_contradictions(config)
    yield from _gate_contradictions(config)


def _harness_contradictions(config: Config) -> Iterator[Contradiction]:
    harness = config.harness
    if harness.entrypoint is None and harness.prompt is None and not harness.command:
        hint = "Give `entrypoint: module:function`, a system `prompt` with `tools`, or a `command`."
        yield ("harness",), "has neither `entrypoint` nor `prompt`, nor a `command`", hint
    yield from _command_contradictions(harness)
    if harness.entrypoint is not None:
        yield from _reference(("harness", "entrypoint"), harness.entrypoint, "my_agent.agent:build_agent")
        for key in ("prompt", "tools", "middleware"):
            if getattr(harness, key):
                hint = f"Remove `entrypoint`, or remove `{key}` and let the entrypoint's own code set it."
                yield ("harness", key), f"`{key}` cannot be given together with `entrypoint`", hint
    for i, tool in enumerate(harness.tools):
        yield from _reference(("harness", "tools", i), tool, "my_agent.tools:get_order")
    for i, middleware in enumerate(harness.middleware):
        loc = ("harness", "middleware", i, "use")
        yield from _reference(loc, middleware.use, "langchain.agents.middleware:PIIMiddleware")


def _command_contradictions(harness: Harness) -> Iterator[Contradiction]:
    for key in ("entrypoint", "prompt", "tools", "middleware"):
        if harness.command and getattr(harness, key):
            hint = f"Remove `command`, or remove `{key}`: a program brings its own."
            yield ("harness", key), f"`{key}` cannot be given together with `command`", hint
    for i, part in enumerate(harness.command):
        if "\0" in part or (i == 0 and not part):
            hint = 'Write the program and its arguments, for example `["node", "agent.js"]`.'
            yield ("harness", "command", i), "cannot be part of a command", hint
    for i, package in enumerate(harness.npm):
        if not _NPM_PACKAGE.fullmatch(package):  # no path, no address, and no option of npm's
            hint = "Write `name`, `name@version` or `@scope/name@version`, as in the registry."
            yield ("harness", "npm", i), f"{package!r} is not an npm package", hint


def _resource_contradictions(resources: Resources, loc: Loc) -> Iterator[Contradiction]:
    reserve = resources.reserve
    if resources.memory < SMALLEST_MEMORY:
        yield (*loc, "memory"), "is less than the 6MiB that Docker needs", "Write for example 512MiB."
    for name, cpus in (("cpus", resources.cpus), ("reserve.cpus", reserve.cpus)):
        if cpus < SMALLEST_CPUS:
            yield (*loc, *name.split(".")), "is less than 0.01 of a CPU", "Write for example 0.5."
    for key in ("cpus", "memory"):
        if getattr(reserve, key) > getattr(resources, key):
            hint = f"Lower the reserve, or raise `{dotted((*loc, key))}`."
            yield (*loc, "reserve", key), "the reserve is larger than the ceiling", hint


def sweep_contradictions(sweep: Sweep, base: Resources) -> Iterator[Contradiction]:
    """What makes no sense in a sweep over these base resources; places are keys of `sweep`."""
    for name, resources in sweep.profiles.items():
        if not _SAFE_NAME.fullmatch(name):
            yield ("profiles", name), f"{name!r} cannot be part of a file name", _NAME_HINT
        yield from _resource_contradictions(resources, ("profiles", name))
    if sweep.profiles:
        if sweep.model_fields_set & {"levels", "scale", "floor"}:
            hint = "Give levels, or profiles with all of their resources."
            yield ("profiles",), "cannot be given together with `levels`, `scale` or `floor`", hint
        if len(sweep.profiles) < 2:
            yield ("profiles",), "is one profile, and a sweep compares several", "Give another."
        return
    numbers = [level for level in sweep.levels if level != UNCAPPED]
    if len(sweep.levels) < 2:
        yield (
            ("levels",),
            "is fewer than two levels, and a sweep compares several",
            "Write for example 1,2,4.",
        )
    if sweep.levels != [*sorted(set(numbers)), *[UNCAPPED] * (UNCAPPED in sweep.levels)]:
        hint = "Write each level once, the smallest first and `uncapped` last."
        yield ("levels",), "the levels are not in order", hint
    smallest = min(numbers, default=1.0)
    if "memory" in sweep.scale and base.memory * smallest < SMALLEST_MEMORY:
        yield (
            ("levels",),
            f"{smallest:g} of {base.memory} bytes is less than the 6MiB that Docker needs",
            _RAISE,
        )
    if "cpus" in sweep.scale and base.cpus * smallest < SMALLEST_CPUS:
        yield ("levels",), f"{smallest:g} of {base.cpus:g} CPUs is less than 0.01 of a CPU", _RAISE
    if "pids" in sweep.scale and base.pids * smallest < SMALLEST_PIDS:
        yield ("levels",), f"{smallest:g} of {base.pids} processes is less than {SMALLEST_PIDS}", _RAISE


def _candidate_contradictions(config: Config) -> Iterator[Contradiction]:
    if not config.candidates:
        hint = 'Write for example `- {name: steady, model: "simulated:skill=0.9"}`.'
        yield ("candidates",), "there is no candidate", hint
    seen: set[str] = set()
    for i, candidate in enumerate(config.candidates):
        loc = ("candidates", i)
        if not _SAFE_NAME.fullmatch(candidate.name):
            yield (*loc, "name"), f"{candidate.name!r} cannot be part of a file name", _NAME_HINT
        if candidate.name.casefold() in seen:  # some file systems take Opus and opus for one
            yield (*loc, "name"), f"the candidate {candidate.name!r} is named twice", "Rename one of the two."
        seen.add(candidate.name.casefold())
        if not candidate.model:
            yield (*loc, "model"), "is empty", "Write `provider:model`."
        yield from _secret_params(loc, candidate.params)


def _evaluator_contradictions(config: Config) -> Iterator[Contradiction]:
    seen: set[str] = set()
    for i, spec in enumerate(config.evaluators):
        loc = ("evaluators", i)
        if spec.use is not None:
            yield from _reference((*loc, "use"), spec.use, "my_checks:is_polite")
        if spec.kind == "llm_judge":
            yield from _secret_params((*loc, spec.kind), spec.options["params"])
        if not _SAFE_NAME.fullmatch(spec.name):
            yield (*loc, "name"), f"{spec.name!r} cannot be an evaluator's name", _NAME_HINT
        if spec.name in seen:
            yield loc, f"two evaluators are named {spec.name!r}", "Give one of them a `name:` of its own."
        seen.add(spec.name)
    if all(spec.threshold is None for spec in config.evaluators):
        hint = "Add `threshold: 1.0` to the evaluator that decides whether a trial passes."
        yield ("evaluators",), "no evaluator has a threshold, so that nothing can pass or fail", hint


def _gate_contradictions(config: Config) -> Iterator[Contradiction]:
    for i, text in enumerate(config.gates.must_pass):
        try:
            selectors.parse(text)
        except InputError as error:
            yield ("gates", "must_pass", i), error.problem, error.hint or ""


def _gateway_contradictions(config: Config) -> Iterator[Contradiction]:
    """Every rate and price belongs to a model that is used, and every key command to a variable."""
    judges = [spec.options for spec in config.evaluators if spec.kind == "llm_judge"]
    providers = [one.ref.server for one in config.candidates]
    providers += [ModelRef(one["model"], one["base_url"]).server for one in judges]
    models = [one.model for one in config.candidates] + [one["model"] for one in judges]
    for key, named, known in (("rate", config.rate, providers), ("prices", config.prices, models)):
        for name in named:
            if name not in known:
                meant = nearest(name, known)
                hint = f"Did you mean `{meant}`? " if meant else ""
                listed = ", ".join(dict.fromkeys(known))
                yield (key, name), f"no candidate uses {name!r}", f"{hint}Those used are {listed}."
    for name, command in config.key_command.items():
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            hint = "Write for example `OPENAI_API_KEY: [pass, show, openai]`."
            yield ("key_command", name), "is not the name of an environment variable", hint
        if not command[0]:
            yield ("key_command", name), "names no command", "Write the command and its arguments as a list."


def _secret_params(loc: Loc, params: Mapping[str, Any]) -> Iterator[Contradiction]:
    for key in params:
        if SECRET.search(key):
            hint = "Put the key into an environment variable and name that in `api_key_env`."
            yield (*loc, "params", key), "a secret does not belong into this file", hint


def _reference(loc: Loc, reference: str, example: str) -> Iterator[Contradiction]:
    if not _REFERENCE.fullmatch(reference):
        yield loc, f"{reference!r} is not of the form module:name", f"Write for example `{example}`."
