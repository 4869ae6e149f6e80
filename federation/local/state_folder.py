"""The folder of a federation that runs on this machine: its mark, its lock, and `--reset`.

    STATE/.consilium-federation     the mark, and the lock of the `up` or `lab` that uses the folder
    STATE/hospitals, aggregators    the parties' own folders
    STATE/stand-ins                 synthetic data, where a hospital names none
    STATE/researcher.json           a researcher's credentials
    STATE/researcher.key            the researcher's signing key, which aggregators must list

Only a folder with the mark is ever reset, and only these names in it.
"""

import contextlib
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from datasites import private_files
from datasites.site import Site
from datasites.vault.db.database import Database
from datasites.vault.db.ledger import Ledger
from policies import site_policy
from syft_code.errors import ConsiliumError, InvalidInput, Refused, Unavailable, require
from syft_code.privacy import accounting, epsilons
from syft_code.runtime import cli_output
from syft_code.runtime.cli_output import quoted

MARK = ".consilium-federation"
MARK_TEXT = b"A Consilium federation keeps its folders here; `up --reset` may delete them.\n"
CREDENTIALS = "researcher.json"
RESEARCHER_KEY = "researcher.key"
STAND_INS = "stand-ins"
HOSPITALS = "hospitals"
AGGREGATORS = "aggregators"
CONTENTS = (CREDENTIALS, RESEARCHER_KEY, HOSPITALS, AGGREGATORS, STAND_INS)
"""What a reset deletes; the credentials go first, so that one cut short is seen as no start."""


def require_usable(state: Path, *, reset: bool) -> None:
    """Check a federation's folder before anything is done in it.

    Raises:
        InvalidInput: if it holds other things, can't be read, or lacks the mark and is to be reset.
    """
    name = quoted(str(state))
    try:
        require(
            not state.exists() or state.is_dir(),
            f"--state must be a folder, and {name} is none: name another.",
            error=InvalidInput,
        )
        empty = not state.exists() or not any(state.iterdir())
        marked = _is_marked(state)
    except OSError as problem:
        raise InvalidInput(
            f"--state must be a folder that you may read, got {name}: {problem.strerror}."
        ) from None
    require(
        marked or empty or not reset,
        f"--reset deletes only what a federation keeps, and {name} does not carry a federation's "
        f"mark ({MARK}), so nothing in it was touched: name another folder with --state.",
        error=InvalidInput,
    )
    require(
        marked or empty or _has_hospitals(state),
        f"--state must be a new folder, an empty one or a federation's, and {name} holds other "
        "things: name another.",
        error=InvalidInput,
    )


@contextlib.contextmanager
def held(state: Path) -> Iterator[None]:
    """Mark the folder as a federation's, and keep other starts out of it until the block ends.

    Raises:
        Unavailable: if another federation runs in it.
    """
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = private_files.lock_file(state / MARK)
    except Unavailable:
        raise Unavailable(
            f"A federation runs in {quoted(str(state))} already: stop it first (Ctrl-C where it "
            "was started), or name another folder with --state."
        ) from None
    except OSError as problem:
        raise InvalidInput(
            f"--state must be a folder that you may write, got {quoted(str(state))}: "
            f"{problem.strerror}."
        ) from None
    with lock:
        new = not lock.tell()
        if new:
            lock.write(MARK_TEXT)
            lock.flush()
        try:
            yield
        finally:
            if new and not any((state / name).exists() for name in CONTENTS):
                (state / MARK).unlink()  # nothing came of it: the folder is nobody's again
                with contextlib.suppress(OSError):
                    state.rmdir()


def _is_marked(state: Path) -> bool:
    """Whether the folder carries the mark itself, and not a file that only has its name."""
    mark = state / MARK
    return mark.is_file() and not mark.is_symlink() and mark.read_bytes() == MARK_TEXT


def _require_stopped(state: Path) -> None:
    """Raise `Unavailable` if somebody runs one of the vaults by itself."""
    for lock in (state / HOSPITALS).glob("*/vault/lock"):
        try:
            private_files.lock_file(lock).close()
        except Unavailable:
            raise Unavailable(
                f"The vault of {lock.parents[1].name} runs, so nothing was deleted: stop it first."
            ) from None


def reset(state: Path, *, confirmed: bool, say: Callable[[str], None]) -> None:
    """Delete what a federation keeps in a folder that is `held`, once somebody has agreed.

    Raises:
        Refused: if nobody agrees.
        Unavailable: if a vault in it runs by itself.
    """
    if not any((state / name).exists() for name in CONTENTS):
        return
    _require_stopped(state)
    say(f"--reset forgets for ever what is in {state}, with these privacy ledgers:")
    for line in _ledgers(state):
        say(f"  {line}")
    if not confirmed:
        require(
            sys.stdin.isatty(),
            "--reset must be confirmed, and there is no terminal to ask on, so nothing was "
            "deleted: add --yes.",
            error=Refused,
        )
        if not cli_output.confirmed("Forget all of it?"):
            raise Refused("Nothing was deleted.")
    for name in CONTENTS:
        path = state / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _ledgers(state: Path) -> Iterator[str]:
    """Each hospital's assets with what their patients have lost; a file that can't be read, named."""
    for home in sorted((state / HOSPITALS).glob("*")):
        file = home / "vault" / "vault.db"
        if not file.is_file():
            continue
        try:
            yield from (f"{home.name}, {line}" for line in _spent(Site(home), file))
        except (ConsiliumError, OSError, sqlite3.Error, ValueError):
            yield f"{home.name}: the ledger {file}, which can't be read"


def _spent(site: Site, file: Path) -> Iterator[str]:
    delta = site_policy.read(site.policy.read_text(encoding="utf-8")).terms.delta
    ledger = Ledger(Database(file))
    rows = ledger.rows()
    if not rows:
        yield "nothing was spent"
    for asset in sorted({row["asset"] for row in rows}):
        rounds = sum(row["asset"] == asset for row in rows)
        epsilon = epsilons.at_least(accounting.epsilon(ledger.events(asset), delta=delta))
        yield f"asset {asset}: epsilon {epsilon} spent at delta {delta:g}, entries {rounds}"


def _has_hospitals(state: Path) -> bool:
    """Whether hospitals lie in a folder that was begun before folders carried a mark."""
    return any((state / HOSPITALS).glob("*/site.json"))
