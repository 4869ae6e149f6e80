"""Tables and series are read by their schema, or refused with file, row and column."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasites.data.folders.reading import Reading
from datasites.data.readers import read
from datasites.data.readers.csv_files import csv_table
from datasites.data.readers.tabular import csv_rows, feature_coding, table_schema, tables
from datasites.data.readers.tabular.schema_columns import Category, Number
from syft_code.errors import InvalidData

REAL = Path(__file__).resolve().parents[3] / ".." / "shared" / "data" / "heart_disease_uci"

TABLE = """
title = "A small table"
kind = "table"
file = "table.csv"
patient = "who"
site = "where"
ignore = ["note"]

[[column]]
name = "age"
kind = "number"
unit = "years"
lowest = 0
highest = 100
missing = ["?", "0"]

[[column]]
name = "dose"
kind = "number"
unit = "mg"
lowest = -10
highest = 90
usual = [0, 40]
outside = "clip"

[[column]]
name = "sex"
kind = "category"
values = ["f", "m"]
missing = ["?"]

[label]
column = "ill"
classes = ["no", "yes"]
above = 0
positive = "yes"
"""
ROWS = """who,where,age,dose,sex,ill,note
p1,a,25,0,f,0,x
p2,a,?,40,m,2,
p3,b,75.0,99,?,0.5,y
p1,a,50,20,f,0,z
"""
SERIES = """
title = "A small series"
kind = "series"
file = "table.csv"
patient = "who"
hour = "hour"
hours = 3

[[column]]
name = "pulse"
kind = "number"
unit = "beats/min"
lowest = 0
highest = 200
missing = [""]

