"""How a command speaks: sentences and tables for people, one JSON document for machines."""

import functools
import json
import math
import shutil
import sys
import termios
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Annotated, Any, NoReturn

import click
import typer
from rich import box
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text
from typer.core import TyperCommand, TyperGroup

from syft_code.errors import ConsiliumError, InvalidInput, Refused, require
from syft_code.runtime import visible_text

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
DISTRIBUTION = "consilium"
MAX_SENTENCE = 2000
PIPED = 200
"""So many columns a table has where no terminal shows it."""
SHORT = 12
"""Digits of an id or a hash that people are shown; they name it if no other begins alike."""


class Command(TyperCommand):
    """A command whose refusals are one sentence on standard error: exit code 2 for wrong input, else 1."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        for parameter in self.params:
            if isinstance(parameter, click.Option) and parameter.default is None:
                parameter.show_default = False  # typer would write "[default: None]"

    def invoke(self, ctx: click.Context) -> Any:
        """Run it."""
        try:
            return super().invoke(ctx)
        except ConsiliumError as problem:
            typer.echo(plain(str(problem)), err=True)
            raise typer.Exit(exit_code(problem)) from None
        except OSError as problem:
            if problem.filename is None:
                raise
            words = f"{quoted(str(problem.filename))} can't be used: {problem.strerror}; check its name."
            typer.echo(words, err=True)
            raise typer.Exit(2) from None


def exit_code(problem: ConsiliumError) -> int:
    """2 where what was given must be mended, as click has it; 1 where somebody says no or is away."""
    return 2 if isinstance(problem, InvalidInput) else 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LazyCommand:
    """A command, or a group of them, that is imported when somebody uses it.

    `load` gives its function or its `typer.Typer`; `text` is what the list of commands says of it.
    """

    load: Callable[[], Any]
    text: str

    def command(self, name: str) -> click.Command:
        """Import it."""
        found = self.load()
        if isinstance(found, typer.Typer):
            command: click.Command = typer.main.get_group(found)
        else:
            alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
            alone.command(name, cls=Command)(found)
            command = typer.main.get_command(alone)
        command.name = name
        return command


def application(commands: Mapping[str, LazyCommand], *, text: str) -> typer.Typer:
    """Commands and groups of commands as one application; its help lists them in this order."""

    class InOrder(TyperGroup):
        listing = False

        def main(
            self,
            args: Sequence[str] | None = None,
            prog_name: str | None = None,
            complete_var: str | None = None,
            standalone_mode: bool = True,
            windows_expand_args: bool = True,
            **extra: Any,
        ) -> Any:
            """Run it; a command that is written wrongly is one sentence, too."""
            run = functools.partial(
                super().main, args, prog_name, complete_var, False, windows_expand_args, **extra
            )
            return _run_and_exit(run) if standalone_mode else run()

        def list_commands(self, ctx: click.Context) -> list[str]:
            return list(commands)

        def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
            if cmd_name not in commands:
                return None
            if self.listing:
                return click.Command(cmd_name, help=commands[cmd_name].text)
            return commands[cmd_name].command(cmd_name)

        def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
            self.listing = True
            super().format_help(ctx, formatter)
            self.listing = False

    app = typer.Typer(
        cls=InOrder, add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True
    )
    app.callback(help=text)(_version_option)
    return app


def _run_and_exit(run: Callable[[], Any]) -> NoReturn:
    """Run a command line and end the process; what was written wrongly is one sentence, exit code 2."""
    try:
        sys.exit(run() or 0)
    except click.UsageError as problem:
        words = plain(" ".join(problem.format_message().split())).rstrip(".")
        path = problem.ctx.command_path if problem.ctx else DISTRIBUTION
        typer.echo(f"{words}: see `{path} --help`.", err=True)
        sys.exit(2)
    except click.Abort:
        typer.echo("Stopped.", err=True)
        sys.exit(1)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"{DISTRIBUTION} {metadata.version(DISTRIBUTION)}")
        raise typer.Exit


def _version_option(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None: ...


def plain(text: str) -> str:
    """Text of others as a terminal may show it, line by line: every character can be seen.

    >>> plain("a\\x1b[31mb")
    'a\\\\x1b[31mb'
    """
    return "\n".join(map(visible_text.visible, text.split("\n")))


def quoted(text: str) -> str:
    """What somebody typed, fit to stand in a sentence.

    >>> quoted("x" * 100)[-8:], quoted("a\\nb")
    ("xxxxxx…'", "'a b'")
    """
    one_line = " ".join(plain(text).split())
    return f"'{one_line[:60]}…'" if len(one_line) > 60 else f"'{one_line}'"


def paragraph(text: str, *, what: str) -> str:
    """A reason or a question as one paragraph; raise `InvalidInput` if it can't be one.

    >>> paragraph(" Not\\nnow. ", what="reason")
    'Not now.'
    """
    found = " ".join(text.split())
    require(
        1 <= len(found) <= MAX_SENTENCE and found.isprintable(),
        f"A {what} must be 1 to {MAX_SENTENCE} characters of plain text without control "
        f"characters, got {len(found)}: write a sentence that somebody can read.",
        error=InvalidInput,
    )
    return found


def document(value: Mapping[str, Any]) -> None:
    """Print one JSON document; a number that is not finite is null, since JSON has none."""
    typer.echo(json.dumps(_finite(value), indent=2, allow_nan=False))


def sentence(text: str, *, err: bool = False) -> None:
    """Print a sentence, or some lines; on standard error if programs read standard output."""
    typer.echo(plain(text), err=err)


def lines(text: str) -> None:
    """Print lines, such as a card's; on a terminal those that are too long are broken at words."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    shown = plain(text)
    typer.echo(shown if width is None else broken(shown, width))


def broken(text: str, width: int) -> str:
    """Lines of at most `width` where words allow it; each goes on below where its words begin.

    >>> print(broken("  cost: one two three", 20))
      cost: one two
            three
    """
    return "\n".join(part for line in text.split("\n") for part in _parts(line, width))


def _parts(line: str, width: int) -> list[str]:
    if len(line) <= width or line.lstrip().startswith("|"):  # code stays as it is
        return [line]
    start = line.find(": ") + 2
    indent = " " * (start if 2 <= start <= width // 2 else 2)
    return textwrap.wrap(
        line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, kept: int = 1) -> None:
    """Print a table; the first `kept` columns are never broken over lines."""
    heads = [
        Column(name, no_wrap=place < kept, overflow="fold") for place, name in enumerate(columns)
    ]
    shown = Table(*heads, box=box.SIMPLE_HEAD, pad_edge=False)
    for row in rows:
        shown.add_row(*(Text(plain(cell)) for cell in row))
    Console(width=None if sys.stdout.isatty() else PIPED).print(shown)


def confirmed(question: str) -> bool:
    """Ask a person; what was typed or pasted before the question is no answer to it.

    Raises:
        Refused: if nobody is there to answer.
    """
    if sys.stdin.isatty():
        termios.tcflush(sys.stdin, termios.TCIFLUSH)
    try:
        return typer.confirm(question, err=True)
    except click.Abort:
        raise Refused("Nobody answered, so nothing was done: say --yes if you are sure.") from None


def in_force(missing: int) -> str:
    """Whether something that was signed is in force, in words.

    >>> in_force(1)
    'Signed, and not in force yet: 1 more person must sign the same, with --keys.'
    """
    if not missing:
        return "Signed and in force."
    people = "person" if missing == 1 else "people"
    return f"Signed, and not in force yet: {missing} more {people} must sign the same, with --keys."


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
