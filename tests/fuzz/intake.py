"""What the front desk reads of a PySyft call before PySyft does. Imports PySyft when asked: that takes seconds."""

from random import Random

from tests.fuzz.mutation import changed_bytes, some
from tests.fuzz.runner import Parser


def parsers() -> list[Parser]:
    """One."""
    from nacl.signing import SigningKey
    from syft.server.credentials import SyftSigningKey
    from syft.types.uid import UID

    from datasites.desk import allowlist
    from datasites.desk.syft_server import INTAKE
    from tests.hostile import conftest as packing

    key, server = SyftSigningKey(signing_key=SigningKey(b"s" * 32)), UID(value="0" * 32)
    calls = [path for role in allowlist.ALLOWED_CALLS.values() for path in role]
    names = sorted(
        {*allowlist.ALLOWED_CALLS[allowlist.OWNER], *calls, "_GenericAlias", "type", "dict"}
    )
    values = [
        packing.pack(value)
        for value in (
            None,
            1,
            -1,
            2**70,
            0.5,
            "x",
            b"x",
            [1, [2, (3,)]],
            {"a": {"b": [server]}},
            {1},
        )
    ]

    def packed(random: Random, depth: int = 0) -> bytes:
        """An object of any type, right or wrong, with others inside."""
        if depth > 6 or random.random() < 0.4:
            return random.choice(values)
        name = random.choice(
            (*names, "list", "tuple", "UID", "SyftVerifyKey", "int", "str", "bytes")
        )
        if random.random() < 0.5:
            return packing.pack_blob(name, packed(random, depth + 1))
        fields = [
            (random.choice(("id", "value", "path", "args", "x")), packed(random, depth + 1))
            for _ in range(random.randrange(4))
        ]
        return packing.pack_fields(name, fields, version=random.choice((1, 1, 2, 99)))

    def signed(random: Random) -> bytes:
        return packing.pack_call(key, server, random.choice(calls), packed(random))

    def damaged_inside(random: Random) -> bytes:
        """Changed before it was signed, so that the signature holds."""
        fields = [("path", packing.pack(random.choice(calls))), ("args", packed(random))]
        message = packing.pack_fields("SyftAPICall", fields)
        return packing.pack_signed(key, changed_bytes(random, message))

    def parse(data: bytes) -> None:
        call = INTAKE.open(data)
        allowed = allowlist.allowed_types(call.path, role=allowlist.OWNER)
        INTAKE.check(call, allowed=allowed)

    def make(random: Random) -> bytes:
        return some(random, signed, damaged_inside, lambda r: changed_bytes(r, signed(r)))

    return [
        Parser(
            name="intake",
            good=packing.pack_call(key, server, calls[0], packing.pack([])),
            make=make,
            parse=parse,
        )
    ]
