"""What a manifest keeps of harness.yaml, and that older manifests stay readable."""

from __future__ import annotations

import json
from pathlib import Path

from bakeoff.config.loading import dump, load
from bakeoff.record.configuration import Configuration
from tests.fakes import synthetic

EVERYTHING = """\
version: 1
name: desk
harness:
  prompt: Be kind.
  middleware: [{use: "langchain.agents.middleware:PIIMiddleware", with: {pii_type: email, password: x}}]
candidates: [{name: a, model: "simulated:skill=1", params: {temperature: 0}}]
dataset: rows.jsonl
evaluators: [{final_answer: {match: exact}, threshold: 1}]
rate: {simulated: {concurrent: 2}}
prices: {"simulated:skill=1": {input: 1, output: 2}}
budget: {usd: 3}
key_command: {SOME_KEY: [pass, show]}
gates: {max_drop: 0.1, must_pass: ["suite=benchmark"]}
production: {memory: 1GiB, retries: {model_call: 2}}
change: {owner: me}
publish: {otlp: {endpoint: "http://localhost:4318"}}
"""


def test_the_configuration_is_written_as_it_was_resolved(tmp_path: Path) -> None:
    (tmp_path / "harness.yaml").write_text(EVERYTHING)
    resolved = dump(load(tmp_path / "harness.yaml"))
    kept = Configuration.model_validate(resolved)
    assert json.loads(json.dumps(kept.model_dump(mode="json"))) == resolved
    assert kept.harness.middleware[0].with_ == {"pii_type": "email", "password": "***"}


def test_a_manifest_of_the_first_version_is_read(tmp_path: Path) -> None:
    run = synthetic.run_directory(tmp_path)
    written = json.loads((run.path / "manifest.json").read_text())
    for key in ("rate", "prices", "budget", "key_command", "gates", "production", "change", "publish"):
        del written["config"][key]
    for key in ("command", "npm", "traces"):
        del written["config"]["harness"][key]
    del written["config"]["resources"]["pin"]
    for key in ("severities", "row_digests"):
        del written["dataset"][key]
    del written["overrides"]
    assert not {"profiles", "langsmith"} & (written.keys() | written["dataset"].keys())
    (run.path / "manifest.json").write_text(json.dumps(written))
    read, whole = run.manifest(), synthetic.manifest()
    assert (read.config.gates, read.config.publish) == ({}, {})
    config = read.config.model_copy(update={"gates": whole.config.gates, "publish": whole.config.publish})
    assert read.model_copy(update={"config": config}) == whole
