"""The contained process, from its first line: `python -m datasites.sandbox.inside SPEC PARENT_PID`.

    walls around files and processes ─▶ limits ─▶ filter "start" ─▶ libraries ─▶ a template
    asked for a worker: fork ─▶ filter "strict" or "reader" ─▶ one job ─▶ its end

A template holds no secret and reads nothing from outside but single bytes; each worker does one job,
and none sees another's. Standard input is the line to whoever started it. Nothing but the standard
library is imported before the walls stand: Landlock and the namespaces need a process of one thread.
"""

import importlib
import importlib.util
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from typing import Any, BinaryIO

from datasites.sandbox import landlock, namespaces, seccomp
from datasites.sandbox.spec import Spec
from datasites.sandbox.system_calls import PR_SET_PDEATHSIG, prctl
from syft_code.operation.parent_exit import end_with_parent

LINE, OUTPUT, LOG = 0, 1, 2
READY = b"+"
FORK, END_WORKERS = b"f", b"k"
MOST_HANDED = 128
Entry = Callable[[BinaryIO, BinaryIO, Sequence[int]], None]
"""Jobs to read, answers to write, and the descriptors that came with the job."""
_NO_MORE = (
    resource.RLIMIT_CORE,
    resource.RLIMIT_MEMLOCK,
    resource.RLIMIT_MSGQUEUE,
)
MOST_FILES = 256


def main(spec: Spec, parent_pid: int) -> None:
    """Build the walls, load the libraries, then make workers until the line ends."""
    if spec.mechanism != "bubblewrap":  # it has its own way, and its own numbers of processes
        end_with_parent(parent_pid)
    os.dup2(LOG, OUTPUT)  # whatever a library prints goes to the owner's log
    os.closerange(3, MOST_FILES)
    match spec.mechanism:
        case "namespaces":
            namespaces.enter(spec.readable, as_owner=spec.profile == "reader")
        case "landlock" | "bubblewrap":
            namespaces.drop_capabilities()
        case "none":
            pass
    _limit(spec)
    _find_packages()
    if spec.mechanism != "none":
        if landlock.version():
            landlock.restrict(spec.readable)
        seccomp.install(seccomp.start(spec.profile))
    work = _load(spec)
    _make_workers(spec, work)


def _limit(spec: Spec) -> None:
    for kind in _NO_MORE:
        resource.setrlimit(kind, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (MOST_FILES, MOST_FILES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (spec.log_bytes, spec.log_bytes))
    resource.setrlimit(resource.RLIMIT_AS, (spec.memory_bytes, spec.memory_bytes))


def _find_packages() -> None:
    """Let Python list the folder that holds ours, as it looks now; Landlock shows it no more."""
    importlib.invalidate_caches()
    importlib.util.find_spec("policies")


def _load(spec: Spec) -> Entry:
    if spec.prepare:
        _named(spec.prepare)()
    entry: Entry = _named(spec.entry)
    return entry


def _named(path: str) -> Any:
    module, _, function = path.partition(":")
    return getattr(importlib.import_module(module), function)


def _make_workers(spec: Spec, work: Entry) -> None:
    """Fork one for each line and log that come; an ended one keeps its number until it is asked after."""
    template = os.getpid()
    workers: list[int] = []
    line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, fileno=LINE)
    os.write(LINE, READY)
    while True:
        asked, ends, _, _ = socket.recv_fds(line, 1, 2)
        if not asked:
            return
        workers = [worker for worker in workers if _at_work(worker)]
        if asked == END_WORKERS:
            for worker in workers:
                os.kill(worker, signal.SIGKILL)
            continue
        if worker := os.fork():
            workers.append(worker)
            for end in ends:
                os.close(end)
            continue
        line.detach()
        for end, place in zip((*ends, ends[-1]), (LINE, LOG, OUTPUT), strict=True):
            os.dup2(end, place)
        end_with_template(template)
        _work(spec, work)


def _at_work(worker: int) -> bool:
    """Whether a child still runs; if not, its number is free from now on."""
    ended, _ = os.waitpid(worker, os.WNOHANG)
    return not ended


def end_with_template(template: int) -> None:
    """Be killed as it ends, without a view of processes of their own, too: a fork forgets its parent's wish."""
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != template:
        os._exit(1)


def _work(spec: Spec, work: Entry) -> None:
    """One job in this process, and its end."""
    try:
        os.closerange(3, MOST_FILES)
        if spec.begin:
            _named(spec.begin)()
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
        if spec.mechanism != "none":
            seccomp.install(seccomp.PROFILES[spec.profile](LINE, OUTPUT, LOG))
        os.write(LINE, READY)
        channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, fileno=LINE)
        told, files, _, _ = socket.recv_fds(channel, 1, MOST_HANDED)
        channel.detach()
        if told:
            with (
                open(LINE, "rb", closefd=False) as jobs,
                open(LINE, "wb", closefd=False) as answers,
            ):
                work(jobs, answers, files)
        os._exit(0)
    except ConnectionError:
        os._exit(0)  # whoever asked for it has gone
    except BaseException:
        sys.excepthook(*sys.exc_info())  # to the owner's log
        os._exit(1)


if __name__ == "__main__":
    main(Spec.from_json(sys.argv[1]), int(sys.argv[2]))
