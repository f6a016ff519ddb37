"""The LangSmith account of a run: address, key, workspace; and the client's errors in plain words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bakeoff.config.section import IN_API_KEY_ENV, FormatError, check_address
from bakeoff.config.targets import LangSmith

if TYPE_CHECKING:
    from langsmith import Client
    from requests import Response

ENDPOINT = "https://api.smith.langchain.com"  # of the hosted service, in the United States
ENDPOINT_ENV, WORKSPACE_ENV = "LANGSMITH_ENDPOINT", "LANGSMITH_WORKSPACE_ID"
LOGS = ("langsmith", "urllib3")  # they quote half of the key, and attachments' signed addresses


class Unavailable(Exception):  # noqa: N818 - it reads as a state
    """LangSmith cannot be used. `problem` says why and `hint` what to do; neither quotes a key."""

    def __init__(self, problem: str, hint: str) -> None:
        self.problem, self.hint = problem, hint
        super().__init__(problem)


@dataclass(frozen=True)
class Account:
    """Where requests go, and with which key.

    Attributes:
        endpoint: the API's address, without a slash at its end.
        key_env: the variable that the key came from, for errors, which never quote the key.
        workspace: its id. None: the workspace that the key belongs to.
    """

    endpoint: str
    key: str = field(repr=False)
    key_env: str
    workspace: str | None

    @classmethod
    def of(cls, given: LangSmith, environ: Mapping[str, str]) -> Account:
        """The account that `publish.langsmith` names, else the environment. Raises Unavailable."""
        key = environ.get(given.api_key_env, "").strip()
        if not key:
            raise Unavailable(
                f"LangSmith needs a key, and {given.api_key_env} is not set",
                f"Put the key into {given.api_key_env}: in the environment, .env, or `key_command`.",
            )
        if not key.isascii() or not key.isprintable():  # it could not be a header
            raise Unavailable(f"what is in {given.api_key_env} is not a key", "Copy the key again.")
        endpoint = given.endpoint or environ.get(ENDPOINT_ENV, "").strip() or ENDPOINT
        try:
            check_address(endpoint, IN_API_KEY_ENV)
        except FormatError as wrong:
            raise Unavailable(f"the address of LangSmith {wrong}", f"{ENDPOINT_ENV}: {wrong.hint}") from None
        workspace = given.workspace or environ.get(WORKSPACE_ENV, "").strip() or None
        return cls(endpoint.rstrip("/"), key, given.api_key_env, workspace)

    def client(self) -> Client:
        """The official client. It reads none of its environment variables and profiles, and starts no threads."""
        from langsmith import Client

        return Client(
            api_url=self.endpoint,
            api_key=self.key,
            workspace_id=self.workspace or "",
            auto_batch_tracing=False,
            tracing_sampling_rate=1.0,
        )

    def explain(self, error: Exception) -> Unavailable:
        """What an error of the client means. Its text is not repeated: it may quote a key or a signed address."""
        from langsmith import utils

        answer = answer_of(error)
        status = None if answer is None else answer.status_code
        if isinstance(error, utils.LangSmithUserError) and "org-scoped" in str(error):
            return Unavailable(
                f"the key in {self.key_env} is an organization's, and no workspace is named",
                f"Set {WORKSPACE_ENV} or `publish.langsmith.workspace`.",
            )
        if status in (401, 403):
            access = f" or has no access to workspace {self.workspace}" if self.workspace else ""
            return Unavailable(
                f"{self.endpoint} refused the key in {self.key_env}{access} (HTTP {status})",
                f"Check {self.key_env}, {WORKSPACE_ENV} and the address: each region has its own keys.",
            )
        if status == 429:
            return Unavailable(f"{self.endpoint} limits the rate of requests (HTTP 429)", "Try again later.")
        if status is not None:
            return Unavailable(
                f"{self.endpoint} answered HTTP {status}",
                "Try again later."
                if status >= 500
                else f"Check that {ENDPOINT_ENV} is LangSmith's API address.",
            )
        if _has_no_answer(error):
            return Unavailable(
                f"{self.endpoint} cannot be reached ({type(_cause(error)).__name__})",
                f"Check the network and {ENDPOINT_ENV} or `publish.langsmith.endpoint`.",
            )
        return Unavailable(
            f"{self.endpoint} did not answer as LangSmith does ({type(_cause(error)).__name__})",
            f"Check that {ENDPOINT_ENV} is LangSmith's API address.",
        )


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and its causes, the outermost first."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def _cause(error: Exception) -> BaseException:
    """The first error of the chain that the client did not wrap around another."""
    from langsmith.utils import LangSmithError

    return next((each for each in _chain(error) if not isinstance(each, LangSmithError)), error)


def answer_of(error: Exception) -> Response | None:
    """The HTTP response behind an error, if there is one."""
    import requests

    for each in _chain(error):
        if isinstance(each, requests.HTTPError) and each.response is not None:
            return each.response
    return None


def _has_no_answer(error: Exception) -> bool:
    import requests

    kinds = (requests.ConnectionError, requests.Timeout)
    return any(isinstance(each, kinds) for each in _chain(error))