[label]
column = "ill"
classes = ["no", "yes"]
"""
HOURS = """who,hour,pulse,ill
p2,0,150,yes
p1,2,50,no
p1,0,,no
"""


def put(folder: Path, meaning: str = TABLE, rows: str = ROWS) -> Path:
    (folder / "schema.toml").write_text(meaning, encoding="utf-8")
    (folder / "table.csv").write_text(rows, encoding="utf-8")
    return folder


def refusal(folder: Path) -> str:
    with pytest.raises(InvalidData) as refused:
        read("table", folder)
    return str(refused.value)


def test_a_table_becomes_facts_without_pixels(tmp_path: Path) -> None:
    reading = read("table", put(tmp_path))
    assert reading.spec.facts == ("age", "age?", "dose", "sex=f", "sex=m", "sex?")
    assert reading.patient_ids == ("p1", "p2", "p3") and reading.site == ("a", "a", "b")
    assert reading.cohort.images.shape == (4, 0, 0, 0)
    assert reading.cohort.patient.tolist() == [0, 0, 1, 2]
    assert reading.cohort.labels.tolist() == [0, 0, 1, 1]
    expected = [
        [-0.5, 0, -1, 1, 0, 0],
        [0.0, 0, 0, 1, 0, 0],
        [0.0, 1, 1, 0, 1, 0],  # an age that is missing is 0, and 1 in a column of its own
        [0.5, 0, 3.5, 0, 0, 1],  # a dose of 99 was moved to 90
    ]
    assert np.allclose(reading.cohort.facts, expected)
    assert reading.remarks == ("dose: 1 number lay outside its limits and was moved to them.",)
    assert (reading.spec.kind, reading.spec.positive) == ("table", "yes")
    assert not reading.spec.stand_in


def test_words_that_are_the_same_number_are_the_same_word(tmp_path: Path) -> None:
    rows = ROWS.replace(",?,40,", ",0.0,40,")
    assert read("table", put(tmp_path, rows=rows)).cohort.facts[2, :2].tolist() == [0, 1]


def test_numbers_are_coded_by_public_ranges_and_never_by_other_patients(tmp_path: Path) -> None:
    before = read("table", put(tmp_path)).cohort.facts
    rows = ROWS + "".join(f"q{i},a,99,90,m,1,\n" for i in range(50))
    after = read("table", put(tmp_path, rows=rows)).cohort.facts
    assert np.array_equal(after[:4], before)


BROKEN: dict[str, tuple[Callable[[str], str], str, str]] = {
    # what is broken: (how, where, what it says)
    "unknown column": (lambda t: t.replace("note", "salary"), "row 1", "'salary'"),
    "column not there": (lambda t: t.replace("dose", "note2"), "row 1", "'note2'"),
    "duplicate header": (lambda t: t.replace("note", "age"), "row 1", "one column 'age'"),
    "a word for a number": (lambda t: t.replace(",25,", ",old,"), "row 2: age", "'old'"),
    "a number past its range": (lambda t: t.replace(",25,", ",250,"), "row 2: age", "0 and 100"),
    "NaN": (lambda t: t.replace(",25,", ",nan,"), "row 2: age", "finite"),
    "infinite": (lambda t: t.replace(",40,", ",-inf,"), "row 3: dose", "finite"),
    "unknown category": (lambda t: t.replace(",m,", ",x,"), "row 3: sex", "f, m"),
    "label missing": (lambda t: t.replace(",f,0,x", ",f,,x"), "row 2: ill", "is empty"),
    "label no number": (lambda t: t.replace(",f,0,x", ",f,?,x"), "row 2: ill", "finite"),
    "row too long": (lambda t: t.replace(",x\n", ",x,x\n"), "row 2", "7 fields, it has 8"),
    "row too short": (lambda t: t.replace(",x\n", "\n"), "row 2", "7 fields, it has 6"),
    "empty file": (lambda t: "", "table.csv", "is empty"),
    "header alone": (lambda t: t.splitlines()[0], "table.csv", "is empty"),
    "torn quotes": (lambda t: t + '"p9"x,a,1,1,f,0,\n', "row 6", "CSV"),
    "patient without a name": (lambda t: t.replace("p2,", ",", 1), "row 3: who", "name a person"),
    "two labels of one patient": (lambda t: t.replace("f,0,z", "f,1,z"), "row 5: ill", "same in all"),
    "two sites of one patient": (lambda t: t.replace("p1,a,50", "p1,b,50"), "row 5", "one site"),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_table_is_refused_with_row_and_column(what: str, tmp_path: Path) -> None:
    break_it, where, says = BROKEN[what]
    read("table", put(tmp_path))
    text = refusal(put(tmp_path, rows=break_it(ROWS)))
    assert "table.csv" in text and where in text and says in text
    assert text.endswith(".") and "\n" not in text


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (put(tmp_path) / "table.csv").write_bytes(b"who\xff\xfe,where")
    assert "'table.csv' must be UTF-8" in refusal(tmp_path)


def test_a_table_over_the_limits_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path)
    monkeypatch.setattr(csv_table, "MAX_ROWS", 3)
    assert "at most 3 rows" in refusal(tmp_path)
    monkeypatch.setattr(csv_table, "MAX_TABLE_BYTES", 40)
    assert "'table.csv' must be at most 40 bytes" in refusal(tmp_path)


def test_a_table_that_lies_elsewhere_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    folder = put(tmp_path / "data")
    (folder / "table.csv").rename(tmp_path / "outside.csv")
    (folder / "table.csv").symlink_to(tmp_path / "outside.csv")
    assert "leaves the data folder" in refusal(folder)


@given(st.one_of(st.binary(), st.text().map(lambda text: f"who,hour,pulse,ill\n{text}".encode())))
def test_any_bytes_for_a_table_give_rows_or_a_refusal(data: bytes) -> None:
    try:
        rows = csv_rows.parse(data, "table.csv")
    except InvalidData as refused:
        assert "table.csv" in str(refused)
    else:
        assert len({len(row.cells) for row in rows}) == 1


def of_each(reading: Reading) -> dict[str, tuple[float, ...]]:
    rows = map(tuple, reading.cohort.facts.tolist())
    return dict(zip(reading.patient_ids, rows, strict=True))


def test_without_identifiers_a_row_that_comes_renames_nobody(tmp_path: Path) -> None:
    meaning = TABLE.replace('patient = "who"', "").replace('["note"]', '["note", "who"]')
    before = read("table", put(tmp_path, meaning))
    more = ROWS.replace("p1,a,25", "p0,a,30,0,f,0,x\np1,a,25")
    after = read("table", put(tmp_path, meaning, more))
    assert len(before.patient_ids) == 4 and of_each(before).items() < of_each(after).items()
    assert "Each row counts as one patient" in before.remarks[0]
    twice = read("table", put(tmp_path, meaning, ROWS + ROWS.splitlines()[1] + "\n"))
    assert len(set(twice.patient_ids) - set(before.patient_ids)) == 1, "alike, and two patients"


def test_a_file_for_each_site_without_a_header_is_read(tmp_path: Path) -> None:
    meaning = TABLE.replace('file = "table.csv"', 'header = ["who","age","dose","sex","ill"]')
    meaning = meaning.replace('site = "where"\n', "").replace('ignore = ["note"]\n', "")
    put(tmp_path, meaning + '\n[files]\neast = "e.csv"\nwest = "w.csv"\n')
    (tmp_path / "table.csv").unlink()
    (tmp_path / "e.csv").write_text("p1,10,0,f,0\n")
    (tmp_path / "w.csv").write_text("p2,20,0,m,1\np3,30,0,f,0\n")
    assert read("table", tmp_path).site == ("east", "west", "west")


def test_a_series_is_hours_by_vital_signs(tmp_path: Path) -> None:
    reading = read("table", put(tmp_path, SERIES, HOURS))
    assert reading.spec.kind == "series" and reading.spec.channels == ("pulse, pulse?",)
    assert (reading.spec.height_px, reading.spec.width_px) == (3, 2)
    images = reading.cohort.images
    assert images.dtype == np.float16 and images.shape == (2, 1, 3, 2)
    assert images[0, 0].tolist() == [[0, 1], [0, 1], [-0.5, 0]], "no row and no value are alike"
    assert images[1, 0].tolist() == [[0.5, 0], [0, 1], [0, 1]]
    assert reading.cohort.labels.tolist() == [0, 1] and reading.cohort.facts.shape == (2, 0)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("p1,2,", "p1,3,", "row 3: hour must be a whole number from 0 to 2, got 3"),
        ("p1,2,", "p1,0.5,", "whole number"),
        ("p1,2,", "p1,-1,", "whole number"),
        ("p1,2,", "p1,0,", "two for hour 0"),
        ("p1,2,50", "p1,2,", "at least one measurement"),
        ("p1,2,50,no", "p1,2,50,yes", "same in all rows"),
        ("p1,0,,no", "p1,0,,no\np3,0,150,yes", "same picture or series"),
    ],
)
def test_a_broken_series_is_refused(old: str, new: str, says: str, tmp_path: Path) -> None:
    assert says in refusal(put(tmp_path, SERIES, HOURS.replace(old, new)))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("lowest = 0", "lowest = 100", "lowest must be below highest"),
        ("lowest = 0", "lowest = nan", "finite number"),
        ("usual = [0, 40]", "usual = [0, 400]", "usual must be a range within -10 to 90"),
        ("usual = [0, 40]", "usual = [0, 0.05]", "at least a 1000th"),
        ('values = ["f", "m"]', 'values = ["1", "1.0"]', "different words"),
        ('values = ["f", "m"]', 'values = ["a?b", "c"]', "without ','"),
        ('name = "sex"', 'name = "age"', "named twice"),
        ('name = "sex"', 'name = "sex?"', "letter or digit and then"),
        ('positive = "yes"', 'positive = "maybe"', "one of the classes"),
        ('classes = ["no", "yes"]', 'classes = ["no", "yes", "so"]', "two classes"),
        ('file = "table.csv"', 'file = "../table.csv"', "without a path"),
        ('file = "table.csv"', "", "either file or files"),
        ('kind = "table"', 'kind = "list"', "kind"),
        ('kind = "table"', 'kind = "series"', "hour"),
        ('kind = "table"', 'kind = "facts"', "must have a label"),
        ('unit = "mg"', 'unit = "mg"\ncolour = "red"', "colour"),
        ('outside = "clip"', 'outside = "drop"', "outside"),
        ("[label]", "[label", "TOML"),
    ],
)
def test_a_broken_schema_is_refused_with_its_field(
    old: str, new: str, says: str, tmp_path: Path
) -> None:
    assert old in TABLE
    text = refusal(put(tmp_path, TABLE.replace(old, new, 1)))
    assert "schema.toml" in text and says in text


def test_a_folder_without_a_schema_is_refused(tmp_path: Path) -> None:
    (put(tmp_path) / "schema.toml").unlink()
    assert "'schema.toml' must lie in the folder" in refusal(tmp_path)


@pytest.mark.parametrize("name", ["heart_disease", "symptoms", "vitals"])
def test_schemas_that_come_with_consilium_make_a_public_shape(name: str) -> None:
    found = table_schema.packaged(name)
    spec = tables.spec(found, stand_in=True)
    assert spec.positive in spec.classes and found.title
    assert spec.kind == found.kind


def test_facts_alone_are_no_table(tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match="must have a label"):
        tables.read(tmp_path, table_schema.packaged("ham10000_facts"))


numbers = st.builds(
    lambda low, size, gone: Number(
        name="x", unit="u", lowest=low, highest=low + size, missing=("?",) if gone else ()
    ),
    st.floats(-1e4, 1e4),
    st.floats(1e-2, 1e4),
    st.booleans(),
)
categories = st.builds(
    lambda count, gone: Category(
        name="c", values=tuple(f"w{i}" for i in range(count)), missing=("?",) if gone else ()
    ),
    st.integers(2, 6),
    st.booleans(),
)


@given(number=numbers, category=categories, share=st.floats(0, 1), word=st.integers(0, 5))
def test_coded_rows_are_small_and_as_long_as_their_names(
    number: Number, category: Category, share: float, word: int
) -> None:
    value = number.lowest + share * (number.highest - number.lowest)
    cells = {
        "x": repr(min(max(value, number.lowest), number.highest)),
        "c": category.values[word % len(category.values)],
    }
    columns = (number, category)
    row = feature_coding.coded([csv_rows.Row(cells=cells, where="row 2")], columns)
    assert row.shape == (1, len(feature_coding.names(columns)))
    assert np.isfinite(row).all() and np.abs(row).max() <= 1 + 1e-5
    assert row[0, -len(category.values) - bool(category.missing) :].sum() == 1


@pytest.fixture(scope="module")
def heart() -> Reading:
    if not REAL.is_dir():
        pytest.skip("needs UCI heart disease in ../shared/data beside the repository")
    return read("heart", REAL)


def test_the_four_real_hospitals_are_one_reading(heart: Reading) -> None:
    sites, counts = np.unique(heart.site, return_counts=True)
    assert dict(zip(sites.tolist(), counts.tolist(), strict=True)) == {
        "cleveland": 303,
        "hungarian": 294,
        "switzerland": 123,
        "va": 200,
    }
    assert heart.cohort.facts.shape == (920, len(heart.spec.facts)) == (920, 38)
    ill = [int(heart.cohort.labels[np.array(heart.site) == site].sum()) for site in sites]
    assert ill == [139, 106, 115, 149], "num above 0, as heart-disease.names counts them"
    assert not heart.spec.stand_in


def test_a_cholesterol_of_0_is_missing_at_every_swiss_patient(heart: Reading) -> None:
    gone = heart.cohort.facts[:, heart.spec.facts.index("chol?")]
    value = heart.cohort.facts[:, heart.spec.facts.index("chol")]
    at = {site: np.array(heart.site) == site for site in set(heart.site)}
    counts = {site: int(gone[mask].sum()) for site, mask in at.items()}
    assert counts == {"cleveland": 0, "hungarian": 23, "switzerland": 123, "va": 56}
    assert not value[gone > 0].any()


@pytest.mark.parametrize(
    "text", ["a = " + "[" * 5000, "a." * 5000 + "a = 1", "a = " + "9" * 5000, "a." * 150 + "a = 1"]
)
def test_a_schema_that_is_deep_or_endless_is_refused_at_once(text: str) -> None:
    with pytest.raises(InvalidData, match=r"must be TOML|In 's'"):
        table_schema.parse(text.encode(), name="s")
