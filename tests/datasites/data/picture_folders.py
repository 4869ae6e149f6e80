"""Folders of drawn pictures for the tests: each picture differs from every other."""

import io
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from syft_code.errors import InvalidData

SHARED = Path(__file__).resolve().parents[3] / ".." / "shared" / "data"
ODD = SHARED / "odd_files"
NO_SHARED = "needs ../shared/data beside the repository"


def pixels(number: int, *, size: tuple[int, int] = (12, 10), mode: str = "RGB") -> Image.Image:
    """Noise of one seed, `(width, height)`."""
    channels = {"L": (), "RGB": (3,), "RGBA": (4,)}[mode]
    random = np.random.default_rng(number)
    return Image.fromarray(random.integers(0, 256, (size[1], size[0], *channels), dtype=np.uint8))


def encoded(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def write(folder: Path, names: Iterable[str], *, start: int = 0, **options: object) -> list[Path]:
    """A picture for each name, as its ending says; folders are made."""
    written = []
    for number, name in enumerate(names, start=start):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels(number, **options).save(path)
        written.append(path)
    return written


def ham(
    folder: Path, images: int = 6, *, ending: str = ".jpg", place: str = "HAM10000_images_part_1"
) -> Path:
    """A HAM10000 of a few images, a lesion each, `mel` and `nv` in turn."""
    write(folder, [f"{place}/ISIC_{n:07d}{ending}" for n in range(images)])
    rows = [f"HAM_{n:07d},ISIC_{n:07d},{'mel' if n % 2 else 'nv'}" for n in range(images)]
    (folder / "HAM10000_metadata.csv").write_text(
        "\n".join(["lesion_id,image_id,dx", *rows]) + "\n"
    )
    return folder


def mapped(folder: Path, toml: str, table: str = "") -> Path:
    """Write `images.toml`, and `labels.csv` if there is one."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "images.toml").write_text(toml, encoding="utf-8")
    if table:
        (folder / "labels.csv").write_text(table, encoding="utf-8")
    return folder


def refusal(read: Callable[[], object]) -> str:
    """The sentence of a refusal."""
    try:
        read()
    except InvalidData as refused:
        text = str(refused)
        assert text.endswith(".") and "\n" not in text and "Traceback" not in text
        return text
    raise AssertionError("it was read")
