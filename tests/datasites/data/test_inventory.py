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
