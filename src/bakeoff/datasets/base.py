"""What a dataset is: examples with their digests and their places, whichever format they were read from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path

from bakeoff.config.fitting import Loc, Place, nearest
from bakeoff.config.located import CommandLine
from bakeoff.errors import InputError
from bakeoff.record.base import JsonDict
from bakeoff.record.manifest import Origin
from bakeoff.record.trial import Example


@dataclass(frozen=True)
class Dataset:
    """The examples of a run.

    Attributes:
        digest: SHA-256, in hex, of all rows and of the content of every file that they name. It identifies the
            dataset, whichever of its rows are selected.
        examples: the selected rows, in the dataset's order.
        row_digests: a short digest of each row and its files, by id, so that a difference can be named. A row has the
            same digest wherever it was read from.
        file_digests: SHA-256, in hex, of each file, by its absolute path.
        places: where each row was read, by id.
        origin: the LangSmith version that was read. None: a file.
        langsmith_ids: the UUID of the LangSmith example that a row is, by id.
    """

    digest: str
    examples: list[Example]
    row_digests: dict[str, str]
    file_digests: dict[str, str]
    places: Mapping[str, Place]
    origin: Origin | None = None
    langsmith_ids: Mapping[str, str] = field(default_factory=dict)

    def rows(self, root: Path) -> Iterator[JsonDict]:
        """The selected examples as a run keeps them: whole, each with its digest, and its files by their digests.

        Paths are relative to `root`, the directory of the harness file. Those of attachments, which are in the user's
        cache, are absolute. `langsmith_id` is there if the row is an example in LangSmith.
        """
        root = root.resolve()
        for example in self.examples:
            row = example.model_dump(mode="json", include={"id", "inputs", "outputs", "metadata"})
            files = {
                name: {
                    "path": str(Path(path).relative_to(root)) if self.origin is None else path,
                    "sha256": self.file_digests[path],
                }
                for name, path in example.files.items()
            }
            row |= {"files": files, "digest": self.row_digests[example.id]}
            if example.id in self.langsmith_ids:
                row["langsmith_id"] = self.langsmith_ids[example.id]
            yield row

    def error(self, example: Example, loc: Loc, problem: str, hint: str) -> InputError:
        """The error about one key of one row, for checks that need more than the dataset."""
        return self.places[example.id].error(loc, problem, hint)


def select(dataset: Dataset, patterns: Sequence[str], suites: Sequence[str] = ()) -> Dataset:
    """The examples whose id equals or matches (fnmatch) any of the patterns, in the dataset's order.

    No patterns select everything. `suites` keeps those whose `metadata.suite` is among them.

    Raises:
        InputError: a pattern or a suite that matches nothing, or nothing matches both.
    """
    if suites:
        dataset = _of_suites(dataset, suites)
    if not patterns:
        return dataset
    ids = [example.id for example in dataset.examples]
    for pattern in patterns:
        if not any(fnmatchcase(one, pattern) for one in ids):
            meant = nearest(pattern, ids)
            few = ", ".join(ids[:5]) + (", ..." if len(ids) > 5 else "")
            hint = f"Did you mean {meant}?" if meant else f"Ids here are {few}; `refund-*` works too."
            raise CommandLine().error(("example",), f"no example has the id {pattern!r}", hint)
    chosen = [one for one in dataset.examples if any(fnmatchcase(one.id, pattern) for pattern in patterns)]
    return replace(dataset, examples=chosen)


def _of_suites(dataset: Dataset, suites: Sequence[str]) -> Dataset:
    known = sorted({str(e.metadata["suite"]) for e in dataset.examples if "suite" in e.metadata})
    for suite in suites:
        if suite not in known:
            hint = f"Suites here are {', '.join(known)}." if known else "Give rows a `metadata.suite`."
            if meant := nearest(suite, known):
                hint = f"Did you mean {meant}? {hint}"
            raise CommandLine().error(("suite",), f"no example is of the suite {suite!r}", hint)
    chosen = [e for e in dataset.examples if str(e.metadata.get("suite", "")) in suites]
    return replace(dataset, examples=chosen)
