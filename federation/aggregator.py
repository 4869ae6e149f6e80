"""The aggregator process: adds up shares that mean nothing to it.

    python -m federation.aggregator --home DIR --port N --name NAME

At first start it makes its keys in DIR, which must be empty or missing. When it serves, it
prints one line, `ready NAME ADDRESS`; DIR/public.json is its entry for a plan's roster. It
stops with exit code 0 on SIGTERM or SIGINT, and with 1 and one sentence if it can't start.
"""

import argparse
import fcntl
import logging
import os
import shutil
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from logging.handlers import RotatingFileHandler
from pathlib import Path

from federation import aggregator_identity, aggregator_rpc, aggregator_store
from federation.aggregation import Aggregation
from federation.aggregator_store import Store
from syft_code.errors import ConsiliumError, Unavailable, require
from syft_code.lifetime import end_with_parent
from syft_code.plan import NAME

LOCK = "lock"
LOG = "aggregator.log"
LOG_BYTES = 10 * 1024 * 1024
GRACE_S = 2.0

log = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run an aggregator until it is told to stop; returns the exit code."""
    options = _parser().parse_args(arguments)
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    if options.end_with_starter:
        end_with_parent()
    os.umask(0o077)
    try:
        _run(
            options.home, name=options.name, host=options.host, port=options.port, stopping=stopping
        )
    except ConsiliumError as problem:
        sys.stderr.write(f"{problem}\n")
        return 1
    return 0


def _run(home: Path, *, name: str, host: str, port: int, stopping: threading.Event) -> None:
    require(
        NAME.fullmatch(name) is not None,
        "An aggregator's name must be 1 to 40 lower-case letters, digits, '-' or '_'.",
        error=Unavailable,
    )
    with _own_folder(home):
        _first_start(home, name=name, host=host)
        identity = aggregator_identity.load(home, name=name, host=host)
        store = Store(home)
        server, bound = aggregator_rpc.bind(
            host=host, port=port, tls_key=identity.tls_key, certificate=identity.certificate
        )
        public = aggregator_identity.publish(home, identity, address=f"{host}:{bound}")
        aggregator_rpc.serve(server, Aggregation(identity, store, public))
        log.info("ready at %s", public.address)
        sys.stdout.write(f"ready {name} {public.address}\n")
        sys.stdout.flush()
        stopping.wait()
        server.stop(GRACE_S).wait()
        store.close()
        log.info("stopped")


@contextmanager
def _own_folder(home: Path) -> Iterator[None]:
    """The folder, for this user and this process alone, with a log in it."""
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_ours(home)  # before anything in it is touched
        home.chmod(0o700)
        descriptor = os.open(home / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _log_to(home / LOG)
        yield
    except BlockingIOError:
        raise Unavailable("An aggregator's folder must be its own; another one uses it.") from None
    except OSError as problem:
        raise Unavailable(
            f"An aggregator must be able to read and write its folder: {problem.strerror}."
        ) from None


def _check_ours(home: Path) -> None:
    """A folder with files in it must be an aggregator's, or the start of one."""
    present = {path.name for path in home.iterdir()}
    require(
        bool(present & {aggregator_identity.FOLDER, aggregator_identity.STAGING})
        or present <= {LOCK, LOG},
        "An aggregator's folder must be empty at its first start, and this one holds other "
        "files but no keys: restore the keys, or choose an empty folder.",
        error=Unavailable,
    )


def _first_start(home: Path, *, name: str, host: str) -> None:
    """Make keys and an empty store, unless they are there; an interrupted attempt starts again."""
    if (home / aggregator_identity.FOLDER).exists():
        return
    staging = home / aggregator_identity.STAGING
    if staging.exists():
        shutil.rmtree(staging)
        (home / aggregator_store.DATABASE).unlink(missing_ok=True)
    aggregator_identity.create(home, name=name, host=host)
    aggregator_store.create(home)
    aggregator_identity.commit(home)


def _log_to(path: Path) -> None:
    handler = RotatingFileHandler(path, maxBytes=LOG_BYTES, backupCount=1)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m federation.aggregator", description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="folder for keys and shares")
    parser.add_argument("--name", required=True, help="name in a plan's roster")
    parser.add_argument("--port", type=int, required=True, help="TCP port; 0 for any free one")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at")
    parser.add_argument("--end-with-starter", action="store_true", help="end when the starter ends")
    return parser


if __name__ == "__main__":
    sys.exit(main())
