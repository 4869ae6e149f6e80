"""A first `schema.toml` for a folder with a table of one's own, and what was found there, in sentences.

Both are for the owner's eyes. A first schema holds no row of a patient and no limit taken from
patients; the words of a category stand in it, because a schema must list them.
"""

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from datasites.data.folders import safe_files
from datasites.data.folders.identifiers import MISSING, normal
from datasites.data.folders.reading import counted
from datasites.data.readers.csv_files import cell_numbers, csv_table, csv_text
from datasites.data.readers.csv_files.cell_numbers import plain
from datasites.data.readers.csv_files.csv_table import Table, Words
from datasites.data.readers.csv_files.csv_text import DELIMITER_NAMES, DELIMITERS, CsvFormat
from datasites.data.readers.tabular import table_files
from datasites.data.readers.tabular.schema_columns import (
    LONGEST_NAME,
    LONGEST_WORD,
    Number,
    is_name,
)
from datasites.data.readers.tabular.table_schema import SCHEMA_FILE, beside, packaged
from syft_code.errors import InvalidData, require

MOST_CATEGORIES = 20
"""A column with more words is no category at first."""
_SAMPLE_LINES = 50
FEW_ROWS = 5
"""Of so many rows nothing is guessed: digits may be a code as well as a measurement."""
LEAST_PERSONS = 5
"""A word of fewer is not written down: it may tell of one of them."""
_PATIENT = re.compile(
    r".*(patient|subject|person|participant).*|(case|pat|pt|record|study)?[ _.-]*(id|nr|no|number)|pid|mrn",
    re.IGNORECASE,
)
_SITE = re.compile(
    r"(site|hospital|clinic|centre|center|institution)[ _.-]*(id|name)?", re.IGNORECASE
)
_HEAD = """\
# A first schema, made from what lies in the folder. Edit it: each CHECK is yours to answer.
# It holds no row and no identifier of a patient, and no limit is taken from patients. The words of categories
# are those of the cells, if enough persons have them: all hospitals of a study see them, so none may tell of one
# person.
# What each field means: docs/data.md.
"""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class _Found:
    """One column: what it may be; `words` of a category and how many are `rare`, `gone` ones for what is missing."""

    name: str
    kind: str  # "patient", "site", "number", "category" or "text"
    words: tuple[str, ...]
    rare: int
    gone: tuple[str, ...]
    missing_rows: int


def first_mapping(root: Path) -> str:
    """The text of a first `schema.toml`; it is read only after its owner has named label and limits.

    Raises:
        InvalidData: if there is not exactly one table in the folder, or it can't be read as one.
    """
    path = _only_table(safe_files.open_folder(root))
    form, table = _read(root.resolve(), path)
    columns = _columns(table, form)
    patient = next((one.name for one in columns if one.kind == "patient"), "")
    site = next((one.name for one in columns if one.kind == "site"), "")
    lines = [
        _HEAD,
        'title = "CHECK: what the table is about"',
        'kind = "table"                  # CHECK: or "series", with hour = "..." and hours = 24',
        f"file = {_toml(path.name)}",
        *_form_lines(form),
        f"patient = {_toml(patient)}    # CHECK: the column that names a person"
        if patient
        else '# patient = "..."   CHECK: the column that names a person; without it one row is one patient',
        f'patient_unit = "{_unit(patient)}"',
        *([f"site = {_toml(site)}    # CHECK: the column of hospitals, for experiments that split by it"] if site else []),
        *_ignored(columns),
        *_persons(patient),
        "",
        "[label]",
        '# column = "..."          CHECK: the column that says the class; take its own [[column]] below out',
        '# classes = ["no", "yes"] CHECK: the classes, in the words of the cells',
        '# positive = "yes"',
        '# missing = [""]          rows that say no class: left out and counted',
        '# leave_out = ["unknown"] rows of other classes: left out and counted',
    ]  # fmt: skip
    for one in columns:
        if one.kind in ("number", "category"):
            lines += ["", *_column_lines(one)]
    return "\n".join(lines) + "\n"


def describe(root: Path) -> tuple[str, ...]:
    """What lies in a folder, in sentences; counts are exact, and for the owner alone.

    Raises:
        InvalidData: if there is no table, or one can't be read.
    """
    root = safe_files.open_folder(root)
    if (root / SCHEMA_FILE).exists():
        schema = beside(root)
        table = table_files.read(root, schema, own=True)
        form, what = schema.form, f"{SCHEMA_FILE} and what it names"
    else:
        path = _only_table(root)
        form, table = _read(root, path)
        what = f"'{safe_files.printable(path.name)}'"
    mark = "a comma" if form.decimal == "," else "a point"
    sentences = [
        f"Found {what}: {table.rows:,} rows and {len(table.columns):,} columns, in {form.encoding.upper()} with "
        f"{DELIMITER_NAMES[form.delimiter]} between cells and {mark} for decimals."
    ]
    if table.blank_rows:
        sentences.append(counted(table.blank_rows, "{} row is empty.", "{} rows are empty."))
    sentences += [_sentence(one, table.rows) for one in _columns(table, form)]
    return tuple(sentences)


