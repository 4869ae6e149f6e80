"""Folders of pictures as people have them: read whole, or refused by name, never in part."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from datasites.data.folders.reading import Reading
from datasites.data.readers import read
from syft_code.errors import InvalidData
from tests.datasites.data.picture_folders import NO_SHARED, ODD, ham, pixels, refusal, write

PART = "HAM10000_images_part_1"


def images(folder: Path) -> Reading:
    return read("ham10000", folder, size_px=8)


def in_order(reading: Reading) -> np.ndarray:
    """The pictures by patient."""
    return reading.cohort.images[np.argsort(reading.cohort.patient, kind="stable")]


def half_misnamed(folder: Path) -> None:
    (folder / "ham10000_images_part_2").mkdir()
    for path in sorted((folder / PART).iterdir())[3:]:
        path.rename(folder / "ham10000_images_part_2" / path.name)


def renamed(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / PART).rename(folder / name)


def as_tabs(folder: Path) -> None:
    table = folder / "HAM10000_metadata.csv"
    quoted = table.read_text().replace(",", '"\t"').replace("\n", '"\n"')
    (folder / "HAM10000_metadata.tab").write_text('"' + quoted.rstrip('"'))
    table.unlink()


def twice(folder: Path) -> None:
    shutil.copytree(folder / PART, folder / "ham10000_images_part_1")


def kaggle_tables(folder: Path) -> None:
    for name in ("hmnist_28_28_L.csv", "hmnist_8_8_RGB.csv", "LICENSE.txt", "readme.md"):
        (folder / name).write_text("pixel0000,label\n1,2\n")


def outlines(folder: Path) -> None:
    write(folder, [f"HAM10000_segmentations_lesion_tschandl/ISIC_{n:07d}_segmentation.png" for n in range(6)], start=50)  # fmt: skip


def as_isic_2018(folder: Path) -> None:
    table = folder / "HAM10000_metadata.csv"
    rows = [line.split(",") for line in table.read_text().splitlines()[1:]]
    table.unlink()
    names = ("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC")
    truth = [
        ",".join([i, *("1.0" if n.lower() == dx else "0.0" for n in names)]) for _, i, dx in rows
    ]
    (folder / "ISIC2018_Task3_Training_GroundTruth.csv").write_text(
        "\n".join([",".join(["image", *names]), *truth]) + "\n"
    )
    groups = [f"{image},{lesion},histopathology" for lesion, image, _ in rows]
    (folder / "ISIC2018_Task3_Training_LesionGroupings.csv").write_text(
        "\n".join(["image,lesion_id,diagnosis_confirm_type", *groups]) + "\n"
    )
    (folder / PART).rename(folder / "ISIC2018_Task3_Training_Input")


SAME = {
    "half of the folders misnamed": half_misnamed,
    "small letters": renamed("ham10000_images_part_1"),
    "combined": renamed("HAM10000_images_combined_600x450"),
    "a folder deeper": lambda f: shutil.move(f / PART, f / "dataverse_files" / PART),
    "tabs": as_tabs,
    "semicolons": lambda f: (f / "HAM10000_metadata.csv").write_text((f / "HAM10000_metadata.csv").read_text().replace(",", ";")),
    "no ending": lambda f: (f / "HAM10000_metadata.csv").rename(f / "HAM10000_metadata"),
    "table in small letters": lambda f: (f / "HAM10000_metadata.csv").rename(f / "ham10000_METADATA.csv"),
    "both spellings": twice,
    "Kaggle's tables of pixels": kaggle_tables,
    "outlines": outlines,
    "ISIC 2018": as_isic_2018,
    "capital endings": lambda f: [p.rename(p.with_suffix(".PNG")) for p in (f / PART).iterdir()],
}  # fmt: skip


@pytest.mark.parametrize("what", SAME)
def test_another_layout_of_ham10000_is_read_alike(what: str, tmp_path: Path) -> None:
    folder = ham(tmp_path / "d", ending=".png")
    before = images(folder)
    SAME[what](folder)
    after = images(folder)
    assert np.array_equal(in_order(before), in_order(after))
    assert before.patient_ids == after.patient_ids
    copies = ("6 files are copies of others of their name and were left out.",)
    assert after.remarks == before.remarks[:1] + (copies if what == "both spellings" else ()) + before.remarks[1:]  # fmt: skip


REFUSED = {
    # what is changed, and what the refusal names
    "a zip beside": (lambda f: (f / "HAM10000_images_part_2.zip").write_bytes(b"PK"), "HAM10000_images_part_2.zip' would be left out: the first is an archive"),
    "webp": (lambda f: pixels(9).save(f / PART / "ISIC_9.webp"), "ISIC_9.webp' would be left out: the first is named as WebP"),
    "a table of its own": (lambda f: (f / "my_labels.xlsx").write_bytes(b"x"), "my_labels.xlsx"),
    "thumbnails": (lambda f: write(f, ["small/ISIC_0000001.png"], start=70), "only file of its name"),
    "a strange folder": (lambda f: write(f, ["ISIC2018_Task3_Test_Input/ISIC_0034524.png"], start=70), "has no row in"),
    "pictures beside the table": (lambda f: write(f, ["photo.png"], start=70), "'photo.png' would be left out: the first has no row in"),
    "two tables": (lambda f: [(f / "x").mkdir(), shutil.copy(f / "HAM10000_metadata.csv", f / "x")], "there are 2"),
    "lesions in two spellings": (lambda f: (f / "HAM10000_metadata.csv").write_text((f / "HAM10000_metadata.csv").read_text().replace("HAM_0000002", "ham_0000001").replace(",nv", ",mel")), "differ by capital letters alone"),
    "no lesion": (lambda f: (f / "HAM10000_metadata.csv").write_text((f / "HAM10000_metadata.csv").read_text().replace("HAM_0000002", "NA")), "must name a person"),
    "ISIC 2018 without groupings": (lambda f: [as_isic_2018(f), (f / "ISIC2018_Task3_Training_LesionGroupings.csv").unlink()], "which pictures show one lesion"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_would_be_read_in_part_is_refused_by_name(what: str, tmp_path: Path) -> None:
    folder = ham(tmp_path / "d", ending=".png")
    images(folder)
    change, says = REFUSED[what]
    change(folder)
    assert says in refusal(lambda: images(folder))


def test_png_beside_jpeg_is_read(tmp_path: Path) -> None:
    folder = ham(tmp_path / "d")
    for path in sorted((folder / PART).iterdir())[::2]:
        pixels(int(path.stem[-7:])).save(path.with_suffix(".png"))
        path.unlink()
    assert images(folder).cohort.patients == 6


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_folder_with_one_thing_changed_is_read_whole_or_refused(data, tmp_path_factory) -> None:
    """Whatever name a file gets, each picture is read, counted in a remark, or the folder refused."""
    folder = ham(tmp_path_factory.mktemp("p") / "d", 4, ending=".png")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    path = data.draw(st.sampled_from(files))
    name = data.draw(st.text("abIS.C_0001-é ", min_size=1, max_size=12)).strip(" .") or "x"
    endings = (path.suffix, path.suffix.upper(), ".jpg", ".webp", "")
    target = path.parent / (name + data.draw(st.sampled_from(endings)))
    if target.exists():
        return
    path.rename(target)
    try:
        reading = images(folder)
    except InvalidData as refused:
        assert "must" in str(refused) or "none of them" in str(refused)
        return
    assert len(reading.cohort.images) == 4


ODD_FILES = {
    "ham_dataverse_tab": 6,
    "ham_half_the_folders_misnamed": 6,
    "ham_images_combined_folder": 6,
    "ham_lower_case_folders": 6,
    "ham_png_beside_jpeg": 6,
    "image_all_black": 6,
    "image_exif_orientation": 6,
    "image_gray": 6,
    "image_one_pixel": "'HAM10000_images_part_1/ISIC_0000003.jpg' must be at least 8 pixels",
}


@pytest.mark.skipif(not ODD.is_dir(), reason=NO_SHARED)
@pytest.mark.parametrize("name", ODD_FILES)
def test_the_odd_files_of_pictures(name: str) -> None:
    expected = ODD_FILES[name]
    if isinstance(expected, str):
        assert expected in refusal(lambda: images(ODD / name))
        return
    reading = images(ODD / name)
    assert len(reading.cohort.images) == expected
    assert not any("left out" in remark for remark in reading.remarks)
    grey = "1 picture is grey among 5 in colour."
    assert (grey in reading.remarks) == (name == "image_gray")


@pytest.mark.skipif(not ODD.is_dir(), reason=NO_SHARED)
def test_the_odd_picture_with_an_orientation_stands_upright() -> None:
    folder = ODD / "image_exif_orientation" / PART
    turned = []
    for path in sorted(folder.iterdir()):
        with Image.open(path) as picture:
            if picture.getexif().get(0x0112, 1) == 6:
                turned.append((int(path.stem[-1]), ImageOps.exif_transpose(picture).convert("RGB")))
    ((number, upright),) = turned
    side = min(upright.size)
    left, top = ((n - side) // 2 for n in upright.size)
    square = upright.crop((left, top, left + side, top + side))
    expected = np.asarray(square.resize((8, 8), Image.Resampling.BILINEAR)).astype(int)
    found = images(folder.parent).cohort.images[number].transpose(1, 2, 0).astype(int)
    assert np.abs(found - expected).mean() < 6
