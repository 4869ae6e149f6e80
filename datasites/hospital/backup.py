"""A copy of a hospital's folder, also while it runs, and how one comes back.

    HOME ─ files, then the databases, then files that are new ─▶ one tar, its maker's alone
    tar ─▶ HOME.restoring ─ its log held against anchors of others ─▶ HOME

The databases name the files that count and are copied after them, so that none is named that the copy lacks.

Guarantee: a copy whose ledger has forgotten what aggregators or certificates have seen is not put back.
Does not protect: the copy itself, which holds patients and keys: it is as secret as the folder. What was
    spent after the last share that any of those others has seen.
"""

import io
import os
import shutil
import sqlite3
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path, PurePosixPath

from nacl.signing import SigningKey

from datasites import private_files
from datasites.hospital.running import LOCK
from datasites.site import Site
from datasites.vault.db.vault_database import VaultDatabase
from syft_code import canonical
from syft_code.errors import InvalidInput, Refused, Unavailable, require
from syft_code.runtime import durable_files

FORMAT = "consilium-hospital-1"
MANIFEST = "manifest.json"
DATABASES = ("vault/vault.db", "desk/syft.db")
LEFT_OUT = {LOCK, "vault.sock", "vault-process.log", "desk-process.log"}
"""What belongs to one start of it."""
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

    Raises:
        Unavailable: if a file that a hospital needs is missing.
        OSError: if the file can't be written.
    """
    name = site.settings().name
    staged = out.with_name(f".{out.name}.new")
    try:
        descriptor = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with (
            os.fdopen(descriptor, "wb") as file,
            tarfile.open(fileobj=file, mode="w") as tar,
            tempfile.TemporaryDirectory(dir=out.parent) as folder,
        ):
            copied = _add(tar, site.home, set())
            for database in DATABASES:
                _snapshot(site.home / database, Path(folder) / Path(database).name)
                tar.add(Path(folder) / Path(database).name, arcname=database)
            _add(tar, site.home, copied)
            manifest = _manifest(name, site.vault / "key", Path(folder) / "vault.db")
            _add_bytes(tar, MANIFEST, canonical.encode(manifest))
        with staged.open("rb") as whole:
            os.fsync(whole.fileno())
        staged.rename(out)
        durable_files.sync_folder(out.parent)
    finally:
        staged.unlink(missing_ok=True)
    return manifest


def restore(
    copy: Path, home: Path, *, hospital: str, check: Callable[[bytes, str], None]
) -> Manifest:
    """Put a copy of this hospital back as its folder, which must be new or empty.

    `check` gets the copy's audit log and the hospital's key (hex), and raises unless others vouch that
    nothing of it is missing.

    Raises:
        InvalidInput: if it is no such copy.
        Refused: if the folder holds something, or `check` refuses; nothing is changed then.
    """
    require(
        not home.exists() or not any(home.iterdir()),
        f"A copy must be put back into a new or an empty folder, and {home} holds something: move it away, "
        "or name another folder in the hospital's file.",
        error=Refused,
    )
    staging = home.with_name(f"{home.name}.restoring")
    shutil.rmtree(staging, ignore_errors=True)
    try:
        private_files.private_folder(staging)
        manifest = _unpack(copy, staging)
        require(
            manifest.hospital == hospital,
            f"The copy must be of {hospital}, and is of {manifest.hospital[:60]}: give that hospital's file.",
            error=InvalidInput,
        )
        key = SigningKey(private_files.read_required(staging / "vault" / "key"))
        database = VaultDatabase.open(staging / "vault", hospital=manifest.hospital, key=key)
        check(database.log.export(), manifest.verify_key)
        if home.exists():
            home.rmdir()
        staging.rename(home)
        durable_files.sync_folder(home.parent)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return manifest


def _add(tar: tarfile.TarFile, home: Path, known: set[str]) -> set[str]:
    """Add the files that are not known; those that vanish meanwhile are no longer named by anything."""
    added = set()
    for path in _files(home):
        name = str(path.relative_to(home))
        if name in known:
            continue
        try:
            with path.open("rb") as file:
                info = tar.gettarinfo(arcname=name, fileobj=file)
                tar.addfile(info, file)
        except FileNotFoundError:
            continue
        added.add(name)
    return known | added


def _files(home: Path) -> Iterator[Path]:
    for path in sorted(home.rglob("*")):
        name = str(path.relative_to(home))
        if path.name in LEFT_OUT or name.startswith(DATABASES) or not path.is_file():
            continue
        if not path.is_symlink() and not path.name.endswith(_SIDECARS):
            yield path


def _snapshot(database: Path, to: Path) -> None:
    """One moment of a database that others may be writing."""
    with (
        closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=60)) as live,
        closing(sqlite3.connect(to)) as copy,
    ):
        _copy_database(live, copy, database)


def _copy_database(live: sqlite3.Connection, copy: sqlite3.Connection, path: Path) -> None:
    try:
        live.backup(copy)
    except sqlite3.Error as problem:
        raise Unavailable(
            f"The database {path} must be readable and whole, and is not ({problem}): start the hospital "
            "once, and copy it then."
        ) from None


def _manifest(name: str, key: Path, database: Path) -> Manifest:
    signing = SigningKey(private_files.read_required(key))
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
    except (tarfile.TarError, FileExistsError, EOFError):
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
