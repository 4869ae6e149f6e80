"""Who each row is about: the person, the class, the site; each said once, or refused."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from datasites.data.folders import identifiers
from datasites.data.folders.safe_files import printable
from datasites.data.readers.csv_files.cell_numbers import Decimal, plain
from datasites.data.readers.csv_files.csv_table import Table, Words
from datasites.data.readers.csv_files.csv_text import in_file
from datasites.data.readers.tabular import parsed_columns
from datasites.data.readers.tabular.schema_columns import Label
from datasites.data.readers.tabular.table_files import SITE
from datasites.data.readers.tabular.table_schema import LONGEST_SITE, SCHEMA_FILE, Schema, is_site
from syft_code.errors import InvalidData

UNKNOWN, LEFT_OUT = -1, -2
"""Classes that are none: the row does not say it, or says a word that is to be left out."""
Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class People:
    """`names` of the persons, sorted, and int64 `[rows]` which of them a row is about."""

    names: tuple[str, ...]
    of_row: Numbers


def persons(table: Table, schema: Schema) -> People:
    """The persons of the column `patient`.

    Raises:
        InvalidData: naming the first row that names nobody, or two spellings of which the owner
            must say whether they are one person.
    """
    words = table.columns[in_file(schema.patient)]
    texts = words.texts.to_pylist()

    def where(text: int) -> str:
        return f"{table.where(words.first_row(text))}: {schema.patient}"

    for at, text in enumerate(texts):
        if "\ufffd" in text:
            raise InvalidData(
                f"{where(at)}: must name a person, and '{printable(text)}' has a mark that stands for a letter "
                "which was lost: different people may have become one. Export the table again in UTF-8."
            )
    found = identifiers.persons(texts, schema.persons, where=where, mapping=SCHEMA_FILE)
    names = sorted(set(found))
    number = {name: at for at, name in enumerate(names)}
    by_text = np.array([number[name] for name in found], dtype=np.int64)
    return People(names=tuple(names), of_row=by_text[words.codes])


def classes(table: Table, label: Label, decimal: Decimal, column: str) -> Numbers:
    """The class of each row, or `UNKNOWN`, or `LEFT_OUT`."""
    words = table.columns[column]
    others = dict.fromkeys(map(plain, label.missing), UNKNOWN)
    others |= dict.fromkeys(map(plain, label.leave_out), LEFT_OUT)
    if label.above is None:
        by_text = parsed_columns.choices(
            table, column, label.values or label.classes, words=label.words, others=others,
            decimal=decimal, name=label.column,
        )  # fmt: skip
    else:
        value, gone = parsed_columns.numbers(
            table, column, missing=tuple(others), decimal=decimal, name=label.column
        )
        by_text = (value > label.above).astype(np.int64)
        for at in np.flatnonzero(gone):
            by_text[at] = others[plain(str(words.texts[int(at)].as_py()), decimal)]
    found: Numbers = by_text[words.codes]
    return found


def class_of_each(table: Table, people: People, found: Numbers, label: Label) -> Numbers:
    """One class a person, `UNKNOWN` if none of the person's rows says it.

    Raises:
        InvalidData: naming the first row that says another class than the person's rows before.
    """
    known = np.flatnonzero(found >= 0)
    first, persons_first = _first_of_each(people, known)
    each = np.full(len(people.names), UNKNOWN, dtype=np.int64)
    each[persons_first] = found[first]
    other = known[found[known] != each[people.of_row[known]]]
    if len(other):
        row = int(other[0])
        before = label.classes[int(each[people.of_row[row]])]
        raise InvalidData(
            f"{table.where(row)}: {label.column} must be the same in all rows of a patient, and is "
            f"{label.classes[int(found[row])]!r} here and {before!r} before. Mend the row."
        )
    return each


def site_of_each(table: Table, people: People, schema: Schema) -> tuple[str, ...]:
    """One site a person, "" if the table has none.

    Raises:
        InvalidData: naming the first row of a person at another site, or a site that has no name or
            nearly that of another one.
    """
    column = SITE if schema.files else in_file(schema.site)
    if column not in table.columns:
        return ("",) * len(people.names)
    words = table.columns[column]
    names = _site_names(table, words, schema) if schema.site else words.texts.to_pylist()
    sites = sorted(set(names))
    number = {name: at for at, name in enumerate(sites)}
    found = np.array([number[name] for name in names], dtype=np.int64)[words.codes]
    first, whose = _first_of_each(people, np.arange(table.rows))
    each = np.zeros(len(people.names), dtype=np.int64)
    each[whose] = found[first]
    other = np.flatnonzero(found != each[people.of_row])
    if len(other):
        row = int(other[0])
        here, before = sites[int(found[row])], sites[int(each[people.of_row[row]])]
        raise InvalidData(
            f"{table.where(row)}: a patient must be of one site, and this one is of '{printable(here)}' here and "
            f"'{printable(before)}' before. Mend the row, or give each site's patients identifiers of their own."
        )
    return tuple(sites[at] for at in each.tolist())


def _site_names(table: Table, words: Words, schema: Schema) -> list[str]:
    """Each text's site: trimmed, composed, by the schema's spellings; none like another."""
    spellings = {identifiers.normal(one): site for one, site in schema.sites.items()}
    names = [identifiers.normal(text) for text in words.texts.to_pylist()]
    names = [spellings.get(name, name) for name in names]
    first: dict[str, str] = {}
    for at, name in enumerate(names):
        if not is_site(name) or "\ufffd" in name:
            raise InvalidData(
                f"{table.where(words.first_row(at))}: {schema.site} must name the site in 1 to {LONGEST_SITE} "
                f"printable characters, got '{printable(name)}'. Mend the row"
                f"{'' if name else ', or take site out of the schema'}."
            )
        other = first.setdefault(name.casefold(), name)
        if other != name:
            raise InvalidData(
                f"{table.where(words.first_row(at))}: {schema.site} says '{printable(name)}' here and "
                f"'{printable(other)}' before, which differ by capital letters alone. Mend the rows, or say in "
                f'the schema that both are one site: [sites] "{printable(name)}" = "{printable(other)}".'
            )
    return names


def _first_of_each(people: People, rows: Numbers) -> tuple[Numbers, Numbers]:
    """Of some rows the first of each person, and whose they are."""
    whose, at = np.unique(people.of_row[rows], return_index=True)
    return rows[at], whose


def rows_of(people: People, kept: NDArray[np.bool_]) -> People:
    """The same for some rows (bool `[rows]`), without persons who have none of them."""
    used, of_row = np.unique(people.of_row[kept], return_inverse=True)
    return People(names=tuple(people.names[at] for at in used.tolist()), of_row=of_row)


def ordered(people: People) -> tuple[Numbers, Numbers]:
    """The rows, a person's beside each other in the file's order; and whose each is."""
    order = np.argsort(people.of_row, kind="stable")
    return order, people.of_row[order]
