"""What an owner is told of a folder of volumes, and the mapping and pictures to begin with."""

from pathlib import Path

import numpy as np

from datasites.data.readers.volumes import first_mapping, mapping
from tests.datasites.data import scans

ENDINGS = {"t1": "-a", "t1ce": "-b", "t2": "-c", "flair": "-d", "seg": "_seg"}


def own_names(root: Path) -> Path:
    for number in range(2):
        case = root / f"P{number + 1}"
        scans.write_case(case, scans.head(number), ENDINGS)
    (root / "P1" / "x.mha").write_bytes(b"x")
    return root


def test_a_folder_in_the_owners_own_names_is_described_whole(tmp_path: Path) -> None:
    said = first_mapping.describe(own_names(tmp_path))
    text = " ".join(said)
    assert "2 folders have volumes." in said
    assert "'-a' (2)" in text and "the values 0, 1, 2, 4." in text
    assert "1 file can't be read: the first is MetaImage" in text
    assert said[-1].startswith("As it is, the folder is refused: Every file")


def test_the_first_mapping_is_one_that_is_read_and_edited(tmp_path: Path) -> None:
    root = own_names(tmp_path)
    (root / "P1" / "x.mha").unlink()
    text = first_mapping.first_mapping(root)
    assert mapping.parse(text.encode()) == mapping.VolumeMapping()
    assert '# "*_seg.nii*" is read as mask (BraTS 2013 to 2021)' in text
    for name, ending in ENDINGS.items():
        if name != "seg":
            line = next(one for one in text.splitlines() if f'"*{ending}.nii*"' in one)
            text = text.replace(line, line.partition("   #")[0].replace("# t1 =", f"{name} ="))
    (root / "volumes.toml").write_text(text)
    assert scans.same(
        scans.read_brats(root), scans.read_brats(scans.write_folder(tmp_path / ".other"))
    )
    assert "2 cases of 2 patients are found by their names." in first_mapping.describe(root)


def test_series_and_channels_are_named_too(tmp_path: Path) -> None:
    case = scans.write_dicom_case(tmp_path / "dicom" / "A001", scans.head(0))
    scans.write_series(case / "more", scans.head(1)["t1"], description='Zimmerwald "x"')
    scans.write_series(case / "most", scans.head(1)["t1"], description='sag "x"\n')
    text = first_mapping.first_mapping(tmp_path / "dicom")
    assert '# "flair" is read as flair without a word here.' in text
    assert '# t1 = ["sag \\"x\\""]' in text and "Zimmerwald" not in text
    mapping.parse(text.replace('# t1 = ["sag', 't1 = ["sag').encode())
    said = " ".join(first_mapping.describe(tmp_path / "dicom"))
    assert "'t1ce' (8)" in said and "Zimmerwald" not in said

    scan = scans.head(0)
    stacked = np.stack([scan["t1"], scan["t2"]], axis=3)
    scans.save(tmp_path / "msd" / "imagesTr" / "X.nii.gz", stacked)
    scans.save(tmp_path / "msd" / "labelsTr" / "X.nii.gz", scan["seg"])
    (tmp_path / "msd" / "dataset.json").write_text('{"modality": {"0": "T1w", "1": "CT"}}')
    text = first_mapping.first_mapping(tmp_path / "msd")
    assert '# 1 = "t1"   # "CT": t1, t1ce, t2, flair or none?' in text and "1, 2, 4" in text


def test_a_preview_shows_each_modality_with_the_mask_outlined(tmp_path: Path) -> None:
    root = scans.write_folder(tmp_path, cases=3)
    (root / "A001" / "A001_t2.nii.gz").unlink()
    pictures = first_mapping.preview(root, 2)
    assert [picture.shape for picture in pictures] == [(256, 768), (256, 1024)]
    for picture in pictures:
        assert picture.dtype == np.uint8
        outlined = picture == 255
        assert 0.001 < outlined.mean() < 0.2
        tiles = np.split(outlined, picture.shape[1] // 256, axis=1)
        assert all(np.array_equal(tile, tiles[0]) for tile in tiles)
