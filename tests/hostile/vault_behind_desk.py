"""What happens behind a datasite's door, for tests that must see it: processes, sockets, disk."""

import io
import os
import resource
import socketserver
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from datasites.protocol import framing, vault_api
from datasites.site import Site

CODE_OF = """
    SELECT json_extract(fields, '$.unique_func_name'), json_extract(fields, '$.raw_code'),
    json_extract(fields, '$.parsed_code') FROM UserCode
    WHERE json_extract(fields, '$.service_func_name') = ?
"""
SET_CODE = """
    UPDATE UserCode SET fields = json_set(fields, '$.raw_code', ?, '$.parsed_code', ?)
    WHERE json_extract(fields, '$.service_func_name') = ?
"""


def processes(module: str, home: Path) -> list[int]:
    """The processes that run a module on a folder, from /proc."""
    alive = [int(process.name) for process in Path("/proc").glob("[0-9]*")]
    return [process for process in alive if {module, str(home)} <= words_of(process)]


def words_of(process: int) -> set[str]:
    """The command line of a process, empty if it has ended."""
    try:
        return set(Path(f"/proc/{process}/cmdline").read_bytes().decode().split("\0"))
    except OSError:
        return set()


def cpu_s(process: int) -> float:
    """How long a process has computed so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def training_process(site: Site) -> int:
    """The process in which a vault will train next: a worker that waits, and may make no process."""
    (vault,) = processes("datasites.vault.vault_process", site.home)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for child in descendants(vault):
            with suppress(ProcessLookupError):
                waits = resource.prlimit(child, resource.RLIMIT_NPROC) == (0, 0)
                if waits and any(words_of(child)):  # one that has ended has none
                    return child
        time.sleep(0.05)
    raise AssertionError("no worker waits")


def descendants(process: int) -> list[int]:
    """The processes that a process has started, and those that they have started."""
    tasks = Path(f"/proc/{process}/task").glob("*/children")
    children = [int(child) for task in tasks for child in task.read_text().split()]
    return children + [later for child in children for later in descendants(child)]


@contextmanager
def swapped(site: Site, name: str, text: str) -> Iterator[None]:
    """Play a front desk that was taken: for a function, its database holds other code a while."""
    with closing(sqlite3.connect(site.desk / "syft.db", timeout=30, isolation_level=None)) as desk:
        ((runs_as, *before),) = desk.execute(CODE_OF, (name,)).fetchall()
        parsed = text.replace(f"def {name}(", f"def {runs_as}(")  # what PySyft would run
        desk.execute(SET_CODE, (text, parsed, name))
        try:
            yield
        finally:
            desk.execute(SET_CODE, (*before, name))


@contextmanager
def wiretapped(site: Site) -> Iterator[list[object]]:
    """Every request on its way to the vault, which gets each as it is."""
    heard: list[object] = []
    behind = site.vault / "behind"
    behind.mkdir()
    real = site.vault / vault_api.SOCKET_NAME
    folder = os.open(site.vault, os.O_RDONLY | os.O_DIRECTORY)

    class Tap(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            request, body = framing.receive(self.rfile, vault_api.Request)
            heard.append(request)
            reply = io.BytesIO()
            framing.send(reply, *vault_api.ask(behind, request, body))
            self.wfile.write(reply.getvalue())

    real.rename(behind / vault_api.SOCKET_NAME)
    try:
        with socketserver.ThreadingUnixStreamServer(
            f"/proc/self/fd/{folder}/{vault_api.SOCKET_NAME}", Tap
        ) as tap:
            threading.Thread(target=tap.serve_forever, args=(0.05,), daemon=True).start()
            yield heard
            tap.shutdown()
    finally:
        os.close(folder)
        (behind / vault_api.SOCKET_NAME).replace(real)
        behind.rmdir()
