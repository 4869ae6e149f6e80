"""The owner's own TOML files, read into one message each, or refused in one sentence."""

import json
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from syft_code import canonical, toml_text
from syft_code.errors import InvalidData

Message = TypeVar("Message")


def parse(kind: type[Message], data: bytes, *, name: str) -> Message:
    """The bytes of the file that is called `name`, as a message of this kind.

    Raises:
        InvalidData: with one sentence that names the file and the field.
    """
    try:
        as_json = json.dumps(toml_text.loads(data.decode("utf-8")), default=str)
    except UnicodeDecodeError:
        raise InvalidData(f"{name!r} must be UTF-8 text. Save it again.") from None
    except (ValueError, RecursionError) as problem:  # huge numbers, too; RecursionError: of JSON
        raise InvalidData(f"{name!r} must be TOML; {problem}.") from None
    try:
        return TypeAdapter(kind).validate_json(as_json)
    except ValidationError as problem:
        raise InvalidData(f"In {name!r}, {canonical.first_problem(problem)}.") from None
    except InvalidData as problem:
        raise InvalidData(f"In {name!r}, {problem}") from None
