"""A real run on a real MLflow server, read back through MLflow's own API: what went in comes out, once."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from bakeoff.config.targets import MLflow
from bakeoff.publish import source
from bakeoff.publish.mlflow import files, publisher
from bakeoff.publish.table import Publication
from bakeoff.record.store import RunDirectory
from bakeoff.report import data
from bakeoff.report.write import write
from bakeoff.verdict import INSIDE_CAUSES
from tests.fakes import synthetic
from tests.fakes.command import bakeoff
from tests.publish.demonstration import COMMAND, ROOT, another, environment
from tests.publish.demonstration import publish as command
from tests.publish.road import Fate, road
from tests.publish.servers import ADMIN_PASSWORD, Server

pytestmark = [pytest.mark.slow, pytest.mark.docker]

WHOLE_RUN = {"report.md", "report.html", "manifest.json", "trials.jsonl", "examples.jsonl"}
PUBLISH = [COMMAND, "publish", "--to", "mlflow"]
Snapshot = dict[str, Any]


def client(server: Server) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(server.url)


def send(run: RunDirectory, url: str, experiment: str, **environ: str) -> Publication:
    """Publish in this process, which has MLflow's client loaded already."""
    settings = MLflow(tracking_uri=url, experiment=experiment)
    return publisher.publish(source.read(run, allow_inconclusive=True), settings, environ, lambda line: None)


def runs(server: Server, experiment: str) -> dict[str, Any]:
    """The runs of an experiment that are not deleted, by candidate."""
    mine = client(server)
    found = mine.search_runs([mine.get_experiment_by_name(experiment).experiment_id])
    named = {run.data.tags["bakeoff.candidate"]: run for run in found}
    assert len(named) == len(found)
    return named


def stored(server: Server, run: Any) -> Path:
    """Where the server keeps a run's artifacts."""
    return server.data / "artifacts" / run.info.experiment_id / run.info.run_id / "artifacts"


def snapshot(server: Server, experiment: str) -> dict[str, Snapshot]:
    """All that the server has of an experiment's runs but their ids, by candidate; every point of every metric."""
    taken = {}
    for candidate, run in runs(server, experiment).items():
        with sqlite3.connect(server.data / "mlflow.sqlite") as database:
            points = database.execute(
                "select key, value, timestamp, step from metrics where run_uuid = ?", [run.info.run_id]
            ).fetchall()
        files = stored(server, run)
        taken[candidate] = {
            "info": (run.info.run_name, run.info.status, run.info.start_time, run.info.end_time),
            "params": run.data.params,
            "tags": run.data.tags,
            "points": sorted(points),
            "inputs": [each.to_dictionary() for each in run.inputs.dataset_inputs],
            "files": {
                path.relative_to(files).as_posix(): sha256(path)
                for path in files.rglob("*")
                if path.is_file()
            },
        }
    return taken


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def rows(run: RunDirectory, candidate: str) -> list[dict[str, Any]]:
    lines = (run.path / "trials.jsonl").read_text().splitlines()
    return [row for row in map(json.loads, lines) if row["candidate"] == candidate]


@pytest.fixture(scope="module")
def published(demonstration: RunDirectory, mlflow_server: Server) -> dict[str, Any]:
    """What the command said when it published the demonstration."""
    done = command(demonstration, "--to", "mlflow", "--url", mlflow_server.url, "--json", process=True)
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)["mlflow"]
    return said


# --- field by field -----------------------------------------------------------------------------------


def test_the_command_says_what_it_sent_and_where(published: dict[str, Any], mlflow_server: Server) -> None:
    found = runs(mlflow_server, "support-desk")
    experiment = next(iter(found.values())).info.experiment_id
    assert published["where"] == f"{mlflow_server.url}/#/experiments/{experiment}/runs"
    assert published["warnings"] == []
    assert not any(published["present"].values())
    assert published["sent"] == {
        "runs": 3,
        "parameters": sum(len(run.data.params) for run in found.values()),
        "metrics": sum(len(run.data.metrics) for run in found.values()),
        "tags": sum(
            len(run.data.tags) - 1 for run in found.values()
        ),  # MLflow keeps the name as a tag of its own
        "datasets": 3,
        "files": sum(len(each["files"]) - 1 for each in snapshot(mlflow_server, "support-desk").values()),
    }


