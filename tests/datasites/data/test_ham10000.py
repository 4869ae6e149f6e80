"""HAM10000 as it is published, and the many ways in which a copy of it can be broken."""

import csv
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from datasites.data.readers import read
from datasites.data.readers.csv_files import csv_table
from datasites.data.readers.images import ham10000, pictures
from datasites.data.readers.tabular import csv_rows
from datasites.demo import stand_ins
from syft_code.errors import InvalidData

REAL = Path(__file__).resolve().parents[3] / ".." / "shared" / "data" / "ham10000"
TABLE = "HAM10000_metadata.csv"
PART_1, PART_2, SINGLE = "HAM10000_images_part_1", "HAM10000_images_part_2", "HAM10000_images"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ham") / "data"
    stand_ins.write("ham10000", folder, patients=14, seed=3)
    return folder


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "data"))


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / TABLE).open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def write_table(folder: Path, rows: list[dict[str, str]], name: str = TABLE) -> None:
    with (folder / name).open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def change(folder: Path, index: int, **fields: str) -> None:
    rows = table(folder)
    rows[index] |= fields
    write_table(folder, rows)


def only_part_1(folder: Path, rows: list[dict[str, str]]) -> None:
    """The pictures of the second folder are not there, nor those of the first that no row names."""
    shutil.rmtree(folder / PART_2)
    for path in (folder / PART_1).iterdir():
        if path.stem not in {row["image_id"] for row in rows}:
            path.unlink()


def first_image(folder: Path) -> Path:
    return sorted((folder / PART_1).iterdir())[0]


def refusal(folder: Path) -> str:
    """The text of the refusal: one or two sentences, of use to an owner, with no inner works."""
    with pytest.raises(InvalidData) as caught:
        read("ham10000", folder, size_px=32)
    text = str(caught.value)
    assert text.endswith(".")
    assert 1 <= len(re.findall(r"[.!?](?=\s|$)", text)) <= 2
    assert "\n" not in text and "Traceback" not in text and 'File "' not in text
    assert str(folder) not in text
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return text


def test_every_image_is_read_with_its_label_and_its_patient(folder: Path) -> None:
    rows = table(folder)
    reading = read("ham10000", folder, size_px=32)
    assert reading.cohort.images.shape == (len(rows), 3, 32, 32)
    assert reading.cohort.images.dtype == np.uint8
    assert set(reading.patient_ids) == {row["lesion_id"] for row in rows}
    read_back = Counter(
        (reading.patient_ids[patient], ham10000.CLASSES[label])
        for patient, label in zip(reading.cohort.patient, reading.cohort.labels, strict=True)
    )
    assert read_back == Counter((row["lesion_id"], row["dx"]) for row in rows)
    site_of = {row["lesion_id"]: row["dataset"] for row in rows}
    assert reading.site == tuple(site_of[patient] for patient in reading.patient_ids)


def test_the_middle_square_is_kept_and_the_channels_are_red_green_blue(folder: Path) -> None:
    pixels = np.zeros((128, 256, 3), dtype=np.uint8)
    pixels[:, :64] = pixels[:, 192:] = (0, 255, 0)
    pixels[:64, 64:192] = (255, 0, 0)
    pixels[64:, 64:192] = (0, 0, 255)
    rows = table(folder)[:1]
    write_table(folder, rows)
    only_part_1(folder, rows)
    path = folder / PART_1 / f"{rows[0]['image_id']}.jpg"
    Image.fromarray(pixels).save(path, quality=95, subsampling=0)
    image = read("ham10000", folder, size_px=16).cohort.images[0].astype(int)
    assert image[0, :7].min() > 240 and image[0, 9:].max() < 15
    assert image[2, 9:].min() > 240 and image[2, :7].max() < 15
    assert image[1].max() < 40


def test_grey_jpegs_are_read_as_colour(folder: Path) -> None:
    Image.open(first_image(folder)).convert("L").save(first_image(folder))
    assert read("ham10000", folder, size_px=32).cohort.images.shape[1] == 3


def test_the_table_with_the_source_is_preferred(folder: Path) -> None:
    rows = table(folder)
    write_table(folder, [row | {"dataset": "elsewhere"} for row in rows], ham10000.TABLES[0])
    assert set(read("ham10000", folder, size_px=32).site) == {"elsewhere"}


def test_without_a_source_column_the_site_is_empty(folder: Path) -> None:
    write_table(folder, [{k: v for k, v in r.items() if k != "dataset"} for r in table(folder)])
    assert set(read("ham10000", folder, size_px=32).site) == {""}


