"""Which lane a test is in, and which tests share a worker.

A test that starts a server is marked `servers`: by its folder or a fixture here, or by itself.
A test that is not marked may start none: it fails where it tries.
"""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

FOLDERS = ("tests/faults/", "tests/hostile/", "tests/journeys/")
"""All tests here work with servers."""
FIXTURES = frozenset({"hurried", "line", "lines", "live", "operate", "party", "two", "vault"})
"""Each of these starts one."""
GROUPS = (
    "tests/datasites/test_site_users.py",
    "live",
    "tests/hostile/test_rounds_beside_pysyft.py",
    "tests/hostile/test_status_masking.py",
    "tests/hostile/test_",
    "tests/federation/experiments/",
    "tests/datasites/cli/test_owner_pages.py",
    "tests/datasites/cli/test_request_panel.py",
    "tests/datasites/cli/test_commands.py",
)
"""They begin, each in one worker; what they share is started once. First who forks for other users,
before a worker holds a federation's clients: a fork beside their threads once ended a worker. Then the
longest. Files whose requests would add up at one hospital have a worker, and so a hospital, of their own.
"""
SERVER = re.compile(
    r" -m (datasites\.(?!sandbox\.)|federation\.|tests\.)|launch\.py|bin/consilium (?!--version$)"
)
"""A contained process is none: it answers whoever started it alone."""
UNMARKED = "A test that starts a server must be marked: `pytest.mark.servers`."

_unmarked: list[str] = []


def starts_servers(item: pytest.Item) -> bool:
    """Whether a test's folder or fixtures say that it starts a server."""
    fixtures = getattr(item, "fixturenames", ())
    return item.nodeid.startswith(FOLDERS) or not FIXTURES.isdisjoint(fixtures)


def group(item: pytest.Item) -> str:
    """The tests that run in one worker: those of one federation, one folder or one file."""
    if "live" in getattr(item, "fixturenames", ()):
        return "live"
    file = item.nodeid.partition("::")[0]
    return next((folder for folder in GROUPS if file.startswith(folder)), file)


def rank(item: pytest.Item) -> int:
    """The place of a test's group; those that are not named here stay in their order."""
    name = group(item)
    return GROUPS.index(name) if name in GROUPS else len(GROUPS)


@contextmanager
def guarded(item: pytest.Item) -> Iterator[None]:
    """Fail a test that is not marked where it starts a server."""
    if item.get_closest_marker("servers"):
        yield
        return
    _unmarked.append(item.nodeid)
    try:
        yield
    finally:
        _unmarked.clear()


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if not _unmarked:
        return
    if event == "socket.bind" or (event == "subprocess.Popen" and _is_server(arguments[1])):
        raise RuntimeError(f"{UNMARKED} {_unmarked[0]} is not.")


def _is_server(command: object) -> bool:
    words = command if isinstance(command, list | tuple) else [command]
    return bool(SERVER.search(" ".join(map(str, words))))


sys.addaudithook(_watch)
