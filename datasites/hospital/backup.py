"""A copy of a hospital's folder, also while it runs, and how one comes back.

    HOME ─ files ─▶ the vault waits: databases, files that are new ─▶ one tar, its maker's alone
    tar ─▶ HOME/.restoring ─ its log held against anchors of others ─▶ HOME

The vault's database names the files that count. While it and the last files are copied, the vault commits
nothing, so that no file is named that the copy lacks.

Guarantee: a copy whose ledger has forgotten what aggregators or certificates have seen is not put back.
Does not protect: the copy itself, which holds patients and keys: it is as secret as the folder. What was
    spent after the last share that any of those others has seen.
"""

import io
import os
import secrets
import shutil
import sqlite3
import stat
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path, PurePosixPath

from nacl.signing import SigningKey

from datasites import private_files
from datasites.hospital.running import LOCK
from datasites.site import Site
from datasites.vault.db.vault_database import VaultDatabase
from syft_code import canonical
from syft_code.errors import InvalidInput, Refused, Unavailable, require
from syft_code.operation import process_user
from syft_code.runtime import durable_files

FORMAT = "consilium-hospital-1"
MANIFEST = "manifest.json"
DATABASES = ("vault/vault.db", "desk/syft.db")
LEFT_OUT = {LOCK, "vault.sock", "vault-process.log", "desk-process.log"}
"""What belongs to one start of it."""
STAGING = ".restoring"
Check = Callable[[bytes, str], int]
_SIDECARS = ("-wal", "-shm", "-journal")


@canonical.message
class Manifest:
    """What a copy is of; `log_sha256` is the last entry of its audit log."""

    format: str
    hospital: str
    verify_key: str
    made_at_unix_s: int
    log_entries: int
    log_sha256: str


def write(site: Site, out: Path) -> Manifest:
    """Copy a hospital's folder into a new file, 0600; it may run meanwhile.

    Root reads each part of it as the user whose part it is, so that a link which the front desk put into its
    own part leads to nothing of the vault's.

    Raises:
        InvalidInput: if the file would lie in the folder itself.
        Unavailable: if a file that a hospital needs is missing, a link or broken.
        OSError: if a file can't be read, or the new one not be written.
    """
    require(
        not out.resolve().is_relative_to(site.home.resolve()),
        f"A copy must not lie in the folder that is copied, got {out}: name another place.",
        error=InvalidInput,
    )
    name = site.settings().name
    staged = out.with_name(f".{out.name}.{secrets.token_hex(4)}.new")
    try:
        descriptor = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with (
            os.fdopen(descriptor, "wb") as file,
            tarfile.open(fileobj=file, mode="w") as tar,
            tempfile.TemporaryDirectory(dir=out.parent) as folder,
        ):
            copied = _add(tar, site.home, set())
            with _nobody_writes(site.home / DATABASES[0]):
                snapshots = {database: _snapshot(site.home / database) for database in DATABASES}
                _add(tar, site.home, copied)
            for database, data in snapshots.items():
                _add_bytes(tar, database, data)
            (Path(folder) / "vault.db").write_bytes(snapshots[DATABASES[0]])
            manifest = _manifest(name, site.vault, Path(folder) / "vault.db")
            _add_bytes(tar, MANIFEST, canonical.encode(manifest))
        with staged.open("rb") as whole:
            os.fsync(whole.fileno())
        staged.rename(out)
        durable_files.sync_folder(out.parent)
    finally:
        staged.unlink(missing_ok=True)
    return manifest


def restore(copy: Path, home: Path, *, hospital: str, check: Check) -> tuple[Manifest, int]:
    """Put a copy of this hospital back as its folder, which must be new or empty.

    `check` gets the copy's audit log and the hospital's key (hex), raises unless others vouch that nothing
    of it is missing, and gives the last entry that they have seen. All is unpacked inside the folder, so
    that nothing of it lies on another disk.

    Raises:
        InvalidInput: if it is no such copy.
        Refused: if the folder holds something, or `check` refuses; nothing is changed then.
    """
    there = {path.name for path in home.iterdir()} if home.exists() else set()
    require(
        there <= {STAGING, "lost+found"},
        f"A copy must be put back into a new or an empty folder, and {home} holds something: move it away, "
        "or name another folder in the hospital's file.",
        error=Refused,
    )
    staging, new = home / STAGING, not home.exists()
    shutil.rmtree(staging, ignore_errors=True)
    try:
        private_files.private_folder(home)
        private_files.private_folder(staging)
        manifest = _unpack(copy, staging)
        require(
            manifest.hospital == hospital,
            f"The copy must be of {hospital}, and is of {manifest.hospital[:60]}: give that hospital's file.",
            error=InvalidInput,
        )
        seen = check(_log_of(copy, staging, manifest), manifest.verify_key)
    except BaseException:
        shutil.rmtree(home if new else staging, ignore_errors=True)
        raise
    for path in sorted(staging.iterdir(), key=lambda one: one.name == "site.json"):
        path.rename(home / path.name)  # the settings last: before them there is no hospital here
    staging.rmdir()
    durable_files.sync_folder(home)
    return manifest, seen


def _log_of(copy: Path, staging: Path, manifest: Manifest) -> bytes:
    """The audit log that was unpacked, signed by the key that was."""
    try:
        key = SigningKey(private_files.read_required(staging / "vault" / "key"))
        same = key.verify_key.encode().hex() == manifest.verify_key
        database = VaultDatabase.open(staging / "vault", hospital=manifest.hospital, key=key)
        log = database.log.export()
    except (sqlite3.Error, ValueError):
        same, log = False, b""
    require(
        same,
        f"{copy} must hold the vault's database and the key that its manifest names, and does not: take another copy.",
        error=InvalidInput,
    )
    return log


