"""An owner's files: tables, schemas, pictures, NIfTI. They come from outside, too."""

import gzip
import io
import json
import struct
import tempfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import numpy as np
from nibabel.nifti1 import Nifti1Image
from PIL import Image

from datasites.data.readers.images import lgg_cases, picture_mapping, pictures
from datasites.data.readers.tabular import csv_rows, table_schema, tables
from datasites.data.readers.volumes import cases, mapping
from datasites.data.readers.volumes.formats import dicom, nifti
from datasites.data.readers.volumes.mapping import VolumeMapping
from syft_code.errors import InvalidData
from tests.datasites.data import scans
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


def _pngs() -> list[bytes]:
    exif = Image.Exif()
    exif[0x0112] = 6
    noise = Image.effect_noise((24, 20), 60)
    return [
        _encoded(noise.convert(mode), "PNG", exif=exif) for mode in ("RGB", "L", "P", "1", "LA")
    ]


def _tiffs() -> list[bytes]:
    noise = Image.effect_noise((24, 20), 60).convert("RGB")
    return [
        _encoded(noise, "TIFF", compression=one) for one in (None, "tiff_lzw", "tiff_adobe_deflate")
    ]


def _encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def _changed(seeds: list[bytes]) -> Make:
    """One of some files, changed; now and then in the size that a PNG declares, with its checksum."""

    def make(random: Random) -> bytes:
        data = random.choice(seeds)
        if data.startswith(b"\x89PNG") and random.random() < 0.3:
            sides = (
                random.choice((0, 1, 8, 300, 2**31 - 1)),
                random.choice((0, 1, 8, 300, 2**31 - 1)),
            )
            header = data[12:16] + struct.pack(">II", *sides) + data[24:29]
            return data[:12] + header + zlib.crc32(header).to_bytes(4, "big") + data[33:]
        return changed_bytes(random, data)

    return make


MAPPING = b"""
title = "Fuzz"
patient_unit = "patient"
table = "labels.csv"
file = "image"
person = "who"
site_folders = ["oslo"]
ignore = ["*_mask.png"]
[label]
column = "finding"
values = ["0", "1"]
leave_out = ["-1"]
differing = "keep_last"
positive = "1"
[[column]]
name = "age"
kind = "number"
unit = "years"
lowest = 0
highest = 120
[persons]
same = ["case"]
pattern = "(?P<person>.*)"
"""

_ORDER = json.dumps({"modality": {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"}}).encode()


def _decathlon(data: bytes) -> None:
    """A folder with an image and a mask; what is changed is dataset.json."""
    root = Path(_FOLDER.name) / "decathlon"
    root.mkdir(exist_ok=True)
    (root / "dataset.json").write_bytes(data)
    for name in ("imagesTr", "labelsTr"):
        (root / name).mkdir(exist_ok=True)
        (root / name / "BRATS_001.nii").touch()
    cases.find(root, VolumeMapping())


VOLUMES_MAPPING = b"""
affine = "sform"
ignore = ["*_dwi.nii.gz"]
[files]
mask = ["*_roi.*"]
[series]
t1 = ["*mprage*"]
[channels]
0 = "flair"
[labels]
core = [1, 2]
enhancing = [4]
[persons]
pattern = '(?P<person>P\\d+)_\\d'
"""


def _slices() -> list[bytes]:
    """Two slices of a series."""
    folder = Path(_FOLDER.name) / "series"
    voxels = np.arange(6 * 5 * 2, dtype=np.uint16).reshape(6, 5, 2)
    return [path.read_bytes() for path in scans.write_series(folder, voxels)]


def _dicom() -> tuple[bytes, Callable[[bytes], object]]:
    """The first slice, and a parser of it beside a second that is sound."""
    first, second = _slices()
    root = Path(_FOLDER.name)
    (root / "second.dcm").write_bytes(second)

    def volume(data: bytes) -> object:
        (root / "first.dcm").write_bytes(data)
        (series, *others) = dicom.series_of(root, [root / "first.dcm", root / "second.dcm"])
        for one in (series, *others):
            found = dicom.volume(one)
        return found

    return first, volume


def parsers() -> list[Parser]:
    """Twelve of them. A JPEG of 40 million pixels is a good one, and takes memory."""
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
        return pictures.decode(data, name="x.jpg", size_px=32)

    def read_slice(data: bytes) -> object:
        return lgg_cases.decode(data, name="x.tif", what="slice")

    def read_mapping(data: bytes) -> object:
        return picture_mapping.parse(data).spec(size_px=8, stand_in=True, facts=False)

    slice_, read_series = _dicom()

    return [
        Parser(name="png", good=_pngs()[0], make=_changed(_pngs()), parse=read_picture, errors=only, more_bytes=large),
        Parser(name="tiff", good=_tiffs()[1], make=_changed(_tiffs()), parse=read_slice, errors=only, more_bytes=large),
        Parser(name="images-toml", good=MAPPING, make=lambda r: changed_toml(r, MAPPING), parse=read_mapping, errors=only),
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
            parse=_decathlon, errors=only,
        ),
        Parser(
            name="volumes-toml", good=VOLUMES_MAPPING, make=lambda r: changed_toml(r, VOLUMES_MAPPING), parse=mapping.parse, errors=only
        ),
        Parser(
            name="dicom", good=slice_, make=lambda r: changed_bytes(r, slice_), parse=read_series, errors=only,
            more_bytes=large,
        ),
    ]  # fmt: skip
