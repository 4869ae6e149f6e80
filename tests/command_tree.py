"""The command line as a tree: every command with the words that call it."""

from collections.abc import Iterator

import click

import launch

Words = tuple[str, ...]


def commands() -> Iterator[tuple[Words, click.Command]]:
    """Every command that does something, with the words that call it."""
    for name, lazy in launch.COMMANDS.items():
        yield from _leaves((name,), lazy.command(name))


def _leaves(words: Words, command: click.Command) -> Iterator[tuple[Words, click.Command]]:
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            yield from _leaves((*words, name), below)
    else:
        yield words, command
