"""One version of a LangSmith dataset as rows and files on this machine: fetched, or kept from an earlier fetch.

A new run always asks LangSmith, where an example can be erased from all versions. The cache is for a resumed run, which
has the digest in its manifest: nothing else is taken from the cache.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, TypeAdapter

from bakeoff.config.clients import quiet
from bakeoff.config.fitting import fit, nearest
from bakeoff.config.located import Located
from bakeoff.datasets.langsmith import attachment, cache
from bakeoff.datasets.langsmith.account import LOGS, Account, Unavailable
from bakeoff.datasets.langsmith.example import OURS, Ours, row_files, row_metadata
from bakeoff.datasets.langsmith.reference import LATEST, PREFIX, Reference
from bakeoff.record.base import JsonDict
from bakeoff.record.manifest import Origin

if TYPE_CHECKING:
    import requests
    from langsmith import Client
    from langsmith.schemas import Dataset, DatasetVersion

ATTACHMENT = "attachment."  # before each name, in the API
PAGE = 100  # examples asked for at once: the API's maximum
LISTED = 8  # names or tags that an error lists
SEARCHED = 1000  # datasets, or versions of one, that are searched for a near name


@dataclass(frozen=True)
class Line:
    """One example.

    Attributes:
        example_id: its UUID.
        id: the id of the row.
        url: where a reader finds it.
        row: the dataset row that it is, as JSON text, with its `files` by their SHA-256.
        files: {name below /task: SHA-256, in hex}.
    """

    example_id: str
    id: str
    url: str
    row: str
    files: Mapping[str, str]


@dataclass(frozen=True)
class Snapshot:
    """All examples of one version, in the order of their creation. `digest` is the SHA-256, in hex, of all rows."""

    origin: Origin
    lines: list[Line]

    @property
    def digest(self) -> str:
        whole = hashlib.sha256()
        for line in self.lines:
            whole.update(f"{line.row}\n".encode(errors="surrogatepass"))
        return whole.hexdigest()


def kept(origin: Origin, digest: str) -> Snapshot | None:
    """What an earlier fetch kept of this version. None: a part of it is gone or has changed."""
    try:
        text = _path(origin).read_text("utf-8")
        lines = [Line(**json.loads(line)) for line in text.splitlines()]
        snapshot = Snapshot(origin, lines)
        if snapshot.digest != digest:
            return None
        for sha256 in {each for line in lines for each in line.files.values()}:
            with cache.file_path(sha256).open("rb") as content:
                if hashlib.file_digest(content, "sha256").hexdigest() != sha256:
                    return None
    except (OSError, ValueError, TypeError):  # it is fetched again, which reports what is wrong
        return None
    return snapshot


def fetch(reference: Reference, account: Account, pinned: Origin | None = None) -> Snapshot:
    """Read a dataset from LangSmith, and keep it.

    Args:
        reference: what harness.yaml names.
        account: where to look for it.
        pinned: the version to read instead of what `reference` names today.

    Raises:
        Unavailable: with the reason and a hint.
    """
    try:
        with quiet(*LOGS), closing(account.client()) as client, closing(attachment.session()) as http:
            with _explained(account):
                dataset = _dataset(client, reference, account, pinned)
                version = _version(client, dataset, reference, pinned)
            origin = Origin(
                endpoint=account.endpoint,
                dataset_id=str(dataset.id),
                name=dataset.name,
                as_of=version.isoformat(),
                url=str(dataset.url or ""),
            )
            found = sorted(
                (each.created_at, str(each.id), _line(each, reference, origin, http))
                for each in _examples(client, account, origin)
            )
        if not found:
            when = "" if reference.version == LATEST else f" in version {reference.version}"
            raise Unavailable(f"{reference} has no examples{when}", "Add examples to it in LangSmith.")
        snapshot = Snapshot(origin, [line for _, _, line in found])
        _keep(snapshot)
    except cache.Unwritable as error:
        problem = f"{error.path} cannot be written: {error.reason}"
        raise Unavailable(problem, "Make room there, or set XDG_CACHE_HOME.") from error
    return snapshot


class _Attachment(BaseModel):
    presigned_url: str


class _Example(BaseModel):
    id: UUID
    created_at: AwareDatetime
    inputs: JsonDict | None = None
    outputs: JsonDict | None = None
    metadata: JsonDict | None = None
    attachment_urls: dict[str, _Attachment] | None = None

    @property
    def attachments(self) -> dict[str, str]:
        """The signed address of each, by its name."""
        return {
            key.removeprefix(ATTACHMENT): each.presigned_url
            for key, each in (self.attachment_urls or {}).items()
            if key.startswith(ATTACHMENT)
        }


def _examples(client: Client, account: Account, origin: Origin) -> Iterator[_Example]:
    """Every example of the version. The client's `list_examples` would download all attachments into memory."""
    params = {
        "dataset": origin.dataset_id,
        "as_of": origin.as_of,
        "select": list(_Example.model_fields),
        "inline_s3_urls": True,
    }
    offset = 0
    while True:
        with _explained(account):
            page = {**params, "limit": PAGE, "offset": offset}
            answer = client.request_with_retries("GET", "/examples", params=page).json()
            examples = TypeAdapter(list[_Example]).validate_python(answer)
        yield from examples
        if len(examples) < PAGE:
            return
        offset += PAGE