def _only_table(root: Path) -> Path:
    found = table_files.tables_in(root)
    names = ", ".join(f"'{safe_files.printable(path.name)}'" for path in found[:3])
    require(
        len(found) == 1,
        "A first schema is made from the one table of a folder (.csv, .tsv, .tab, .txt, .data), and there "
        f"{f'are {len(found):,}: {names}' if found else 'is none'}. Put one table into a folder of its own.",
        error=InvalidData,
    )
    return found[0]


def _read(root: Path, path: Path) -> tuple[CsvFormat, Table]:
    """The table, by the form that its first lines show."""
    name = safe_files.shown(root, path)
    data = safe_files.read_bytes(root, path, limit_bytes=csv_table.MAX_TABLE_BYTES)
    csv_text.require_text(data, name)
    encoding = csv_text.guess_encoding(data)
    require(
        encoding != "utf-32",
        f"{name!r} is text in UTF-32. Save it again as CSV in UTF-8.",
        error=InvalidData,
    )
    form = CsvFormat(encoding="utf-8" if encoding == "utf-32" else encoding)
    start = data[: 2**16] if not encoding.startswith("utf-16") else data[: 2**17]
    sample = start.decode(encoding, "ignore")
    said = re.match(r"\ufeff?sep=(.)\r?\n", sample, re.IGNORECASE)
    lines = sample.splitlines()[1 if said else 0 :][:_SAMPLE_LINES]
    known = [one for one in DELIMITERS if said and one == said[1]]
    form = replace(form, delimiter=known[0] if known else _delimiter(lines))
    table = csv_table.parse(data, name, form)
    return replace(form, decimal=_decimal(table, form)), table


def _delimiter(lines: Sequence[str]) -> csv_text.Delimiter:
    """The delimiter that cuts most lines into as many cells as the first, and into the most."""

    def score(delimiter: str) -> tuple[int, int]:
        width = lines[0].count(delimiter) if lines else 0
        same = sum(line.count(delimiter) == width for line in lines)
        return (same if width else 0), width

    return max(DELIMITERS, key=score)


def _decimal(table: Table, form: CsvFormat) -> cell_numbers.Decimal:
    if form.delimiter == ",":
        return "."
    for words in table.columns.values():
        mark = cell_numbers.common_decimal(words.texts[:1000].to_pylist())
        if mark == ",":
            return ","
    return "."


def _columns(table: Table, form: CsvFormat) -> list[_Found]:
    found: list[_Found] = []
    persons = _persons_of_rows(table)
    for name, words in table.columns.items():
        if not name:
            continue
        kinds = {one.kind for one in found}
        found.append(_column(name, words, form, persons=persons, taken=kinds))
    return found


def _persons_of_rows(table: Table) -> NDArray[np.int64]:
    """A number of the person of each row, by the column that may name persons; else of the row."""
    name = next((name for name in table.columns if name and _PATIENT.fullmatch(name)), None)
    if name is None:
        return np.arange(table.rows)
    words = table.columns[name]
    _, number = np.unique([normal(text) for text in words.texts.to_pylist()], return_inverse=True)
    return np.asarray(number, dtype=np.int64)[words.codes]


def _persons_by_word(
    few: Sequence[str], words: Words, form: CsvFormat, persons: NDArray[np.int64]
) -> Counter[str]:
    """How many persons have each word of a column that has few."""
    if len(words.texts) > len(few):
        return Counter()
    spellings = [plain(text, form.decimal) for text in few]
    known = sorted(set(spellings))
    code = np.array([known.index(word) for word in spellings], dtype=np.int64)[words.codes]
    pairs = np.unique(np.stack([code, persons]), axis=1)
    counts = np.bincount(pairs[0], minlength=len(known)).tolist()
    return Counter(dict(zip(known, counts, strict=True)))


def _column(
    name: str, words: Words, form: CsvFormat, *, persons: NDArray[np.int64], taken: set[str]
) -> _Found:
    texts = words.texts
    trimmed = pc.utf8_trim_whitespace(texts)
    few = [text.strip() for text in texts[: 10 * MOST_CATEGORIES].to_pylist()]
    gone = tuple(dict.fromkeys(text for text in few if text.casefold() in MISSING))
    missing = pc.is_in(trimmed, pa.array(gone, pa.string())).to_numpy(zero_copy_only=False)
    value = cell_numbers.parse(texts, decimal=form.decimal)[~missing]
    having = _persons_by_word(few, words, form, persons)
    for word in gone:
        having.pop(plain(word, form.decimal), None)
    common = tuple(sorted(word for word, count in having.items() if count >= LEAST_PERSONS))
    measured = not np.isnan(value).any() and (
        len(np.unique(value)) > FEW_ROWS or bool((value % 1).any())
    )
    kind = "text"
    if "patient" not in taken and _PATIENT.fullmatch(name):
        kind = "patient"
    elif "site" not in taken and _SITE.fullmatch(name):
        kind = "site"
    elif measured or np.count_nonzero(~np.isnan(value)) > max(FEW_ROWS, 0.8 * len(value)):
        kind = "number"
    elif len(common) >= 2 and len(having) <= MOST_CATEGORIES:
        kind = "category"
    return _Found(
        name=name,
        kind=kind,
        words=common if kind == "category" else (),
        rare=len(having) - len(common) if kind == "category" else 0,
        gone=gone,
        missing_rows=int(np.count_nonzero(missing[words.codes])),
    )


