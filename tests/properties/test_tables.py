"""A drawn table with one thing changed is read right, or refused by name: never read in part."""

import csv
import io
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from datasites.data.folders.reading import Reading
from datasites.data.readers import read
from syft_code.errors import InvalidData

HEADER = ["who", "weight", "sex", "where", "ill"]
SCHEMA = """title = "A drawn table"
kind = "table"
file = "t.csv"
patient = "who"
site = "where"
{form}
[label]
column = "ill"
classes = ["no", "yes"]
leave_out = ["unsure"]
[[column]]
name = "weight"
kind = "number"
unit = "kg"
lowest = 0
highest = 500
missing = ["NA"]
[[column]]
name = "sex"
kind = "category"
values = ["f", "m"]
words = {{ "Frau, 女" = "f" }}
"""
WORDS = {"f": 0, "Frau, 女": 0, "m": 1}


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """A table, and how it is written."""

    rows: list[list[str]]
    header: list[str]
    delimiter: str = ","
    decimal: str = "."
    encoding: str = "utf-8"
    end: str = "\n"
    quoting: int = csv.QUOTE_MINIMAL
    before: str = ""
    after: str = ""

    def data(self) -> bytes:
        """The file."""
        text = io.StringIO()
        writer = csv.writer(
            text, delimiter=self.delimiter, quoting=self.quoting, lineterminator=self.end
        )  # type: ignore[arg-type]
        rows = [[*row] for row in self.rows]
        for row in rows:
            at = [name.strip() for name in self.header].index("weight")
            row[at : at + 1] = [cell.replace(".", self.decimal) for cell in row[at : at + 1]]
        writer.writerows([self.header, *rows])
        return (self.before + text.getvalue() + self.after).encode(self.encoding)


numbers = st.one_of(
    st.floats(0, 500, allow_subnormal=False).map(lambda value: f"{value:.4f}"),
    st.integers(0, 500).map(str),
    st.sampled_from(["7.50", " 80 ", "+9", "1e2", "NA"]),
)
rows = st.lists(
    st.tuples(numbers, st.sampled_from([*WORDS]), st.sampled_from(["Köln", "Łódź"]), st.sampled_from(["no", "yes"])),
    min_size=1,
    max_size=8,
).map(lambda drawn: [[f"P-{at}x", *row] for at, row in enumerate(drawn)])  # fmt: skip
forms = st.tuples(
    st.sampled_from([",", ";", "\t", "|"]),
    st.sampled_from([".", ","]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "gb18030"]),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
).filter(lambda form: form[0] != form[1])

Change = Callable[[Sheet], Sheet]


def cells(column: int, change: Callable[[str], str]) -> Change:
    """The same change in a column of the last row."""

    def changed(sheet: Sheet) -> Sheet:
        last = [*sheet.rows[-1]]
        last[column] = change(last[column])
        return replace(sheet, rows=[*sheet.rows[:-1], last])

    return changed


