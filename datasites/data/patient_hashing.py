"""Which patients go where: to which hospital of a study, and into which of its two groups.

Everything here decides over patients, never over slices, so that no patient is on two
sides.
"""

import hmac
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from datasites.data.cohort_file import TOKEN_BYTES
from syft_code.errors import InvalidData, require


def held_out(patient_ids: Sequence[str], fraction: float, salt: bytes) -> NDArray[np.bool_]:
    """Which patients evaluate and never train: bool `[patients]`, about `fraction` of them.

    A patient is held out if HMAC-SHA256(salt, identifier), read as a number in [0, 1), lies
    below `fraction`.

    Guarantee: each patient's group depends on that patient alone, so adding or removing one
    patient moves nobody else. The two groups are then disjoint parts of the data set fixed
    beforehand, and what training and evaluation spend composes in parallel: the larger of the
    two, not their sum (McSherry 2009, theorem 4).

    Does not protect: against a salt or a fraction that changes while an asset lives. A patient
    could then be in both groups over time; the vault refuses a version with another `rule`.

    >>> held_out(["a", "b", "c"], 0.5, bytes(16)).shape
    (3,)
    """
    require(
        math.isfinite(fraction) and 0 <= fraction < 1,
        f"The held-out fraction must be at least 0 and below 1, got {fraction}.",
        error=InvalidData,
    )
    require(
        len(salt) >= 16,
        f"The salt must have at least 16 bytes, got {len(salt)}.",
        error=InvalidData,
    )
    below = int(fraction * 2**64)
    return np.array([_number(salt, patient) < below for patient in patient_ids], dtype=np.bool_)


def rule(fraction: float, salt: bytes) -> str:
    """The name (hex) of the rule by which `held_out` decides; reveals nothing of the salt.

    >>> rule(0.2, bytes(32)) == rule(0.2, bytes(32)) != rule(0.3, bytes(32))
    True
    """
    return hmac.new(salt, f"held out below {fraction!r}".encode("ascii"), "sha256").hexdigest()


def tokens(patient_ids: Sequence[str], salt: bytes) -> NDArray[np.uint8]:
    """Keyed hashes of patients' identifiers: uint8 `[patients, 16]`, the same for the same patient.

    By them a hospital sees that two assets share a patient, and removes a patient who leaves.

    Guarantee: without the salt a token reveals nothing of the identifier.

    >>> tokens(["a", "b"], bytes(16)).shape
    (2, 16)
    """
    key = hmac.new(salt, b"tokens of patients", "sha256").digest()
    digests = (hmac.digest(key, name.encode("utf-8"), "sha256") for name in patient_ids)
    joined = b"".join(digest[:TOKEN_BYTES] for digest in digests)
    return np.frombuffer(joined, np.uint8).reshape(-1, TOKEN_BYTES)


def _number(salt: bytes, patient_id: str) -> int:
    digest = hmac.digest(salt, patient_id.encode("utf-8"), "sha256")
    return int.from_bytes(digest[:8], "big")
