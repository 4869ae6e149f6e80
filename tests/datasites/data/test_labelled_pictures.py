"""One's own pictures through `images.toml`: tables, one-hot columns, folders; whole or refused."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from datasites.data import mock_cohort, readers
from datasites.data.folders.reading import Reading
from datasites.data.readers import read
from datasites.data.readers.images import picture_mapping
from federation.strategy import presets
from syft_code.errors import InvalidData
from tests.datasites.data.picture_folders import mapped, refusal, write

TABLE = """
title = "Chest"
patient_unit = "patient (column who)"
table = "labels.csv"
file = "image"
person = "who"
site = "place"

[label]
column = "finding"
classes = ["normal", "pneumonia"]
positive = "pneumonia"

[[column]]
name = "age"
kind = "number"
unit = "years"
lowest = 0
highest = 120
missing = [""]
"""
ROWS = """image,who,place,finding,age,other
a.png,p1x,north,normal,40,1
b,p1x,north,normal,41,1
sub/c.png,p2x,south,pneumonia,,1
D.PNG,p3x,south,normal,70,1
"""
NAMES = ("a.png", "x/b.png", "x/sub/c.png", "d.png")
FOLDERS = """
title = "Chest"
patient_unit = "patient (in the file's name)"
colour = false
[label]
folders = ["NORMAL", "PNEUMONIA"]
positive = "PNEUMONIA"
[persons]
pattern = "(?P<person>person[0-9]+)_.*"
"""
ISIC = """
title = "ISIC"
patient_unit = "patient (column patient_id)"
table = "labels.csv"
file = "isic_id"
person = "patient_id"
[label]
columns = ["MEL", "NV", "BCC"]
classes = ["melanoma", "nevus", "basal cell carcinoma"]
positive = "melanoma"
"""


def chest(folder: Path) -> Path:
    write(folder, NAMES)
    return mapped(folder, TABLE, ROWS)


def pictures(folder: Path, **options) -> Reading:
    return read("images", folder, size_px=8, **options)


def labels(reading: Reading) -> dict[str, list[str]]:
    """The classes of each patient's pictures."""
    names = [reading.spec.classes[label] for label in reading.cohort.labels]
    return {
        who: [name for name, of in zip(names, reading.cohort.patient, strict=True) if of == n]
        for n, who in enumerate(reading.patient_ids)
    }


def test_a_table_names_pictures_by_path_name_or_stem_in_any_folder(tmp_path: Path) -> None:
    reading = pictures(chest(tmp_path / "d"), facts=True)
    assert labels(reading) == {"p1x": ["normal"] * 2, "p2x": ["pneumonia"], "p3x": ["normal"]}
    assert reading.site == ("north", "south", "south") and reading.remarks == ()
    spec = reading.spec
    assert (spec.kind, spec.classes, spec.positive) == (
        "images",
        ("normal", "pneumonia"),
        "pneumonia",
    )
    assert spec.facts == ("age", "age?") and spec.channels == ("red", "green", "blue")
    assert reading.cohort.facts[:, 1].tolist() == [0, 0, 1, 0]
    assert pictures(tmp_path / "d").spec == readers.spec("images", tmp_path / "d", size_px=8)
    assert pictures(tmp_path / "d").cohort.facts.shape == (4, 0)


def test_folders_are_classes_and_a_pattern_names_persons(tmp_path: Path) -> None:
    names = ("train/NORMAL/person1_a.jpeg", "test/NORMAL/person1_b.jpeg", "train/PNEUMONIA/person2_c.jpeg")  # fmt: skip
    write(tmp_path / "d", names, mode="L")
    reading = pictures(mapped(tmp_path / "d", FOLDERS))
    assert labels(reading) == {"person1": ["NORMAL"] * 2, "person2": ["PNEUMONIA"]}
    assert reading.spec.channels == ("grey",) and reading.cohort.images.shape == (3, 1, 8, 8)


def test_without_persons_each_picture_is_one_and_folders_can_be_sites(tmp_path: Path) -> None:
    toml = FOLDERS.split("[persons]")[0].replace(
        "[label]", 'site_folders = ["oslo", "bergen"]\n[label]'
    )
    write(tmp_path / "d", ("oslo/NORMAL/ax.png", "bergen/PNEUMONIA/bx.png"))
    reading = pictures(mapped(tmp_path / "d", toml))
    assert reading.site == ("oslo", "bergen") and reading.patient_ids == ("ax", "bx")
    assert "Each picture counts as one patient: the mapping names no persons." in reading.remarks


