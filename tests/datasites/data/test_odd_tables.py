"""Tables as hospitals really have them: read right, or refused with the true reason and the way out."""

import gzip
import os
from pathlib import Path

import pytest

from datasites.data import cohort_remarks
from datasites.data.readers import read
from datasites.data.readers.csv_files import cell_numbers, csv_table
from datasites.data.readers.csv_files.csv_text import CsvFormat
from datasites.data.readers.tabular import table_schema
from syft_code.errors import InvalidData

ODD = Path(__file__).resolve().parents[3] / ".." / "shared" / "data" / "odd_files"
HEART = ODD.parent / "heart_disease_uci"

TOP = 'title = "T"\nkind = "table"\nfile = "t.csv"\npatient = "pid"\n'
SITED = TOP + 'site = "site"\n'
LABEL = '[label]\ncolumn = "y"\nclasses = ["no", "yes"]\n'
AGE = '[[column]]\nname = "age"\nkind = "number"\nunit = "years"\nlowest = 0\nhighest = 120\n'
SEX = '[[column]]\nname = "sex"\nkind = "category"\nvalues = ["f", "m"]\n'
ROWS = "pid,age,sex,y\nP1,50,f,no\nP2,60,m,yes\nP3,70,f,no\n"
SITES = "site,pid,age,sex,y\nBerlin,P1,50,f,no\nUlm,P2,60,m,yes\n Berlin ,P3,70,f,no\n"
GERMAN = "pid;age;sex;y\nP1;50,5;f;no\nP2;60,25;m;yes\nP3;70;f;no\n"


def put(
    folder: Path, rows: str | bytes, *, top: str = TOP, label: str = LABEL, columns: str = AGE + SEX
) -> Path:
    (folder / "schema.toml").write_text(top + label + columns, encoding="utf-8")
    (folder / "t.csv").write_bytes(rows if isinstance(rows, bytes) else rows.encode())
    return folder


def said(folder: Path) -> str:
    """The refusal, which must be one clear sentence or a few."""
    with pytest.raises(InvalidData) as refused:
        read("table", folder)
    text = str(refused.value)
    assert text.endswith(".") and text.isprintable() and len(text) < 700
    return text


FOREIGN = {
    "workbook": (b"PK\x03\x04" + bytes(60), "zip archive, as Excel's .xlsx"),
    "old workbook": (b"\xd0\xcf\x11\xe0" + bytes(60), "old Excel"),
    "gzip": (gzip.compress(ROWS.encode()), "compressed with gzip"),
    "page": (b"<!DOCTYPE html><html>", "HTML"),
    "json": (b' [{"pid": 1}]', "JSON"),
    "parquet": (b"PAR1 and so on PAR1", "Parquet"),
    "LFS": (b"version https://git-lfs.github.com/spec/v1\noid", "git LFS"),
    "UTF-16": (ROWS.encode("utf-16"), 'encoding = "utf-16"'),
    "UTF-16 without a mark": (ROWS.encode("utf-16-le"), 'encoding = "utf-16-le"'),
    "UTF-32": (ROWS.encode("utf-32"), "UTF-32"),
    "Latin": (ROWS.replace("P1", "Mü").encode("latin-1"), "row 2 has the byte 0xFC"),
    "NUL": (ROWS.replace("P1", "P\0").encode(), "row 2: must be text, and has a NUL byte"),
    "blanks": (b" \n\n", "is empty"),
    "empty rows alone": (b"pid,age,sex,y\n,,,\n,,,\n", "each of its 2 is empty"),
}


@pytest.mark.parametrize("what", FOREIGN)
def test_a_file_of_another_kind_is_called_what_it_is(what: str, tmp_path: Path) -> None:
    data, says = FOREIGN[what]
    text = said(put(tmp_path, data))
    assert "'t.csv'" in text and says in text


