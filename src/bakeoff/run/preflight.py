"""Checks, before anything starts, that configuration, code, dataset, providers and host fit together."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from bakeoff.backends.base import Capacity
from bakeoff.config.fitting import Loc, nearest
from bakeoff.config.located import Located
from bakeoff.config.schema import Candidate, Config, EvaluatorSpec
from bakeoff.datasets import Dataset
from bakeoff.errors import InputError
from bakeoff.harness import contents
from bakeoff.harness.source import Definitions, SourceTree, definitions, misfit
from bakeoff.record.trial import Example, Profile
from bakeoff.run import plan
from bakeoff.scoring.check import check_functions, check_references

_SHOWN_NAMES = 12


def check(
    config: Config,
    dataset: Dataset,
    capacity: Capacity | None = None,
    *,
    environ: Mapping[str, str] = os.environ,
) -> None:
    """Raise the first thing that would stop the run; cheap checks come first.

    Args:
        config: as `loading.load` gives it.
        dataset: the examples that are to run.
        capacity: of the host; None where no backend answers, and then nothing is checked against it.
        environ: where providers' keys are looked for.

    Raises:
        InputError: with file, line, key and hint.
    """
    if capacity is not None:
        check_host(config, capacity)
    _check_rows(config, dataset)
    check_references(config, dataset)
    tree = _source_tree(config)
    contents.read(config)
    _check_code(config, tree)
    _check_providers(config, environ)
    check_functions(config)  # last: it is the only check that runs the user's code


# --- host -------------------------------------------------------------------------------------------


def check_host(config: Config, capacity: Capacity) -> None:
    """Refuse ceilings that are larger than the host.

    Raises:
        InputError: names the key.
    """
    for profile in plan.profiles(config):
        cpus, memory = profile.limits.cpus or 0.0, profile.limits.memory_bytes or 0
        if cpus > capacity.cpus:
            problem = f"{cpus:g} CPUs are more than the {capacity.cpus:g} of this host"
            raise _too_large(config, profile, "cpus", problem)
        if memory > capacity.memory_bytes:
            asked, there = memory / 2**20, capacity.memory_bytes / 2**20
            problem = f"{asked:.0f} MiB are more than the {there:.0f} MiB that this host can give"
            raise _too_large(config, profile, "memory", problem)


def _too_large(config: Config, profile: Profile, what: str, problem: str) -> InputError:
    if config.sweep is None:
        hint = f"Lower `resources.{what}` (or --{what}), or run on a larger host."
        return config.error(("resources", what), problem, hint)
    if config.sweep.profiles:
        hint = "Lower it, or run on a larger host."
        return config.error(("sweep", "profiles", profile.name, what), problem, hint)
    hint = f"Lower the levels or the base, leave `{what}` out of what is scaled, or run on a larger host."
    return config.error(("sweep", "levels"), f"{profile.name}: {problem}", hint)


# --- dataset ----------------------------------------------------------------------------------------


def _check_rows(config: Config, dataset: Dataset) -> None:
    """Every row's files fit into /task."""
    if not dataset.examples:
        raise config.error("dataset", "has no example that is left to run", "Select at least one row.")
    least = min(
        (p.limits.disk_bytes for p in plan.profiles(config) if p.limits.disk_bytes is not None), default=None
    )
    for example in dataset.examples:
        if least is not None and (size := _files_size(example)) > least:
            problem = f"the row's files have {size} bytes, more than `resources.disk` ({least})"
            raise dataset.error(example, ("files",), problem, "Raise `resources.disk`.")
        if config.harness.command:
            _check_names(dataset, example)


def _check_names(dataset: Dataset, example: Example) -> None:
    """No file of a row has the path of a program's task or answer."""
    from bakeoff_runner.command import ANSWERS, TASK

    for name in (TASK, *ANSWERS):
        if name in example.files:
            problem = (
                f"{name} is where a command finds its task"
                if name == TASK
                else f"{name} is a command's answer"
            )
            raise dataset.error(example, ("files", name), problem, "Give the file another name.")


def _files_size(example: Example) -> int:
    return sum(Path(file).stat().st_size for file in example.files.values())


# --- the harness's code -----------------------------------------------------------------------------


def _source_tree(config: Config) -> SourceTree:
    loc: Loc = ("harness", "source")
    tree = SourceTree.of(contents.source_directory(config))
    if tree.package is not None and not tree.package.isidentifier() and not config.harness.command:
        problem = f"the package {tree.package!r} cannot be imported by that name"
        raise config.error(loc, problem, "Rename the directory to a Python identifier, such as my_agent.")
    return tree


