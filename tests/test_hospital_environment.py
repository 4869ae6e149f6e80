"""What the environments of a hospital, an aggregator and a relay contain is the lock's, and enough."""

import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LISTS = {name: ROOT / "deploy" / f"{name}-requirements.txt" for name in ("aggregator", "hospital")}
MOST = {"aggregator": 25, "hospital": 120}
LINE = re.compile(r"^([a-z0-9-]+)==(\S+)\s+# (\S.*)$")
KEPT_OUT = (
    "boto3",
    "botocore",
    "azure-storage-blob",
    "docker",
    "kr8s",
    "jupyterlab",
    "matplotlib",
    "ray",
    "mlflow",
)

WITHOUT = """
import importlib, re, sys
from importlib.machinery import PathFinder
from importlib.metadata import packages_distributions

allowed = set(sys.argv[1].split(","))
absent = {
    top for top, owners in packages_distributions().items()
    if not any(re.sub(r"[-_.]+", "-", owner).lower() in allowed for owner in owners)
}

class Finder:
    find_distributions = staticmethod(PathFinder.find_distributions)

    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in absent else PathFinder.find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Finder()
for name in sys.argv[2].split(","):
    importlib.import_module(name)
print(len(absent), "absent")
"""


def name_of(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def listed(which: str) -> dict[str, tuple[str, str]]:
    lines = [line for line in LISTS[which].read_text().splitlines() if line and line[0] != "#"]
    found = [LINE.match(line) for line in lines]
    assert all(found), "each line: name==version  # why"
    return {match[1]: (match[2], match[3]) for match in found if match}


@pytest.mark.parametrize("which", LISTS)
def test_each_version_is_the_locks_and_each_line_says_why(which: str) -> None:
    lock = dict(
        line.strip().split("==")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    )
    locked = {name_of(name): version for name, version in lock.items()}
    found = listed(which)
    for name, (version, _) in found.items():
        assert locked[name] == version, name
        assert metadata.version(name).partition("+")[0] == version, "what was tried is installed"
    assert not set(KEPT_OUT) & set(found)
    assert len(found) < MOST[which]


def modules(which: str) -> list[str]:
    """All that runs there: its own rooms, and the commands of its people."""
    rooms = {
        "aggregator": ("federation/aggregator", "federation/relay", "federation/transport"),
        "hospital": ("datasites", "policies", "syft_code"),
    }[which]
    files = [
        path
        for room in rooms
        for path in sorted((ROOT / room).rglob("*.py"))
        if "demo" not in path.parts
    ]
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files]
    more = {
        "aggregator": ["launch"],
        "hospital": ["launch", "federation.cli.audit_commands", "federation.cli.encoder_commands"],
    }[which]
    return [name.removesuffix(".__init__") for name in names] + more


@pytest.mark.slow
@pytest.mark.parametrize("which", LISTS)
def test_what_runs_there_imports_with_what_is_listed_and_no_more(which: str) -> None:
    allowed = ",".join({*listed(which), "consilium", "pip"})
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, allowed, ",".join(modules(which))],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout.split()[0]) > 50, done.stdout
