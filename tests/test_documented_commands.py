"""Every `consilium ...` that a document shows has a command and options that exist."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import click
import pytest
import typer

import launch
from tests import command_tree

ROOT = Path(__file__).parents[1]
DOCUMENTS = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted(ROOT.glob("CONTRIBUTING.md")),
    *sorted(path for path in (ROOT / "deploy").rglob("*") if path.is_file()),
]
LINE = re.compile(r"^(?: {4}|# .*?:\s+)?((?:\S*/bin/)?consilium +[a-z-].*)$", re.M)
INLINE = re.compile(r"`(consilium(?: [^`\n\\]+)+)`")


def commands(path: Path) -> Iterator[str]:
    """What a document tells people to type, also in the middle of a sentence, without comments."""
    yield from whole_commands(path)
    if path.suffix == ".md":
        text = path.read_text(encoding="utf-8")
        yield from INLINE.findall(re.sub(r"^```\w*\n.*?^```", "", text, flags=re.M | re.S))


def whole_commands(path: Path) -> Iterator[str]:
    """What a document shows on lines of their own, to be pasted."""
    text = path.read_text(encoding="utf-8")
    fenced = "\n".join(re.findall(r"^```\w*\n(.*?)^```", text, re.M | re.S))
    plain = re.sub(r"^```\w*\n.*?^```", "", text, flags=re.M | re.S)
    source = (
        text
        if path.suffix != ".md"
        else f"{fenced}\n"
        + "\n".join(line for line in plain.splitlines() if line.startswith("    "))
    )
    yield from LINE.findall(source)


SHOWN = [
    pytest.param(line, id=f"{path.name}: {line.split('  ')[0][:60]}")
    for path in DOCUMENTS
    for line in dict.fromkeys(commands(path))
]


def parse(words: list[str], *, whole: bool) -> None:
    """Find the command and read its options, without running it; inline ones may lack some."""
    command: click.Command = typer.main.get_command(launch.app)
    context = command.make_context("consilium", [], resilient_parsing=True)
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(context, words[0])
        assert found is not None, f"there is no command {words[0]}"
        command, words = found, words[1:]
        context = click.Context(command, info_name=command.name, parent=context)
    context.resilient_parsing = not whole
    command.parse_args(context, words)


def without_shell(line: str) -> str:
    """A line without what its shell does with it: a file for the answer, a file's text, a start aside.

    >>> without_shell("consilium a --key $(cat k) > f"), without_shell("consilium b &")
    ('consilium a --key x', 'consilium b')
    """
    line = re.sub(r"\$\([^)]*\)", "x", line)
    return re.sub(r"\s+(>\s*\S+|&)\s*$", "", line)


@pytest.mark.parametrize("line", SHOWN)
def test_a_command_that_a_document_shows_exists(line: str) -> None:
    line = without_shell(line)
    assert "|" not in line.partition("#")[0] and "[" not in line.partition("#")[0], "as pasted"
    _, *words = shlex.split(line, comments=True)
    parse(words, whole="--" in line)


def test_the_documents_show_commands_and_the_check_finds_a_wrong_one() -> None:
    assert len(SHOWN) > 40
    for wrong in ("fly", "up --fast", "requests list --hospitals north", "demo --first-port x"):
        with pytest.raises((AssertionError, click.UsageError)):
            parse(shlex.split(wrong), whole=True)


def test_the_installed_command_starts() -> None:
    command = [Path(sys.prefix, "bin", "consilium"), "--version"]
    said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    assert said == f"consilium {metadata.version('consilium')}\n"


def test_no_document_or_sentence_tells_people_to_run_the_starter_by_its_file() -> None:
    rooms = ("datasites", "federation", "policies", "syft_code", "docs", "deploy")
    files = [path for room in rooms for path in (ROOT / room).rglob("*") if path.is_file()]
    texts = [path for path in files if path.suffix in {".py", ".md", ".toml", ".ipynb", ".service"}]
    for path in [*texts, ROOT / "README.md", ROOT / "Makefile"]:
        assert "python launch.py" not in path.read_text(encoding="utf-8"), path


def test_the_readme_is_short_and_names_every_page() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 120
    pages = {path.name for path in (ROOT / "docs").glob("*.md")}
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md")] + [text]
    linked = {name for one in texts for name in re.findall(r"\]\((?:docs/)?([a-z_]+\.md)", one)}
    assert pages <= linked, pages - linked


def test_help_lists_the_commands_in_the_order_of_a_first_day_and_no_default_of_none() -> None:
    command = typer.main.get_command(launch.app)
    assert isinstance(command, click.Group)
    context = click.Context(command)
    names = command.list_commands(context)
    assert names[:3] == ["up", "demo", "lab"]
    for name in names:
        found = command.get_command(context, name)
        assert found is not None and found.help, name
        assert found.help.splitlines()[0].startswith(launch.COMMANDS[name].text.split(". ")[0][:40])
    for words, leaf in command_tree.commands():
        for option in leaf.params:
            if isinstance(option, click.Option) and option.default is None:
                assert not option.show_default, (words, option.name)
