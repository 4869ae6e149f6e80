"""A roster of hospitals as one process, each behind a line of its own; and their clients."""

import select
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from nacl.signing import SigningKey

from federation.researcher.blob_client import BlobClient
from syft_code.plans.messages import Signed, Ticket
from syft_code.plans.plan import Plan
from tests.faults.desk import CHARGED
from tests.faults.line import Line

START_S = 60.0


class Client:
    """What `federation.researcher.syft_client.HospitalClient` is, with HTTP in place of PySyft."""

    def __init__(self, name: str, address: str, key: SigningKey, *, patience_s: float) -> None:
        self.name = name
        self.bulk = BlobClient(f"http://{address}", key, patience_s=patience_s)

    def start_round(self, plan: Plan, call: Signed) -> Ticket:
        """Hand over a round call, whose weights are there already."""
        return self.bulk.call_round(call)

    def close(self) -> None:
        """Let the connections go."""
        self.bulk.close()


@dataclass(kw_only=True)
class Hospitals:
    """Front desks and vaults of all hospitals of a folder, as one process."""

    folder: Path
    lines: dict[str, Line]
    process: "subprocess.Popen[str] | None" = None

    def start(self) -> None:
        """Start the process; returns when every front desk answers."""
        command = [sys.executable, "-m", "tests.faults.desk", str(self.folder)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        readable, _, _ = select.select([self.process.stdout], [], [], START_S)
        assert readable and self.process.stdout.readline() == "ready\n"
        for name, line in self.lines.items():
            line.target = f"127.0.0.1:{(self.folder / name / 'port').read_text()}"

    def kill(self) -> None:
        """End all of them with SIGKILL."""
        if self.process:
            self.process.kill()
            self.process.wait(START_S)
            assert self.process.stdout
            self.process.stdout.close()
        self.process = None

    def blobs(self, name: str, account: SigningKey) -> Path:
        """Where a front desk keeps an account's blobs."""
        return self.folder / name / "desk" / "blobs" / account.verify_key.encode().hex()

    def charged(self, name: str) -> list[str]:
        """The rounds that a hospital trained, one line each time."""
        path = self.folder / name / "vault" / CHARGED
        return path.read_text().splitlines() if path.exists() else []


@contextmanager
def hospitals(
    folder: Path, keys: Mapping[str, SigningKey], plan: Plan | None = None
) -> Iterator[Hospitals]:
    """Hospitals with these keys below a folder; they train only if there is a plan."""
    lines = {name: Line("127.0.0.1:0") for name in keys}
    for name in keys:
        (folder / name).mkdir(mode=0o700, parents=True)
        (folder / name / "key").write_bytes(bytes(keys[name]))
    if plan:
        (folder / "plan.json").write_bytes(plan.encode())
    made = Hospitals(folder=folder, lines=lines)
    try:
        made.start()
        yield made
    finally:
        made.kill()
        for line in lines.values():
            line.close()
