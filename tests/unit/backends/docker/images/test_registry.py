"""Pulling: what a registry is asked, and what its user reads when it refuses. On a scripted engine."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from docker.errors import APIError, DockerException
from requests.exceptions import ReadTimeout

from bakeoff.backends.docker.images import base_image, progress, registry
from bakeoff.backends.docker.images.registry import NotPulled
from bakeoff.errors import InputError
from tests.fakes.said import Said

DIGEST = "sha256:" + "7" * 64


class Engine:
    """As much of docker-py's client as a pull takes. `fails`: what each pull raises or reports, in order."""

    timeout = 60.0

    def __init__(self, *fails: Exception | str | None, digest: Exception | str = DIGEST) -> None:
        self.fails, self.digest = list(fails), digest
        self.pulled: list[tuple[str, Any]] = []
        self.tags: list[str] = []
        self.api = self.images = self

    def info(self) -> dict[str, str]:
        return {"ID": "engine"}

    def inspect_distribution(self, _: str, auth_config: object = None) -> dict[str, Any]:
        if isinstance(self.digest, Exception):
            raise self.digest
        return {"Descriptor": {"digest": self.digest}}

    def pull(self, name: str, *, auth_config: object, **_: object) -> Iterator[dict[str, str]]:
        self.pulled.append((name, auth_config))
        failure = self.fails.pop(0) if self.fails else None
        if isinstance(failure, Exception):
            raise failure
        yield {"status": "Pulling"}
        if failure:
            yield {"error": failure}

    def get(self, _: str) -> "Engine":
        return self

    def tag(self, name: str, tag: str) -> None:
        self.tags.append(f"{name}:{tag}")

    @property
    def attrs(self) -> dict[str, Any]:
        return {"Id": DIGEST, "RepoDigests": [f"host:5000/team/image@{DIGEST}"]}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def pull(engine: Engine, reference: str = "host:5000/team/image:1") -> list[str]:
    said: list[str] = []
    registry.pull(engine, reference, said.append)  # type: ignore[arg-type]
    return said


def refused(engine: Engine) -> NotPulled:
    with pytest.raises(NotPulled) as caught:
        pull(engine)
    return caught.value


def test_a_pull_is_pinned_by_digest_and_tagged_as_it_was_asked_for() -> None:
    engine = Engine()
    assert pull(engine) == [f"pulling host:5000/team/image:1 ({DIGEST[:19]})"]
    assert engine.pulled == [(f"host:5000/team/image@{DIGEST}", None)]
    assert engine.tags == ["host:5000/team/image:1"]
    assert registry.digest_of(engine.attrs, "host:5000/team/image:1") == DIGEST
    assert engine.timeout == 60.0


@pytest.mark.parametrize("silence", [APIError("no such endpoint"), ReadTimeout("read timed out")])
def test_an_engine_that_knows_no_digest_pulls_the_tag_all_the_same(silence: Exception) -> None:
    engine = Engine(digest=silence)
    pull(engine)
    assert engine.pulled == [("host:5000/team/image:1", None)]


def test_a_digest_in_the_reference_is_kept() -> None:
    engine = Engine()
    pull(engine, f"host:5000/team/image@{DIGEST}")
    assert engine.pulled == [(f"host:5000/team/image@{DIGEST}", None)]
    assert not engine.tags


def test_a_missing_credential_helper_does_not_stop_a_pull_that_needs_no_login() -> None:
    error = DockerException(
        'Credentials store error: StoreError("docker-credential-desktop.exe not installed")'
    )
    engine = Engine(error)
    assert "without a login" in pull(engine)[1]
    assert [login for _, login in engine.pulled] == [None, {}]


