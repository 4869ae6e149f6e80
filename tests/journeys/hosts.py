"""Hosts of a test on one machine: each with a network, a process table and a file system view of its own.

    bridge 10.79.0.254 ─┬─ north 10.79.0.1     its folder is /mnt, and it sees no other host's
                        ├─ south 10.79.0.2
                        └─ ...                 /etc/hosts of the machine, names are addresses

Needs root, `ip`, `unshare` and `nsenter`. A host is a process that sleeps: killed, all that runs there is gone, as
when a machine loses power.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.other_users import ROOT, python_for_everybody

NETWORK = "10.79.0"
BRIDGE = "consilium0"
HOME = Path("/mnt")
TOOLS = ("ip", "unshare", "nsenter", "mount", "ss")


def missing() -> str:
    """Why there can be no hosts here; empty if there can."""
    if os.geteuid() != 0:
        return "only root makes network namespaces"
    lacking = [name for name in TOOLS if shutil.which(name) is None]
    if lacking:
        return f"{', '.join(lacking)} not installed"
    tried = subprocess.run(
        ["unshare", "--net", "--mount", "--pid", "--fork", "mount", "-t", "tmpfs", "none", "/mnt"],
        capture_output=True,
        check=False,
    )
    return "" if tried.returncode == 0 else "namespaces are not allowed here"


@dataclass(kw_only=True, eq=False)
class Host:
    """One machine of the test; `number` is the last part of its address."""

    name: str
    number: int
    folder: Path
    variables: Mapping[str, str] = field(default_factory=dict)
    _holder: "subprocess.Popen[bytes] | None" = None
    _background: "list[subprocess.Popen[bytes]]" = field(default_factory=list)

    @property
    def ip(self) -> str:
        """Its address."""
        return f"{NETWORK}.{self.number}"

    @property
    def init(self) -> int:
        """Its first process, as this machine numbers it."""
        assert self._holder is not None, "it is switched off"
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with contextlib.suppress(
                psutil.NoSuchProcess
            ):  # what came before the sleeper has ended
                for child in psutil.Process(self._holder.pid).children():
                    if "sleep" in child.name():
                        return child.pid
            time.sleep(0.02)
        raise AssertionError(f"{self.name} does not come up")

    def switch_on(self) -> None:
        """Give it a network and a view of its own folder alone."""
        self.folder.mkdir(exist_ok=True)
        self.folder.chmod(0o755)
        view = (
            f"mount --bind {self.folder} {HOME} && mount -t tmpfs none {self.folder.parent} && "
            "ip link set lo up && exec sleep infinity"
        )
        aside = self.folder / "aside"
        shutil.rmtree(aside, ignore_errors=True)
        before = python_for_everybody(aside)
        words = [*before, "unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc"]
        words += ["sh", "-c", view]
        self._holder = subprocess.Popen(words, start_new_session=True)
        inside, outside = f"c{self.number}i", f"c{self.number}o"
        subprocess.run(["ip", "link", "delete", outside], check=False, capture_output=True)
        told("ip", "link", "add", outside, "type", "veth", "peer", "name", inside)
        told("ip", "link", "set", inside, "netns", str(self.init))
        told("ip", "link", "set", outside, "master", BRIDGE, "up")
        self.told(f"ip addr add {self.ip}/24 dev {inside} && ip link set {inside} up")

    def switch_off(self) -> None:
        """Cut its power: nothing is asked to end."""
        if self._holder is not None:
            os.kill(self.init, signal.SIGKILL)
            self._holder.wait()
            self._holder = None
        for process in self._background:
            process.wait()
        self._background.clear()

    def unplug(self) -> None:
        """Take its cable out."""
        told("ip", "link", "set", f"c{self.number}o", "down")

    def plug_in(self) -> None:
        """Put it back."""
        told("ip", "link", "set", f"c{self.number}o", "up")

    def told(self, line: str, *, timeout_s: float = 300, **variables: str) -> str:
        """What a line of shell says there; it must succeed."""
        done = self.tried(line, timeout_s=timeout_s, **variables)
        assert done.returncode == 0, (self.name, line, done.stdout, done.stderr)
        return done.stdout

    def tried(
        self, line: str, *, timeout_s: float = 300, **variables: str
    ) -> "subprocess.CompletedProcess[str]":
        """The same, whatever comes of it."""
        return subprocess.run(
            self._words(line, variables),
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            cwd="/",
        )

    def begin(self, line: str) -> "subprocess.Popen[bytes]":
        """Start what runs on; its output lies in the host's folder."""
        log = self.folder / f"log-{len(self._background)}"
        with log.open("wb") as out:
            process = subprocess.Popen(
                self._words(line, {}), stdout=out, stderr=out, cwd="/", start_new_session=True
            )
        self._background.append(process)
        return process

    def said(self, number: int) -> str:
        """What was started as this number has said so far."""
        return (self.folder / f"log-{number}").read_text(encoding="utf-8", errors="replace")

    def _words(self, line: str, variables: Mapping[str, str]) -> list[str]:
        enter = ["nsenter", "--target", str(self.init), "--net", "--mount", "--pid"]
        given = {
            "PATH": f"{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(HOME),
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            **self.variables,
            **variables,
        }
        clean = ["env", "-i", *(f"{name}={value}" for name, value in given.items())]
        return [*enter, *clean, "sh", "-c", f"cd {HOME} && {line}"]


def told(*words: str) -> None:
    """Run a command of this machine."""
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    assert done.returncode == 0, (words, done.stderr)


def lay_cables() -> None:
    """The bridge between all hosts."""
    subprocess.run(["ip", "link", "delete", BRIDGE], check=False, capture_output=True)
    told("ip", "link", "add", BRIDGE, "type", "bridge")
    told("ip", "link", "set", BRIDGE, "up")


def take_cables_away() -> None:
    """Remove it."""
    told("ip", "link", "delete", BRIDGE)
