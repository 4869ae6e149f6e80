"""What a scanner calls a series, without the patient's name, number or birth date where they are seen in it.

Does not protect: against a nickname, a misspelt name or another person's, which nothing in the header tells.
"""

import re
from typing import Any

_TITLES = frozenset({"", "mr", "ms", "dr"})


def description(header: Any) -> str:
    """The series' description, unless a word of the patient's name, number or birth date is seen in it."""
    text = str(header.get("SeriesDescription") or "").strip()
    private = " ".join(str(header.get(tag) or "") for tag in ("PatientName", "PatientID"))
    words = set(re.split(r"[\W_]+", private.lower())) - _TITLES
    said = set(re.split(r"[\W_]+", text.lower()))
    short = {word for word in words if len(word) == 2}
    digits = re.sub(r"\D", "", text)
    in_it = any(word in text.lower() for word in words if len(word) >= 3)
    dated = any(date in digits for date in _dates(str(header.get("PatientBirthDate") or "")))
    return "" if in_it or dated or short & said else text


def _dates(birth: str) -> set[str]:
    """The ways to write a birth date (YYYYMMDD) in digits alone."""
    digits = re.sub(r"\D", "", birth)
    if len(digits) != 8:
        return {digits} - {""}
    year, month, day = digits[:4], digits[4:6], digits[6:]
    years = (year, year[2:])
    return {
        "".join(parts)
        for y in years
        for parts in ((y, month, day), (day, month, y), (month, day, y))
    }