@pytest.mark.usefixtures("published")
def test_every_run_has_its_times_its_name_and_its_end(
    demonstration: RunDirectory, mlflow_server: Server
) -> None:
    manifest = json.loads((demonstration.path / "manifest.json").read_text())
    found = runs(mlflow_server, "support-desk")
    assert set(found) == {row["name"] for row in manifest["candidates"]}
    for name, run in found.items():
        assert run.info.run_name == f"{name} (simulated) (inconclusive)"
        assert run.info.status == "FINISHED"
        assert run.info.start_time == millis(manifest["started_at"])
        assert run.info.end_time == millis(manifest["finished_at"])


def millis(moment: str) -> int:
    return round(datetime.fromisoformat(moment).timestamp() * 1000)


@pytest.mark.usefixtures("published")
def test_parameters_are_the_manifest_s(demonstration: RunDirectory, mlflow_server: Server) -> None:
    manifest = json.loads((demonstration.path / "manifest.json").read_text())
    config = manifest["config"]
    for candidate in manifest["candidates"]:
        (effective,) = {
            json.dumps(row["resources"]["effective"]) for row in rows(demonstration, candidate["name"])
        }
        expected: dict[str, Any] = {
            "candidate": candidate["name"],
            "model": candidate["model"],
            "simulated": True,
            "trials": config["trials"],
            "seed": config["seed"],
            "max_concurrency": manifest["max_concurrency"],
            "bakeoff_version": manifest["bakeoff_version"],
            "fingerprint": manifest["fingerprint"],
            "harness": config["name"],
            "resources.pin": config["resources"]["pin"],
            "resources.reserve.cpus": config["resources"]["reserve"]["cpus"],
            "resources.reserve.memory_bytes": config["resources"]["reserve"]["memory"],
            "dataset.path": manifest["dataset"]["path"],
            "dataset.digest": manifest["dataset"]["digest"],
            "dataset.rows": manifest["dataset"]["rows"],
            "dataset.examples": len(manifest["dataset"]["example_ids"]),
        }
        expected |= dotted("harness", config["harness"]) | dotted("infra", config["infra"])
        expected |= dotted("resources.requested", manifest["resources"])
        expected |= dotted("resources.effective", json.loads(effective))
        expected |= dotted("image", {k: v for k, v in manifest["image"].items() if k != "packages"})
        expected |= dotted("fingerprint", manifest["fingerprint_parts"]) | dotted("host", manifest["host"])
        got = runs(mlflow_server, "support-desk")[candidate["name"]].data.params
        evaluators = {key: json.loads(got.pop(key)) for key in list(got) if key.startswith("evaluator.")}
        assert evaluators == {
            f"evaluator.{each['name']}": {k: v for k, v in each.items() if k != "name" and v is not None}
            for each in config["evaluators"]
        }
        assert got == {
            key: each if isinstance(each, str) else json.dumps(each) for key, each in expected.items()
        }


