"""A first images.toml is read back, and reads the folder that it was made for."""

import re
import tomllib
from pathlib import Path

import pytest

from datasites.data.readers import read
from datasites.data.readers.images import first_mapping, picture_mapping
from datasites.demo import stand_ins
from tests.datasites.data.picture_folders import ham, mapped, refusal, write


def made(folder: Path) -> picture_mapping.PictureMapping:
    """The first mapping, which nobody can read, and after its owner has answered each CHECK."""
    text = first_mapping.first_mapping(folder)
    (folder / "images.toml").write_text(text, encoding="utf-8")
    assert "label: there must be one of" in refusal(lambda: read("images", folder, size_px=8))
    text = re.sub(r"^# (columns?|classes|folders|leave_out) = ", r"\1 = ", text, flags=re.MULTILINE)
    (folder / "images.toml").write_text(text, encoding="utf-8")
    return picture_mapping.parse(text.encode())


def test_of_a_table_with_persons_sites_and_labels(tmp_path: Path) -> None:
    folder = ham(tmp_path / "d", images=10)
    table = folder / "HAM10000_metadata.csv"
    table.write_text(
        table.read_text().replace("\n", ",vienna\n").replace("dx,vienna", "dx,dataset")
    )
    mapping = made(folder)
    assert (mapping.file, mapping.person, mapping.site) == ("image_id", "lesion_id", "dataset")
    assert mapping.label.column == "dx" and mapping.label.classes == ("mel", "nv")
    reading = read("images", folder, size_px=8)
    assert reading.cohort.patients == 10 and set(reading.site) == {"vienna"}


def test_of_one_hot_columns(tmp_path: Path) -> None:
    write(tmp_path / "d", [f"ISIC_{n}.png" for n in range(4)] + ["ISIC_0_segmentation.png"])
    rows = "image,patient_id,MEL,NV\n" + "".join(
        f"ISIC_{n},P{n}x,{n % 2},{1 - n % 2}.0\n" for n in range(4)
    )
    folder = mapped(tmp_path / "d", "", rows)
    assert made(folder).label.columns == ("MEL", "NV")
    reading = read("images", folder, size_px=8)
    assert reading.cohort.labels.tolist() == [1, 0, 1, 0]
    assert "1 picture is under ignore and was left out." in reading.remarks


def test_of_folders(tmp_path: Path) -> None:
    write(tmp_path / "d", ("x_mask.png",), start=9)
    (tmp_path / "d" / "sizes.csv").write_text("width\n3\n")
    names = [f"{split}/NORMAL/é{split}{n}a.png" for split in ("train", "test") for n in range(3)]
    write(tmp_path / "d", [*names, *(f'train/SICK "x"/b{n}a.png' for n in range(5))], start=20)
    assert made(tmp_path / "d").label.folders == ("NORMAL", 'SICK "x"')
    reading = read("images", tmp_path / "d", size_px=8)
    assert reading.cohort.patients == 11
    assert "1 picture is under ignore and was left out." in reading.remarks


@pytest.mark.parametrize("table", ["image,a\nx.png,1\n", "who,b\np,q\n"])
def test_of_what_tells_no_classes_there_are_gaps_to_fill_in(tmp_path: Path, table: str) -> None:
    write(tmp_path / "d", ["x.png"])
    text = first_mapping.first_mapping(mapped(tmp_path / "d", "", table))
    assert '"..."' in text
    assert "label" in tomllib.loads(text)


def test_folders_named_by_patients_and_a_finding_of_one_person_stand_nowhere(
    tmp_path: Path,
) -> None:
    people = ("Mueller_Hans", "Smith_Jane", "Rossi_Ada")
    write(tmp_path / "d", [f"{name}/{name[0]}{n}x.png" for name in people for n in range(2)])
    text = first_mapping.first_mapping(tmp_path / "d")
    assert not [name for name in people if name in text] and '"..."' in text
    rows = [f"a{n}.png,P{n % 12}x,{'normal' if n % 2 else 'mass'}" for n in range(30)]
    rows += [f"b{n}.png,Qx,seen in Mrs Smith" for n in range(6)]
    write(tmp_path / "e", [row.partition(",")[0] for row in rows])
    folder = mapped(tmp_path / "e", "", "\n".join(["image,patient_id,finding", *rows]) + "\n")
    text = first_mapping.first_mapping(folder)
    assert "Smith" not in text, "six pictures, one person"
    assert (
        '["mass", "normal"]' in text
        and "1 more words of the column, each of fewer than 5 persons" in text
    )


def test_no_picture_is_said(tmp_path: Path) -> None:
    assert "holds none" in refusal(lambda: first_mapping.first_mapping(tmp_path))
    assert first_mapping.preview(tmp_path, 4) == []


def test_what_lies_there_is_described_and_shown(tmp_path: Path) -> None:
    folder = ham(tmp_path / "d")
    write(folder, ["more/x.png"], start=30)
    (folder / "more" / "y.png").write_bytes(b"no picture")
    (folder / "z.zip").write_bytes(b"PK")
    said = first_mapping.describe(folder)
    assert said[0] == "8 pictures (6 .jpg, 2 .png) in 2 folders."
    assert "'HAM10000_metadata.csv': 6 rows of lesion_id, image_id, dx." in said
    assert any("archive" in sentence for sentence in said)
    shown = first_mapping.preview(folder, 50)
    assert len(shown) == 7 and {picture.shape for picture in shown} == {(128, 128, 3)}
    assert len(first_mapping.preview(folder, 3)) == 3
    stand_ins.write("lgg", tmp_path / "g", patients=1, seed=0)
    assert [one.shape for one in first_mapping.preview(tmp_path / "g", 2)] == [(64, 64, 3)] * 2
