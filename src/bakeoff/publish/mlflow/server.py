"""The connection to an MLflow server: MLflow's client, with its failures turned into sentences for the user."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

os.environ.setdefault(
    "MLFLOW_DISABLE_TELEMETRY", "true"
)  # read when mlflow is imported; publishing goes to one place

import requests
from mlflow import MlflowClient
from mlflow.entities import Dataset as MlflowDataset
from mlflow.entities import DatasetInput, InputTag, Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException, RestException

from bakeoff.config.clients import chunks
from bakeoff.publish.mlflow import files
from bakeoff.publish.mlflow.files import INDEX, Index
from bakeoff.text import escape, redact

ADDRESS = "MLFLOW_TRACKING_URI"
LOGS = ("mlflow", "urllib3.connectionpool")
# MLflow's defaults wait four minutes for a server that is not there. The first request finds that out.
RETRIES = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "4"}
# MLflow prints progress bars and addresses on stdout, where `--json` prints one object.
SILENT = {"MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false", "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true"}
FIRST = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}

BATCH = 100  # MLflow's bound on parameters and on tags in one request

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset that a run was given. `source` and `profile` are JSON."""

    name: str
    digest: str
    source: str
    profile: str


class ServerFailure(Exception):  # noqa: N818 - it becomes one of bakeoff's errors
    """What went wrong with the server. `problem` and `hint` are for the user."""

    def __init__(self, problem: str, hint: str | None = None) -> None:
        self.problem, self.hint = problem, hint
        super().__init__(problem)


class Server:
    """One server. Every failure is raised as ServerFailure.

    Attributes:
        shown: its address, without what may be a secret.
        client: MLflow's client; give its methods to `ask` and `change`.
        changed: whether anything was sent that may have changed it.
    """

    def __init__(self, url: str, secrets: tuple[str, ...]) -> None:
        parts = urlsplit(url)
        self.shown = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
        self.changed = False
        self._secrets = secrets
        self._is_mlflow = False  # until it has answered as one
        self.client = MlflowClient(url, url)

    def ask(self, call: Callable[..., T], *args: Any, **options: Any) -> T:
        """Call a method of `client` that changes nothing there. Raises ServerFailure."""
        try:
            return call(*args, **options)
        except (MlflowException, requests.RequestException, OSError, ImportError) as error:
            raise self._failure(error) from error

    def change(self, call: Callable[..., object], *args: Any, **options: Any) -> None:
        """Call a method of `client` that changes something there. Raises ServerFailure."""
        try:
            self.ask(call, *args, **options)
        finally:
            self.changed = True

    def probe(self) -> None:
        """Ask for something small, to see whether there is a server and whether it accepts the credentials."""
        self.ask(self.client.search_experiments, max_results=1)
        self._is_mlflow = True

    def runs(self, experiment_id: str, search: str) -> list[Run]:
        """Runs of an experiment that a search finds; deleted ones are left out."""
        found: list[Run] = []
        token = None
        while True:
            page = self.ask(
                self.client.search_runs, [experiment_id], search, max_results=500, page_token=token
            )
            found += page
            token = page.token
            if not token:
                return found

    def send_metrics(self, run_id: str, points: Iterable[tuple[str, float, int]], when: int) -> None:
        """Log (key, value, step), all with one timestamp: milliseconds since the epoch."""
        for batch in chunks((Metric(key, value, when, step) for key, value, step in points), BATCH):
            self.change(self.client.log_batch, run_id, metrics=batch)

    def send_params(self, run_id: str, params: Mapping[str, str]) -> None:
        """Log parameters. MLflow refuses to change one that exists."""
        for batch in chunks((Param(key, value) for key, value in params.items()), BATCH):
            self.change(self.client.log_batch, run_id, params=batch)

    def send_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set tags."""
        for batch in chunks((RunTag(key, value) for key, value in tags.items()), BATCH):
            self.change(self.client.log_batch, run_id, tags=batch)

    def send_dataset(self, run_id: str, given: Dataset) -> None:
        """Log the dataset that the run was evaluated on."""
        dataset = MlflowDataset(given.name, given.digest, "local", given.source, profile=given.profile)
        tag = InputTag("mlflow.data.context", "evaluation")
        self.change(self.client.log_inputs, run_id, [DatasetInput(dataset, [tag])])

    def upload(self, run_id: str, path: Path, name: str) -> None:
        """Send one file. A file of the same name is replaced."""
        directory = name.rpartition("/")[0] or None
        self.change(self.client.log_artifact, run_id, str(path), directory)

    def sizes(self, run_id: str) -> dict[str, int]:
        """Bytes of every file of a run, by name."""
        found: dict[str, int] = {}
        directories: list[str | None] = [None]
        while directories:
            directory = directories.pop()
            for each in self.ask(self.client.list_artifacts, run_id, directory):
                if each.is_dir:
                    directories.append(each.path)
                else:
                    found[each.path] = int(each.file_size or 0)
        return found

    def index(self, run_id: str) -> Index:
        """files.json as the server has it."""
        with tempfile.TemporaryDirectory(prefix="bakeoff-mlflow-") as scratch:
            path = self.ask(self.client.download_artifacts, run_id, INDEX, scratch)
            return files.loaded(Path(path).read_bytes())

    def _failure(self, error: Exception) -> ServerFailure:
        """The failure in sentences for the user. What the server said is bounded, and secrets are masked."""
        cause = (
            error if isinstance(error, requests.RequestException) else error.__cause__ or error.__context__
        )
        status: int | None = None
        if isinstance(error, requests.HTTPError) and error.response is not None:
            status = error.response.status_code
        elif isinstance(error, MlflowException) and not isinstance(cause, requests.RequestException):
            status = error.get_http_status_code()
        said = escape.line(redact.redact(str(error), self._secrets), 300)
        if status == 401:
            return ServerFailure(
                f"the MLflow server at {self.shown} does not know these credentials (401)",
                "Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN.",
            )
        if status == 403:
            return ServerFailure(
                f"the MLflow server at {self.shown} forbids it (403): {said}",
                "Ask for the right to change this experiment, or give another one with --name.",
            )
        answered = "API request to endpoint" in str(error) and not isinstance(error, RestException)
        if answered and not self._is_mlflow:
            return ServerFailure(
                f"what answers at {self.shown} is no MLflow server",
                "Give the address under which MLflow's page opens in a browser.",
            )
        if isinstance(cause, requests.exceptions.RetryError):
            return ServerFailure(f"the MLflow server at {self.shown} fails every time: {said}")
        if isinstance(cause, requests.RequestException) and status is None:
            return ServerFailure(
                f"no MLflow server answers at {self.shown} ({type(cause).__name__})",
                f"Start it, or give its address: --url, publish.mlflow.tracking_uri or {ADDRESS}.",
            )
        return ServerFailure(f"the MLflow server at {self.shown}: {said}")


def settings(environ: Mapping[str, str], defaults: Mapping[str, str]) -> dict[str, str]:
    """The variables that MLflow's client sees: defaults, then the user's, those of `.env` included."""
    given = {name: value for name, value in environ.items() if name.startswith("MLFLOW_")}
    return {**defaults, **given, **SILENT}
