"""Reads harness.yaml into a Config; whatever is wrong with it is one error with file, line, key and hint."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field
from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.scalarbool import ScalarBoolean

from bakeoff.config import selectors
from bakeoff.config.fitting import Loc, fit, found, keys_of, nearest, unknown_key
from bakeoff.config.located import Located
from bakeoff.config.model_ref import ModelRef
from bakeoff.config.schema import Config, EvaluatorSpec, Harness
from bakeoff.config.section import Section
from bakeoff.config.sizes import SizeError, parse_size
from bakeoff.datasets import table as datasets
from bakeoff.errors import InputError
from bakeoff.scoring.table import EVALUATORS

_MAX_VALUES = 100_000  # aliases can make a small file a huge tree
_SMALLEST_MEMORY = 6 * 2**20  # Docker refuses less
_SMALLEST_CPUS = 0.01  # one cgroup quota of 1 ms in 100 ms; the kernel refuses less
_REFERENCE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)
# No `__`: it stands for the slash of a trial_id in file names, which must stay reversible.
_SAFE_NAME = re.compile(r"(?!.*__)[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_NPM_PACKAGE = re.compile(
    r"(@[a-z0-9][\w.~-]*/)?[a-z0-9][\w.~-]*(@[\w.~^<>=|* +-]+)?", re.ASCII | re.IGNORECASE
)
_NAME_HINT = "Use up to 64 letters, digits, `.`, `_` or `-`, starting with a letter or digit, without `__`."
_SECRET = re.compile(
    r"(api[-_]?key|secret([-_]?key)?|passw(or)?d|credentials?|authorization|(access|auth|bearer)[-_]?token)$",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Overrides:
    """What the command line changes; None or empty leaves what the file says.

    `examples` and `suites` are for `datasets.select`: this module does not know the dataset.
    A `memory` or `cpus` below the reserve lowers the reserve to it: no floor stands above its ceiling.
    """

    candidates: tuple[str, ...] = ()  # names
    examples: tuple[str, ...] = ()  # ids or fnmatch globs
    suites: tuple[str, ...] = ()  # values of metadata.suite
    trials: int | None = None
    memory: str | None = None  # a size, 512MiB
    cpus: float | None = None
    seed: int | None = None
    max_concurrency: int | None = None


class _Entry(Section):
    """An evaluator's entry without its built-in's own key."""

    name: str | None = None
    threshold: Annotated[float, Field(gt=0, le=1)] | None = None  # at 0 nothing could ever fail
    use: str | None = None
    with_: dict[str, Any] = Field(default_factory=dict, alias="with")


def load(path: Path, overrides: Overrides | None = None) -> Config:
    """Read, check and resolve harness.yaml.

    A reserve that the file does not give is the default, or the ceiling where that is lower.

    Args:
        path: as the user gave it; errors repeat it so.
        overrides: the command line's changes.

    Raises:
        InputError: the first thing wrong, in the file or in an override.
    """
    data, source = _located(_read(path), str(path))
    if not isinstance(data, dict):
        raise source.error((), f"expected a mapping, found {found(data)}", "Start with `version: 1`.")
    version = data.get("version", 1)
    if version != 1 or isinstance(version, bool):  # pydantic's Literal[1] takes True, which equals 1
        raise source.error(("version",), f"expected version 1, found {found(version)}", "Write `version: 1`.")
    specs = _evaluators(data, source)
    config = fit(Config, data | specs, source).read_from(path, source)
    config = _with_reserve_below_ceiling(config, only_defaults=True)
    for loc, problem, hint in _contradictions(config):
        raise source.error(loc, problem, hint)
    return _apply(overrides, config) if overrides else config


def dump(config: Config) -> dict[str, Any]:
    """The resolved configuration as plain JSON for the manifest: sizes in bytes, defaults filled in.

    Every value whose key ends like a secret's (`api_key`, `password`, ...) is masked. Names of environment
    variables (`api_key_env`) stay: they say which key was used without saying the key.
    """
    masked: dict[str, Any] = _masked(config.model_dump(mode="json", by_alias=True))
    # the program alone: its arguments may say the key, or where it lies
    masked["key_command"] = {name: [command[0], "***"] for name, command in config.key_command.items()}
    return masked


# --- the file ---------------------------------------------------------------------------------------


def _read(path: Path) -> Any:
    """The file's YAML tree."""
    file = str(path)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        hint = "Give the path of a harness file, or write one with `bakeoff init`."
        raise InputError("there is no such file", file=file, hint=hint) from None
    except IsADirectoryError:
        hint = f"Give the file in it, for example {path / 'harness.yaml'}."
        raise InputError("is a directory, not a harness file", file=file, hint=hint) from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise InputError("is not UTF-8 text", file=file, line=line, hint="Save the file as UTF-8.") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"cannot be read: {reason}", file=file, hint="Check the path.") from None
    try:
        tree = YAML(typ="rt", pure=True).load(text)
    except DuplicateKeyError as error:
        key = re.match(r'found duplicate key "(.*?)" with', str(error.problem))
        name = key[1] if key else None
        hint = "Keep one of the two."
        raise InputError(
            "the key is given twice", file=file, line=_mark(error), key=name, hint=hint
        ) from None
    except MarkedYAMLError as error:
        problem = f"is not valid YAML: {error.problem or error.context}"
        hint = "Correct the syntax at or just before this line (brackets, quotes, indentation)."
        raise InputError(problem, file=file, line=_mark(error), hint=hint) from None
    except RecursionError:
        raise InputError("is nested too deeply", file=file, hint="Flatten it.") from None
    except Exception as error:  # noqa: BLE001 - whatever a parser raises about a text is the text's fault
        problem = f"is not valid YAML: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
        raise InputError(problem, file=file, hint="Correct the value; quote it if it is text.") from None
    if tree is None:
        raise InputError("is empty", file=file, line=1, hint="Write one with `bakeoff init`.")
    return tree


