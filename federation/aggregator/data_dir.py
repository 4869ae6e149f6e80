"""An aggregator's folder: made at its first start, then for one user and one process at a time.

HOME/identity/            keys and certificate        identity
     public.json          the entry for rosters
     state.sqlite         what it must not forget     store, signed_log
     shares/ sums/ ...    vectors                     files
     aggregator.log       what it did, for its operator
     operator.sock        the operator's door         operator_desk
     lock                 held while a process uses the folder
"""

import fcntl
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from federation.aggregator import identity
from federation.aggregator.config import AggregatorConfig
from federation.aggregator.storage import db_schema
from syft_code.errors import Unavailable, require

LOCK = "lock"
LOG = "aggregator.log"
SOCKET = "operator.sock"


@contextmanager
def own(home: Path, *, make: bool) -> Iterator[None]:
    """The folder, for this user and this process alone; `make`: an empty one will do.

    Raises:
        Unavailable: with one sentence, if it can't be had.
    """
    try:
        if make:
            home.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_ours(home, make=make)  # before anything in it is touched
        descriptor = os.open(home / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as problem:
        raise Unavailable(
            f"An aggregator must be able to read and write its folder {home}: {problem.strerror}."
        ) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise Unavailable(
            f"An aggregator's folder must be its own; another one uses {home}: stop that one, or "
            "choose another folder."
        ) from None
    finally:
        os.close(descriptor)


def require_begun(home: Path) -> None:
    """Raise `Unavailable` if no aggregator was ever started in this folder, or it is another's."""
    try:
        begun = (home / identity.FOLDER).is_dir()
    except OSError:
        begun = False
    require(
        begun,
        f"The aggregator in {home} must have been started once, and was not, or this user may not "
        "look into it: start it, or ask as the user that it runs as.",
        error=Unavailable,
    )


def first_start(config: AggregatorConfig) -> None:
    """Make keys and an empty store, unless they are there; an interrupted attempt starts again."""
    home = config.folder
    if (home / identity.FOLDER).exists():
        return
    staging = home / identity.STAGING
    if staging.exists():
        shutil.rmtree(staging)
        (home / db_schema.DATABASE).unlink(missing_ok=True)
    identity.create(home, name=config.name, hosts=config.hosts)
    db_schema.create(home)
    identity.commit(home)


def require_free_or_ours(home: Path, *, make: bool = True) -> bool:
    """Raise `Unavailable` if a folder holds anything but an aggregator; returns whether it holds one."""
    present = {path.name for path in home.iterdir()} if home.exists() else set()
    begun = identity.STAGING in present or (home / identity.FOLDER / identity.FILES[0]).is_file()
    require(
        begun or (make and present <= {LOCK, LOG}),
        "An aggregator's folder must be empty at its first start, and this one holds other "
        "files but no keys: restore the keys, or choose an empty folder.",
        error=Unavailable,
    )
    return begun


def _check_ours(home: Path, *, make: bool) -> None:
    """A folder with files in it must be an aggregator's, or the start of one, and private."""
    if not require_free_or_ours(home, make=make):
        home.chmod(0o700)
    found = home.stat()
    mode = stat.S_IMODE(found.st_mode)
    require(
        mode & 0o077 == 0 and found.st_uid == os.geteuid(),
        f"An aggregator's folder must be its user's alone, and {home} has mode {mode:03o} and "
        f"belongs to user {found.st_uid}: find out who read it, then run `chmod 700` on it, as the "
        "user that the aggregator runs as.",
        error=Unavailable,
    )
