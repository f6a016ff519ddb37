"""Where keys come from, which source wins, and that no error of theirs tells what they hold."""

import sys
from pathlib import Path

import pytest

from bakeoff import gateway
from bakeoff.config import loading
from bakeoff.config.keys import environment
from bakeoff.config.schema import Config
from bakeoff.errors import InputError
from bakeoff.gateway.policy.context import RunContext

CANARY = "canary-0123456789abcdef"
HARNESS = """\
version: 1
name: x
harness: {{prompt: p, source: .}}
candidates:
  - {{name: a, model: "openai:m"}}
  - {{name: b, model: "simulated:skill=1"}}
dataset: rows.jsonl
evaluators: [{{final_answer: {{}}, threshold: 1.0}}]
{more}
"""


def load(tmp_path: Path, more: str = "") -> Config:
    path = tmp_path / "harness.yaml"
    path.write_text(HARNESS.format(more=more))
    return loading.load(path)


def command(tmp_path: Path, program: str) -> Config:
    script = tmp_path / "key.py"
    script.write_text(program)
    return load(tmp_path, f"key_command: {{OPENAI_API_KEY: ['{sys.executable}', '{script}']}}")


def test_the_environment_wins_over_dotenv_and_both_over_the_command(tmp_path: Path) -> None:
    config = command(tmp_path, "print('from-command')")
    wanted = ["OPENAI_API_KEY"]
    assert environment(config, wanted, {})["OPENAI_API_KEY"] == "from-command"
    (tmp_path / ".env").write_text("# mine\nexport OPENAI_API_KEY='from-dotenv'\n\n")
    assert environment(config, wanted, {})["OPENAI_API_KEY"] == "from-dotenv"
    assert environment(config, wanted, {"OPENAI_API_KEY": "set"})["OPENAI_API_KEY"] == "set"


def test_only_the_commands_that_are_wanted_are_run(tmp_path: Path) -> None:
    config = command(tmp_path, f"open(r'{tmp_path}/ran', 'w'); print('x')")
    environment(config, [], {})
    assert not (tmp_path / "ran").exists()


def test_the_run_asks_for_the_keys_of_its_candidates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    config = command(tmp_path, f"print('{CANARY}')")
    assert gateway.environment(config)["OPENAI_API_KEY"] == CANARY
    only_b = config.model_copy(update={"candidates": config.candidates[1:]})
    assert "OPENAI_API_KEY" not in gateway.environment(only_b)


def test_nothing_is_put_into_our_own_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    gateway.environment(command(tmp_path, f"print('{CANARY}')"))
    assert CANARY not in os.environ.values()


@pytest.mark.parametrize(
    ("program", "says"),
    [
        (f"import sys; print('{CANARY}'); print('{CANARY}', file=sys.stderr); sys.exit(3)", "ended with exit code 3"),
        ("", "did not print one line"),
        (f"print('{CANARY}'); print('{CANARY}')", "did not print one line"),
        ("import sys; sys.stdout.buffer.write(b'\\xff\\xfe')", "gave no key"),
    ],
)  # fmt: skip
def test_a_command_that_fails_is_told_without_what_it_printed(
    tmp_path: Path, program: str, says: str
) -> None:
    with pytest.raises(InputError) as caught:
        environment(command(tmp_path, program), ["OPENAI_API_KEY"], {})
    error = caught.value
    assert says in error.problem
    assert (error.key, error.line) == ("key_command.OPENAI_API_KEY", 9)
    assert error.hint
    assert (
        CANARY
        not in f"{error} {error.hint} {error.__cause__} {error.__context__ if not error.__suppress_context__ else ''}"
    )


def test_a_command_that_is_not_there(tmp_path: Path) -> None:
    config = load(tmp_path, "key_command: {OPENAI_API_KEY: [no-such-program-here, x]}")
    with pytest.raises(InputError, match="there is no command 'no-such-program-here'"):
        environment(config, ["OPENAI_API_KEY"], {})


@pytest.mark.parametrize("line", [f"OPENAI_API_KEY {CANARY}", CANARY, f"OPENAI_API_KEY='{CANARY}"])
def test_a_bad_line_of_dotenv_is_told_by_its_number_alone(tmp_path: Path, line: str) -> None:
    (tmp_path / ".env").write_text(f"A=1\n{line}\n")
    with pytest.raises(InputError) as caught:
        environment(load(tmp_path), [], {})
    assert caught.value.line == 2
    assert CANARY not in str(caught.value)


def test_keys_are_secrets_whatever_their_variable_is_called(tmp_path: Path) -> None:
    config = load(tmp_path, "key_command: {MY_LOGIN: [echo, x]}")
    assert CANARY in RunContext.of(config, {"MY_LOGIN": CANARY}).secrets
    assert CANARY not in repr(RunContext.of(config, {"MY_LOGIN": CANARY}))


def test_the_manifest_does_not_say_how_a_command_is_called(tmp_path: Path) -> None:
    config = load(tmp_path, f"key_command: {{OPENAI_API_KEY: [printf, {CANARY}]}}")
    dumped = loading.dump(config)
    assert dumped["key_command"] == {"OPENAI_API_KEY": ["printf", "***"]}
    assert CANARY not in str(dumped)


@pytest.mark.parametrize(
    ("more", "key", "line", "says"),
    [
        ("rate: {opnai: {concurrent: 1}}", "rate.opnai", 9, "no candidate uses 'opnai'"),
        ("rate: {openai: {concurrent: 0}}", "rate.openai.concurrent", 9, "at least 1"),
        ("rate:\n  openai: {requests: 3}", "rate.openai.requests", 10, "unknown key"),
        ("rate: {openai: {requests_per_minute: fast}}", "rate.openai.requests_per_minute", 9, "fast"),
        ('prices: {"openai:n": {input: 1, output: 1}}', "prices.'openai:n'", 9, "no candidate uses"),
        ('prices: {"openai:m": {input: 1}}', "prices.'openai:m'.output", 9, "missing"),
        ('prices: {"openai:m": {input: -1, output: 1}}', "prices.'openai:m'.input", 9, "at least 0"),
        ("budget: {usd: 0}", "budget.usd", 9, "greater than 0"),
        ("budget: 25", "budget", 9, "a mapping"),
        ("key_command: {OPENAI_API_KEY: pass show x}", "key_command.OPENAI_API_KEY", 9, "a list"),
        ("key_command: {OPENAI_API_KEY: []}", "key_command.OPENAI_API_KEY", 9, "not empty"),
        ('key_command: {"the key": [pass]}', "key_command.'the key'", 9, "environment variable"),
    ],
)
def test_bad_entries_are_told_with_line_key_and_hint(
    tmp_path: Path, more: str, key: str, line: int, says: str
) -> None:
    with pytest.raises(InputError) as caught:
        load(tmp_path, more)
    assert (caught.value.key, caught.value.line) == (key, line)
    assert says in caught.value.problem
    assert caught.value.hint
