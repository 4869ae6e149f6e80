"""What a command checks before it does any work: numbers, folders and files that a person named."""

import math
import os
from pathlib import Path

from syft_code.errors import InvalidInput, require
from syft_code.runtime.cli_output import quoted


def require_positive(value: float | None, option: str, *, most: float = math.inf) -> None:
    """Raise `InvalidInput` unless a number is finite, above 0 and at most `most`; None passes."""
    upper = f" and at most {most:g}" if math.isfinite(most) else ""
    require(
        value is None or (math.isfinite(value) and 0 < value <= most),
        f"{option} must be a finite number above 0{upper}, got {value}.",
        error=InvalidInput,
    )


def require_count(value: int | None, option: str, *, least: int = 1, most: int) -> None:
    """Raise `InvalidInput` unless a whole number lies within its bounds; None passes."""
    require(
        value is None or least <= value <= most,
        f"{option} must be a whole number from {least} to {most}, got {value}.",
        error=InvalidInput,
    )


def require_folder(path: Path, option: str) -> None:
    """Raise `InvalidInput` unless a folder is there and can be read."""
    require(
        _is(path, "folder") and os.access(path, os.R_OK | os.X_OK),
        f"{option} must be a folder that is there, got {quoted(str(path))}: check its name.",
        error=InvalidInput,
    )


def require_output_folder(path: Path, option: str) -> None:
    """Raise `InvalidInput` unless a folder is there to write in, or can be made where it would lie."""
    place = path if _is(path, "anything") else path.absolute().parent
    require(
        _is(place, "folder") and os.access(place, os.W_OK | os.X_OK),
        f"{option} must be a folder that you may write, or a new one in a folder that is there, got "
        f"{quoted(str(path))}: make its folder first, or name another.",
        error=InvalidInput,
    )


def make_folder(path: Path, option: str) -> None:
    """Make a folder with its parents, unless it is there; raise `InvalidInput` if it can't be."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise InvalidInput(
            f"{option} must be a folder, or a name for a new one, got {quoted(str(path))}: "
            f"{problem.strerror}."
        ) from None


def require_output_file(path: Path, option: str) -> None:
    """Raise `InvalidInput` unless a file can be written there: its folder is there, and it is none."""
    place = path.absolute().parent
    require(
        not _is(path, "folder") and _is(place, "folder") and os.access(place, os.W_OK | os.X_OK),
        f"{option} must be a file in a folder that is there, got {quoted(str(path))}: make the "
        "folder first, or name another.",
        error=InvalidInput,
    )


def read_file(path: Path, what: str, most_bytes: int) -> bytes:
    """A file's bytes; raise `InvalidInput` if it is none, is too large, or can't be read."""
    try:
        require(path.exists(), f"There is no {what} {quoted_path(path)}.", error=InvalidInput)
        require(
            path.is_file() and path.stat().st_size <= most_bytes,
            f"The {what} {quoted_path(path)} must be a file of at most {most_bytes:,} bytes, and is "
            "none.",
            error=InvalidInput,
        )
        return path.read_bytes()
    except OSError as problem:
        raise InvalidInput(
            f"The {what} {quoted_path(path)} can't be read: {problem.strerror}."
        ) from None


def quoted_path(path: Path) -> str:
    """The end of a path, as it is fit to be printed."""
    return repr(str(path)[-80:])


def _is(path: Path, what: str) -> bool:
    """Whether a folder, or anything, is there; a path that can't be looked at is nothing."""
    try:
        return path.is_dir() if what == "folder" else path.exists() or path.is_symlink()
    except (OSError, ValueError):
        return False
