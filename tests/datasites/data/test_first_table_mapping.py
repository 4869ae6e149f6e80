"""A first schema for an owner's table: what can be guessed, no row of a patient, and nothing that is read as it is."""

from pathlib import Path

import pytest

from datasites.data.readers import read
from datasites.data.readers.tabular import table_schema
from datasites.data.readers.tabular.first_mapping import describe, first_mapping
from syft_code.errors import InvalidData

NAMES = [f"Müller-{at}" for at in range(24)]
LINES = [
    f"{name};{20 + at},5;{'weiblich' if at % 2 else 'männlich'};{'selten' if at == 7 else 'oft'};Befund {at};{at % 2}"
    for at, name in enumerate(NAMES)
]
TABLE = "\r\n".join(["Patienten-ID;age;Geschlecht, laut Akte;Husten;Text;krank", *LINES]) + "\r\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "Werte 2020.csv").write_bytes(TABLE.encode("cp1252"))
    return tmp_path


def test_how_the_file_is_written_is_guessed(folder: Path) -> None:
    text = first_mapping(folder)
    for line in (
        'delimiter = ";"',
        'decimal = ","',
        'encoding = "cp1252"',
        'file = "Werte 2020.csv"',
    ):
        assert f"\n{line}" in text
    assert '\npatient = "Patienten-ID"' in text
    assert 'source = "Geschlecht, laut Akte"' in text and '["männlich", "weiblich"]' in text


def test_nothing_of_a_patient_stands_in_it_but_common_words_of_categories(folder: Path) -> None:
    text = first_mapping(folder) + "\n".join(describe(folder))
    assert not [name for name in NAMES if name in text]
    assert "selten" not in text and "Befund 3" not in text, "a rare word, free text"
    assert "43,5" not in text and "43.5" not in text, "no limit is taken from patients"
    assert 'ignore = ["Husten", "Text"]' in text


def test_a_word_of_many_rows_of_one_person_is_not_written(tmp_path: Path) -> None:
    rows = [
        f"P{who}x,{'Hinterwald' if who == 0 else 'Stadt'},{10 + at}"
        for who in range(6)
        for at in range(9)
    ]
    (tmp_path / "t.csv").write_text("\n".join(["patient_id,village,hb", *rows]) + "\n")
    assert "Hinterwald" not in first_mapping(tmp_path)
    (tmp_path / "t.csv").write_text("\n".join(["row,village,hb", *rows]) + "\n")
    assert "Hinterwald" in first_mapping(tmp_path), "without persons each row is one"


def test_it_is_read_once_the_owner_has_named_label_and_limits(folder: Path) -> None:
    (folder / "schema.toml").write_text(first_mapping(folder), encoding="utf-8")
    with pytest.raises(InvalidData, match=r"In 'schema\.toml', label"):
        read("table", folder)
    text = first_mapping(folder).replace('# column = "..."', 'column = "krank"  #')
    text = text.replace('# classes = ["no", "yes"]', 'classes = ["0", "1"]  #')
    own = text.partition('[[column]]\nname = "krank"')[0]
    (folder / "schema.toml").write_text(own, encoding="utf-8")
    reading = read("table", folder)
    assert len(reading.patient_ids) == 24
    assert reading.spec.facts[0] == "age" and "männlich" in reading.spec.facts[1]
    assert "24 rows" in describe(folder)[0]


def test_what_was_found_is_said_in_sentences(folder: Path) -> None:
    said = describe(folder)
    assert said[0] == (
        "Found 'Werte 2020.csv': 24 rows and 6 columns, in CP1252 with semicolons between cells and a comma for decimals."
    )
    assert "Patienten-ID: may name the persons." in said and "age: numbers." in said
    assert all(line.endswith(".") for line in said)


@pytest.mark.parametrize("names", [[], ["a.csv", "b.csv"]])
def test_a_folder_without_one_table_is_refused(names: list[str], tmp_path: Path) -> None:
    for name in names:
        (tmp_path / name).write_text("a,b\n1,2\n")
    with pytest.raises(
        InvalidData, match=r"made from the one table of a folder.*(2: 'a\.csv'|none)"
    ):
        first_mapping(tmp_path)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"PK\x03\x04",
        b"\xff\xfe",
        "a,b\n1,2\n".encode("utf-32"),
        b"a,b\n",
        b"\x00" * 100,
        b"a\n1\n",
    ],
)
def test_any_bytes_give_a_schema_or_a_sentence(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(data)
    try:
        text = first_mapping(tmp_path)
    except InvalidData as refused:
        assert "'t.csv'" in str(refused)
    else:
        with pytest.raises(InvalidData):
            table_schema.parse(text.encode(), name="s")