def test_a_lesion_seen_at_two_sites_goes_to_the_one_with_more_images(folder: Path) -> None:
    rows = table(folder)[:3]
    same = {"lesion_id": rows[0]["lesion_id"], "dx": rows[0]["dx"]}
    sites = ("vienna_dias", "rosendahl", "rosendahl")
    only_part_1(folder, rows)
    write_table(folder, [r | same | {"dataset": s} for r, s in zip(rows, sites, strict=True)])
    reading = read("ham10000", folder, size_px=32)
    assert reading.site == ("rosendahl",)
    assert any(
        remark.startswith("1 lesion has images from two sites") for remark in reading.remarks
    )


def test_all_images_may_lie_in_a_single_folder(folder: Path) -> None:
    before = read("ham10000", folder, size_px=32)
    (folder / SINGLE).mkdir()
    for part in (PART_1, PART_2):
        for path in (folder / part).iterdir():
            path.rename(folder / SINGLE / path.name)
        (folder / part).rmdir()
    after = read("ham10000", folder, size_px=32)
    assert np.array_equal(before.cohort.images, after.cohort.images)


def test_rows_without_image_are_counted_and_images_without_row_refused(folder: Path) -> None:
    rows = table(folder)
    first_image(folder).unlink()
    reading = read("ham10000", folder, size_px=32)
    assert len(reading.cohort.images) == len(rows) - 1
    assert "1 row has no image and was left out." in reading.remarks
    write_table(folder, rows[:-2])
    with pytest.raises(InvalidData, match=r"ISIC_.*would be left out: the first has no row in"):
        read("ham10000", folder, size_px=32)


def test_what_training_does_not_need_may_be_missing(folder: Path) -> None:
    rows = table(folder)
    write_table(folder, [row | {"age": "", "sex": "unknown", "localization": ""} for row in rows])
    assert len(read("ham10000", folder, size_px=32).cohort.images) == len(rows)


def test_a_byte_order_mark_and_hidden_files_do_no_harm(folder: Path) -> None:
    path = folder / TABLE
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    (folder / PART_1 / "._ISIC_0000001.jpg").write_bytes(b"resource fork")
    assert read("ham10000", folder, size_px=32).cohort.patients == 14


def test_a_link_within_the_folder_is_followed(folder: Path) -> None:
    kept = folder / ".kept"
    first_image(folder).rename(kept)
    name = table(folder)[0]["image_id"]
    (folder / PART_1 / f"{name}.jpg").symlink_to(kept)
    assert read("ham10000", folder, size_px=32).cohort.patients == 14


def test_the_marker_makes_a_reading_a_stand_in(folder: Path) -> None:
    assert read("ham10000", folder, size_px=32).spec.stand_in
    (folder / "STAND_IN.txt").unlink()
    assert not read("ham10000", folder, size_px=32).spec.stand_in
    assert read("ham10000", folder, size_px=32, stand_in=True).spec.stand_in


# Each of these breaks one thing.


def truncate_image(folder: Path) -> None:
    path = first_image(folder)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def rename_webp_to_jpg(folder: Path) -> None:
    Image.new("RGB", (64, 64)).save(first_image(folder), "WEBP")


def declare_too_many_pixels(folder: Path) -> None:
    path = first_image(folder)
    data = bytearray(path.read_bytes())
    sizes = data.index(b"\xff\xc0") + 5
    data[sizes : sizes + 4] = (65_000).to_bytes(2, "big") * 2
    path.write_bytes(data)


def make_image_too_large(folder: Path) -> None:
    with first_image(folder).open("r+b") as stream:
        stream.truncate(pictures.MAX_IMAGE_BYTES + 1)


def link_image_outside(folder: Path) -> None:
    path = first_image(folder)
    path.rename(folder.parent / "secret.jpg")
    path.symlink_to(folder.parent / "secret.jpg")


def link_folder_outside(folder: Path) -> None:
    (folder / PART_2).rename(folder.parent / "elsewhere")
    (folder / PART_2).symlink_to(folder.parent / "elsewhere")


def link_table_outside(folder: Path) -> None:
    (folder / TABLE).rename(folder.parent / "table.csv")
    (folder / TABLE).symlink_to("../table.csv")


def link_image_in_a_circle(folder: Path) -> None:
    path = first_image(folder)
    path.unlink()
    path.symlink_to(path.name)


def put_pipe(folder: Path) -> None:
    first_image(folder).unlink()
    os.mkfifo(folder / PART_1 / "ISIC_S000001.jpg")


