"""A file is there whole or not at all, for its owner alone, and a failed write leaves nothing."""

import os
from pathlib import Path

import pytest

from syft_code.runtime import durable_files
from tests.other_users import needs_root


def test_a_file_is_its_owners_alone_and_replaces_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"before")
    path.chmod(0o644)
    durable_files.write_durably(path, memoryview(b"after"))
    assert path.read_bytes() == b"after"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


@needs_root
def test_what_root_writes_into_anothers_folder_is_roots_unless_it_is_to_be_theirs(
    tmp_path: Path,
) -> None:
    os.chown(tmp_path, 1234, 1234)
    durable_files.write_durably(tmp_path / "cases.png", b"a patient")
    durable_files.write_durably(tmp_path / "terms.json", b"terms", owned_as_folder=True)
    assert (tmp_path / "cases.png").stat().st_uid == 0
    assert (tmp_path / "terms.json").stat().st_uid == 1234


@pytest.mark.parametrize("step", ["fsync", "write"])
def test_a_disk_that_is_full_leaves_the_file_as_it_was_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = tmp_path / "ledger_head"
    durable_files.write_durably(path, b"before")

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    if step == "fsync":
        monkeypatch.setattr(os, "fsync", full)
    else:
        monkeypatch.setattr(os, "fdopen", full)
    with pytest.raises(OSError, match="No space"):
        durable_files.write_durably(path, b"after")
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_two_writers_of_one_file_do_not_meet_in_the_unfinished_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, sync, first = tmp_path / "table", os.fsync, [True]

    def other_writer_in_between(descriptor: int) -> None:
        if first and first.pop():
            durable_files.write_durably(path, b"theirs")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", other_writer_in_between)
    durable_files.write_durably(path, b"ours")
    assert path.read_bytes() == b"ours"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_write_left_is_deleted_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "key.0011223344556677.unfinished").write_bytes(b"half")
    durable_files.write_durably(tmp_path / "key", b"whole")
    durable_files.remove_unfinished(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["key"]
