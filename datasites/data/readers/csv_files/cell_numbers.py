"""What a cell says as a number, and why it says none.

Only plain decimal numbers are read: Python's own `float` also takes 1_000, and reads it as 1000.
"""

import math
import re
import unicodedata
from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Decimal = Literal[".", ","]

_PLAIN = r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,4})?"
_NUMBER = re.compile(_PLAIN)
_ANY = r"[+-]?\d[\d.,]*"
_REASONS: tuple[tuple[re.Pattern[str], str, str], ...] = (
    (
        re.compile(r"[+-]?(inf(inity)?|nan)", re.IGNORECASE),
        "is not finite",
        "Mend the row, or name this word as missing in the schema",
    ),
    (re.compile(r".*\d_\d.*"), "has an underscore in it", "Export the number without"),
    (
        re.compile(rf"[<>≤≥~≈]=?\s*{_ANY}.*"),
        "is a bound and no number",
        "Name it as missing in the schema, or describe the column as a category",
    ),
    (
        re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([ T].*)?"),
        "is a date",
        "Export what it means as a number (an age, days since admission)",
    ),
    (
        re.compile(r"[+-]?\d{1,3}([ '\u2019\u00a0\u202f]\d{3})+([.,]\d+)?"),
        "has a mark between thousands",
        "Export the number without",
    ),
    (
        re.compile(r"[\u2212\u2010-\u2015]\s*\d.*"),
        "has a dash for its minus sign",
        "Export it with '-'",
    ),
    (
        re.compile(rf"{_ANY}\s*(-|\u2013|to)\s*{_ANY}"),
        "is a range and no number",
        "Export one number, or describe the column as a category",
    ),
    (re.compile(r"0[xX][0-9a-fA-F]+"), "is hexadecimal", "Export it in decimals"),
)
_UNIT = re.compile(rf"{_ANY}([eE][+-]?\d+)?\s*(?P<unit>[^\d\s].{{0,20}})")


def plain(text: str, decimal: Decimal = ".") -> str:
    """A cell as it is compared: "1", "1.0" and " 1" are one word, and so are both forms of an umlaut.

    >>> plain("1.0"), plain(" yes "), plain("0.50"), plain("1_0")
    ('1', 'yes', '0.5', '1_0')
    """
    text = unicodedata.normalize("NFC", text).strip()
    pointed = text.replace(",", ".") if decimal == "," and "." not in text else text
    if (decimal == "," and "." in text) or _NUMBER.fullmatch(pointed) is None:
        return text
    number = float(pointed)
    if not math.isfinite(number):
        return text
    return str(int(number)) if number == int(number) else repr(number)


def parse(words: Any, *, decimal: Decimal = ".", suffix: str = "") -> NDArray[np.float64]:
    """Each word of an Arrow array of strings as a finite number, NaN where it is none.

    `suffix` may stand at a word's end.

    >>> parse(pa.array(["61", " 6.1e1", "1_0", "nan"])).tolist()
    [61.0, 61.0, nan, nan]
    """
    words = pc.utf8_trim_whitespace(words)
    if suffix:
        words = pc.utf8_trim_whitespace(
            pc.if_else(
                pc.ends_with(words, suffix),
                pc.utf8_slice_codeunits(words, 0, -len(suffix)),
                words,
            )
        )
    if decimal == ",":
        pointed = pc.replace_substring(words, ",", ".")
        words = pc.if_else(pc.match_substring(words, "."), "", pointed)
    good = pc.match_substring_regex(words, f"^({_PLAIN})$")
    words = pc.replace_substring_regex(words, r"^\+", "")
    numbers = pc.cast(pc.if_else(good, words, None), pa.float64())
    values: NDArray[np.float64] = numbers.to_numpy(zero_copy_only=False).astype(np.float64)
    return np.where(np.isfinite(values), values, np.nan)


def as_texts(words: Iterable[str]) -> Any:
    """Words as an Arrow array."""
    return pa.array(list(words), pa.string())


def why_not(text: str, *, decimal: Decimal = ".") -> tuple[str, str]:
    """Why a cell is no number, and the way out: two parts of a sentence.

    >>> why_not("61 y")[0]
    "has 'y' after the number"
    """
    text = text.strip()
    if not text:
        return "is empty", 'Fill it in, or say missing = [""] for the column in the schema'
    for pattern, why, way_out in _REASONS:
        if pattern.fullmatch(text):
            return why, way_out
    by_mark = _why_mark(text, decimal)
    if by_mark:
        return by_mark
    unit = _UNIT.fullmatch(text)
    if unit and _clean(unit["unit"]):
        word = unit["unit"].strip()
        return (
            f"has '{word}' after the number",
            f'Export the number alone, or say suffix = "{word}" for the column in the schema',
        )
    if any(char.isdigit() and not char.isascii() for char in text):
        return "has digits of another script", "Export it with the digits 0 to 9"
    return "is a word", "Mend the row, or name this word as missing in the schema"


def _clean(unit: str) -> bool:
    return unit.isprintable() and '"' not in unit and "\\" not in unit


def _why_mark(text: str, decimal: Decimal) -> tuple[str, str] | None:
    """Points and commas where the schema does not have them."""
    if not re.fullmatch(r"[+-]?[\d.,]*\d[\d.,]*([eE][+-]?\d+)?", text) or not text.isascii():
        return None
    if decimal == "." and text.count(",") == 1 and "." not in text:
        return (
            "has a comma",
            'If it is the decimal mark say decimal = "," in the schema; if it stands between thousands, '
            "export the number without",
        )
    if decimal == "," and text.count(".") == 1 and "," not in text:
        return (
            "has a point where the schema has the decimal mark ','",
            'If the point is the decimal mark say decimal = "." in the schema; if it stands between '
            "thousands, export the number without",
        )
    if "," in text or text.count(".") > 1:
        return "has a mark between thousands", "Export the number without"
    return None


def common_decimal(words: Iterable[str]) -> Decimal | None:
    """The decimal mark of words of which some have one and none has the other."""
    texts = [text.strip() for text in words]
    commas = sum(bool(re.fullmatch(r"[+-]?\d+,\d+", text)) for text in texts)
    points = sum(bool(re.fullmatch(r"[+-]?\d+\.\d+", text)) for text in texts)
    if bool(commas) == bool(points):
        return None
    return "," if commas else "."
