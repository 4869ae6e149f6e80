"""However a demo ends, nobody's data stays in its folder."""

from pathlib import Path

import pytest

from federation.local_demo import demo_run
from syft_code.errors import Refused, Unavailable


def play(out: Path, *, keep: bool = False, ends: BaseException | None = None) -> None:
    """A demo that copies a patient, writes a report unless it ends badly, and ends."""
    with demo_run.run_folder(out, keep=keep) as folder:
        (folder / demo_run.STATE / "patient.jpg").write_text("a patient")
        if ends:
            raise ends
        (folder / "report.html").write_text("figures")


def files(out: Path) -> set[str]:
    return {path.name for path in out.rglob("*") if path.is_file()}


def test_a_good_end_keeps_the_report_alone(tmp_path: Path) -> None:
    play(tmp_path)
    assert files(tmp_path) == {"report.html"}


@pytest.mark.parametrize("ends", [KeyboardInterrupt(), Refused("No."), ValueError("a bug")])
def test_an_interrupted_refused_or_failed_demo_leaves_not_even_a_folder(
    tmp_path: Path, ends: BaseException
) -> None:
    with pytest.raises(type(ends)):
        play(tmp_path / "runs", ends=ends)
    assert list((tmp_path / "runs").iterdir()) == []


def test_keep_keeps_the_parties_folders_however_it_ends(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        play(tmp_path, keep=True, ends=KeyboardInterrupt())
    assert files(tmp_path) == {"patient.jpg"}


def test_copies_that_cannot_be_deleted_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stuck(folder: Path) -> None:
        raise PermissionError(13, "Permission denied", str(folder / "patient.jpg"))

    monkeypatch.setattr(demo_run.shutil, "rmtree", stuck)
    with pytest.raises(Unavailable, match=r"patient\.jpg can't be .*delete that folder yourself"):
        play(tmp_path)