READ: dict[str, Change] = {
    "nothing": lambda sheet: sheet,
    "rows of nothing": lambda s: replace(s, after=s.end.join([s.delimiter * 4, s.delimiter * 4])),
    "blank lines": lambda s: replace(s, after=s.end * 3),
    "space in the header": lambda s: replace(s, header=[f" {name}" for name in s.header]),
    "columns in another order": lambda s: replace(
        s, header=s.header[1:] + s.header[:1], rows=[row[1:] + row[:1] for row in s.rows]
    ),
    "rows in another order": lambda s: replace(s, rows=s.rows[::-1]),
    "a row of another class": lambda s: replace(
        s, rows=[*s.rows, ["Q", "5", "f", "Köln", "unsure"]]
    ),
    "sep line": lambda s: replace(s, before=f"sep={s.delimiter}{s.end}"),
    "space around a site": cells(3, lambda site: f" {site}\u00a0"),
    "decomposed site": cells(3, lambda site: site.replace("ö", "o\u0308")),
}
REFUSED: dict[str, Change] = {
    "a cell more": lambda s: replace(s, rows=[*s.rows[:-1], [*s.rows[-1], ""]]),
    "a cell less": lambda s: replace(s, rows=[*s.rows[:-1], s.rows[-1][:-1]]),
    "a word for a number": cells(1, lambda _: "heavy"),
    "an underscore": cells(1, lambda _: "1_0"),
    "a unit": cells(1, lambda _: "61 kg"),
    "a bound": cells(1, lambda _: ">=60"),
    "past the limits": cells(1, lambda _: "501"),
    "an unknown word": cells(2, lambda _: "d"),
    "another class": cells(4, lambda _: "maybe"),
    "no class": cells(4, lambda _: ""),
    "nobody": cells(0, lambda _: "NA"),
    "a rounded identifier": cells(0, lambda _: "1.2E+11"),
    "no site": cells(3, lambda _: " "),
    "a site in capitals": lambda s: replace(
        s, rows=[*s.rows, ["Q", "5", "f", s.rows[0][3].upper(), "no"]]
    ),
    "an identifier in capitals": lambda s: replace(s, rows=[*s.rows, ["p-0X", *s.rows[0][1:]]]),
    "a column more": lambda s: replace(
        s, header=[*s.header, "pay"], rows=[[*row, "1"] for row in s.rows]
    ),
    "a column less": lambda s: replace(s, header=s.header[:-1], rows=[row[:-1] for row in s.rows]),
    "a column twice": lambda s: replace(
        s, header=[*s.header, "sex"], rows=[[*row, "f"] for row in s.rows]
    ),
    "another delimiter": lambda s: replace(s, delimiter=";" if s.delimiter != ";" else "\t"),
    "an open quotation mark": lambda s: replace(s, after='"Q'),
    "nothing but a header": lambda s: replace(s, rows=[]),
}  # fmt: skip


def read_back(sheet: Sheet, form: str) -> Reading:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "t.csv").write_bytes(sheet.data())
        (Path(folder) / "schema.toml").write_text(SCHEMA.format(form=form), encoding="utf-8")
        return read("table", Path(folder))


def drawn(table: list[list[str]], form: tuple[str, str, str, str, int]) -> tuple[Sheet, str]:
    delimiter, decimal, encoding, end, quoting = form
    sheet = Sheet(
        rows=table, header=HEADER, delimiter=delimiter, decimal=decimal, encoding=encoding, end=end, quoting=quoting
    )  # fmt: skip
    written = delimiter.replace("\t", "\\t")
    return sheet, f'delimiter = "{written}"\ndecimal = "{decimal}"\nencoding = "{encoding}"\n'


@settings(max_examples=40)
@given(table=rows, form=forms, change=st.sampled_from([*READ]))
def test_what_a_schema_describes_is_read_whole(
    table: list[list[str]], form: tuple[str, str, str, str, int], change: str
) -> None:
    sheet, written = drawn(table, form)
    reading = read_back(READ[change](sheet), written)
    assert reading.patient_ids == tuple(row[0] for row in table)
    assert reading.site == tuple(row[3] for row in table)
    assert reading.cohort.labels.tolist() == [int(row[4] == "yes") for row in table]
    for row, facts in zip(table, reading.cohort.facts.tolist(), strict=True):
        weight = 0.0 if row[1] == "NA" else float(row[1]) / 250 - 1
        assert abs(facts[0] - weight) < 1e-6 and facts[1] == (row[1] == "NA")
        assert facts[2 + WORDS[row[2]]] == 1 and sum(facts[2:]) == 1


@settings(max_examples=50)
@given(table=rows, form=forms, change=st.sampled_from([*REFUSED]))
def test_what_it_does_not_describe_is_refused_by_name(
    table: list[list[str]], form: tuple[str, str, str, str, int], change: str
) -> None:
    sheet, written = drawn(table, form)
    try:
        reading = read_back(REFUSED[change](sheet), written)
    except InvalidData as refused:
        text = str(refused)
        assert "'t.csv'" in text and text.isprintable() and text.endswith(".")
    else:
        raise AssertionError(f"{change}: {len(reading.patient_ids)} patients were read")
