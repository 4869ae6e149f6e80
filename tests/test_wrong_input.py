"""Each command and each of its options, given what it can't take: one sentence, exit code 2, nothing written.

The list grows with the command line: it is read off the commands themselves.
"""

from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from typer.testing import CliRunner

import launch
from tests.command_tree import commands

RUNNER = CliRunner(mix_stderr=False)


COMMANDS = dict(commands())


def wrong_values(parameter: click.Parameter) -> Iterator[str]:
    """What this parameter certainly can't take."""
    kind = parameter.type
    if isinstance(kind, click.Choice):
        yield "nonsense"
    elif isinstance(kind, click.types.IntParamType | click.types.FloatParamType):
        yield "nonsense"
        yield ""


def required(command: click.Command) -> list[str]:
    """Words for what a command can't do without, so that the wrong one is what is refused."""
    words: list[str] = []
    for one in command.params:
        if one.required:
            words += ([] if isinstance(one, click.Argument) else [one.opts[0]]) + ["x"]
    return words


def cases() -> Iterator[tuple[tuple[str, ...], list[str]]]:
    for words, command in COMMANDS.items():
        yield words, ["--no-such-option"]
        if not any(one.nargs == -1 for one in command.params):
            yield words, [*required(command), "one", "too", "many", "arguments"]
        for one in command.params:
            if isinstance(one, click.Option) and not one.is_flag:
                yield words, [one.opts[0]]
                for value in wrong_values(one):
                    yield words, [*required(command), f"{one.opts[0]}={value}"]


CASES = list(cases())


@pytest.mark.parametrize(
    ("words", "wrong"), CASES, ids=[" ".join((*words, *wrong)) for words, wrong in CASES]
)
def test_what_a_command_can_not_take_is_one_sentence_and_exit_code_2(
    words: tuple[str, ...], wrong: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = RUNNER.invoke(launch.app, [*words, *wrong])
    assert (said.exit_code, said.stdout) == (2, ""), (said.stderr, said.exception)
    assert said.stderr.count("\n") == 1 and 15 < len(said.stderr) < 400, said.stderr
    assert said.stderr.endswith(" --help`.\n"), said.stderr
    assert not list(tmp_path.iterdir())


def test_there_are_many_of_them() -> None:
    assert len(COMMANDS) > 30 and len(CASES) > 150


NOWHERE = "/nowhere/at/all"
LATER = {
    # what is refused once a command looks at it
    ("up", "--federation", NOWHERE): "federation file",
    ("up", "--first-port", "70000"): "port",
    ("up", "--first-port", "1"): "port",
    ("up", "--start-timeout", "nan"): "start-timeout",
    ("up", "--start-timeout", "-1"): "start-timeout",
    ("demo", "--data", NOWHERE): "folder",
    ("demo", "--study", "nonsense"): "nonsense",
    ("demo", "--budget", "0"): "--budget",
    ("demo", "--budget", "-3"): "--budget",
    ("demo", "--budget", "nan"): "--budget",
    ("demo", "--hospitals", "2"): "hospitals",
    ("lab", "--first-port", "70000"): "port",
    ("stand-ins", "--kind", "nonsense", "--out", "x"): "nonsense",
    ("stand-ins", "--kind", "heart", "--out", "x", "--patients", "0"): "patients",
    ("split", "--kind", "heart", "--rule", "site", "--out", "x", "--data", NOWHERE): NOWHERE,
    ("data", "check", NOWHERE): NOWHERE,
    ("requests", "list", "--state", NOWHERE): NOWHERE,
    ("requests", "show", "x", "--state", NOWHERE): NOWHERE,
    ("requests", "approve", "x", "--yes", "--days", "nan"): "days",
    ("requests", "approve", "x", "--yes", "--days", "0"): "days",
    ("requests", "approve", "x", "--yes", "--epsilon", "-1"): "epsilon",
    ("requests", "approve", "x", "--yes", "--epsilon", "inf"): "epsilon",
    ("requests", "approve", "x", "--yes", "--state", NOWHERE): NOWHERE,
    ("requests", "deny", "x", "--reason", " "): "reason",
    ("requests", "deny", "x", "--reason", "no", "--state", NOWHERE): NOWHERE,
    ("requests", "ask", "x", "--question", "\x1b[31m"): "question",
    ("requests", "revoke", "x", "--reason", ""): "reason",
    ("owner", "--state", NOWHERE): NOWHERE,
    ("ledger", "--state", NOWHERE): NOWHERE,
    ("policy", "show", "--state", NOWHERE): NOWHERE,
    ("policy", "adopt", "--state", NOWHERE): NOWHERE,
    ("approvers", "list", "--state", NOWHERE): NOWHERE,
    ("parties", "list", "--state", NOWHERE): NOWHERE,
    ("patients", "remove", "x", "--yes", "--state", NOWHERE): NOWHERE,
    ("log", "refusals", "--state", NOWHERE): NOWHERE,
    ("audit", "verify", NOWHERE): NOWHERE,
    ("audit", "export", "--out", "x", "--state", NOWHERE): NOWHERE,
    ("certificate", "verify", NOWHERE): NOWHERE,
    ("predict", NOWHERE, NOWHERE): NOWHERE,
    ("experiment", "run", NOWHERE, "--out", "x"): NOWHERE,
    ("experiment", "list", NOWHERE): NOWHERE,
    ("experiment", "report", NOWHERE, "--out", "x"): NOWHERE,
    ("encoder", "convert", NOWHERE, "--name", "resnet18"): NOWHERE,
    ("encoder", "axes", NOWHERE): NOWHERE,
    ("aggregator", "--config", NOWHERE): NOWHERE,
}


@pytest.mark.parametrize("words", LATER, ids=" ".join)
def test_what_is_wrong_only_when_it_is_looked_at_is_one_sentence_too(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = RUNNER.invoke(launch.app, list(words))
    assert said.exit_code == 2 and not said.stdout, (said.stderr, said.exception)
    assert said.stderr.count("\n") == 1 and LATER[words] in said.stderr, said.stderr
    assert not list(tmp_path.iterdir())