DELIMITED = {
    "semicolons": (ROWS.replace(",", ";"), TOP, 'delimiter = ";"'),
    "tabs": (ROWS.replace(",", "\t"), TOP, r'delimiter = "\t"'),
    "German": (GERMAN, TOP, 'delimiter = ";" and decimal = ","'),
    "commas, not semicolons": (ROWS, TOP + 'delimiter = ";"\n', 'delimiter = ","'),
    "decimal comma": (GERMAN, TOP + 'delimiter = ";"\n', 'decimal = ","'),
    "decimal point": (ROWS.replace("50", "50.5"), TOP + 'decimal = ","\ndelimiter = "|"\n', "commas between"),
    "another sep": ("sep=;\n" + ROWS, TOP, 'delimiter = ";"'),
    "torn row": (ROWS + "P4,41,5,m,yes\n", TOP, "must stand in quotation marks"),
    "cut file": (ROWS + "P4,4", TOP, "row 5: must have 4 fields, it has 2"),
    "column without a name": ("," + ROWS.replace("\n", "\n1,").rstrip("1,"), TOP, "column 1 has cells and no name"),
    "other capitals": (ROWS.replace("age", "Age"), TOP, "(the schema has 'age')"),
}  # fmt: skip


@pytest.mark.parametrize("what", DELIMITED)
def test_another_delimiter_is_said_to_be_the_fault(what: str, tmp_path: Path) -> None:
    rows, top, says = DELIMITED[what]
    assert says in said(put(tmp_path, rows, top=top))


CELLS = {
    "1_0": "underscore",
    "1,5": 'decimal = ","',
    "1,234.5": "between thousands",
    "1 234": "between thousands",
    "1'234": "between thousands",
    "61 y": "has 'y' after the number",
    "45%": 'suffix = "%"',
    ">=60": "bound",
    "<0.5": "bound",
    "50-60": "range",
    "2020-03-01": "date",
    "\u221261": "dash for its minus",
    "٦١": "digits of another script",
    "0x1F": "hexadecimal",
    "nan": "not finite",
    "Infinity": "not finite",
    "1e999": "finite",
    "": 'missing = [""]',
    "old": "is a word",
}


@pytest.mark.parametrize("cell", CELLS)
def test_a_cell_that_is_no_number_says_why(cell: str, tmp_path: Path) -> None:
    text = said(put(tmp_path, ROWS.replace("60", f'"{cell}"')))
    assert "'t.csv', row 3: age must be a finite number" in text and CELLS[cell] in text


def test_no_number_is_one_to_python_alone() -> None:
    for text in ("1_0", "٦١", "1e5_0", "infinity", "0x1"):
        assert cell_numbers.plain(text) == text
    import pyarrow as pa

    for text in ("1", "+1.5", ".5", "5.", "1e3", " 7 "):
        assert cell_numbers.parse(pa.array([text]))[0] == float(text)


READ = {
    "byte-order mark": (b"\xef\xbb\xbf" + ROWS.encode(), ""),
    "sep line": (b"sep=,\r\n" + ROWS.replace("\n", "\r\n").encode(), ""),
    "Windows": (ROWS.replace("P1", "Mü").encode("cp1252"), 'encoding = "cp1252"\n'),
    "UTF-16": (ROWS.encode("utf-16"), 'encoding = "utf-16"\n'),
    "semicolons": (ROWS.replace(",", ";").encode(), 'delimiter = ";"\n'),
    "German": (GERMAN.encode(), 'delimiter = ";"\ndecimal = ","\n'),
    "tabs": (ROWS.replace(",", "\t").encode(), 'delimiter = "\\t"\n'),
    "title lines": (b"Export of\n\nMay\n" + ROWS.encode(), "skip_lines = 3\n"),
    "old Macintosh": (ROWS.replace("\n", "\r").encode(), ""),
    "quotes": ('"' + ROWS.strip().replace(",", '","').replace("\n", '"\n"') + '"', ""),
    "space around": (ROWS.replace(",", " , "), ""),
    "blank lines": (ROWS.replace("\n", "\n\n"), ""),
    "pandas' index": ("," + ROWS.replace("\n", "\n1,")[:-2], 'ignore = [""]\n'),
}


@pytest.mark.parametrize("what", READ)
def test_what_the_schema_describes_is_read(what: str, tmp_path: Path) -> None:
    rows, more = READ[what]
    reading = read("table", put(tmp_path, rows, top=TOP + more))
    assert len(reading.patient_ids) == 3 and sorted(reading.cohort.labels.tolist()) == [0, 0, 1]
    assert reading.spec.facts == ("age", "sex=f", "sex=m")
    assert [bool(row[1]) for row in reading.cohort.facts.tolist()].count(True) == 2


def test_text_in_utf_8_is_not_read_as_windows(tmp_path: Path) -> None:
    put(tmp_path, ROWS.replace("P1", "Mü"), top=TOP + 'encoding = "cp1252"\n')
    assert "is text in UTF-8" in said(tmp_path)


