"""What MkDocs asks for while it builds: a page of all commands, and links that lead out of `docs`."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # MkDocs runs this file by its path

import launch  # noqa: E402

COMMAND_LINE = "reference/command_line.md"
OUTSIDE = re.compile(r"\[([^\]]*)\]\(\.\./[^)]*\)")
"""A link to the source, which the site does not have: its text stays."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page that is made here."""
    files.append(File.generated(config, COMMAND_LINE, content="\n".join(_command_line())))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Leave links to files of the source out."""
    if page.file.src_uri.startswith("reference/"):
        return markdown
    return OUTSIDE.sub(r"\1", markdown)


def _command_line() -> Iterator[str]:
    yield "# Command line\n\nEach command with everything that it takes, as `--help` says it.\n"
    for name, lazy in launch.COMMANDS.items():
        yield from _of(("consilium", name), lazy.command(name))


def _of(words: tuple[str, ...], command: click.Command) -> Iterator[str]:
    """A section for each command that does something."""
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            yield from _of((*words, name), below)
        return
    yield f"\n## {' '.join(words)}\n\n{command.help}\n"
    if command.params:
        yield "| | | usually |\n|---|---|---|"
    for one in command.params:
        names = " ".join(f"`{name}`" for name in (*one.opts, *one.secondary_opts))
        usually = "needed" if one.required else _usually(one.default)
        yield f"| {names} | {getattr(one, 'help', None) or ''} | {usually} |"


def _usually(value: object) -> str:
    if value is None or value is False or value == "" or callable(value):
        return ""
    return f"`{value}`"