def repeat_image_name(folder: Path) -> None:
    Image.new("RGB", (64, 64)).save(folder / PART_2 / first_image(folder).name)


def repeat_picture(folder: Path) -> None:
    rows = table(folder)
    shutil.copy(first_image(folder), folder / PART_2 / f"{rows[-1]['image_id']}.jpg")


def repeat_image_id(folder: Path) -> None:
    change(folder, 1, image_id=table(folder)[0]["image_id"])


def contradict_label(folder: Path) -> None:
    first = table(folder)[0]
    other = "mel" if first["dx"] != "mel" else "nv"
    change(folder, 5, lesion_id=first["lesion_id"], dx=other)


def remove_column(folder: Path) -> None:
    write_table(folder, [{k: v for k, v in row.items() if k != "dx"} for row in table(folder)])


def remove_images(folder: Path) -> None:
    for part in (PART_1, PART_2):
        shutil.rmtree(folder / part)


def grow_table(folder: Path) -> None:
    with (folder / TABLE).open("r+b") as stream:
        stream.truncate(csv_table.MAX_TABLE_BYTES + 1)


BROKEN: dict[str, tuple[Callable[[Path], object], str, str]] = {
    # what is broken: (how, what the refusal names, what it says)
    "no table": (lambda f: (f / TABLE).unlink(), TABLE, "must lie in the folder"),
    "empty table": (lambda f: (f / TABLE).write_bytes(b""), TABLE, "is empty"),
    "header alone": (
        lambda f: (f / TABLE).write_text("lesion_id,image_id,dx\n"),
        TABLE,
        "is empty",
    ),
    "table too large": (grow_table, TABLE, "at most"),
    "table not UTF-8": (lambda f: (f / TABLE).write_bytes(b"\xff\xfe\x00"), TABLE, "UTF-8"),
    "torn quotes": (lambda f: (f / TABLE).write_text('a,b\n"x"y,"z\n'), TABLE, "CSV"),
    "missing column": (remove_column, TABLE, "'dx'"),
    "ragged row": (
        lambda f: (f / TABLE).write_text((f / TABLE).read_text() + "HAM_X,ISIC_X\n"),
        TABLE,
        "fields",
    ),
    "unknown dx": (lambda f: change(f, 3, dx="wart"), TABLE, "'wart'"),
    "image_id with a path": (lambda f: change(f, 3, image_id="../../x"), TABLE, "without a path"),
    "image_id with a line break": (lambda f: change(f, 3, image_id="a\nb"), TABLE, "'a?b'"),
    "lesion_id with a blank": (lambda f: change(f, 3, lesion_id="HAM_1 "), TABLE, "lesion_id"),
    "dataset with a blank": (lambda f: change(f, 3, dataset="rosendahl "), TABLE, "dataset"),
    "duplicate image_id": (repeat_image_id, TABLE, "twice"),
    "contradicting labels": (contradict_label, TABLE, "one dx"),
    "no image": (remove_images, TABLE, "none of them is there"),
    "truncated image": (truncate_image, "ISIC_S000001.jpg", "whole JPEG"),
    "empty image": (lambda f: first_image(f).write_bytes(b""), "ISIC_S000001.jpg", "whole JPEG"),
    "WebP named JPEG": (rename_webp_to_jpg, "ISIC_S000001.jpg", "whole JPEG"),
    "image bomb": (declare_too_many_pixels, "ISIC_S000001.jpg", "65,000 x 65,000"),
    "image file too large": (make_image_too_large, "ISIC_S000001.jpg", "at most"),
    "image link that leaves": (link_image_outside, "ISIC_S000001.jpg", "leaves the data folder"),
    "folder link that leaves": (link_folder_outside, PART_2, "leaves the data folder"),
    "table link that leaves": (link_table_outside, TABLE, "leaves the data folder"),
    "link in a circle": (link_image_in_a_circle, "ISIC_S000001.jpg", "circle"),
    "pipe for an image": (put_pipe, "ISIC_S000001.jpg", "regular file"),
    "one image in both parts": (repeat_image_name, "ISIC_S000001.jpg", "only file of its name"),
    "one picture for two lesions": (repeat_picture, "HAM_S000001", "same picture"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_folder_is_refused_with_file_and_reason(what: str, folder: Path) -> None:
    read("ham10000", folder, size_px=32)
    break_it, names, says = BROKEN[what]
    break_it(folder)
    text = refusal(folder)
    assert names in text and says in text


def test_a_folder_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    assert "'nowhere' must be a folder" in refusal(tmp_path / "nowhere")


def test_a_folder_that_may_not_be_entered_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != PART_1)
    assert PART_1 in refusal(folder)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert "may be read" in refusal(folder)


@pytest.mark.parametrize("size_px", [0, 7, 513])
def test_absurd_sizes_are_refused(size_px: int, folder: Path) -> None:
    with pytest.raises(InvalidData, match="size_px"):
        read("ham10000", folder, size_px=size_px)


def test_an_image_bomb_is_never_decoded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    declare_too_many_pixels(folder)
    data = first_image(folder).read_bytes()
    monkeypatch.setattr(JpegImageFile, "load", lambda self: pytest.fail("decoded"))
    with pytest.raises(InvalidData, match="pixels"):
        pictures.decode(data, name="x.jpg", size_px=32)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.floats(0, 1), flips=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255))))
