"""A test that starts a server is in the lane of servers, or fails where it starts one."""

import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests import lanes

MAKEFILE = (Path(__file__).parents[1] / "Makefile").read_text()


def test_a_test_that_is_not_marked_listens_on_no_port() -> None:
    with socket.socket() as listening, pytest.raises(RuntimeError, match="must be marked"):
        listening.bind(("127.0.0.1", 0))


@pytest.mark.parametrize("module", ["datasites.vault.vault_process", "tests.hostile.plain_site"])
def test_a_test_that_is_not_marked_starts_no_party(module: str) -> None:
    with pytest.raises(RuntimeError, match="must be marked"):
        subprocess.run([sys.executable, "-m", module], check=True)


@pytest.mark.parametrize("words", [["bin/consilium", "up"], ["launch.py", "lab"]])
def test_a_test_that_is_not_marked_starts_no_federation(words: list[str], tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="must be marked"):
        subprocess.run([sys.executable, *words], check=True, cwd=tmp_path)


def test_a_program_that_serves_nobody_may_start() -> None:
    assert subprocess.run([sys.executable, "-c", "pass"], check=True).returncode == 0


@pytest.mark.servers
def test_a_test_that_is_marked_may_listen() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        assert listening.getsockname()[1]


@pytest.mark.parametrize(
    ("node", "fixtures", "group", "servers"),
    [
        ("tests/notebooks/test_notebooks.py::test_a", ["live"], "live", True),
        ("tests/hostile/test_blobs.py::test_a", ["ours"], "tests/hostile/test_", True),
        ("tests/datasites/vault/test_vault.py::test_a", ["vault"], "", True),
        ("tests/policies/test_rules.py::test_a", [], "", False),
    ],
)
def test_what_shares_servers_shares_a_worker(
    node: str, fixtures: list[str], group: str, servers: bool
) -> None:
    item = SimpleNamespace(nodeid=node, fixturenames=fixtures)
    assert lanes.group(item) == (group or node.partition("::")[0])  # type: ignore[arg-type]
    assert lanes.starts_servers(item) == servers  # type: ignore[arg-type]


def test_the_makefile_has_the_three_lanes() -> None:
    rules = {rule.partition(":")[0]: rule for rule in MAKEFILE.split("\n\n")}
    assert "-m 'not slow and not servers and not thorough'" in rules["test-fast"]
    assert "-m 'not slow'" in rules["tests"] and "check tests" in rules["test"]
    assert "-m" not in rules["test-all"].replace("PYTEST", "")