def test_empty_rows_and_columns_of_a_spreadsheet_are_counted(tmp_path: Path) -> None:
    rows = ROWS.replace("\n", ",,\n") + ",,,,,\n , ,,,,\n"
    reading = read("table", put(tmp_path, rows))
    assert reading.patient_ids == ("P1", "P2", "P3")
    assert reading.remarks[0].startswith("2 rows were left out")
    assert reading.remarks[1].startswith("2 columns without a name were left out")


def test_a_row_is_named_by_its_line_whatever_stands_before_it(tmp_path: Path) -> None:
    rows = 'pid,age,sex,y\n"P\n1",50,f,no\n\nP2,60,m,yes\nP3,old,f,no\n'
    assert "'t.csv', row 6: age" in said(put(tmp_path, rows))
    assert "'t.csv', row 8: age" in said(
        put(tmp_path, "a\nb\n" + rows, top=TOP + "skip_lines = 2\n")
    )


def test_a_unit_in_the_cells_is_read_by_the_schemas_word(tmp_path: Path) -> None:
    rows = ROWS.replace("50", "50 y").replace("60", "60y")
    reading = read("table", put(tmp_path, rows, columns=AGE + 'suffix = "y"\n' + SEX))
    assert reading.cohort.facts[:, 0].tolist() == pytest.approx([-1 / 6, 0, 1 / 6])


def test_columns_and_words_of_the_file_are_mapped_to_ours(tmp_path: Path) -> None:
    rows = ROWS.replace("age", '"Alter, Jahre?"').replace("sex", "Geschlecht")
    rows = rows.replace(",f,", ",weiblich,").replace(",m,", ",W?,")
    columns = AGE + 'source = "Alter, Jahre?"\n' + SEX
    columns += 'source = "Geschlecht"\nwords = { weiblich = "f", "W?" = "m" }\n'
    reading = read("table", put(tmp_path, rows, columns=columns))
    assert reading.spec.facts == ("age", "sex=f", "sex=m")
    assert reading.cohort.facts[:, 1].tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    "name", ["age (years)", "Größe", "年齢", "возраст", "उम्र", "2nd visit", "HbA1c %"]
)
def test_names_and_words_are_of_any_alphabet(name: str, tmp_path: Path) -> None:
    columns = AGE.replace('"age"', f'"{name}"') + SEX.replace('["f", "m"]', '["<60", ">=60"]')
    rows = ROWS.replace("age", name).replace(",f,", ",<60,").replace(",m,", ",>=60,")
    reading = read("table", put(tmp_path, rows, columns=columns))
    assert reading.spec.facts == (name, "sex=<60", "sex=>=60")


@pytest.mark.parametrize("name", ["a,b", "a=b", "a?", "a" * 41, " a", "a\u202e", "-a", "a[red]"])
def test_a_name_that_may_not_be_public_has_a_way_out(name: str, tmp_path: Path) -> None:
    put(tmp_path, ROWS, columns=AGE.replace('"age"', f'"{name}"') + SEX)
    assert "the one in the file as source" in said(tmp_path)


def test_rows_of_other_classes_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = ROWS + "P4,33,f,unknown\nP5,?,f,unknown\nP6,44,m,\nP1,51,f,\n"
    assert "'t.csv', row 5: y must be one of no, yes, got 'unknown'" in said(put(tmp_path, rows))
    label = LABEL + 'leave_out = ["unknown"]\nmissing = [""]\n'
    reading = read("table", put(tmp_path, rows, label=label))
    assert reading.patient_ids == ("P1", "P2", "P3")
    assert reading.cohort.labels.tolist() == [0, 0, 1, 0], "P1's class is what P1's other row says"
    assert reading.remarks[0].startswith(
        "2 rows were left out: y has a word there that the schema says"
    )
    assert reading.remarks[1].startswith(
        "1 row was left out: y has a word there that the schema names"
    )
    nobody = "pid,age,sex,y\nP4,33,f,unknown\n"
    assert "each was left out" in said(put(tmp_path, nobody, label=label))


