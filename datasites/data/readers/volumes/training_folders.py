"""Cases as training programs want them: `imagesTr`, `labelsTr` and a `dataset.json` that says what is what.

| layout                | images                             | `dataset.json`                                  |
|-----------------------|------------------------------------|-------------------------------------------------|
| Decathlon             | `imagesTr/X.nii.gz`, 4-D           | `modality` names its channels                   |
| nnU-Net raw           | `imagesTr/X_0000.nii.gz`, one each | `channel_names` (or `modality`) names them      |

Its `labels` are words for stored values, or (nnU-Net) for regions that are several values each. The
owner's `[channels]` and `[labels]` of `volumes.toml` go before it.
Source: nnU-Net's documentation/dataset_format.md; medicaldecathlon.com.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasites.data.folders import safe_files
from datasites.data.folders.reading import counted
from datasites.data.readers.volumes.brats_case import BratsCase
from datasites.data.readers.volumes.editions import DECATHLON_LABELS, MASK
from datasites.data.readers.volumes.formats import nifti
from datasites.data.readers.volumes.mapping import MAPPING_FILE, NOTHING, VolumeMapping
from syft_code.errors import InvalidData, require

IMAGES, MASKS, DESCRIPTION = "imagesTr", "labelsTr", "dataset.json"
TEST_IMAGES, TEST_MASKS = "imagesTs", "labelsTs"
BYSTANDERS = ("imagests/*", "labelsts/*", "dataset_fingerprint.json", "splits_final.json")
"""Test cases, which are left out with a remark, and what is made by training."""
_MAX_JSON_BYTES = 4 * 2**20
_MOST_CHANNELS = 16
_CHANNEL = re.compile(r"(?P<case>.+)_(?P<number>[0-9]{4})")
_MODALITY_WORDS = {
    "t1": ("t1", "t1w", "t1n", "t1 weighted"),
    "t1ce": ("t1ce", "t1c", "t1gd", "t1wce", "t1 ce", "t1 gd", "t1post", "t1w gd"),
    "t2": ("t2", "t2w", "t2 weighted"),
    "flair": ("flair", "t2f", "t2flair", "t2 flair"),
}
_VALUE_WORDS = {
    0: ("background", "resection cavity", "rc"),
    1: ("non enhancing tumor", "non enhancing tumor core", "non enhancing", "necrosis", "necrotic", "ncr", "net", "netc",
        "necrotic tumor core", "ncr/net", "necrotic and non enhancing tumor core", "necrotic core"),
    2: ("edema", "oedema", "ed", "peritumoral edema", "snfh", "invaded tissue", "peritumoral edematous/invaded tissue"),
    3: ("enhancing tumor", "enhancing", "et", "gd enhancing tumor", "enhancing tumor core"),
}  # fmt: skip
_REGION_WORDS = {
    "whole": ("whole tumor", "whole", "wt"),
    "core": ("tumor core", "core", "tc"),
    "enhancing": ("enhancing tumor", "enhancing", "et", "enhancing tumor core"),
}


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Training:
    """The files that such a folder's cases take, and the cases, once no file is left over."""

    taken: list[Path]
    remarks: tuple[str, ...]
    cases: Callable[[], list[BratsCase]]


def find(root: Path, mapping: VolumeMapping) -> Training:
    """Every image and mask of the two folders.

    Raises:
        InvalidData: if `dataset.json` can't be read, or a folder can't be listed.
    """
    description = _description(root)
    images = _volumes(root, IMAGES, mapping)
    masks = _volumes(root, MASKS, mapping)
    each = not images.keys() & masks.keys() and any(map(_CHANNEL.fullmatch, images))

    def cases() -> list[BratsCase]:
        channels, labels = (
            _channels(description, mapping),
            _labels(description, mapping, stacks=not each),
        )
        edition = "dataset.json" if mapping.classes is None else ""
        return [
            BratsCase(
                name=name,
                place=name,
                patient="",
                edition=edition,
                labels=labels,
                files=files,
                channels=channels,
            )
            for name, files in (
                _single(images, masks, channels) if each else _stacks(images, masks)
            ).items()
        ]

    return Training(
        taken=[*images.values(), *masks.values(), root / DESCRIPTION],
        remarks=_remarks(root),
        cases=cases,
    )