def _sentence(found: _Found, rows: int) -> str:
    """One column in words; without a word of any cell."""
    name = safe_files.printable(found.name)
    said = {
        "patient": "may name the persons",
        "site": "may name the hospitals",
        "number": "numbers",
        "category": f"{len(found.words) + found.rare} words",
        "text": "neither numbers nor a few common words"
        if rows > FEW_ROWS
        else "too few rows to tell what it is",
    }[found.kind]
    gone = counted(found.missing_rows, ", missing in {} row", ", missing in {} rows")
    return f"{name}: {said}{gone if found.missing_rows else ''}{' (all)' if found.missing_rows == rows else ''}."


def _toml(text: str) -> str:
    """A TOML string."""
    return json.dumps(text, ensure_ascii=False)


def _list(words: Sequence[str]) -> str:
    return f"[{', '.join(map(_toml, words))}]"


def _unit(patient: str) -> str:
    return f"patient (column {patient})" if is_name(patient) else "patient (one row is one patient)"


def _form_lines(form: CsvFormat) -> list[str]:
    plain_form = CsvFormat()
    return [
        f"{name} = {_toml(getattr(form, name))}    # CHECK"
        for name in ("delimiter", "decimal", "encoding")
        if getattr(form, name) != getattr(plain_form, name)
    ]


def _ignored(columns: Sequence[_Found]) -> list[str]:
    names = [one.name for one in columns if one.kind == "text"]
    why = "    # CHECK: neither numbers nor a few common words: dates, names, free text"
    return [f"ignore = {_list(names)}{why}"] if names else []


def _persons(patient: str) -> list[str]:
    if not patient:
        return []
    return [
        '# persons = { same = ["case"] }   if identifiers that differ by capitals alone are one person; also',
        '#                                 "leading_zeros", "scan_number"; different = [...] if they are not',
    ]


def _column_lines(found: _Found) -> list[str]:
    name = _name(found.name)
    lines = ["[[column]]", f"name = {_toml(name)}"]
    if name != found.name:
        lines.append(f"source = {_toml(found.name)}")
    lines.append(f'kind = "{found.kind}"')
    lines += _category_lines(found) if found.kind == "category" else _number_lines(name)
    return [*lines, *([f"missing = {_list(found.gone)}"] if found.gone else [])]


def _category_lines(found: _Found) -> list[str]:
    """The words of the cells; those that can't stand in a catalogue under another spelling."""
    ours = {
        word: " ".join(re.sub(r"[,?]", " ", word).split())[:LONGEST_WORD] for word in found.words
    }
    other = {word: own for word, own in ours.items() if word != own}
    lines = [f"values = {_list(list(dict.fromkeys(ours.values())))}    # CHECK: public"]
    if found.rare:
        lines.append(
            f"# CHECK: {found.rare} more, each of fewer than {LEAST_PERSONS} persons, are not written here; add them."
        )
    if other:
        pairs = ", ".join(f"{_toml(word)} = {_toml(own)}" for word, own in other.items())
        lines.append(f"words = {{ {pairs} }}    # CHECK: the file's word, and ours")
    return lines


def _number_lines(name: str) -> list[str]:
    """Limits that our own schemas give to a column of this name, or lines for the owner to fill in."""
    known = _limits().get(name.casefold())
    if known is None:
        return [
            '# unit = "..."       CHECK: public limits, of physiology or of the instrument, none of the patients',
            "# lowest = 0",
            "# highest = 0",
            "# usual = [0, 0]     a public range that becomes -1 to 1",
        ]
    usual = (
        f"usual = [{known.usual[0]:g}, {known.usual[1]:g}]" if known.usual else "# usual = [0, 0]"
    )
    return [
        f"unit = {_toml(known.unit)}    # CHECK: unit and limits are textbooks', for a column of this name",
        f"lowest = {known.lowest:g}",
        f"highest = {known.highest:g}",
        usual,
    ]


def _limits() -> dict[str, Number]:
    schemas = [packaged(name) for name in ("vitals", "symptoms")]
    return {
        one.name.casefold(): one
        for schema in schemas
        for one in schema.column
        if isinstance(one, Number)
    }


def _name(source: str) -> str:
    """A name for the catalogue, as near to the file's as it may be."""
    if is_name(source):
        return source
    kept = "".join(char if is_name(f"a{char}a") else " " for char in source)
    return " ".join(kept.strip(" _-.()/%+°#&:").split())[:LONGEST_NAME].strip() or "column"
