"""Whether DICOM headers are of one person, by name and birth date; what they say stands in no sentence."""

import hashlib
import re
from dataclasses import dataclass
from typing import Any

from datasites.data.folders import identifiers


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Bearer:
    """The words of a header's PatientName in any order, and the digits of its PatientBirthDate. Private."""

    words: frozenset[str]
    birth: str

    @property
    def key(self) -> bytes:
        """Equal for two headers of one name and birth date; empty where a header lacks either."""
        if not (self.words and self.birth):
            return b""
        return hashlib.sha256(repr((sorted(self.words), self.birth)).encode()).digest()

    def differs(self, other: "Bearer") -> bool:
        """Whether both give birth dates that differ, or names without a word in common."""
        births, names = {self.birth, other.birth} - {""}, (self.words, other.words)
        return len(births) > 1 or (all(names) and not self.words & other.words)


def bearer(header: Any) -> Bearer:
    """Whom a header names."""
    name = identifiers.normal(str(header.get("PatientName") or "")).casefold()
    return Bearer(
        words=frozenset(re.split(r"[\W_]+", name)) - {""},
        birth=re.sub(r"\D", "", str(header.get("PatientBirthDate") or "")),
    )