def test_a_site_is_not_what_a_spelling_says(tmp_path: Path) -> None:
    reading = read("table", put(tmp_path, SITES, top=SITED))
    assert reading.site == ("Berlin", "Ulm", "Berlin")
    lower = SITES.replace(" Berlin ", "berlin")
    assert "'berlin' here and 'Berlin' before" in said(put(tmp_path, lower, top=SITED))
    top = SITED + 'sites = { berlin = "Berlin" }\n'
    assert read("table", put(tmp_path, lower, top=top)).site == ("Berlin", "Ulm", "Berlin")
    assert "site must name the site" in said(put(tmp_path, SITES.replace("Ulm", " "), top=SITED))
    private = SITES.replace("Ulm", "Ulm\ue000")
    assert "printable" in said(put(tmp_path, private, top=SITED))


@pytest.mark.parametrize("what", ["p1", "P01"])
def test_the_owner_is_asked_who_is_one_person(what: str, tmp_path: Path) -> None:
    rows = ROWS.replace("P3", what)
    difference = "case" if what == "p1" else "leading_zeros"
    assert f'same = ["{difference}"]' in said(put(tmp_path, rows))
    for word, count in (("same", 2), ("different", 3)):
        top = TOP + f'persons = {{ {word} = ["{difference}"] }}\n'
        assert len(read("table", put(tmp_path, rows, top=top)).patient_ids) == count


@pytest.mark.parametrize("name", [" ", "NA", "#N/A", "1.23457E+11", "M\ufffdller", "x" * 201])
def test_a_cell_that_names_nobody_is_no_patient(name: str, tmp_path: Path) -> None:
    assert "'t.csv', row 2: pid: must name a person" in said(
        put(tmp_path, ROWS.replace("P1", name))
    )


def test_a_pattern_names_the_person_in_an_identifier(tmp_path: Path) -> None:
    top = TOP + "persons = { pattern = '(?P<person>P\\d)-v\\d' }\n"
    rows = ROWS.replace("P1", "P1-v1").replace("P3", "P1-v2").replace("P2", "P2-v1")
    assert read("table", put(tmp_path, rows, top=top)).patient_ids == ("P1", "P2")
    assert "must match the pattern" in said(put(tmp_path, ROWS, top=top))


BESIDE = {
    "u.csv": "the schema does not name",
    "T.CSV": "the schema does not name",
    "t.xlsx": "workbook",
    "t.csv.gz": "unpacked",
    "more/t.csv": "the schema does not name",
    "notes.docx": "is no table",
}


@pytest.mark.parametrize("name", BESIDE)
def test_no_file_of_the_folder_goes_unseen(name: str, tmp_path: Path) -> None:
    put(tmp_path, ROWS)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("x")
    text = said(tmp_path)
    assert f"'{name}' would be left out" in text and BESIDE[name] in text
    pattern = "more/*" if "/" in name else name
    put(tmp_path, ROWS, top=TOP + f'leave_alone = ["{pattern}"]\n')
    assert len(read("table", tmp_path).patient_ids) == 3


def test_a_table_under_another_name_is_named(tmp_path: Path) -> None:
    put(tmp_path, ROWS)
    (tmp_path / "t.csv").rename(tmp_path / "T.csv")
    assert "'t.csv' must lie in the folder, and does not; there is 'T.csv'" in said(tmp_path)


def test_a_pipe_and_a_link_in_a_circle_are_refused(tmp_path: Path) -> None:
    put(tmp_path, ROWS)
    (tmp_path / "t.csv").unlink()
    os.mkfifo(tmp_path / "t.csv")
    assert "regular file" in said(tmp_path)
    (tmp_path / "t.csv").unlink()
    (tmp_path / "t.csv").symlink_to("t.csv")
    said(tmp_path)


def test_columns_that_teach_nothing_are_remarked_on_once(tmp_path: Path) -> None:
    rows = "pid,age,sex,y\nP1,50,?,no\nP2,50,?,yes\nP3,50.0,?,no\n"
    columns = AGE + SEX + 'missing = ["?"]\n'
    reading = read("table", put(tmp_path, rows, columns=columns))
    remarks = [*reading.remarks, *cohort_remarks.remarks(reading.cohort, reading.spec)]
    for what in ("sex", "age", "3 of 3 rows"):
        assert sum(what in remark for remark in remarks) == 1, what


def test_how_many_persons_the_owners_word_makes_is_remarked_on(tmp_path: Path) -> None:
    rows = "pid,age,sex,y\nP1_1,50,f,no\nP1_2,51,f,no\nP2_1,52,m,yes\n"
    folder = put(tmp_path, rows, columns=AGE + SEX)
    text = (folder / "schema.toml").read_text()
    (folder / "schema.toml").write_text('persons = { same = ["scan_number"] }\n' + text)
    assert "3 identifiers are 2 persons by [persons]." in read("table", folder).remarks


