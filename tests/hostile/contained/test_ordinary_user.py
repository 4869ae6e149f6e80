"""The same attacks where no root starts the hospital: none gets in."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

NOBODY = 65_534
REPOSITORY = Path(__file__).resolve().parents[3]
LEAST_WITHOUT_WALLS = 120


@pytest.fixture
def folder() -> Iterator[Path]:
    """One of nobody's, with a short way to it that all may go."""
    made = Path(tempfile.mkdtemp(prefix="hostile-"))
    os.chown(made, NOBODY, NOBODY)
    yield made
    shutil.rmtree(made)


def python_for(folder: Path) -> str | None:
    """This Python if nobody may run it, else the system's with these libraries."""
    if _runs(sys.executable):
        return sys.executable
    system = Path("/usr/bin", "python{}.{}".format(*sys.version_info))
    if not system.exists():
        return None
    venv = folder / "venv"
    packages = venv / "lib" / system.name / "site-packages"
    packages.mkdir(parents=True)
    packages.joinpath("ours.pth").write_text(sysconfig.get_path("purelib") + "\n")
    venv.joinpath("bin").mkdir()
    venv.joinpath("bin/python").symlink_to(system)
    venv.joinpath("pyvenv.cfg").write_text("home = /usr/bin\n")
    python = str(venv / "bin/python")
    return python if _runs(python) else None


def _runs(python: str) -> bool:
    """With a library, and the repository."""
    try:
        return _as_nobody([python, "-c", "import torch, datasites.sandbox, tests"]).returncode == 0
    except PermissionError:
        return False


def _as_nobody(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        cwd="/",
        env={"PYTHONPATH": str(REPOSITORY), "PATH": os.defpath, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="the other tests run as an ordinary user already")
@pytest.mark.slow
def test_no_attack_gets_in_where_an_ordinary_user_starts_it(folder: Path) -> None:
    python = python_for(folder)
    if python is None:
        pytest.skip(
            "an ordinary user may read neither this Python with its libraries nor this folder"
        )
    home = folder / "home"
    home.mkdir()
    os.chown(home, NOBODY, NOBODY)
    ended = _as_nobody([python, "-m", "tests.hostile.contained.ordinary_user", str(home)])
    assert ended.returncode == 0, ended.stderr
    said = json.loads(ended.stdout)
    assert said["uid"] == NOBODY
    assert said["got in"]
    assert not any(said["got in"].values()), said["got in"]
    assert len(said["without walls"]) >= LEAST_WITHOUT_WALLS
