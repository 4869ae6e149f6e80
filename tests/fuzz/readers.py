"""An owner's files: tables, schemas, JPEG, NIfTI. They come from outside, too."""

import gzip
import io
import json
import struct
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import numpy as np
from nibabel.nifti1 import Nifti1Image
from PIL import Image

from datasites.data.readers.images import ham10000
from datasites.data.readers.tabular import csv_rows, table_schema, tables
from datasites.data.readers.volumes import brats_layouts, nifti
from syft_code.errors import InvalidData
from tests.fuzz.mutation import Make, changed_bytes, changed_json, changed_toml, some
from tests.fuzz.runner import Parser

SCHEMA = b"""
title = "Fuzz"
kind = "table"
file = "t.csv"
patient = "who"
[label]
column = "ill"
classes = ["no", "yes"]
[[column]]
name = "age"
kind = "number"
unit = "years"
lowest = 0
highest = 120
usual = [20, 80]
missing = [""]
outside = "clip"
[[column]]
name = "sex"
kind = "category"
values = ["f", "m"]
"""
ROWS = b"who,age,sex,ill\np1,40,f,no\np2,50.5,m,yes\np2,,f,yes\n"
_FOLDER = tempfile.TemporaryDirectory(prefix="consilium-fuzz-")
_CELLS = (b"", b"nan", b"-inf", b"1e999", b"0x10", b"1_000", b'"', b'"a""b"', b"\0", b"\xff", b"9" * 5000,
          "٣".encode(), b",", b"\r", b"f")  # fmt: skip


def _file(name: str, parse: Callable[[Path, Path], object]) -> Callable[[bytes], object]:
    """A parser of a file, as one of bytes, in a folder of its own."""
    root = Path(_FOLDER.name) / name.partition(".")[0]
    root.mkdir(exist_ok=True)

    def of_bytes(data: bytes) -> object:
        (root / name).write_bytes(data)
        return parse(root, root / name)

    return of_bytes


def _csv(random: Random) -> bytes:
    if random.random() < 0.5:
        return changed_bytes(random, ROWS)
    rows = [line.split(b",") for line in ROWS.splitlines()]
    for _ in range(random.randrange(1, 4)):
        row = random.choice(rows)
        row[random.randrange(len(row))] = random.choice(_CELLS)
    rows.extend(rows[1:] * random.choice((0, 0, 1, 50)))
    return b"\n".join(b",".join(row) for row in rows)


@dataclass(slots=True)
class _Scan:
    """A NIfTI file: 348 bytes of header, 4 of extension, voxels."""

    stored: bytes = field(default_factory=lambda: _volume())

    def changed(self, random: Random) -> bytes:
        if random.random() < 0.3:
            return changed_bytes(random, self.stored)
        data = bytearray(self.stored)
        for _ in range(random.randrange(1, 4)):
            where, kind = random.choice(_FIELDS)
            number = random.choice(_VALUES)
            data[where : where + struct.calcsize(kind)] = _packed(kind, number)
        return bytes(data)


_FIELDS = (
    [(0, "<i"), (70, "<h"), (72, "<h"), (108, "<f"), (112, "<f"), (116, "<f"), (252, "<h"), (254, "<h")]
    + [(40 + 2 * n, "<h") for n in range(8)]
    + [(76 + 4 * n, "<f") for n in range(8)]
    + [(256 + 4 * n, "<f") for n in range(18)]
)  # fmt: skip
_VALUES = (
    0,
    1,
    -1,
    2,
    4,
    16,
    64,
    512,
    1024,
    32767,
    -32768,
    352,
    1e30,
    -1e30,
    1e-30,
    float("nan"),
    float("inf"),
)


def _packed(kind: str, number: float) -> bytes:
    if kind == "<f":
        return struct.pack(kind, number)
    whole = 0 if number != number else int(max(-32768, min(32767, number)))
    return struct.pack(kind, whole)


def _volume() -> bytes:
    image = Nifti1Image(
        np.arange(6 * 5 * 4, dtype=np.int16).reshape(6, 5, 4), np.diag([1.0, 1, 2, 1])
    )
    return bytes(image.to_bytes())


def _zipped(random: Random) -> bytes:
    """Changed within or without; now and then far longer than its header says."""
    whole = gzip.compress(_Scan().changed(random), compresslevel=1)
    return some(
        random,
        lambda r: whole + r.choice((b"", _ZEROS)),
        lambda r: changed_bytes(r, whole),
        lambda r: whole * 2,
    )


_ZEROS = gzip.compress(bytes(2**24))
"""16 MiB, in 16 kB."""


def _jpegs() -> list[bytes]:
    seeds = []
    for mode, options in (("RGB", {}), ("L", {}), ("CMYK", {}), ("RGB", {"progressive": True})):
        buffer = io.BytesIO()
        Image.effect_noise((24, 20), 60).convert(mode).save(buffer, "JPEG", **options)
        seeds.append(buffer.getvalue())
    return seeds


def _pictures() -> Make:
    seeds = _jpegs()

    def make(random: Random) -> bytes:
        data = bytearray(random.choice(seeds))
        if random.random() < 0.3:  # the size that it declares
            start = next(
                (data.find(mark) for mark in (b"\xff\xc0", b"\xff\xc2") if mark in data), 0
            )
            size = (random.choice((0, 1, 300, 65535)), random.choice((0, 1, 300, 65535)))
            data[start + 5 : start + 9] = struct.pack(">HH", *size)
            return bytes(data)
        return changed_bytes(random, bytes(data))

    return make


_ORDER = json.dumps({"modality": {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"}}).encode()


def _decathlon(root: Path, _: Path) -> None:
    """A folder with an image and a mask; what is changed is dataset.json."""
    for name in ("imagesTr", "labelsTr"):
        (root / name).mkdir(exist_ok=True)
        (root / name / "BRATS_001.nii").touch()
    brats_layouts.find_cases(root)


def parsers() -> list[Parser]:
    """Seven of them. A JPEG of 40 million pixels is a good one, and takes memory."""
    schema = table_schema.parse(SCHEMA, name="schema.toml")
    large, only = 2**30, (InvalidData,)

    def read_table(root: Path, path: Path) -> object:
        return tables.read(root, schema, own=False)

    def read_schema(data: bytes) -> object:
        found = table_schema.parse(data, name="schema.toml")
        return tables.spec(found, stand_in=True)

    def read_rows(data: bytes) -> object:
        return csv_rows.parse(data, "t.csv")

    def read_picture(data: bytes) -> object:
        return ham10000._decode(data, name="x.jpg", size_px=32)

    return [
        Parser(name="csv", good=ROWS, make=_csv, parse=read_rows, errors=only),
        Parser(name="tables", good=ROWS, make=_csv, parse=_file("t.csv", read_table), errors=only),
        Parser(name="schemas", good=SCHEMA, make=lambda r: changed_toml(r, SCHEMA), parse=read_schema, errors=only),
        Parser(name="jpeg", good=_jpegs()[0], make=_pictures(), parse=read_picture, errors=only, more_bytes=large),
        Parser(
            name="nifti", good=_volume(), make=_Scan().changed, parse=_file("x.nii", nifti.read), errors=only,
            more_bytes=large,
        ),
        Parser(
            name="nifti-gz", good=gzip.compress(_volume()), make=_zipped, parse=_file("x.nii.gz", nifti.read), errors=only,
            more_bytes=large,
        ),
        Parser(
            name="dataset-json", good=_ORDER, make=lambda r: changed_json(r, _ORDER),
            parse=_file("dataset.json", _decathlon), errors=only,
        ),
    ]  # fmt: skip