def _check_code(config: Config, tree: SourceTree) -> None:
    harness = config.harness
    if harness.entrypoint is not None:
        _check_reference(config, tree, ("harness", "entrypoint"), harness.entrypoint)
    for i, tool in enumerate(harness.tools):
        _check_reference(config, tree, ("harness", "tools", i), tool)
    for i, middleware in enumerate(harness.middleware):
        _check_reference(config, tree, ("harness", "middleware", i, "use"), middleware.use)


def _check_reference(config: Config, tree: SourceTree, loc: Loc, reference: str) -> None:
    """`module:name` exists in the source. What may be an installed package's is left to the image's check."""
    module, _, name = reference.partition(":")
    is_entrypoint = loc[-1] == "entrypoint"
    file = tree.module_file(module)
    if file is None:
        modules = tree.modules()
        if not tree.owns(module) and (
            config.harness.requirements or not (is_entrypoint or _is_misspelt(module, modules))
        ):
            return
        meant = nearest(module, modules)
        known = ", ".join(modules[:_SHOWN_NAMES]) or "none"
        hint = f"Did you mean `{meant}:{name}`?" if meant else f"Modules there are: {known}."
        problem = f"there is no module `{module}` in {config.harness.source}"
        raise config.error(loc, problem, hint)
    if tree.module_file(f"{module}.{name}") is not None:
        return  # a submodule: the image's check says that it is no function
    found = _definitions(config, file)
    if found is None or (name not in found.names and not found.complete):
        return
    if name not in found.names:
        functions = [one for one, function in found.names.items() if function] or list(found.names)
        meant = nearest(name, found.names)
        known = ", ".join(functions[:_SHOWN_NAMES]) or "none"
        hint = f"Did you mean `{module}:{meant}`? " if meant else ""
        problem = f"`{module}` has no `{name}`"
        raise config.error(loc, problem, f"{hint}Functions there are: {known}.")
    function = found.names[name]
    if is_entrypoint and function is not None and (reason := misfit(function)):
        raise config.error(loc, f"{reason} (line {function.lineno})", f"Write `def {name}(model, context):`.")


def _is_misspelt(module: str, modules: list[str]) -> bool:
    """Whether the first part is so like one of the source's that it is no other package's name."""
    tops = {one.partition(".")[0] for one in modules}
    return nearest(module.partition(".")[0], tops, likeness=0.8) is not None


def _definitions(config: Config, file: Path) -> Definitions | None:
    """What a module defines; None when only the image's newer Python can tell."""
    try:
        return definitions(file)
    except (SyntaxError, ValueError, RecursionError) as error:
        image = re.search(r"python:(\d+)\.(\d+)", config.harness.base_image)
        if image is None or sys.version_info < (int(image[1]), int(image[2])):
            return None
        line = error.lineno if isinstance(error, SyntaxError) else None
        shown = str(config.file.parent / os.path.relpath(file, config.root))
        raise Located(shown, line).error((), f"is not valid Python: {error}", "Correct the syntax.") from None
    except OSError as error:
        raise Located(str(file)).error((), f"cannot be read: {error.strerror}", "Make it readable.") from None


# --- providers --------------------------------------------------------------------------------------


def _check_providers(config: Config, environ: Mapping[str, str]) -> None:
    from bakeoff import gateway  # only a run needs it

    loc: Loc
    for candidate in config.candidates:
        if problem := gateway.check(candidate, environ=environ, root=config.root):
            raise config.candidate_error(candidate.name, problem.problem, problem.hint)
    if unpriced := gateway.check_budget(config):
        name, problem = unpriced
        raise config.candidate_error(name, problem.problem, problem.hint)
    for i, spec in enumerate(config.evaluators):
        if spec.kind != "llm_judge":
            continue
        loc = ("evaluators", i, spec.kind, "model")
        if _judge(spec).ref.own:
            problem = gateway.Problem(
                "a simulated, local or replayed model cannot judge", "Name a provider's model."
            )
        else:
            problem = gateway.check(_judge(spec), environ=environ)
        if problem:
            raise config.error(loc, problem.problem, problem.hint)


def _judge(spec: EvaluatorSpec) -> Candidate:
    """The model of an `llm_judge`, in the form that the gateway takes."""
    keys = ("model", "params", "base_url", "api_key_env")
    return Candidate(name=spec.name, **{key: spec.options[key] for key in keys})
