"""A model's file and its certificate's, held against each other and against the parties' keys."""

from pathlib import Path

from federation.certificate import signed_file, verification
from federation.certificate.verification import Certificate, PublicKeys
from syft_code import canonical
from syft_code.errors import InvalidInput, require
from syft_code.runtime.cli_input import quoted_path, read_file

MAX_MODEL_BYTES = 2**36
MAX_CERTIFICATE_BYTES = 2**28
MAX_KEYS_BYTES = 2**20
BESIDE = "certificate.json"
"""A certificate's usual name, in the folder of its model."""


def check(
    model: Path, certificate: Path, keys: Path | None
) -> tuple[Certificate | None, tuple[str, ...]]:
    """What the researcher signed (None if nobody did), and sentences that say what does not hold.

    Raises:
        InvalidInput: if a file is missing, or the keys are none.
    """
    known = None if keys is None else _keys(keys)
    start = read_file(model, "model", MAX_MODEL_BYTES)[:9]
    require(
        start[:1] != b"{" or start[8:] == b"{",
        f"MODEL must be the model's .safetensors file, and {quoted_path(model)} is JSON: name the "
        "model, and its certificate with --certificate.",
        error=InvalidInput,
    )
    data = read_file(certificate, "certificate", MAX_CERTIFICATE_BYTES)
    try:
        content = signed_file.decode(data)
    except InvalidInput as problem:
        return None, (str(problem),)
    return content, tuple(verification.check(content, model=model, keys=known))


def _keys(path: Path) -> PublicKeys:
    data = read_file(path, "file of keys", MAX_KEYS_BYTES)
    what = f"file of keys ({quoted_path(path)})"
    try:
        form = canonical.encode(canonical.loads(data))
    except (ValueError, RecursionError):
        raise InvalidInput(f"The {what} must be JSON, and is not.") from None
    keys: PublicKeys = canonical.parse(PublicKeys, form, what=what, error=InvalidInput)
    return keys