def test_a_folder_can_name_a_person(tmp_path: Path) -> None:
    toml = FOLDERS.split("[persons]")[0].replace("[label]", 'person_in = "folder"\n[label]')
    names = ("NORMAL/kx/1.png", "NORMAL/kx/2.png", "PNEUMONIA/mx/1.png")
    write(tmp_path / "d", names)
    reading = pictures(mapped(tmp_path / "d", toml))
    assert labels(reading) == {"kx": ["NORMAL"] * 2, "mx": ["PNEUMONIA"]}
    assert reading.remarks == ()


def test_a_folder_of_a_class_or_a_site_names_nobody(tmp_path: Path) -> None:
    toml = FOLDERS.split("[persons]")[0].replace("[label]", 'person_in = "folder"\n[label]')
    write(tmp_path / "d", ("NORMAL/kx/1.png", "PNEUMONIA/1.png"))
    text = refusal(lambda: pictures(mapped(tmp_path / "d", toml)))
    assert "'PNEUMONIA/1.png': with person_in" in text and "names a class or a site" in text


def test_one_hot_columns_are_classes(tmp_path: Path) -> None:
    write(tmp_path / "d", [f"ISIC_{n}.png" for n in range(3)])
    rows = "isic_id,patient_id,MEL,NV,BCC\nISIC_0,IP_1,1.0,0.0,0\nISIC_1,IP_2,0,1,0\nISIC_2,IP_3,0,0,1\n"
    reading = pictures(mapped(tmp_path / "d", ISIC, rows))
    assert reading.cohort.labels.tolist() == [0, 1, 2] and reading.spec.classes[0] == "melanoma"
    two = rows.replace("ISIC_1,IP_2,0,1,0", "ISIC_1,IP_2,1,1,0")
    text = refusal(lambda: pictures(mapped(tmp_path / "d", ISIC, two)))
    assert "row 3" in text and "read one of them by choice" in text


def test_of_several_findings_one_is_read_by_choice(tmp_path: Path) -> None:
    toml = TABLE.replace('positive = "pneumonia"', 'separator = "|"\npresent = "Edema"\npositive = "pneumonia"')  # fmt: skip
    rows = ROWS.replace("pneumonia", "Mass|Edema").replace("normal", "No Finding")
    write(tmp_path / "d", NAMES)
    assert pictures(mapped(tmp_path / "d", toml, rows)).cohort.labels.tolist() == [0, 0, 1, 0]
    empty = rows.replace("Mass|Edema", "")
    assert "is empty" in refusal(lambda: pictures(mapped(tmp_path / "d", toml, empty)))


@pytest.mark.parametrize("spelt", ["EDEMA|Mass", "edema", "Mass| E dema"])
def test_a_finding_that_is_spelt_otherwise_is_no_negative(spelt: str, tmp_path: Path) -> None:
    toml = TABLE.replace("positive =", 'separator = "|"\npresent = "Edema"\npositive =')
    rows = (
        ROWS.replace("pneumonia", "Edema")
        .replace("70", "70")
        .replace("D.PNG,p3x,south,normal", f"D.PNG,p3x,south,{spelt}")
    )
    write(tmp_path / "d", NAMES)
    text = refusal(lambda: pictures(mapped(tmp_path / "d", toml, rows)))
    assert "row 5" in text and "as present does ('Edema')" in text


def test_a_name_that_several_pictures_have_is_no_person(tmp_path: Path) -> None:
    """CheXpert: `train/patient1/study1/view1.png`."""
    toml = FOLDERS.split("[persons]")[0]
    write(
        tmp_path / "d", ("NORMAL/p1x/view1.png", "NORMAL/p2x/view1.png", "PNEUMONIA/p3x/other.png")
    )
    folder = mapped(tmp_path / "d", toml)
    text = refusal(lambda: pictures(folder))
    assert "'view1' is the name of another, too" in text and 'person_in = "folder"' in text
    mapped(folder, toml.replace("[label]", 'person_in = "folder"\n[label]', 1))
    assert pictures(folder).patient_ids == ("p1x", "p2x", "p3x")
    mapped(folder, toml.replace("[label]", 'person_in = "name"\n[label]', 1))
    assert pictures(folder).cohort.patients == 2


def test_a_number_that_two_sites_gave_is_not_one_person(tmp_path: Path) -> None:
    write(tmp_path / "d", NAMES)
    folder = mapped(tmp_path / "d", TABLE, ROWS.replace("b,p1x,north", "b,p1x,south"))
    said = refusal(lambda: pictures(folder))
    assert "'p1x' is of 'south' here and 'north' before" in said
    assert "identifiers of their own" in said


def test_two_sites_never_become_one_by_their_length(tmp_path: Path) -> None:
    folder = chest(tmp_path / "d")
    mapped(folder, TABLE, ROWS.replace("north", "s" * 130 + "1").replace("south", "s" * 130 + "2"))
    assert "a site must be named in at most" in refusal(lambda: pictures(folder))


