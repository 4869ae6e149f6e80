"""Changes to a valid input: of its bytes, and of what it means, so that it gets past the first check."""

import copy
import json
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from syft_code import canonical

Make = Callable[[Random], bytes]
"""An input from a random source, the same one for the same source."""
LONGEST = 2**20
DEEP = 50_000
_WORDS: list[Any] = [
    None, True, False, 0, -1, 1, 3, 255, 256, 2**31, 2**32, 2**53 - 1, 2**53, 2**63, 2**64, -(2**63),
    0.5, 1e-320, 1e308, -1e308, float("inf"), float("nan"), "", "\0", "a", "é", "\u202e", "../x",
    "a" * 41, "0" * 64, "f" * 64, "a" * 5000, [], {}, [[]], {"kind": "x"}, [None],
]  # fmt: skip
_TOML = [
    b"nan", b"inf", b"-1", b"1e400", b"9" * 400, b"9" * 5000, b'""', b"[]", b"{}", b"true", b"1979-05-27",
    b"[" * 5000, b'"' + b"a" * 3000 + b'"', b'["a", "a"]', b'"../x"', b"1\n" + b"a." * 5000 + b"a = 1",
]  # fmt: skip
_NUMBERS = [0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 2**63 - 1, 2**64 - 1]


def some(random: Random, *ways: Make) -> bytes:
    """One of these ways, each as likely."""
    return random.choice(ways)(random)


def changed_bytes(random: Random, data: bytes) -> bytes:
    """One to eight changes that know nothing of what the bytes mean."""
    found = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 4, 8))):
        _change(random, found)
    return bytes(found[:LONGEST])


def _change(random: Random, data: bytearray) -> None:
    at = random.randrange(len(data) + 1)
    to = min(len(data), at + random.choice((1, 2, 4, 16, 256)))
    match random.randrange(8):
        case 0:
            data[at:to] = random.randbytes(to - at)
        case 1 if data:
            data[at % len(data)] ^= 1 << random.randrange(8)
        case 2:
            del data[at:to]
        case 3:
            data[at:at] = data[at:to] * random.choice((1, 2, 100))
        case 4:
            del data[at:]
        case 5:
            data[at:at] = random.randbytes(random.choice((1, 3, 30)))
        case 6:
            number = random.choice(_NUMBERS).to_bytes(8, random.choice(("little", "big")))
            width = random.choice((1, 2, 4, 8))
            data[at : at + width] = number[:width]
        case _:
            data[at:to] = random.choice(
                (b'"', b"[" * DEEP, b"{", b"\n", b"\xff\xfe", b"\0" * 9, b",")
            )


def changed_json(random: Random, data: bytes) -> bytes:
    """The same for values: one to three of them changed, and written canonically where that goes."""
    table = copy.deepcopy(json.loads(data))
    for _ in range(random.choice((1, 1, 2, 3))):
        table = _changed_value(random, table)
    if random.random() < 0.02:
        return b"[" * DEEP + written(table)
    return written(table)


def written(table: Any) -> bytes:
    """As canonical JSON, or as near to it as its numbers let."""
    try:
        return canonical.encode(table)[:LONGEST]
    except ValueError:
        text = json.dumps(table, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return text.encode("utf-8", "replace")[:LONGEST]


def read_back(data: bytes) -> Any:
    """As a value, or as text if it is none or nests too deep."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return data.decode("utf-8", "replace")


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Each value inside as its holder and its key there."""
    keys = list(value) if isinstance(value, dict) else range(len(value))
    found = [(value, key) for key in keys] if isinstance(value, dict | list) else []
    return [*found, *(p for holder, key in found for p in _inside(holder[key]))]


def _inside(value: Any) -> list[tuple[Any, Any]]:
    return _places(value) if isinstance(value, dict | list) else []


def _changed_value(random: Random, table: Any) -> Any:
    places = _inside(table)
    if not places:
        return random.choice(_WORDS)
    holder, key = random.choice(places)
    value = holder[key]
    match random.randrange(7):
        case 0:
            del holder[key]
        case 1:
            other, name = random.choice(places)
            holder[key] = copy.deepcopy(other[name])
        case 2 if isinstance(value, list) and value:
            value.extend(value * random.choice((1, 7, 1000)))
            del value[20_000:]
        case 3 if isinstance(holder, dict):
            holder[random.choice(("x", key.upper(), key + "s", ""))] = holder.pop(key)
        case 4 if isinstance(value, str):
            holder[key] = changed_bytes(random, value.encode()).decode("utf-8", "replace")[:5000]
        case 5 if isinstance(value, int | float) and not isinstance(value, bool):
            holder[key] = random.choice((value + 1, value - 1, -value, value * 2, value * 10**9))
        case _:
            holder[key] = copy.deepcopy(random.choice(_WORDS))
    return table


def changed_toml(random: Random, data: bytes) -> bytes:
    """Lines of TOML with other values, other lines again, or changed bytes."""
    if random.random() < 0.3:
        return changed_bytes(random, data)
    lines = data.splitlines()
    for _ in range(random.randrange(1, 4)):
        place = random.randrange(len(lines))
        name = lines[place].split(b"=")[0]
        lines[place] = random.choice((name + b"= " + random.choice(_TOML), random.choice(lines)))
    return b"\n".join(lines)


def of_json(seeds: Sequence[bytes]) -> Make:
    """Inputs from valid JSON: two of three changed as values, one as bytes."""

    def make(random: Random) -> bytes:
        seed = random.choice(seeds)
        way = changed_bytes if random.random() < 1 / 3 else changed_json
        return way(random, seed)

    return make


def of_bytes(seeds: Sequence[bytes]) -> Make:
    """Inputs from anything, changed as bytes."""
    return lambda random: changed_bytes(random, random.choice(seeds))