TORN = ['a,"b"c\n1,2\n', 'a,b\n"1,2\n', 'a,b\n1,2"\n', 'a,b\n""1"",2\n', 'a,b\n1, "2"\n']


@pytest.mark.parametrize("text", TORN)
def test_a_quotation_mark_out_of_place_is_named_by_its_row(text: str) -> None:
    with pytest.raises(InvalidData, match=r"'t', row [12]: .*quotation mark"):
        csv_table.parse(text.encode(), "t", CsvFormat())


@pytest.mark.parametrize("text", ['a,b\n"x ""y""",2\n', 'a,b\n"","x\n"\n', '"a","b"\r\n"1","2"'])
def test_quotation_marks_in_their_places_are_read(text: str) -> None:
    table = csv_table.parse(text.encode(), "t", CsvFormat())
    assert list(table.columns) == ["a", "b"] and table.rows == 1


@pytest.mark.parametrize("cell", [b"x" * 2**21, b'"' + b"x\n" * 2**20 + b'"'])
def test_a_row_longer_than_arrow_waits_for_is_refused(cell: bytes) -> None:
    with pytest.raises(InvalidData, match="'t', row 3: must have at most 1,048,576 bytes"):
        csv_table.parse(b"a,b\n1,2\n" + cell + b",1\n", "t", CsvFormat())


def test_a_cell_as_long_as_a_row_may_be_is_read() -> None:
    data = b"a,b\n" + (b"x" * 2**19 + b",1\n") * 40
    assert csv_table.parse(data, "t", CsvFormat()).rows == 40


SHARED = {
    "table_column_with_unit": 4, "table_excel_empty_rows": 4, "table_excel_sep_line": 4, "table_five_sites": 100,
    "table_german_excel": 'Say delimiter = ";" and decimal = "," in the schema',
    "table_id_blank": "row 2: pid: must name a person", "table_id_case": "differ by capital letters alone",
    "table_id_excel_exponent": "a spreadsheet has rounded", "table_id_leading_zeros": "differ by leading zeros alone",
    "table_id_na": "stands for a missing value", "table_id_unicode": 3, "table_one_class": 4, "table_one_patient": 1,
    "table_semicolon": 'Say delimiter = ";" in the schema',
    "table_site_spelling": "'mayo' here and 'Mayo' before", "table_third_label": "leave_out",
    "table_underscore_number": "underscore", "table_value_ge60": 4, "table_xlsx_renamed": "zip archive",
}  # fmt: skip


@pytest.mark.parametrize("name", SHARED)
def test_each_odd_table_is_read_right_or_refused_with_its_reason(name: str) -> None:
    if not ODD.is_dir():
        pytest.skip("needs the odd files in ../shared/data beside the repository")
    expected = SHARED[name]
    if isinstance(expected, int):
        assert len(read("table", ODD / name).patient_ids) == expected
    else:
        assert expected in said(ODD / name)


def test_the_archive_of_heart_disease_stands_by_as_published(tmp_path: Path) -> None:
    schema = table_schema.packaged("heart_disease")
    row = "63.0,1.0,1.0,145.0,233.0,1.0,2.0,150.0,0.0,2.3,3.0,0.0,6.0,{}\n"
    for at, name in enumerate(schema.files.values()):
        (tmp_path / name).write_text(row.format(at))
    for name in ("heart-disease.names", "Index", "WARNING", "cleve.mod", "cleveland.data", "bak"):
        (tmp_path / name).write_bytes(b"\xff\x00")
    (tmp_path / "costs").mkdir()
    (tmp_path / "costs" / "heart-disease.cost").touch()
    assert len(read("heart", tmp_path).patient_ids) == 4
    (tmp_path / "processed.mine.data").touch()
    with pytest.raises(InvalidData, match=r"'processed\.mine\.data' would be left out"):
        read("heart", tmp_path)


def test_the_schema_of_the_docs_is_one() -> None:
    text = (Path(__file__).parents[3] / "docs" / "data.md").read_text()
    schema = table_schema.parse(text.split("```toml\n")[1].split("```")[0].encode(), name="s")
    assert schema.persons.same == ("case",) and schema.column[0].column == "Kreatinin (mg/dl)"
