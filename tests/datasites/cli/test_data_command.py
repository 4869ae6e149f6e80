"""A data folder is checked for its owner's eyes: nothing is published, and nothing of theirs is overwritten."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from PIL import Image
from typer.testing import CliRunner

import launch
from datasites.data import contained_survey
from datasites.data.readers import Kind, recognition
from datasites.demo import stand_ins
from datasites.owner import case_pictures, folder_check
from datasites.sandbox.offers import offers
from syft_code.errors import InvalidData
from tests.datasites.data import scans, strange_readers
from tests.datasites.data.test_contained_reading import paths_with_tests

SHARED = Path(__file__).parents[4] / "shared" / "data"

if not any(offer.works for offer in offers()):
    pytest.skip("no mechanism works on this machine", allow_module_level=True)


def checked(folder: Path, *words: object) -> Result:
    line = ["data", "check", str(folder), *map(str, words)]
    found: Result = CliRunner(mix_stderr=False).invoke(launch.app, line)
    assert found.exception is None or isinstance(found.exception, SystemExit), found.exception
    return found


def told(folder: Path, *words: object) -> str:
    found = checked(folder, *words)
    assert (found.exit_code, found.stderr) == (0, ""), found.stderr
    return found.stdout


def refusal(folder: Path, *words: object) -> str:
    found = checked(folder, *words)
    assert found.exit_code in (1, 2)
    assert found.stderr.count("\n") == 1 and found.stderr.endswith(".\n"), found.stderr
    return found.stderr


def photographs(folder: Path, *classes: str) -> Path:
    """Two pictures in a folder of each class."""
    for place, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for number in range(2):
            seed = np.random.default_rng([place, number])
            pixels = seed.integers(0, 256, (40, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"p{place}{number}.png")
    return folder


@pytest.mark.parametrize("kind", stand_ins.DEFAULT_PATIENTS)
def test_a_published_layout_is_recognised_by_its_names(
    kind: stand_ins.Kind, tmp_path: Path
) -> None:
    stand_ins.write(kind, tmp_path / kind, patients=3, seed=0)
    for path in (tmp_path / kind).rglob("*"):
        if path.is_file():
            path.write_bytes(b"")  # no file is opened
    assert recognition.recognise(tmp_path / kind) == kind


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (("schema.toml", "a.nii.gz", "symptoms.csv"), "table"),
        (("anything.xlsx",), "table"),
        (("images.toml", "table.csv"), "images"),
        (("a/b.JPG", "labels.csv"), "images"),
        (("case/x_t1.NII.GZ", "survival.csv"), "brats"),
        (("P1/series/IM000001", "P1/series/IM000002", "README"), "brats"),
        (("P1/1.2.840.113619.2.55", "P2/1.2.840.113619.2.56"), "brats"),
        (("notes.docx",), None),
        ((), None),
    ],
)
def test_a_folder_is_of_the_kind_that_its_names_say(
    names: tuple[str, ...], kind: Kind | None, tmp_path: Path
) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert recognition.recognise(tmp_path) == kind


@pytest.mark.timeout(20)
def test_a_maze_of_links_is_searched_once(tmp_path: Path) -> None:
    for level in range(13):
        (tmp_path / f"d{level:02}").mkdir()
    for level in range(12):
        for link in range(8):
            (tmp_path / f"d{level:02}" / f"to{link}").symlink_to(f"../d{level + 1:02}")
    assert recognition.recognise(tmp_path) is None
    (tmp_path / "d12" / "x_t1.nii.gz").touch()
    (tmp_path / "d12" / "around").symlink_to(tmp_path)
    assert recognition.recognise(tmp_path) == "brats"


def test_what_was_found_is_counted_for_the_owner_alone(tmp_path: Path) -> None:
    stand_ins.write("heart", tmp_path / "heart", patients=60, seed=0)
    before = sorted((tmp_path / "heart").iterdir())
    said = told(tmp_path / "heart")
    assert "'heart' is of kind heart, as its names say." in said
    assert "60 patients" in said and "STAND-INS" in said and "cleveland " in said
    assert "- Each row counts as one patient" in said
    assert folder_check.KINDS and said.endswith("nothing left this machine.\n")
    assert "it is for you alone" in said
    document: Any = json.loads(told(tmp_path / "heart", "--json", "--kind", "heart"))
    assert (document["patients"], document["recognised"], document["can_be_read"]) == (
        60,
        False,
        True,
    )
    assert sum(document["by_site"].values()) == sum(document["by_class"].values()) == 60
    assert sorted((tmp_path / "heart").iterdir()) == before


def test_a_useless_cohort_is_remarked_on_before_it_is_published(tmp_path: Path) -> None:
    stand_ins.write("symptoms", tmp_path, patients=60, seed=0)
    table = tmp_path / "symptoms.csv"
    lines = table.read_text().splitlines()
    table.write_text("\n".join([lines[0], *(one for one in lines if one.endswith(",influenza"))]))
    assert "patients are of the class 'influenza'" in told(tmp_path)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--kind", "spaceship"), "--kind must be one of ham10000"),
        (("--kind", "vitals"), "vitals.csv"),
        (("--write",), "takes no mapping that could be drafted"),
        (("--pictures", "PNG"), "kind heart has none"),
        (("--pictures", "OLD"), "--pictures must be a new file"),
        (("--pictures", "/nowhere/x.png"), "--pictures must be a file in a folder that is there"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_nothing_is_written(
    words: tuple[str, ...], says: str, tmp_path: Path
) -> None:
    stand_ins.write("heart", tmp_path / "heart", patients=9, seed=0)
    (tmp_path / "old.png").write_text("mine")
    named = {"PNG": tmp_path / "new.png", "OLD": tmp_path / "old.png"}
    found = checked(tmp_path / "heart", *(named.get(word, word) for word in words))
    assert found.exit_code in (1, 2) and found.stdout == ""
    assert says in found.stderr and found.stderr.count("\n") == 1
    assert (tmp_path / "old.png").read_text() == "mine" and not (tmp_path / "new.png").exists()


@pytest.mark.parametrize(
    "names", [(), ("notes.docx",), ("broken.nii.gz",), ("b.csv",), ("a/b.jpg",)]
)
def test_a_folder_of_nonsense_is_refused_in_one_sentence(
    names: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    for name in names:
        (tmp_path / "data" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "data" / name).write_bytes(b"\x00\xff nonsense \x1b[2J")
    assert "\x1b" not in refusal(tmp_path / "data")
    assert refusal(tmp_path / "nowhere").startswith("DIR must be a folder")


def test_a_first_mapping_is_written_once_and_edited_by_its_owner(tmp_path: Path) -> None:
    folder = photographs(tmp_path / "data", "ill", "well")
    said = refusal(folder)
    assert "For a first images.toml to edit, say --write." in said
    assert not (folder / "images.toml").exists()
    png = tmp_path / "cases.png"
    found = checked(folder, "--write", "--pictures", png)
    assert "Wrote images.toml into the folder" in found.stdout
    assert found.exit_code in (1, 2) and found.stderr.count("\n") == 1
    assert "'images.toml' must lie in the folder" in found.stderr, "a draft does not hide why"
    assert (folder / "images.toml").stat().st_mode & 0o777 == 0o600
    assert png.stat().st_mode & 0o777 == 0o600
    with Image.open(png) as picture:
        assert picture.format == "PNG" and picture.height >= case_pictures.TILE_PX
    (folder / "images.toml").write_text("# mine\n")
    assert "is yours" in refusal(folder, "--write")
    assert (folder / "images.toml").read_text() == "# mine\n"


def test_a_table_gets_a_first_schema_in_which_no_patient_stands(tmp_path: Path) -> None:
    rows = "".join(f"id-{n},{40 + n % 9},{'yes' if n % 2 else 'no'}\n" for n in range(60))
    (tmp_path / "t.csv").write_text(f"pid,age,ill\n{rows}")
    assert "Wrote schema.toml" in checked(tmp_path, "--write").stdout
    schema = (tmp_path / "schema.toml").read_text()
    assert "id-7" not in schema and 'column = "pid"' not in schema and "age" in schema
    assert "'schema.toml'" in refusal(tmp_path), "what only the owner knows is still open"


def test_pictures_are_of_every_class_and_only_their_owner_can_read_them(tmp_path: Path) -> None:
    stand_ins.write("ham10000", tmp_path / "ham", patients=40, seed=0)
    shared = tmp_path / "shared"
    shared.mkdir()
    png = shared / "cases.png"
    if os.geteuid() == 0:
        os.chown(shared, 1234, 1234)
    assert f"Pictures of a few cases: {png}." in told(tmp_path / "ham", "--pictures", png)
    assert (png.stat().st_uid, png.stat().st_mode & 0o777) == (os.geteuid(), 0o600)
    stand_ins.write("brats", tmp_path / "brats", patients=2, seed=0)
    reading = folder_check.check(tmp_path / "brats", None, pictures=0, draft=False).reading
    assert reading is not None
    first, _ = case_pictures.of_reading(reading, 12)
    assert (first == case_pictures.OUTLINE).all(axis=2).any(), "a tumour is outlined"


def test_dicom_series_are_described_until_their_owner_says_what_the_mask_means(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "scans"
    for seed in range(2):
        scans.write_dicom_case(folder / f"P00{seed}", scans.head(seed), PatientID=f"MRN{seed}")
    found = checked(folder, "--write")
    assert found.exit_code in (1, 2) and "DICOM files are of series called" in found.stdout
    assert "MRN" not in found.stdout
    (folder / "volumes.toml").write_text(scans.LABELS)
    assert "2 patients (" in told(folder)


def survey_lies(
    folder: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> contained_survey.Survey:
    monkeypatch.setattr(contained_survey.contained_reading, "python_paths", paths_with_tests)
    monkeypatch.setattr(contained_survey, "_ENTRY", f"{strange_readers.__name__}:{name}")
    return contained_survey.survey("images", folder, pictures=2)


def test_what_a_reader_that_a_file_took_over_says_of_a_folder_is_plain_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = survey_lies(photographs(tmp_path / "d", "a"), "survey_in_colour", monkeypatch)
    assert found.description == ("?[2Jall is well",)
    assert found.mapping == "title = 1?\nkind = 2"
    assert len(found.pictures) == 2, "no more than were asked for"


def test_pictures_that_are_none_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InvalidData, match="A picture of a case must be 1 to 4096 pixels"):
        survey_lies(photographs(tmp_path / "d", "a"), "survey_with_a_vector", monkeypatch)


@pytest.mark.skipif(not SHARED.exists(), reason="the shared data sets are not here")
@pytest.mark.parametrize(
    ("name", "kind", "patients"),
    [("brats2013", "brats", 3), ("heart_disease_uci", "heart", 920)],
)
def test_real_sets_are_checked(name: str, kind: str, patients: int) -> None:
    document: Any = json.loads(told(SHARED / name, "--json"))
    assert (document["kind"], document["patients"]) == (kind, patients)


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.exists(), reason="the shared data sets are not here")
@pytest.mark.timeout(600)
def test_every_odd_file_is_read_or_refused_in_a_sentence(tmp_path: Path) -> None:
    for case in sorted((SHARED / "odd_files").iterdir()):
        shutil.copytree(case, tmp_path / case.name)
        found = checked(tmp_path / case.name)
        assert found.exit_code in (0, 2), case.name
        assert found.exit_code == 0 or found.stderr.count("\n") == 1, (case.name, found.stderr)