def test_a_damaged_jpeg_gives_pixels_or_a_refusal_and_nothing_else(
    cut: float, flips: list[tuple[float, int]], original: Path
) -> None:
    data = bytearray(first_image(original).read_bytes())
    for where, value in flips:
        data[int(where * len(data))] = value
    try:
        pixels, _ = pictures.decode(bytes(data[: int(cut * len(data))]), name="x.jpg", size_px=16)
    except InvalidData as refused:
        assert "x.jpg" in str(refused)
    else:
        assert pixels.shape == (16, 16, 3)


@given(
    st.one_of(st.binary(), st.text().map(lambda text: f"lesion_id,image_id,dx\n{text}".encode()))
)
def test_any_bytes_for_a_table_give_rows_or_a_refusal(data: bytes) -> None:
    try:
        rows = ham10000._parse(csv_rows.parse(data, TABLE), TABLE)
    except InvalidData as refused:
        assert TABLE in str(refused)
    else:
        assert all(row.dx in ham10000.CLASSES for row in rows)


@pytest.mark.skipif(
    not REAL.is_dir(), reason="needs HAM10000 in ../shared/data beside the repository"
)
def test_the_real_images_are_read() -> None:
    reading = read("ham10000", REAL, size_px=32)
    assert reading.cohort.patients == len(reading.cohort.images) == 5984
    assert Counter(reading.site) == {
        "vidir_molemax": 3159,
        "vidir_modern": 1346,
        "rosendahl": 1259,
        "vienna_dias": 220,
    }
    assert "4,031 rows have no image and were left out." in reading.remarks
    assert not reading.spec.stand_in


def test_facts_stand_beside_every_image(folder: Path) -> None:
    change(folder, 0, age="52.5", sex="male", localization="back")
    change(folder, 1, age="", sex="unknown", localization="unknown")
    reading = read("ham10000", folder, size_px=8, facts=True)
    names = reading.spec.facts
    assert names[:5] == ("age", "age?", "sex=female", "sex=male", "sex?") and len(names) == 20
    rows = [dict(zip(names, row, strict=True)) for row in reading.cohort.facts.tolist()]
    known = {name: value for name, value in rows[0].items() if value}
    assert known == {"sex=male": 1, "localization=back": 1}, "52.5 is the middle of 20 to 85"
    gone = {name: value for name, value in rows[1].items() if value}
    assert gone == {"age?": 1, "sex?": 1, "localization?": 1}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"age": "old"}, "row 4: age must be a finite number"),
        ({"age": "155"}, "row 4: age must lie between 0 and 120"),
        ({"sex": "x"}, "row 4: sex must be one of female, male"),
        ({"localization": "moon"}, "row 4: localization must be one of abdomen"),
    ],
)
def test_a_fact_that_is_none_is_refused(changes: dict[str, str], says: str, folder: Path) -> None:
    change(folder, 2, **changes)
    read("ham10000", folder, size_px=8)
    with pytest.raises(InvalidData, match=says):
        read("ham10000", folder, size_px=8, facts=True)


def test_a_table_without_the_columns_of_facts_is_refused(folder: Path) -> None:
    rows = [{k: v for k, v in row.items() if k != "sex"} for row in table(folder)]
    write_table(folder, rows)
    with pytest.raises(InvalidData, match="one column 'sex'"):
        read("ham10000", folder, size_px=8, facts=True)


@pytest.mark.skipif(
    not REAL.is_dir(), reason="needs HAM10000 in ../shared/data beside the repository"
)
def test_the_real_facts_are_read() -> None:
    root = REAL.resolve()
    rows = csv_rows.read(root, root / "HAM10000_metadata.csv")
    facts = ham10000._facts(ham10000._parse(rows, TABLE), TABLE)
    assert facts.shape == (10015, 20) and int(facts[:, 1].sum()) == 57