@contextmanager
def _explained(account: Account) -> Iterator[None]:
    """Turns what the client raises into Unavailable."""
    import requests
    from langsmith.utils import LangSmithError

    try:
        yield
    except (LangSmithError, requests.RequestException, ValueError, TypeError, RecursionError) as error:
        # The last three come from a server that is not LangSmith, whose JSON the client reads as LangSmith's.
        raise account.explain(error) from error


# --- which dataset, which version -------------------------------------------------------------------


def _dataset(client: Client, reference: Reference, account: Account, pinned: Origin | None) -> Dataset:
    from langsmith.utils import LangSmithNotFoundError

    which = {"dataset_name": reference.name} if pinned is None else {"dataset_id": pinned.dataset_id}
    try:
        found: Dataset = client.read_dataset(**which)
    except LangSmithNotFoundError:
        raise _no_dataset(client, reference, account, pinned) from None
    return found


def _no_dataset(client: Client, reference: Reference, account: Account, pinned: Origin | None) -> Unavailable:
    if pinned is not None:
        problem = f"the dataset that this run has read is no longer at {account.endpoint} ({pinned.url})"
        return Unavailable(problem, "Restore it there, or start a new run.")
    names = [each.name for each in islice(client.list_datasets(), SEARCHED)]
    meant = nearest(reference.name, names)
    hint = f"Did you mean {PREFIX}{meant}? " if meant else ""
    some = ", ".join(names[:LISTED]) + (", ..." if len(names) > LISTED else "") if names else "none"
    problem = f"there is no dataset {reference.name!r} at {account.endpoint}"
    return Unavailable(problem, f"{hint}Datasets there: {some}.")


def _version(client: Client, dataset: Dataset, reference: Reference, pinned: Origin | None) -> datetime:
    """The exact time of the version. A tag that could be read as a time is a tag."""
    if pinned is not None:
        return datetime.fromisoformat(pinned.as_of)
    found = _tagged(client, dataset, reference.version)
    if found is None and (moment := _moment(reference.version)):
        found = _at(client, dataset, moment)
    if found is not None:
        return found.as_of
    if reference.version == LATEST:
        raise Unavailable(f"{reference} has no examples", "Add examples to it in LangSmith.")
    versions = list(islice(client.list_dataset_versions(dataset_id=dataset.id), SEARCHED))
    tags = [tag for each in versions for tag in each.tags or ()]
    meant = nearest(reference.version, tags)
    hint = f"Did you mean @{meant}? " if meant else ""
    hint += f"Tags there: {', '.join(tags[:LISTED]) or 'none'}; a time (2026-03-01T12:00:00Z) works too."
    problem = f"langsmith://{reference.name} has no version {reference.version!r}"
    if versions and _moment(reference.version):
        problem += f": its first is of {versions[-1].as_of.isoformat()}"
    raise Unavailable(problem, hint)


def _tagged(client: Client, dataset: Dataset, tag: str) -> DatasetVersion | None:
    from langsmith.utils import LangSmithNotFoundError

    try:
        return client.read_dataset_version(dataset_id=dataset.id, tag=tag)
    except LangSmithNotFoundError:
        return None


def _at(client: Client, dataset: Dataset, moment: datetime) -> DatasetVersion | None:
    from langsmith.utils import LangSmithNotFoundError

    try:
        return client.read_dataset_version(dataset_id=dataset.id, as_of=moment)
    except LangSmithNotFoundError:
        return None


def _moment(version: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(version)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


# --- an example -------------------------------------------------------------------------------------


def place(reference: Reference, example: str, url: str) -> Located:
    """One example, for errors: the dataset as harness.yaml names it, the example's UUID and its address."""
    return Located(f"{reference}, example {example}", note=f"The example is at {url}." if url else "")


def _line(example: _Example, reference: Reference, origin: Origin, http: requests.Session) -> Line:
    """The example as a row, with its attachments on disk."""
    metadata = example.metadata or {}
    url = f"{origin.url}/e/{example.id}" if origin.url else ""
    here = place(reference, str(example.id), url)
    ours = fit(Ours, metadata.get(OURS, {}), here, ("metadata", OURS))
    attachments = {}
    for name, presigned in example.attachments.items():
        try:
            pieces = attachment.download(http, attachment.address(origin.endpoint, presigned))
            attachments[name] = cache.keep_file(pieces)
        except attachment.NotDownloaded as error:
            problem = f"the attachment {name!r} cannot be downloaded ({error.reason})"
            raise here.error(("attachments",), problem, "Try again, or attach it again.") from None
    for file, attached in ours.files.items():
        if attached not in attachments:
            hint = f"Attach it again, or take {file!r} out of `metadata.{OURS}.files`."
            raise here.error(("attachments",), f"the attachment {attached!r} is missing", hint)
    files = row_files(attachments, ours)
    row = {
        "id": str(example.id) if ours.id is None else ours.id,
        "inputs": example.inputs or {},
        "outputs": example.outputs or {},
        "metadata": row_metadata(metadata, ours),
        "files": files,
    }
    return Line(str(example.id), str(row["id"]), url, json.dumps(row, sort_keys=True), files)


# --- the cache --------------------------------------------------------------------------------------


def _path(origin: Origin) -> Path:
    return cache.examples_path(origin.endpoint, origin.dataset_id, origin.as_of)


def _keep(snapshot: Snapshot) -> None:
    lines: Iterator[JsonDict] = ({**vars(each), "files": dict(each.files)} for each in snapshot.lines)
    cache.keep_examples(_path(snapshot.origin), (f"{json.dumps(line)}\n".encode() for line in lines))
