"""No file of a data folder goes unseen."""

from pathlib import Path

import pytest

from datasites.data.folders import inventory
from syft_code.errors import InvalidData


def test_what_is_read_or_stands_by_is_known(tmp_path: Path) -> None:
    for name in ("a.csv", "README.md", "LICENSE", ".hidden", "Thumbs.db", "masks/x_brain.nii"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    inventory.require_all_known(tmp_path, [tmp_path / "a.csv"], bystanders=("masks/*_brain.nii",))


def test_what_nobody_reads_is_named_and_counted(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    for i in range(5):
        (tmp_path / "deep" / "er" / f"x{i}.mha").write_bytes(b"")
    with pytest.raises(
        InvalidData, match=r"'deep/er/x0.mha', .*x2.mha' and 2 more .*: the first is MetaImage\."
    ):
        inventory.require_all_known(tmp_path, [], reason=lambda path: "is MetaImage")


def test_a_link_to_elsewhere_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "secret.nii").write_bytes(b"")
    (tmp_path / "data" / "x.nii").symlink_to(tmp_path / "secret.nii")
    with pytest.raises(InvalidData, match=r"x\.nii"):
        inventory.require_all_known(tmp_path / "data", [])


@pytest.mark.parametrize("name", ["attribution.png", "readme.nii.gz", "LICENSE.dcm", "md5sum.csv"])
def test_a_file_of_data_does_not_stand_by_for_its_name(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(InvalidData, match="would be left out"):
        inventory.require_all_known(tmp_path, [])


def test_hidden_files_are_counted_but_for_those_that_programs_leave_behind(tmp_path: Path) -> None:
    for name in (".x/z.png", ".y.nii", "a/.z/deep/er.png", "._a.png", "a/.DS_Store", "b.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert inventory.hidden_remarks(tmp_path) == (
        "3 files are hidden (names that begin with a dot) and were left out.",
    )
    assert inventory.hidden_remarks(tmp_path / "a" / ".z") == ()


def test_a_link_in_a_circle_is_called_one(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").symlink_to(tmp_path)
    with pytest.raises(InvalidData, match="'a/b' is a link to a folder that it lies in: a circle"):
        list(inventory.files(tmp_path))