def _description(root: Path) -> dict[str, Any]:
    data = safe_files.read_bytes(root, root / DESCRIPTION, limit_bytes=_MAX_JSON_BYTES)
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        found = None
    require(
        isinstance(found, dict),
        f"{DESCRIPTION!r} must be a table in JSON, and is not. Put the published file there.",
        error=InvalidData,
    )
    return dict(found)


def channel_names(root: Path) -> dict[str, str]:
    """What `dataset.json` calls each channel, by its number.

    Raises:
        InvalidData: if the file can't be read.
    """
    return _named_channels(_description(root))


def _named_channels(description: dict[str, Any]) -> dict[str, str]:
    written = description.get("channel_names", description.get("modality"))
    pairs = written.items() if isinstance(written, dict) else ()
    return {number: str(word) for number, word in pairs if _is_number(number, most=4)}


def _volumes(root: Path, folder: str, mapping: VolumeMapping) -> dict[str, Path]:
    """The NIfTI files of a folder by their names without endings."""
    found: dict[str, Path] = {}
    for path in safe_files.entries(root, root / folder):
        if path.is_dir() or not nifti.is_nifti(path) or mapping.ignores(path.name):
            continue
        name = nifti.stem(path)
        require(
            name not in found,
            f"{safe_files.shown(root, path)!r} must lie there once, and lies there under two endings. Remove one.",
            error=InvalidData,
        )
        found[name] = path
    return found


def _stacks(images: dict[str, Path], masks: dict[str, Path]) -> dict[str, dict[str, Path]]:
    for name in sorted(images.keys() ^ masks.keys()):
        path = images.get(name) or masks[name]
        raise InvalidData(
            f"'{safe_files.printable(path.name)}' must lie in both {IMAGES!r} and {MASKS!r}, and is missing in one. "
            "Add it or remove the other."
        )
    return {name: {"stack": images[name], MASK: masks[name]} for name in images}


def _single(
    images: dict[str, Path], masks: dict[str, Path], channels: tuple[str, ...]
) -> dict[str, dict[str, Path]]:
    """nnU-Net: each case has a mask and one image for every channel."""
    found: dict[str, dict[str, Path]] = {name: {MASK: path} for name, path in masks.items()}
    for name, path in images.items():
        match = _CHANNEL.fullmatch(name)
        require(
            match is not None and match["case"] in masks and int(match["number"]) < len(channels),
            f"'{safe_files.printable(path.name)}' must be named X_0000.nii.gz after a mask X.nii.gz in {MASKS!r} and "
            f"a channel of {DESCRIPTION!r}, and is not. Rename it or add the mask.",
            error=InvalidData,
        )
        if match and channels[int(match["number"])] != NOTHING:
            found[match["case"]][channels[int(match["number"])]] = path
    wanted = [name for name in channels if name != NOTHING]
    for name, files in found.items():
        lacking = [f"{channels.index(one):04} ({one})" for one in wanted if one not in files]
        require(
            not lacking,
            f"The case '{safe_files.printable(name)}' must have an image for each channel of {DESCRIPTION!r} in "
            f"{IMAGES!r}, and has none for {' and '.join(lacking)}. Add it or remove the case.",
            error=InvalidData,
        )
    return found


def modality_of(word: str) -> str:
    """The modality that a word of any spelling stands for, "" if none.

    >>> modality_of("T1Gd"), modality_of("FLAIR"), modality_of("ADC")
    ('t1ce', 'flair', '')
    """
    plain = _plain(word)
    return next((name for name, words in _MODALITY_WORDS.items() if plain in words), "")


def _channels(description: dict[str, Any], mapping: VolumeMapping) -> tuple[str, ...]:
    """What each channel is, by the owner's word or by the file's."""
    named = _named_channels(description)
    count = max((int(number) + 1 for number in (*named, *mapping.channels)), default=0)
    found = []
    for number in range(min(count, _MOST_CHANNELS + 1)):
        word = named.get(str(number), "")
        what = mapping.channels.get(str(number)) or modality_of(word)
        require(
            what != "",
            f"{DESCRIPTION!r} must name channel {number} as one of T1, T1ce, T2, FLAIR, and names it "
            f"'{safe_files.printable(word, most=40)}'. Say in {MAPPING_FILE!r} what it is: [channels] {number} = "
            '"flair", or "none" to leave it out.',
            error=InvalidData,
        )
        found.append(what)
    used = [name for name in found if name != NOTHING]
    require(
        1 <= len(found) <= _MOST_CHANNELS and bool(used) and len(set(used)) == len(used),
        f"{DESCRIPTION!r} must name 1 to {_MOST_CHANNELS} channels from 0 on, each modality once, and does not. Put "
        f"the published file there, or name them under [channels] in {MAPPING_FILE!r}.",
        error=InvalidData,
    )
    return tuple(found)