def _mark(error: MarkedYAMLError) -> int | None:
    mark = error.problem_mark or error.context_mark
    return mark.line + 1 if mark else None


def _located(tree: Any, file: str) -> tuple[Any, Located]:
    """The tree as dicts, lists and scalars that JSON can hold, and the line of every key."""
    count = 0
    lines: dict[Loc, int] = {(): 1}
    source = Located(file, 1, lines)

    def child(node: Any, key: str | int, loc: Loc) -> Any:
        # a key merged in by `<<` has no line of its own, nor has what is below it
        if loc in lines:
            with suppress(AttributeError, KeyError, IndexError, TypeError):
                at = node.lc.item(key) if isinstance(key, int) else node.lc.key(key)
                lines[*loc, key] = at[0] + 1
        return plain(node[key], (*loc, key))

    def plain(node: Any, loc: Loc) -> Any:
        nonlocal count
        count += 1
        if count > _MAX_VALUES:
            raise source.error((), "the file has too many values", "Use fewer aliases.")
        if (tag := getattr(node, "tag", None)) is not None and tag.value is not None:
            raise source.error(loc, f"the YAML tag {str(tag.value)!r} is not used here", "Remove the tag.")
        if isinstance(node, dict):
            for key in node:
                if not isinstance(key, str):
                    problem = f"the key {str(key)[:60]!r} is not text"
                    raise source.error(
                        loc, problem, "Write keys as text; quote them if they look like numbers."
                    )
            return {str(key): child(node, str(key), loc) for key in node}
        if isinstance(node, list):
            return [child(node, index, loc) for index in range(len(node))]
        return scalar(node, loc)

    def scalar(node: Any, loc: Loc) -> Any:
        if node is None or isinstance(node, bool):
            return node
        if isinstance(node, ScalarBoolean):  # not a bool, but an int: what an anchored `true` becomes
            return bool(node)
        if isinstance(node, int):
            return int(node)
        if isinstance(node, float):
            return float(node)
        if isinstance(node, str):
            if any("\ud800" <= character <= "\udfff" for character in node):
                raise source.error(
                    loc, "the text has half a surrogate pair in it", "Write the character itself."
                )
            return str(node)
        problem = f"expected text, a number, a list or a mapping, found {str(node)[:60]!r}"
        raise source.error(loc, problem, "Quote the value if it is meant as text.")

    try:
        return plain(tree, ()), source
    except RecursionError:
        raise source.error((), "is nested too deeply", "Flatten it.") from None


# --- evaluators: `{kind: options, threshold: ...}` -> EvaluatorSpec ---------------------------------


def _evaluators(data: Mapping[str, Any], source: Located) -> dict[str, Any]:
    """The entries of `evaluators` in the schema's form; nothing if it is no list: the schema says that."""
    entries = data.get("evaluators")
    if not isinstance(entries, list):
        return {}
    return {"evaluators": [_evaluator(entry, ("evaluators", i), source) for i, entry in enumerate(entries)]}


def _evaluator(entry: object, loc: Loc, source: Located) -> EvaluatorSpec:
    known = [*EVALUATORS, *keys_of(_Entry)]
    if isinstance(entry, str):
        entry = {entry: {}}
    if not isinstance(entry, dict):
        hint = "Write for example `- {final_answer: {match: contains}, threshold: 1.0}`."
        raise source.error(loc, f"expected an evaluator, found {found(entry)}", hint)
    for key in entry:
        if key not in known:
            raise source.error((*loc, key), *unknown_key(key, known))
    kinds = [key for key in entry if key in EVALUATORS or key == "use"]
    if len(kinds) != 1:
        problem = f"names {' and '.join(kinds)}" if kinds else "names no evaluator"
        hint = f"Give each entry exactly one of {', '.join(EVALUATORS)} or `use: module:function`."
        raise source.error(loc, problem, hint)
    kind = kinds[0]
    common = fit(_Entry, {key: value for key, value in entry.items() if key not in EVALUATORS}, source, loc)
    if kind == "use":
        if common.use is None:
            raise source.error((*loc, "use"), "is empty", "Write for example `use: my_checks:is_polite`.")
        options, name = common.with_, common.use.rpartition(":")[2]
    elif common.with_:
        problem = f"`with` is for `use`; {kind} takes its options below its own name"
        raise source.error((*loc, "with"), problem, f"Write `{kind}: {{...}}`.")
    else:
        given = entry[kind] if entry[kind] is not None else {}
        options, name = (
            fit(EVALUATORS[kind].options, given, source, (*loc, kind)).model_dump(mode="json"),
            kind,
        )
    return EvaluatorSpec(
        kind=kind, name=common.name or name, options=options, use=common.use, threshold=common.threshold
    )