@contextmanager
def _nobody_writes(database: Path) -> Iterator[None]:
    """Hold the vault's next transaction back, so that no file is let go of while the last ones are copied."""
    with process_user.acting_as_owner_of(database.parent):
        opened = _opened(database)
        live = opened.__enter__()
        live.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        live.rollback()
        opened.__exit__(None, None, None)


@contextmanager
def _opened(database: Path) -> Iterator[sqlite3.Connection]:
    """A database that is there; what is wrong with it is one sentence."""
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=rw", uri=True, timeout=60)) as live:
            yield live
    except sqlite3.Error as problem:
        raise Unavailable(
            f"The database {database} must be there, whole and this user's to read and write, and is not "
            f"({problem}): start the hospital once, and copy it then, as root or its user."
        ) from None


def _add(tar: tarfile.TarFile, home: Path, known: set[str]) -> set[str]:
    """Add the files that are not known; those that vanish meanwhile are no longer named by anything."""
    added: set[str] = set()
    for part in (home, *sorted(path for path in home.iterdir() if _is_folder(path))):
        with process_user.acting_as_owner_of(part):
            for top, folders, names, folder in os.fwalk(part, onerror=_raise):
                if part == home:
                    folders.clear()  # each of them is a part
                for name in sorted(names):
                    place = Path(top).relative_to(home) / name
                    if str(place) not in known and _is_kept(place):
                        _add_file(tar, str(place), name, folder)
                        added.add(str(place))
    return known | added


def _is_folder(path: Path) -> bool:
    return stat.S_ISDIR(path.stat(follow_symlinks=False).st_mode)


def _is_kept(place: Path) -> bool:
    name = str(place)
    return not (place.name in LEFT_OUT or name.startswith(DATABASES) or name.endswith(_SIDECARS))


def _add_file(tar: tarfile.TarFile, place: str, name: str, folder: int) -> None:
    try:
        with (
            process_user.own_file(name, folder) as descriptor,
            os.fdopen(os.dup(descriptor), "rb") as file,
        ):
            tar.addfile(tar.gettarinfo(arcname=place, fileobj=file), file)
    except FileNotFoundError:
        return
    except OSError as problem:
        raise Unavailable(
            f"A hospital's folder must hold its files themselves, and {place} is a link, a pipe or also a file "
            f"elsewhere ({problem.strerror or problem}): put the file there before it is copied."
        ) from None


def _raise(problem: OSError) -> None:
    raise problem


def _snapshot(database: Path) -> bytes:
    """One moment of a database that others may be writing."""
    require(
        not database.is_symlink(),
        f"A hospital's folder must hold its files themselves, and {database} is a link: put the file there before "
        "it is copied.",
        error=Unavailable,
    )
    with (
        process_user.acting_as_owner_of(database.parent),
        _opened(database) as live,
        closing(sqlite3.connect(":memory:")) as copy,
    ):
        live.backup(copy)
        return copy.serialize()


def _manifest(name: str, vault: Path, database: Path) -> Manifest:
    with process_user.acting_as_owner_of(vault):
        signing = SigningKey(private_files.read_required(vault / "key"))
    log = VaultDatabase.open(database.parent, hospital=name, key=signing).log
    head = log.head()
    return Manifest(
        format=FORMAT,
        hospital=name,
        verify_key=signing.verify_key.encode().hex(),
        made_at_unix_s=int(time.time()),
        log_entries=head.number,
        log_sha256=head.sha256,
    )


def _add_bytes(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), 0o600
    tar.addfile(info, io.BytesIO(data))


def _unpack(copy: Path, folder: Path) -> Manifest:
    """Every file of a copy, this user's alone; nothing lies outside the folder, no link is made."""
    try:
        with tarfile.open(copy, mode="r:") as tar:
            for member in tar:
                parts = PurePosixPath(member.name).parts
                require(
                    member.isreg()
                    and not member.issparse()
                    and "\0" not in member.name
                    and bool(parts)
                    and ".." not in parts
                    and not member.name.startswith("/"),
                    f"A copy must hold plain files alone, and {member.name[:100]!r} is none.",
                    error=InvalidInput,
                )
                place = folder.joinpath(*parts)
                private_files.private_folder(place.parent)
                content = tar.extractfile(member) or io.BytesIO()  # of a plain file, never nothing
                with os.fdopen(
                    os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb"
                ) as out:
                    shutil.copyfileobj(content, out)
                    os.fsync(out.fileno())
    except (tarfile.TarError, FileExistsError, EOFError, ValueError):
        raise InvalidInput(
            f"{copy} must be what `consilium hospital backup` wrote, whole, and is not."
        ) from None
    manifest = folder / MANIFEST
    require(
        manifest.is_file(),
        f"{copy} must be what `consilium hospital backup` wrote, whole, and is not: it has no end.",
        error=InvalidInput,
    )
    found: Manifest = canonical.parse(
        Manifest, manifest.read_bytes(), what="copy's manifest", error=InvalidInput
    )
    require(
        found.format == FORMAT,
        f"A copy must be in the format {FORMAT}, got {found.format[:40]!r}.",
        error=InvalidInput,
    )
    manifest.unlink()
    return found