def test_labels_to_leave_out_are_counted_and_their_pictures_known(tmp_path: Path) -> None:
    toml = TABLE.replace('positive = "pneumonia"', 'leave_out = ["unsure"]')
    rows = ROWS.replace("70", "70").replace("D.PNG,p3x,south,normal", "D.PNG,p3x,south,unsure")
    write(tmp_path / "d", NAMES)
    reading = pictures(mapped(tmp_path / "d", toml, rows))
    assert reading.patient_ids == ("p1x", "p2x")
    assert "1 picture has a label to leave out and was left out." in reading.remarks


def test_rows_without_a_picture_and_ignored_pictures_are_counted(tmp_path: Path) -> None:
    folder = chest(tmp_path / "d")
    (folder / "d.png").unlink()
    write(folder, ["masks/e.png"], start=9)
    text = refusal(lambda: pictures(folder))
    assert "'masks/e.png' would be left out: the first has no row in 'labels.csv'" in text
    mapped(folder, TABLE.replace("[label]", 'ignore = ["masks/*"]\n[label]', 1))
    reading = pictures(folder)
    assert "1 row has no picture and was left out." in reading.remarks
    assert "1 picture is under ignore and was left out." in reading.remarks


def test_a_person_of_two_classes_is_refused_or_keeps_the_last(tmp_path: Path) -> None:
    folder = chest(tmp_path / "d")
    mapped(folder, TABLE, ROWS.replace("b,p1x,north,normal", "b,p1x,north,pneumonia"))
    text = refusal(lambda: pictures(folder))
    assert "all pictures of a person must have one class" in text and "keep_last" in text
    mapped(folder, TABLE.replace("positive =", 'differing = "keep_last"\npositive ='))
    reading = pictures(folder)
    assert labels(reading)["p1x"] == ["pneumonia"]
    assert any("not of its person's last class" in remark for remark in reading.remarks)


def test_who_is_one_person_is_the_owners_word(tmp_path: Path) -> None:
    folder = chest(tmp_path / "d")
    mapped(folder, TABLE, ROWS.replace("p3x,south", "P1X,north"))
    assert 'same = ["case"]' in refusal(lambda: pictures(folder))
    mapped(folder, TABLE + '[persons]\nsame = ["case"]\n')
    assert pictures(folder).patient_ids == ("p1x", "p2x")
    mapped(folder, TABLE, ROWS.replace("p3x", "1.2E+11"))
    assert "rounded" in refusal(lambda: pictures(folder))


def test_the_same_picture_of_two_persons_is_refused(tmp_path: Path) -> None:
    folder = chest(tmp_path / "d")
    (folder / "d.png").write_bytes((folder / "a.png").read_bytes())
    assert "same picture" in refusal(lambda: pictures(folder))


def test_facts_that_nobody_described_are_refused(tmp_path: Path) -> None:
    folder = mapped(chest(tmp_path / "d"), TABLE.split("[[column]]")[0])
    assert pictures(folder).spec.facts == ()
    assert "describes none" in refusal(lambda: pictures(folder, facts=True))
    assert "describes none" in refusal(lambda: readers.spec("images", folder, facts=True))