# --- what the schema cannot say ---------------------------------------------------------------------

Contradiction = tuple[Loc, str, str]  # where, problem, hint


def _contradictions(config: Config) -> Iterator[Contradiction]:
    """Everything in the file that is of the right type and still makes no sense."""
    if not _SAFE_NAME.fullmatch(config.name):
        yield ("name",), f"{config.name!r} cannot be part of a file name", _NAME_HINT
    yield from _harness_contradictions(config)
    yield from _resource_contradictions(config)
    yield from _candidate_contradictions(config)
    yield from _evaluator_contradictions(config)
    yield from _gateway_contradictions(config)
    yield from _gate_contradictions(config)
    for problem, hint in datasets.problems(config.dataset):
        yield ("dataset",), problem, hint


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


def _resource_contradictions(config: Config) -> Iterator[Contradiction]:
    resources, reserve = config.resources, config.resources.reserve
    if resources.memory < _SMALLEST_MEMORY:
        yield ("resources", "memory"), "is less than the 6MiB that Docker needs", "Write for example 512MiB."
    for name, cpus in (("cpus", resources.cpus), ("reserve.cpus", reserve.cpus)):
        if cpus < _SMALLEST_CPUS:
            yield ("resources", *name.split(".")), "is less than 0.01 of a CPU", "Write for example 0.5."
    for key in ("cpus", "memory"):
        if getattr(reserve, key) > getattr(resources, key):
            hint = f"Lower the reserve, or raise `resources.{key}`."
            yield ("resources", "reserve", key), "the reserve is larger than the ceiling", hint


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
    """Rates and prices are of somebody, and a command gives a variable."""
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
        if _SECRET.search(key):
            hint = "Put the key into an environment variable and name that in `api_key_env`."
            yield (*loc, "params", key), "a secret does not belong into this file", hint


def _reference(loc: Loc, reference: str, example: str) -> Iterator[Contradiction]:
    if not _REFERENCE.fullmatch(reference):
        yield loc, f"{reference!r} is not of the form module:name", f"Write for example `{example}`."


# --- the command line's changes ---------------------------------------------------------------------


def _apply(overrides: Overrides, config: Config) -> Config:
    """The configuration as the command line changes it."""
    resources: dict[str, float] = {}
    changes: dict[str, Any] = {}
    if overrides.memory is not None:
        try:
            resources["memory"] = parse_size(overrides.memory)
        except SizeError as error:
            raise InputError(str(error), key="--memory", hint=error.hint) from None
        _at_least("--memory", resources["memory"], _SMALLEST_MEMORY, "Write for example 512MiB.")
    if overrides.cpus is not None:
        _at_least("--cpus", overrides.cpus, _SMALLEST_CPUS, "Write for example 0.5.")
        resources["cpus"] = overrides.cpus
    if resources:
        changes["resources"] = config.resources.model_copy(update=resources)
    for key in ("trials", "max_concurrency"):
        if (value := getattr(overrides, key)) is not None:
            _at_least(f"--{key.replace('_', '-')}", value, 1, "Write a whole number from 1.")
            changes[key] = value
    if overrides.seed is not None:
        changes["seed"] = overrides.seed
    if overrides.candidates:
        names = [candidate.name for candidate in config.candidates]
        for name in overrides.candidates:
            if name not in names:
                problem = f"there is no candidate {name!r}"
                hint = f"Candidates in {config.file}: {', '.join(names)}."
                if meant := nearest(name, names):
                    hint = f"Did you mean {meant}? {hint}"
                raise InputError(problem, key="--candidate", hint=hint)
        changes["candidates"] = [one for one in config.candidates if one.name in overrides.candidates]
    return _with_reserve_below_ceiling(config.model_copy(update=changes), only_defaults=False)


def _at_least(option: str, value: float, least: float, hint: str) -> None:
    if not least <= value < float("inf"):
        raise InputError(f"{value} is less than {least} or not a number", key=option, hint=hint)


def _with_reserve_below_ceiling(config: Config, *, only_defaults: bool) -> Config:
    """Lower the reserve to the ceiling; `only_defaults` leaves a reserve that the file gives as it is."""
    resources, reserve = config.resources, config.resources.reserve
    lowered: dict[str, Any] = {
        key: min(getattr(reserve, key), getattr(resources, key))
        for key in ("cpus", "memory")
        if not (only_defaults and key in reserve.model_fields_set)
    }
    reserve = reserve.model_copy(update=lowered)
    return config.model_copy(update={"resources": resources.model_copy(update={"reserve": reserve})})


def _masked(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: "***" if _SECRET.search(key) and one is not None else _masked(one)
            for key, one in value.items()
        }
    return [_masked(one) for one in value] if isinstance(value, list) else value