def _labels(description: dict[str, Any], mapping: VolumeMapping, *, stacks: bool) -> dict[int, int]:
    """The class of each stored value: the owner's word, the file's, or the Decathlon's own."""
    if mapping.classes is not None:
        return mapping.classes
    written = description.get("labels")
    if written is None and stacks:
        return DECATHLON_LABELS
    found = _classes_of(written) if isinstance(written, dict) else None
    if found is None:
        said = ", ".join(map(str, written)) if isinstance(written, dict) else "none"
        raise InvalidData(
            f"{DESCRIPTION!r} must give labels that tell core, edema and enhancing tumour apart, and gives: "
            f"{safe_files.printable(said)}. Say in {MAPPING_FILE!r} which value is which: [labels] core = [1]."
        )
    return found


def _classes_of(written: dict[str, Any]) -> dict[int, int] | None:
    """By words for values, or for regions that are several values each; None if either is unclear."""
    pairs = [_name_and_values(key, value) for key, value in written.items()]
    values: dict[int, int] = {}
    regions: dict[str, set[int]] = {}
    for pair in pairs:
        if pair is None:
            return None
        word, stored = pair
        known = [number for number, words in _VALUE_WORDS.items() if word in words]
        region = [name for name, words in _REGION_WORDS.items() if word in words]
        if region:
            regions[region[0]] = stored
        if known and len(stored) == 1:
            values |= dict.fromkeys(stored, known[0])
        elif not region:
            return None
    values.setdefault(0, 0)
    if regions.keys() >= {"whole", "core", "enhancing"}:
        if not regions["whole"] > regions["core"] > regions["enhancing"]:
            return None
        values |= dict.fromkeys(regions["whole"], 2) | dict.fromkeys(regions["core"], 1)
        values |= dict.fromkeys(regions["enhancing"], 3)
    stored_in_regions: set[int] = set().union(*regions.values()) if regions else set()
    whole = set(values.values()) >= {0, 1, 2, 3} and stored_in_regions <= values.keys()
    return values if whole else None


def _name_and_values(key: str, value: object) -> tuple[str, set[int]] | None:
    """`"edema": 2`, `"whole tumor": [1, 2, 3]`, or as of old `"2": "edema"`."""
    if isinstance(value, str) and _is_number(key, most=3):
        return _plain(value), {int(key)}
    stored = value if isinstance(value, list) else [value]
    whole = all(isinstance(one, int) and 0 <= one <= 255 for one in stored)
    return (_plain(key), set(stored)) if whole and stored else None


def _is_number(text: str, *, most: int) -> bool:
    """Digits from 0 to 9 alone, so that no two spellings are one number."""
    return text.isascii() and text.isdecimal() and len(text) <= most


def _plain(word: object) -> str:
    """Small letters, one spelling of tumour, spaces for `-` and `_`."""
    text = " ".join(re.split(r"[\s_-]+", str(word).strip().lower()))
    return text.replace("tumour", "tumor").replace("oedema", "edema")


def _remarks(root: Path) -> tuple[str, ...]:
    images, masks = (
        len(safe_files.entries(root, root / folder)) if (root / folder).is_dir() else 0
        for folder in (TEST_IMAGES, TEST_MASKS)
    )
    remarks = []
    if images:
        end = f"in {TEST_IMAGES!r} {'have' if images > 1 else 'has'} no mask and"
        if masks:
            end = f"in {TEST_IMAGES!r}, of a test set with masks in {TEST_MASKS!r},"
        remarks.append(
            f"{counted(images, '{} file', '{} files')} {end} {'are' if images > 1 else 'is'} left out."
        )
    if masks:
        remarks.append(
            f"{counted(masks, '{} mask', '{} masks')} in {TEST_MASKS!r} {'are' if masks > 1 else 'is'} left out, with "
            f"their images: move both to {IMAGES!r} and {MASKS!r} to have them read."
        )
    return tuple(remarks)
