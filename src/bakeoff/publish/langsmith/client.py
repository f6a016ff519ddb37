"""The connection to LangSmith for publishing: the official client, with its failures turned into bakeoff's errors.

The client sends runs and feedback in the background, in compressed batches of the size that the service asks for. It
never disturbs a traced program, so it swallows what goes wrong. Here its error callback collects failures, its
environment variables are ignored, its log is silent, and whatever was sent is read back.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from bakeoff.config.clients import chunks, quiet, variables
from bakeoff.datasets.langsmith.account import LOGS, Account, answer_of
from bakeoff.errors import InputError, NotPublished
from bakeoff.record.base import JsonDict
from bakeoff.text import redact

if TYPE_CHECKING:
    from functools import _lru_cache_wrapper

    from langsmith import Client
    from langsmith.schemas import LangSmithInfo

PAGE = 100  # rows of a list, and ids in a query: the API's maximum
LISTED_IDS = 50  # ids in an address: proxies limit its length
TRIES = (
    4  # of a request without an answer, or answered with 408, 425, 429 or 5xx; the client honours Retry-After
)
RUN_FIELDS = ["id", "name", "run_type", "start_time", "trace_id", "session_id"]
DETAIL_CHARS = 300
_ENVIRONMENT = ("LANGSMITH_", "LANGCHAIN_")


class Connection:
    """A connection to one account.

    Attributes:
        account: the account.
        client: the official client.
        failures: what the client could not send in the background, oldest first.
    """

    def __init__(self, account: Account) -> None:
        self.account = account
        self.failures: list[Exception] = []
        self.client = self._client()

    def _client(self, info: LangSmithInfo | None = None) -> Client:
        """The official client. Without `info` it sends nothing in the background."""
        from langsmith import Client
        from urllib3.util import Retry

        return Client(
            api_url=self.account.endpoint,
            api_key=self.account.key,
            workspace_id=self.account.workspace or "",
            info=info,
            auto_batch_tracing=info is not None,
            retry_config=Retry(
                total=TRIES,
                connect=2,
                backoff_factor=0.5,
                status_forcelist=[408, 425, 429, 500, 502, 503, 504],
                allowed_methods=None,  # all: every write has a derived id, and so is the same when sent twice
                raise_on_status=False,
            ),
            tracing_mode="langsmith",
            tracing_sampling_rate=1.0,
            hide_inputs=False,
            hide_outputs=False,
            hide_metadata=False,
            omit_traced_runtime_info=True,  # of the machine that publishes, which is not the one that ran
            tracing_error_callback=self.failures.append,
            disable_prompt_cache=True,
        )

    def check(self) -> None:
        """Check the key, then ask what the service can do. Raises InputError.

        The client would ask by itself, in two threads, and take any failure for an old service.
        """
        from langsmith.schemas import LangSmithInfo
        from langsmith.utils import LangSmithNotFoundError

        found: Any = None
        try:
            self.ask("GET", "/datasets", tries=1, params={"limit": 1})
            found = self.ask("GET", "/info")
        except NotPublished as error:
            if not isinstance(error.__cause__, LangSmithNotFoundError):
                raise InputError(error.problem, hint=error.hint) from error
        try:
            info = LangSmithInfo(**found)
        except (TypeError, ValueError):
            info = LangSmithInfo()
        if not info.version:
            raise InputError(
                f"{self.account.endpoint} did not answer as LangSmith does",
                hint="Check LANGSMITH_ENDPOINT or `publish.langsmith.endpoint`: it is the API's address.",
            )
        if not (info.instance_flags or {}).get("ch_query_enabled", True):
            raise InputError(
                f"{self.account.endpoint} answers queries for runs through its new API (SmithDB) alone",
                hint="This version of bakeoff asks for what has arrived through the one before: use a newer bakeoff.",
            )
        self.client.close(timeout=0)
        self.client = self._client(info)

    @property
    def takes_attachments(self) -> bool:
        """Whether examples can have files."""
        return bool((self.client.info.instance_flags or {}).get("dataset_examples_multipart_enabled"))

    @property
    def batch_runs(self) -> int:
        """How many runs the service wants in one request."""
        return (self.client.info.batch_ingest_config or {}).get("size_limit") or PAGE

    @property
    def batch_bytes(self) -> int:
        """How many bytes the service takes in one request."""
        return (self.client.info.batch_ingest_config or {}).get("size_limit_bytes") or 20 * 2**20

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn what the client raises into NotPublished."""
        import requests
        from langsmith.utils import LangSmithError

        try:
            yield
        except (LangSmithError, requests.RequestException) as error:
            raise self.failure(error) from error

    def failure(self, error: Exception) -> NotPublished:
        """What an error of the client means, with what the service said where that helps."""
        problem = self.account.explain(error)
        detail = redact.redact(_detail(error), (self.account.key,), limit=DETAIL_CHARS)
        return NotPublished(f"{problem.problem}: {detail}" if detail else problem.problem, hint=problem.hint)

    def ask(self, method: Any, path: str, *, tries: int | None = None, **how: Any) -> Any:
        """Send one request, again if the rate limit refuses it; the JSON of its answer. Raises NotPublished."""
        with self.errors():
            response = self.client.request_with_retries(
                method, path, stop_after_attempt=tries or TRIES, **how
            )
            answer: Any = response.json()
        return answer

    def pages(self, path: str, params: Mapping[str, Any]) -> Iterator[JsonDict]:
        """Every row of a list. Raises NotPublished."""
        offset = 0
        while True:
            rows = self.ask("GET", path, params={**params, "limit": PAGE, "offset": offset})
            yield from rows
            if len(rows) < PAGE:
                return
            offset += len(rows)

    def present_runs(self, project: UUID, ids: Sequence[UUID]) -> set[UUID]:
        """Which of these runs can be read there. Raises NotPublished."""
        found: set[UUID] = set()
        for chunk in chunks(ids, PAGE):
            body = {
                "session": [str(project)],
                "id": [str(each) for each in chunk],
                "select": RUN_FIELDS,
                "limit": PAGE,
            }
            found.update(UUID(row["id"]) for row in self.ask("POST", "/runs/query", json=body)["runs"])
        return found

    def present_feedback(self, runs: Sequence[UUID]) -> set[UUID]:
        """Ids of all feedback on these runs. Raises NotPublished."""
        found: set[UUID] = set()
        for chunk in chunks(runs, LISTED_IDS):
            rows = self.pages("/feedback", {"run": [str(each) for each in chunk]})
            found.update(UUID(row["id"]) for row in rows)
        return found

    def url_of(self, dataset: UUID) -> str:
        """Where a reader finds a dataset and its experiments. Raises NotPublished."""
        with self.errors():
            return self.client.read_dataset(dataset_id=dataset).url or self.account.endpoint

    def create_feedback(self, **feedback: Any) -> None:
        """One entry of feedback, as `Client.create_feedback` takes it: at once or with the next flush."""
        from langsmith.utils import LangSmithConflictError

        # a conflict: it is there, and the answer was lost
        with self.errors(), suppress(LangSmithConflictError):
            self.client.create_feedback(stop_after_attempt=TRIES, **feedback)

    def flush(self) -> None:
        """Wait until everything was sent. Raises NotPublished for the first that was not."""
        self.client.flush()
        if self.failures:
            raise self.failure(self.failures[0])


@contextmanager
def connect(account: Account) -> Iterator[Connection]:
    """A connection whose key the service accepted. Raises InputError."""
    with _without_settings(), quiet(*LOGS):
        connection = Connection(account)
        complete = False
        try:
            connection.check()
            yield connection
            complete = True
        finally:
            connection.client.close(timeout=None if complete else 0)


def _detail(error: Exception) -> str:
    """What the service says about a request that it cannot take; nothing about keys or about faults of the service."""
    answer = answer_of(error)
    if answer is None or answer.status_code not in (400, 404, 409, 413, 422):
        return ""
    return answer.text.strip()


@contextmanager
def _without_settings() -> Iterator[None]:
    """Hide the client's environment variables: sampling, hiding, other endpoints and projects would all take effect."""
    from langsmith import utils

    forget = cast("_lru_cache_wrapper[str | None]", utils.get_env_var).cache_clear
    try:
        with variables(dict.fromkeys(name for name in os.environ if name.startswith(_ENVIRONMENT))):
            forget()
            yield
    finally:
        forget()
