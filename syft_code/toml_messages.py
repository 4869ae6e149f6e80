"""A message that somebody wrote as a TOML file: read, or refused in one sentence that names the field."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from syft_code import canonical, toml_text
from syft_code.errors import InvalidInput


def load(kind: type[Any], path: Path, *, what: str, beside: Sequence[str] = ()) -> Any:
    """Read a file into a message; a relative path in a field of `beside` begins at the file's folder.

    Raises:
        InvalidInput: with one sentence that names the field, in the words of who writes such a file.
    """
    try:
        table = toml_text.loads(path.read_text(encoding="utf-8"))
        as_json = json.dumps(table | _beside(path, table, beside), default=str)
        return TypeAdapter(kind).validate_json(as_json)
    except OSError as problem:
        raise InvalidInput(f"The {what}'s file {path} can't be read: {problem.strerror}.") from None
    except InvalidInput as problem:
        raise InvalidInput(f"In {path}, {problem}") from None
    except ValidationError as problem:
        raise InvalidInput(f"In {path}, {_first_problem(problem, kind, what)}.") from None
    except UnicodeDecodeError:
        raise InvalidInput(
            f"{path} must be TOML in UTF-8, and is not: save it again in that encoding."
        ) from None
    except (ValueError, RecursionError) as problem:  # of TOML: huge numbers and deep nesting, too
        raise InvalidInput(f"{path} must be TOML; {problem}.") from None


def text(fields: Mapping[str, str | int | float | Sequence[str]], *, head: str) -> str:
    """A file with these fields under a comment; TOML has JSON's strings, numbers and lists.

    >>> print(text({"name": "north", "port": 8443}, head="One hospital."), end="")
    # One hospital.
    name = "north"
    port = 8443
    """
    lines = [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in fields.items()]
    return "\n".join([f"# {head}", *lines, ""])


def _beside(path: Path, table: dict[str, Any], names: Sequence[str]) -> dict[str, str]:
    folder = path.resolve().parent
    return {
        name: str((folder / found).resolve())
        for name in names
        if isinstance(found := table.get(name), str) and found
    }


def _first_problem(found: ValidationError, kind: type[Any], what: str) -> str:
    """The field and what is wrong with it."""
    first = found.errors(include_url=False, include_input=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    if first["type"] == "missing":
        return f"{field} must be there, and is not"
    if first["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        known = ", ".join(one.name for one in dataclasses.fields(kind))
        article = "an" if what[0] in "aeiou" else "a"
        return f"{field} is no field of {article} {what}; the fields are {known}"
    return canonical.first_problem(found).replace(": Input should be", " must be", 1)