def dotted(prefix: str, value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        return {
            key: each
            for name, inner in value.items()
            for key, each in dotted(f"{prefix}.{name}", inner).items()
        }
    return {} if value in (None, [], "") else {prefix: value}


@pytest.mark.usefixtures("published")
def test_metrics_are_those_of_the_trials_and_of_the_report(
    demonstration: RunDirectory, mlflow_server: Server
) -> None:
    report = {each.name: each for each in data.collect(demonstration).candidates}
    when = millis(json.loads((demonstration.path / "manifest.json").read_text())["finished_at"])
    for name, run in runs(mlflow_server, "support-desk").items():
        expected = counted(rows(demonstration, name))
        # how sure they are is the report's to say
        for score, estimate in report[name].scores.by.items():
            expected |= {f"{score}_low": estimate.low, f"{score}_high": estimate.high}
        rate = report[name].scores.infra_rate
        expected |= {"infra_error_rate_low": rate.low, "infra_error_rate_high": rate.high}
        for key in ("pass_at_k", "pass_hat_k"):
            if (known := getattr(report[name], key)) is not None:  # no trial is missing
                expected[key] = known
        got = run.data.metrics
        assert set(got) == set(expected)
        for key, value in expected.items():
            assert math.isclose(got[key], value, rel_tol=1e-9, abs_tol=1e-12), key
        points = snapshot(mlflow_server, "support-desk")[name]["points"]
        assert len(points) == len(expected)
        assert {(timestamp, step) for _, _, timestamp, step in points} == {(when, 0)}


def counted(trials: list[dict[str, Any]]) -> dict[str, float]:
    """The metrics that follow from the lines of trials.jsonl alone."""
    judged = [row for row in trials if row["verdict"] != "infra_error"]
    verdicts = Counter(row["verdict"] for row in trials)
    passed, n = verdicts["passed"], len(trials)
    bound = [any(each["cause"] in INSIDE_CAUSES for each in row["attempts"]) for row in trials]
    deployed = [
        row["verdict"] == "passed" and not hit
        for row, hit in zip(trials, bound, strict=True)
        if hit or row["verdict"] != "infra_error"
    ]
    tools = [row["tools"] for row in judged]
    observed = [row["resources"]["observed"] for row in trials]
    metrics: dict[str, float] = {
        "trials_finished": n,
        **{verdict: verdicts[verdict] for verdict in ("passed", "failed", "infra_error")},
        "score": passed / len(judged),
        "as_deployed": sum(deployed) / len(deployed),
        "worst_case": sum(r["verdict"] == "passed" and not hit for r, hit in zip(trials, bound, strict=True))
        / n,
        "best_case": (passed + verdicts["infra_error"]) / n,
        "died_inside": sum(bound),
        "infra_error_rate": verdicts["infra_error"] / n,
        "cost_usd_total": sum(row["usage"]["cost_usd"] for row in trials),
        "wasted_tool_calls_share": sum(t["failed"] + t["repeated"] for t in tools)
        / sum(t["calls"] for t in tools),
        "oom_kills": sum(each["oom_kills"] or 0 for each in observed),
        "contended": sum(row["attempts"][-1]["evidence"]["host"]["contended"] for row in trials),
        "reattempts": sum(len(row["attempts"]) - 1 for row in trials),
        "recovered": sum(len(row["attempts"]) > 1 for row in judged),
    }
    for cause, count in Counter(row["cause"] for row in trials if row["cause"]).items():
        metrics |= {f"cause/{cause}": count, f"cause_rate/{cause}": count / n}
    for limit, count in Counter(limit for row in trials for limit in row["resource_bound"]).items():
        metrics[f"bound/{limit}"] = count
    for cause, count in Counter(each["cause"] for row in trials for each in row["attempts"][:-1]).items():
        metrics[f"lost_attempts/{cause}"] = count
    for name in {name for row in trials for name in row["scores"]}:
        scores = [row["scores"][name] for row in trials if name in row["scores"]]
        metrics[f"evaluator/{name}"] = sum(scores) / len(scores)
    for name in ("cost_usd", "input_tokens", "output_tokens", "model_calls"):
        metrics |= spread(name, (row["usage"][name] for row in judged))
    for name in ("working", "model", "queued"):
        metrics |= spread(f"{name}_seconds", (row["seconds"][name] for row in judged))
    metrics |= spread("tool_calls", (each["calls"] for each in tools))
    metrics |= spread("tool_errors", (each["failed"] for each in tools))
    metrics |= spread("repeated_calls", (each["repeated"] for each in tools))
    metrics |= spread("rejected_calls", (each["rejected"] for each in tools))
    metrics |= spread("unknown_tools", (each["unknown"] for each in tools))
    for name in ("memory_peak_bytes", "cpu_seconds", "throttled_seconds", "pids_peak", "disk_bytes"):
        metrics |= spread(name, (each[name] for each in observed))
    limit = trials[0]["resources"]["requested"]["memory_bytes"]
    for figure in ("mean", "p50", "p95", "max"):
        metrics[f"memory_peak_share_of_limit_{figure}"] = metrics[f"memory_peak_bytes_{figure}"] / limit
    return metrics


def spread(name: str, values: Iterable[float | None]) -> dict[str, float]:
    ranked = sorted(value for value in values if value is not None)
    n = len(ranked)
    figures = {
        "mean": sum(ranked) / n,
        "p50": ranked[math.ceil(0.5 * n) - 1],
        "p95": ranked[math.ceil(0.95 * n) - 1],
    }
    return {f"{name}_{key}": value for key, value in (figures | {"max": ranked[-1], "n": n}).items()}


@pytest.mark.usefixtures("published")
def test_tags_and_the_dataset_say_which_run_it_was(
    demonstration: RunDirectory, mlflow_server: Server
) -> None:
    manifest = json.loads((demonstration.path / "manifest.json").read_text())
    report = data.collect(demonstration)
    for name, run in runs(mlflow_server, "support-desk").items():
        tags = run.data.tags
        verdicts = Counter(row["verdict"] for row in rows(demonstration, name))
        note = tags.pop("mlflow.note.content")
        assert note.startswith("**SIMULATED: INCONCLUSIVE: ")
        assert "268,435,456 bytes of memory" in note
        assert json.loads(tags.pop("bakeoff.resources")) == manifest["resources"]
        assert tags == {
            "bakeoff.run_id": demonstration.run_id,
            "bakeoff.candidate": name,
            "bakeoff.harness": "support-desk",
            "bakeoff.version": manifest["bakeoff_version"],
            "bakeoff.fingerprint": manifest["fingerprint"],
            "bakeoff.simulated": "true",
            "bakeoff.inconclusive": "true",
            "bakeoff.decision": report.sentence,
            "bakeoff.doubts": "\n".join(report.doubts),
            **({"bakeoff.warnings": "\n".join(report.warnings)} if report.warnings else {}),
            **{
                f"bakeoff.{verdict}": str(verdicts[verdict])
                for verdict in ("passed", "failed", "infra_error")
            },
            "mlflow.runName": f"{name} (simulated) (inconclusive)",
            "mlflow.source.name": "bakeoff",
            "mlflow.source.type": "JOB",
        }
        (dataset,) = (each.to_dictionary() for each in run.inputs.dataset_inputs)
        digest = manifest["dataset"]["digest"].removeprefix("sha256:")
        assert dataset["tags"] == {"mlflow.data.context": "evaluation"}
        assert dataset["dataset"]["name"] == manifest["dataset"]["path"]
        assert dataset["dataset"]["digest"] == digest[:36]
        assert json.loads(dataset["dataset"]["source"]) == {
            "uri": manifest["dataset"]["path"],
            "sha256": digest,
        }
        assert json.loads(dataset["dataset"]["profile"]) == {
            "num_rows": manifest["dataset"]["rows"],
            "num_examples": len(manifest["dataset"]["example_ids"]),
        }


@pytest.mark.usefixtures("published")
def test_artifacts_are_the_run_directory_s_files(
    demonstration: RunDirectory, mlflow_server: Server, tmp_path: Path
) -> None:
    everyone_s = set()
    for name, run in runs(mlflow_server, "support-desk").items():
        place = tmp_path / name
        place.mkdir()
        client(mlflow_server).download_artifacts(run.info.run_id, "", str(place))
        got = {path.relative_to(place).as_posix(): path for path in place.rglob("*") if path.is_file()}
        own = {f"{kind}/{path.name}" for kind, path in trial_files(demonstration) if belongs(path, name)}
        assert set(got) == WHOLE_RUN | own | {"resources.json", "files.json"}
        for path in WHOLE_RUN | own:
            assert got[path].read_bytes() == (demonstration.path / path).read_bytes(), path
        listed = json.loads(got["files.json"].read_text())["files"]
        assert set(listed) == set(got) - {"files.json"}
        for path, entry in listed.items():
            assert entry == {"digest": f"sha256:{sha256(got[path])}", "bytes": got[path].stat().st_size}
        everyone_s |= own
    assert everyone_s == {f"{kind}/{path.name}" for kind, path in trial_files(demonstration)}


def trial_files(run: RunDirectory) -> Iterator[tuple[str, Path]]:
    for kind in ("trajectories", "calls", "attempts"):
        for path in (run.path / kind).iterdir():
            yield kind, path


def belongs(path: Path, candidate: str) -> bool:
    return path.name.startswith(f"{candidate}__")


@pytest.mark.usefixtures("published")
def test_the_full_resource_configuration_is_a_file_too(
    demonstration: RunDirectory, mlflow_server: Server
) -> None:
    manifest = json.loads((demonstration.path / "manifest.json").read_text())
    for name, run in runs(mlflow_server, "support-desk").items():
        content = json.loads((stored(mlflow_server, run) / "resources.json").read_text())
        mine = rows(demonstration, name)
        assert content["requested"] == manifest["resources"]
        assert content["reserve"] == {"cpus": 0.75, "memory_bytes": 256 * 2**20}
        assert content["effective"] == [{"limits": mine[0]["resources"]["effective"], "trials": len(mine)}]
        assert (content["image"], content["host"]) == (manifest["image"], manifest["host"])
        assert content["host_worst"] == manifest["host_worst"]
        peaks = [row["resources"]["observed"]["memory_peak_bytes"] for row in mine]
        assert content["observed"]["memory_peak_bytes"]["max"] == max(peaks)
        assert content["observed"]["oom_kills"] == sum(
            r["resources"]["observed"]["oom_kills"] or 0 for r in mine
        )


# --- twice, and after a break -------------------------------------------------------------------------


def test_twice_changes_nothing_also_from_elsewhere(
    demonstration: RunDirectory, mlflow_server: Server, tmp_path: Path
) -> None:
    first = send(demonstration, mlflow_server.url, "twice")
    before, ids = (
        snapshot(mlflow_server, "twice"),
        {r.info.run_id for r in runs(mlflow_server, "twice").values()},
    )
    elsewhere = tmp_path / demonstration.run_id
    shutil.copytree(demonstration.path, elsewhere)
    for run in (demonstration, RunDirectory.open(elsewhere)):
        # the address in the environment is another one's, and the settings win
        again = send(run, mlflow_server.url, "twice", MLFLOW_TRACKING_URI="http://127.0.0.1:9")
        assert not any(again.sent.values())
        assert again.present == first.sent
        assert again.where == first.where
    assert snapshot(mlflow_server, "twice") == before
    assert {run.info.run_id for run in runs(mlflow_server, "twice").values()} == ids


def test_what_was_changed_or_taken_away_there_is_mended_and_what_its_users_wrote_stays(
    demonstration: RunDirectory, mlflow_server: Server, tmp_path: Path
) -> None:
    run = another(demonstration, tmp_path, "20260101-000000-support-desk-aaaa")
    send(run, mlflow_server.url, "repaired")
    before = snapshot(mlflow_server, "repaired")
    mine = client(mlflow_server)
    steady = runs(mlflow_server, "repaired")["simulated-steady"]
    (stored(mlflow_server, steady) / "report.md").unlink()
    mine.delete_tag(steady.info.run_id, "bakeoff.fingerprint")
    mine.set_tag(steady.info.run_id, "bakeoff.passed", "1000")
    mine.set_tag(steady.info.run_id, "mlflow.note.content", "ours")
    mine.set_tag(steady.info.run_id, "reviewed-by", "somebody")
    assert {k: v for k, v in send(run, mlflow_server.url, "repaired").sent.items() if v} == {
        "tags": 2,
        "files": 1,
    }
    after = snapshot(mlflow_server, "repaired")
    tags = after["simulated-steady"]["tags"]
    assert (tags.pop("mlflow.note.content"), tags.pop("reviewed-by")) == ("ours", "somebody")
    before["simulated-steady"]["tags"].pop("mlflow.note.content")
    assert after == before

    # a report of the same size is another report
    report = run.path / "report.md"
    report.write_bytes(report.read_bytes().replace(b"harness", b"HARNESS"))
    assert send(run, mlflow_server.url, "repaired").sent["files"] == 3
    assert {each["files"]["report.md"] for each in snapshot(mlflow_server, "repaired").values()} == {
        sha256(report)
    }
    assert not any(send(run, mlflow_server.url, "repaired").sent.values())


def nth(n: int, beginning: str) -> Callable[[int, str], bool]:
    """Whether this is the n-th request that begins so."""
    seen = [0]

    def matches(_: int, request: str) -> bool:
        seen[0] += request.startswith(beginning)
        return seen[0] == n and request.startswith(beginning)

    return matches


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param(nth(1, "POST /api/2.0/mlflow/runs/log-batch"), id="run made, still empty"),
        pytest.param(nth(17, "PUT /api/2.0/mlflow-artifacts"), id="among the files"),
        pytest.param(nth(2, "POST /api/2.0/mlflow/runs/update"), id="before the second run's end"),
    ],
)
def test_a_publication_that_was_killed_goes_on(
    demonstration: RunDirectory,
    mlflow_server: Server,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    moment: Any,
) -> None:
    name = f"killed: {request.node.callspec.id}"
    victims: list[int] = []

    def decide(number: int, request: str) -> Fate:
        if not moment(number, request):
            return "pass"
        os.kill(victims[0], signal.SIGKILL)
        return "cut"

    with road(mlflow_server.url, decide) as way:
        process = subprocess.Popen(
            [
                *PUBLISH,
                str(demonstration.path),
                "--allow-inconclusive",
                "--url",
                way.url,
                "--name",
                name,
            ],
            cwd=ROOT,
            env=environment({"TMPDIR": str(tmp_path)}),  # what is killed clears nothing away
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        victims.append(process.pid)
        assert process.wait(120) == -signal.SIGKILL
    half = runs(mlflow_server, name)
    assert any(run.info.status == "RUNNING" for run in half.values())
    sent = send(demonstration, mlflow_server.url, name).sent
    assert sent["runs"] == 3 - len(half)
    assert_same_as_at_once(demonstration, mlflow_server, name)


def test_a_connection_that_breaks_is_told_and_what_is_missing_is_sent_the_next_time(
    demonstration: RunDirectory, mlflow_server: Server
) -> None:
    broken = nth(30, "PUT ")
    gone = [False]

    def decide(number: int, request: str) -> Fate:
        gone[0] = gone[0] or broken(number, request)
        return "cut" if gone[0] else "pass"

    with road(mlflow_server.url, decide) as way:
        done = command(
            demonstration,
            *("--to", "mlflow", "--url", way.url, "--name", "broken"),
            env={"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"},
            process=True,
        )
    assert done.returncode == 4
    error, hint = done.stderr.strip().splitlines()[-2:]
    assert "of 3 candidates' runs are whole at MLflow" in error
    assert f"no MLflow server answers at {way.url}" in error
    assert hint.endswith("Then publish again: what has arrived stays, and is not sent twice.")
    sent = send(demonstration, mlflow_server.url, "broken").sent
    assert (
        0 < sent["files"] < sum(len(each["files"]) - 1 for each in snapshot(mlflow_server, "broken").values())
    )
    assert_same_as_at_once(demonstration, mlflow_server, "broken")


def test_a_lost_answer_makes_no_second_run(demonstration: RunDirectory, mlflow_server: Server) -> None:
    lost = nth(1, "POST /api/2.0/mlflow/runs/create")
    with road(mlflow_server.url, lambda number, request: "lose" if lost(number, request) else "pass") as way:
        send(demonstration, way.url, "lost")
    experiment = client(mlflow_server).get_experiment_by_name("lost").experiment_id
    from mlflow.entities import ViewType

    assert len(client(mlflow_server).search_runs([experiment], run_view_type=ViewType.DELETED_ONLY)) == 1
    assert_same_as_at_once(demonstration, mlflow_server, "lost")


def assert_same_as_at_once(run: RunDirectory, server: Server, experiment: str) -> None:
    """What is there is what one undisturbed publication leaves."""
    send(run, server.url, "at once")
    assert snapshot(server, experiment) == snapshot(server, "at once")
    assert not any(send(run, server.url, experiment).sent.values())


# --- many trials, odd ones ----------------------------------------------------------------------------


def test_the_files_of_many_trials_go_in_packs(mlflow_server: Server, tmp_path: Path) -> None:
    repetitions, examples = 3, files.TRIALS_PER_PACK // 3 + 1
    manifest = synthetic.manifest(["many"], examples, repetitions, run_id="packs")
    records = synthetic.trials(["many"], examples, repetitions, skills=(0.8,))
    run = synthetic.run_directory(tmp_path, records, manifest)
    trials = list(run.trials())
    for trial in trials:
        run.write_trajectory(trial.trial_id, {"steps": [{"message": trial.trial_id}]})
        run.append_call(trial.trial_id, {"index": 0, "attempt": 1})
        run.write_log(trial.trial_id, 1, "" if trial.repetition == 1 else "said on stderr\n")
    write(run, data.collect(run))
    first = send(run, mlflow_server.url, "packs")
    place = stored(mlflow_server, runs(mlflow_server, "packs")["many"])
    packs = sorted(place.glob("trials-*.zip"))
    assert [path.name for path in packs] == ["trials-0001.zip", "trials-0002.zip"]
    inside = {}
    for path in packs:
        with zipfile.ZipFile(path) as pack:
            assert pack.testzip() is None
            inside |= {name: pack.read(name) for name in pack.namelist()}
    assert inside == {f"{kind}/{path.name}": path.read_bytes() for kind, path in trial_files(run)}
    assert len(inside) == 3 * len(trials)
    before = snapshot(mlflow_server, "packs")
    assert not any(send(run, mlflow_server.url, "packs").sent.values())
    assert snapshot(mlflow_server, "packs") == before
    assert first.sent["files"] == len(WHOLE_RUN) + 1 + len(packs)


def test_hostile_and_empty_things_arrive_as_they_are(mlflow_server: Server, tmp_path: Path) -> None:
    odd = 'a\'b "c" $x_$<b>/../%41'
    manifest = synthetic.manifest(
        [odd], 2, 1, run_id="odd", notes=["\x1b[2J <script>alert(1)</script>\x00"], simulated=False
    )
    scores = {"m:f/../x": 1.0, "m:f__/x": 0.5}
    records = [
        each.model_copy(update={"scores": scores}) for each in synthetic.trials([odd], 2, 1, skills=(1.0,))
    ]
    run = synthetic.run_directory(tmp_path, records, manifest)
    run.write_log(records[0].trial_id, 1, "")
    write(run, data.collect(run))
    send(run, mlflow_server.url, "odd: ünï'cödé")
    (sent,) = runs(mlflow_server, "odd: ünï'cödé").values()
    assert sent.data.tags["bakeoff.candidate"] == odd
    assert sent.data.params["candidate"] == odd
    assert sent.data.tags["bakeoff.warnings"].startswith("␛[2J <script>alert(1)</script>␀")
    evaluators = {value for key, value in sent.data.metrics.items() if key.startswith("evaluator")}
    assert evaluators == {1.0, 0.5}
    (log,) = (stored(mlflow_server, sent) / "attempts").iterdir()
    assert log.read_bytes() == b""
    assert not any(send(run, mlflow_server.url, "odd: ünï'cödé").sent.values())


def test_a_parameter_that_is_otherwise_there_is_told(mlflow_server: Server, tmp_path: Path) -> None:
    run = synthetic.run_directory(tmp_path, None, synthetic.manifest(run_id="otherwise"))
    write(run, data.collect(run))
    send(run, mlflow_server.url, "otherwise")
    changed = run.manifest().model_copy(update={"bakeoff_version": "0.2.0"})
    (run.path / "manifest.json").write_text(changed.model_dump_json())
    (run.path / "report.md").unlink()
    missing, *warnings = send(run, mlflow_server.url, "otherwise").warnings
    assert "report.md is not in the run directory" in missing
    assert f"`bakeoff report {run.path}` makes it" in missing
    assert len(warnings) == 2
    assert "has the parameter bakeoff_version otherwise" in warnings[0]


# --- bad input ----------------------------------------------------------------------------------------


def refused(run: RunDirectory, *options: str, code: int = 2, **environ: str) -> str:
    """The one error that `bakeoff publish RUN --to mlflow` ends with, and its hint."""
    done = bakeoff("publish", str(run.path), "--to", "mlflow", *options, env=environment(environ))
    assert done.returncode == code, done.stderr
    assert [line.startswith("error: ") for line in done.stderr.splitlines()].count(True) == 1, done.stderr
    assert done.stdout == ""
    assert "bug in bakeoff" not in done.stderr
    return done.stderr


@pytest.mark.parametrize(
    ("options", "environ", "problem"),
    [
        ([], {}, "MLFLOW_TRACKING_URI: nothing says where MLflow is"),
        (["--url", "localhost:5000"], {}, "--url: is not an http or https address"),
        (["--url", "http://me:secret-word@localhost"], {}, "--url: may hold a secret"),
        ([], {"MLFLOW_TRACKING_URI": "file:///tmp/mlruns"}, "MLFLOW_TRACKING_URI: is not the http or https address"),
        ([], {"MLFLOW_TRACKING_URI": "sqlite:///secret-word.db"}, "is not the http or https address"),
        ([], {"MLFLOW_TRACKING_URI": "databricks"}, "is not the http or https address"),
        (["--url", "http://127.0.0.1:9"], {}, "mlflow: no MLflow server answers at http://127.0.0.1:9 (Connection",),
        (["--protocol", "grpc", "--url", "http://127.0.0.1:9"], {}, "--protocol: means nothing to mlflow"),
    ],
)  # fmt: skip
def test_an_address_that_is_none(
    demonstration: RunDirectory,
    options: list[str],
    environ: dict[str, str],
    problem: str,
) -> None:
    said = refused(demonstration, "--allow-inconclusive", *options, **environ)
    assert problem in said
    assert "  hint: " in said
    assert "secret-word" not in said


def test_a_server_that_is_not_mlflow_s(demonstration: RunDirectory, tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            port = process.stdout.readline().split("port ")[1].split()[0]
            said = refused(demonstration, "--allow-inconclusive", "--url", f"http://127.0.0.1:{port}")
        finally:
            process.kill()
    assert f"what answers at http://127.0.0.1:{port} is no MLflow server" in said


@pytest.fixture
def small(tmp_path: Path) -> RunDirectory:
    """A run of few files: a server that asks for passwords takes its time over each."""
    run = synthetic.run_directory(
        tmp_path,
        synthetic.trials(["one"], 3, 1, skills=(0.5,)),
        synthetic.manifest(["one"], 3, 1, run_id="small"),
    )
    write(run, data.collect(run))
    return run


def test_credentials(
    small: RunDirectory,
    mlflow_server_with_users: Server,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = mlflow_server_with_users.url
    for environ in (
        {},
        {"MLFLOW_TRACKING_USERNAME": "admin", "MLFLOW_TRACKING_PASSWORD": "not-the-password"},
    ):
        said = refused(small, "--url", url, **environ)
        assert f"the MLflow server at {url} does not know these credentials (401)" in said
        assert "MLFLOW_TRACKING_PASSWORD" in said
        assert "not-the-password" not in said
    # from .env, of which MLflow's client knows nothing, and of which nothing stays in this process
    environ = {"MLFLOW_TRACKING_USERNAME": "admin", "MLFLOW_TRACKING_PASSWORD": ADMIN_PASSWORD}
    for name in environ:
        monkeypatch.delenv(name, raising=False)
    assert send(small, url, "small", **environ).sent["runs"] == 1
    assert not set(environ) & set(os.environ)
    # in the address too, where MLflow's own client takes them
    env = {"MLFLOW_TRACKING_URI": url.replace("http://", f"http://admin:{ADMIN_PASSWORD}@")}
    done = command(small, "--to", "mlflow", "--name", "small", "--json", env=env)
    assert done.returncode == 0, done.stderr
    assert ADMIN_PASSWORD not in done.stdout + done.stderr
    said = json.loads(done.stdout)["mlflow"]
    assert said["where"].startswith(url)
    assert not any(said["sent"].values())


def test_a_user_who_may_only_read(small: RunDirectory, mlflow_server_with_users: Server) -> None:
    url = mlflow_server_with_users.url
    user = {"username": "reader", "password": "the-reader-s-password"}
    for path, body in (("users/create", user), ("experiments/create", {"name": "not yours"})):
        answer = httpx.post(f"{url}/api/2.0/mlflow/{path}", json=body, auth=("admin", ADMIN_PASSWORD))
        answer.raise_for_status()
    environ = {"MLFLOW_TRACKING_USERNAME": user["username"], "MLFLOW_TRACKING_PASSWORD": user["password"]}
    said = refused(small, "--url", url, "--name", "not yours", code=4, **environ)
    assert "0 of 1 candidates' runs are whole at MLflow" in said
    assert f"the MLflow server at {url} forbids it (403)" in said
    assert user["password"] not in said


def test_an_experiment_that_cannot_be_used(
    small: RunDirectory, mlflow_server: Server, tmp_path: Path
) -> None:
    mine = client(mlflow_server)
    mine.delete_experiment(mine.create_experiment("deleted"))
    said = refused(small, "--url", mlflow_server.url, "--name", "deleted")
    assert "the experiment 'deleted' has been deleted at MLflow" in said
    assert "mlflow experiments restore" in said
    there = tmp_path / "there"
    there.mkdir()
    mine.create_experiment("on its own disk", artifact_location=there.as_uri())
    said = refused(small, "--url", mlflow_server.url, "--name", "on its own disk")
    assert "the server takes no artifacts for the experiment 'on its own disk'" in said
    assert list(there.iterdir()) == []


def test_a_run_that_may_not_be_published(
    demonstration: RunDirectory, mlflow_server: Server, tmp_path: Path
) -> None:
    there = ("--url", mlflow_server.url, "--name", "never made")
    assert "this run is inconclusive" in refused(demonstration, *there)
    unfinished = another(demonstration, tmp_path, "unfinished", state="interrupted")
    assert "this run is not finished" in refused(unfinished, "--allow-inconclusive", *there)
    assert client(mlflow_server).get_experiment_by_name("never made") is None


def test_a_server_that_forgets_is_found_out(demonstration: RunDirectory, mlflow_server: Server) -> None:
    """It answers 200 to a file and does not keep it: the run does not count as finished."""

    def forget(number: int, request: str) -> Fate:
        return "forget" if request.startswith("PUT ") and request.endswith("/report.md") else "pass"

    # in a process of its own: MLflow's client remembers for good by which road it sent a run's files
    with road(mlflow_server.url, forget) as way:
        done = command(demonstration, "--to", "mlflow", "--url", way.url, "--name", "forgetful", process=True)
    assert done.returncode == 4
    assert "0 of 3 candidates' runs are whole at MLflow" in done.stderr
    assert "the server took report.md and does not have it" in done.stderr
    assert {run.info.status for run in runs(mlflow_server, "forgetful").values()} == {"RUNNING"}
    assert send(demonstration, mlflow_server.url, "forgetful").sent["runs"] == 2
    assert_same_as_at_once(demonstration, mlflow_server, "forgetful")


def test_every_field_is_in_the_documentation(published: dict[str, Any], mlflow_server: Server) -> None:
    assert published
    text = (ROOT / "docs" / "publishing.md").read_text()
    table = text.split("<!-- mlflow")[1].split("<!-- /mlflow -->")[0]
    names = re.findall(r"`([^`]+)`", table)
    patterns = [re.compile(re.sub(r"<\w+>", ".+", re.sub(r"([.])", r"\\\1", name))) for name in names]
    for run in runs(mlflow_server, "support-desk").values():
        files = [
            each.path + "/" * each.is_dir for each in client(mlflow_server).list_artifacts(run.info.run_id)
        ]
        for key in (*run.data.params, *run.data.metrics, *run.data.tags, *files):
            assert any(pattern.fullmatch(key) for pattern in patterns), key
