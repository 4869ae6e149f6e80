"""However a table is exported again, its rows keep their names, or are found under their new ones."""

import csv
import io
import random
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from datasites.data import fingerprints, train_test_split
from datasites.data.fingerprints import Fingerprints
from datasites.data.folders.reading import Reading
from datasites.data.readers import read

COLUMNS = ("age", "pressure", "chol", "pulse", "ratio", "sex", "pain")
SCHEMA = """title = "A table without identifiers"
kind = "table"
file = "table.csv"
site = "where"
ignore = ["note"]
[label]
column = "ill"
classes = ["no", "yes"]
above = 0
""" + "".join(
    f'[[column]]\nname = "{name}"\nkind = "number"\nunit = "u"\nlowest = 0\nhighest = 1000\n'
    'missing = ["?", ""]\n'
    for name in COLUMNS
)
ADDED = '[[column]]\nname = "new"\nkind = "number"\nunit = "u"\nlowest = 0\nhighest = 9\n'
FORMATS = ("{:g}", "{:.2f}", "{:.3e}", " {:.4f} ", "{:+.1f}")
PEOPLE = [
    {name: float(rng.randint(1, 900)) for name in COLUMNS} | {"ill": float(number % 2)}
    for number in range(12)
    for rng in [random.Random(number)]
]


def exported(
    *, spelled: str, quoting: int, columns: list[str], people: list[int], site: str, note: str
) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, quoting=quoting, lineterminator="\n")  # type: ignore[arg-type]
    writer.writeheader()
    for number in people:
        numbers = {name: spelled.format(value) for name, value in PEOPLE[number].items()}
        row = {"new": "1", "where": site, "note": note} | numbers
        writer.writerow({name: row[name] for name in columns})
    return text.getvalue()


def reading(table: str, schema: str) -> Reading:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "table.csv").write_text(table)
        (Path(folder) / "schema.toml").write_text(schema)
        return read("table", Path(folder))


def prints(found: Reading) -> Fingerprints:
    split = train_test_split.split(found, None, hospital="h", salt=bytes(32), held_out=0.0)
    return fingerprints.take(split, found.spec, bytes(32))


ALL = [*COLUMNS, "ill", "where", "note"]
FIRST = reading(
    exported(spelled="{:g}", quoting=0, columns=ALL, people=list(range(12)), site="here", note=""),
    SCHEMA,
)


@settings(max_examples=30)
@given(
    spelled=st.sampled_from(FORMATS),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    columns=st.permutations(ALL),
    people=st.permutations(range(12)),
    kept=st.integers(1, 12),
    site=st.sampled_from(["here", "there"]),
    change=st.sampled_from(["none", "an added column", "a dropped column", "other ranges"]),
)
def test_rows_exported_again_keep_their_names_or_are_found(
    spelled: str,
    quoting: int,
    columns: list[str],
    people: list[int],
    kept: int,
    site: str,
    change: str,
) -> None:
    schema = SCHEMA
    if change == "an added column":
        schema, columns = SCHEMA + ADDED, [*columns, "new"]
    elif change == "a dropped column":
        schema = SCHEMA.replace('["note"]', '["note", "pain"]').rpartition("[[column]]")[0]
    elif change == "other ranges":
        schema = SCHEMA.replace("highest = 1000", "highest = 1000\nusual = [50, 400]")
    table = exported(
        spelled=spelled, quoting=quoting, columns=columns, people=people[:kept], site=site, note="x"
    )
    after = reading(table, schema)
    new_names = set(after.patient_ids) - set(FIRST.patient_ids)
    found = fingerprints.under_other_names(prints(after), [prints(FIRST)])
    assert len(found) == len(new_names)
    assert change in ("an added column", "a dropped column") or not new_names