WRONG_FOLDERS = {
    "a copy under one name is a copy": (lambda f: write(f, ["y/a.png"], start=99), "one picture must answer"),
    "two rows for a picture": (lambda f: mapped(f, TABLE, ROWS + "a.png,p1x,north,normal,40,1\n"), "must have one row"),
    "a column that is not there": (lambda f: mapped(f, TABLE.replace('"place"', '"site"')), "the column 'site'"),
    "a label of no class": (lambda f: mapped(f, TABLE, ROWS.replace("pneumonia", "x")), "must be one of normal, pneumonia"),
    "none of the pictures": (lambda f: mapped(f, TABLE.replace('file = "image"', 'file = "other"')), "none of them is there"),
    "a picture of another kind": (lambda f: (f / "e.bmp").write_bytes(b"BM"), "'e.bmp' would be left out: the first is named as BMP"),
    "a table more": (lambda f: (f / "labels2.csv").write_text("x"), "labels2.csv"),
    "no table": (lambda f: (f / "labels.csv").unlink(), "labels.csv"),
    "no mapping": (lambda f: (f / "images.toml").unlink(), "must lie in the folder"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG_FOLDERS)
def test_a_folder_that_is_not_as_its_mapping_says_is_refused(what: str, tmp_path: Path) -> None:
    folder = chest(tmp_path / "d")
    pictures(folder)
    change, says = WRONG_FOLDERS[what]
    change(folder)
    assert says in refusal(lambda: pictures(folder))


def test_a_copy_to_the_byte_is_counted(tmp_path: Path) -> None:
    folder = chest(tmp_path / "d")
    (folder / "y").mkdir()
    (folder / "y" / "a.png").write_bytes((folder / "a.png").read_bytes())
    remark = "1 file is the copy of another of its name and was left out."
    assert remark in pictures(folder).remarks


def test_a_misspelt_class_folder_is_refused_by_name(tmp_path: Path) -> None:
    write(tmp_path / "d", ("NORMAL/person1_a.png", "Pneumonia/person2_b.png"))
    text = refusal(lambda: pictures(mapped(tmp_path / "d", FOLDERS)))
    assert "'Pneumonia/person2_b.png'" in text and "NORMAL, PNEUMONIA" in text
    write(tmp_path / "d", ("NORMAL/PNEUMONIA/person3_a.png",), start=9)
    (tmp_path / "d" / "Pneumonia" / "person2_b.png").unlink()
    assert "lies in 2" in refusal(lambda: pictures(mapped(tmp_path / "d", FOLDERS)))


WRONG = {
    "no label": (TABLE.replace("[label]", "[lable]"), "label: Field required"),
    "two places of labels": (TABLE.replace("[label]", '[label]\nfolders = ["a", "b"]'), "one of column, columns and folders"),
    "one class": (TABLE.replace('["normal", "pneumonia"]', '["normal"]').replace('positive = "pneumonia"', ""), "2 to 100 classes"),
    "positive of none": (TABLE.replace('positive = "pneumonia"', 'positive = "x"'), "positive must be"),
    "file without table": (TABLE.replace('table = "labels.csv"', ""), "table and file go together"),
    "table with a path": (TABLE.replace("labels.csv", "../labels.csv"), "beside images.toml"),
    "values of another number": (TABLE.replace("positive =", 'values = ["0"]\npositive ='), "one a class"),
    "left out and read": (TABLE.replace("positive =", 'leave_out = ["normal"]\npositive ='), "both a class and left out"),
    "separator alone": (TABLE.replace("positive =", 'separator = "|"\npositive ='), "go together"),
    "columns without table": (FOLDERS.replace("[label]", 'person = "who"\n[label]', 1), "without a table"),
    "no TOML": ("[[[", "must be TOML"),
    "not UTF-8": ("\udcff", "UTF-8"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_a_mapping_that_says_nothing_clear_is_refused(what: str) -> None:
    toml, says = WRONG[what]
    text = refusal(lambda: picture_mapping.parse(toml.encode("utf-8", "surrogateescape")))
    assert "images.toml" in text and says in text


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_folders_with_one_thing_changed_are_read_whole_or_refused(data, tmp_path_factory) -> None:
    folder = chest(tmp_path_factory.mktemp("l") / "d")
    change = data.draw(st.sampled_from(["rename", "cell", "add"]))
    if change == "rename":
        path = folder / data.draw(st.sampled_from(NAMES))
        name = data.draw(st.text("abcdé_", min_size=1, max_size=4)) + ".png"
        assume(not path.with_name(name).exists())  # that would take a picture away
        path.rename(path.with_name(name))
    elif change == "cell":
        lines = [line.split(",") for line in ROWS.splitlines()]
        cell = data.draw(
            st.sampled_from(["", "NA", "a.png", "c", "../a.png", "p2x", "normal", "9" * 300])
        )
        lines[data.draw(st.integers(1, 4))][data.draw(st.integers(0, 4))] = cell
        (folder / "labels.csv").write_text("\n".join(map(",".join, lines)) + "\n")
    else:
        write(
            folder, [data.draw(st.sampled_from(["e.png", "x/a.png", "x/f.jpg", "g.tif"]))], start=50
        )
    try:
        reading = pictures(folder)
    except InvalidData:
        return
    lost = 4 - len(reading.cohort.images)
    assert ("1 row has no picture and was left out." in reading.remarks) == (lost == 1)
    assert lost == 0 or change == "cell"


@pytest.mark.parametrize("toml", [TABLE, FOLDERS, ISIC], ids=["table", "folders", "one-hot"])
def test_a_mock_and_a_first_plan_are_there_for_any_mapping(toml: str) -> None:
    mapping = picture_mapping.parse(toml.encode())
    spec = mapping.spec(size_px=16, stand_in=False, facts=bool(mapping.column))
    mock = mock_cohort.draw(spec, seed=0, slices=12)
    assert mock.images.shape == (12, len(spec.channels), 16, 16) and mock.images.dtype == np.uint8
    assert set(mock.labels) <= set(range(len(spec.classes))) and mock.facts.shape[1] == len(
        spec.facts
    )
    presets.suggested(spec).recipe.check(spec)