# as Docker says it -> what the hint must name, and whether the registry counts as silent
REFUSALS = [
    ("no space left on device", "docker system df", False),
    ("write /var/lib/docker/tmp/x: no space left on device", "docker system df", False),
    ("no matching manifest for linux/arm64/v8 in the manifest list entries", "architecture", False),
    (
        "toomanyrequests: You have reached your unauthenticated pull rate limit.",
        "docker login host:5000",
        False,
    ),
    ("received unexpected HTTP status: 429 Too Many Requests", "docker login", False),
    ("unauthorized: authentication required", "docker login", False),
    ('Head "https://host:5000/v2/team/image/manifests/1": no basic auth credentials', "docker login", False),
    ("pull access denied for team/image, repository does not exist", "docker login", False),
    ("manifest unknown", "name and tag", False),
    ("manifest for team/image:1 not found: manifest unknown: manifest unknown", "name and tag", False),
    ("Proxy Authentication Required", "proxy", False),
    ("proxyconnect tcp: dial tcp 10.0.0.1:3128: connect: connection refused", "proxy", False),
    ("x509: certificate signed by unknown authority", "certs.d", False),
    ("http: server gave HTTP response to HTTPS client", "insecure", False),
    ("dial tcp: lookup registry-1.docker.io on 10.0.0.53:53: no such host", "access", True),
    ("dial tcp 127.0.0.1:40444: connect: connection refused", "access", True),
    ("net/http: request canceled while waiting for connection (Client.Timeout exceeded)", "access", True),
    ("unexpected EOF", "access", False),
    ("received unexpected HTTP status: 500 Internal Server Error", "access", False),
]


@pytest.mark.parametrize(("said", "hint", "silent"), REFUSALS)
def test_what_was_said_is_what_the_user_reads(said: str, hint: str, silent: bool) -> None:
    for failure in (said, APIError(said, explanation=said)):
        error = refused(Engine(failure))
        assert said in str(error)
        assert hint in error.hint
        assert error.silent is silent
        for note in registry.cache_dir().glob("silent-registries/*"):
            note.unlink()


def test_a_pull_that_is_cut_off_is_not_a_missing_image() -> None:
    assert "unexpected EOF" in str(refused(Engine("unexpected EOF")))


def test_only_a_registry_that_was_not_reached_is_left_alone_for_an_hour() -> None:
    engine = Engine("manifest unknown")
    refused(engine)
    refused(Engine("dial tcp: lookup host: no such host"))
    later = Engine()
    error = refused(later)
    assert error.silent
    assert "less than an hour ago" in str(error)
    assert not later.pulled


def test_a_password_in_an_error_is_masked() -> None:
    assert "s3cret-word" not in str(refused(Engine("Get https://user:s3cret-word@host/v2: 500")))


def test_what_is_no_name_of_an_image_is_bad_input() -> None:
    with pytest.raises(InputError) as caught:
        pull(Engine(), "https://host/image")
    assert caught.value.key == base_image.KEY


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("python:3.12-slim-bookworm", ("python", "3.12-slim-bookworm")),
        ("python", ("python", "latest")),
        ("host:5000/team/image", ("host:5000/team/image", "latest")),
        ("host:5000/team/image:1", ("host:5000/team/image", "1")),
        ("host:5000/image@sha256:00", ("host:5000/image", None)),
        ("host:5000/image:1@sha256:00", ("host:5000/image", None)),
    ],
)
def test_names_and_tags(reference: str, expected: tuple[str, str | None]) -> None:
    assert registry.name_and_tag(reference) == expected


def test_a_long_pull_says_how_far_it_is_and_how_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    said = Said()

    class Slow(Engine):
        def pull(self, name: str, **_: object) -> Iterator[dict[str, Any]]:  # type: ignore[override]
            yield {"status": "Pulling fs layer", "id": "a", "progressDetail": {}}
            for layer, done in (("a", 10), ("b", 10)):
                detail = {"current": done * 2**20, "total": 40 * 2**20}
                yield {"status": "Downloading", "id": layer, "progressDetail": detail}
            yield {"status": "Download complete", "id": "b", "progressDetail": {}}
            yield {"status": "Extracting", "id": "b", "progressDetail": {"current": 1, "total": 9}}
            said.wait_for("pulling host:5000/team/image:1: 50 MiB of 80 MiB, ")

    monkeypatch.setattr(progress, "EVERY_SECONDS", 0.01)
    registry.pull(Slow(), "host:5000/team/image:1", said)  # type: ignore[arg-type]
    assert any("/s, " in line for line in said.lines)
