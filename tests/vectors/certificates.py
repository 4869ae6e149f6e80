"""The certificate of the known answers, and broken ones with the sentence that refuses each.

A certificate holds more than this (epsilons by two accountants, what each party saw); here is what
is signed, of a study of two rounds, in the second of which west is away.
"""

import copy
import difflib
import json
from collections.abc import Callable, Iterator
from typing import Any

from tests.vectors import second
from tests.vectors.studies import HOSPITALS, PLANS, SIGN_SEEDS, header

Case = dict[str, Any]
PLAN = PLANS["3 of 3"]
MODELS = [second.sha256(f"model {number}".encode()) for number in range(3)]
CHANGED = "every byte before it"
SIGNATURE = "must carry the signature of its key"


def content() -> Case:
    rounds = [_round(1, list(HOSPITALS), []), _round(2, _present(), _present())]
    return {
        "format": "consilium-certificate-6",
        "study": PLAN["study"],
        "model": {"weights_sha256": MODELS[2]},
        "hospitals": [_hospital(name) for name in HOSPITALS],
        "rounds": rounds,
        "plan": PLAN,
    }


def _present() -> list[str]:
    return [name for name in HOSPITALS if name != "west"]


def _round(number: int, hospitals: list[str], evaluators: list[str]) -> Case:
    return {
        "round": number,
        "hospitals": sorted(hospitals),
        "evaluators": sorted(evaluators),
        "weights_sha256": MODELS[number - 1],
        "evaluated_sha256": MODELS[number] if evaluators else None,
    }


def _hospital(name: str) -> Case:
    slots = [(1, "train"), (2, "train"), (2, "evaluate")]
    signed = [statement(name, *slot) for slot in slots[: 1 if name == "west" else 3]]
    last = json.loads(signed[-1]["message"])
    return {
        "name": name,
        "epsilon_stated_by_ledger": last["epsilon"],
        "epsilon_alone_stated_by_ledger": last["epsilon_alone"],
        "delta": last["delta"],
        "statements": signed,
        "log_sha256": last["log_sha256"],
    }


def statement(name: str, number: int, purpose: str, **changes: object) -> Case:
    """What a hospital signed of one contribution."""
    evaluated = purpose == "evaluate"
    fields = header(PLAN, party=3) | {
        "hospital": name,
        "purpose": purpose,
        "round": number,
        "weights_sha256": MODELS[number - 1 + evaluated],
        "epsilon": 0.5 * number + 0.25 * evaluated,
        "epsilon_alone": 1.0 * number + 0.5 * evaluated,
        "log_sha256": second.sha256(f"log {name} {number} {purpose}".encode()),
        "sealed_sha256": second.sha256(f"sealed {name} {number} {purpose}".encode()),
    }
    return second.sign("ShareHeader", fields | changes, SIGN_SEEDS[name])


def signed_cases() -> Iterator[Case]:
    researcher = SIGN_SEEDS["researcher"]
    yield {"name": "two rounds", "sign_seed": researcher.hex(),
           "file": second.certificate_file(content(), researcher).decode()}  # fmt: skip


def bad_cases() -> Iterator[Case]:
    """Changed by somebody without the researcher's key, then by the researcher."""
    good = second.certificate_file(content(), SIGN_SEEDS["researcher"])
    for name, data in (
        ("an epsilon lowered", good.replace(b'ledger": 1.25', b'ledger": 1.15', 1)),
        ("a whole number with a point", good.replace(b'"round": 1,', b'"round": 1.0,', 1)),
        ("a byte less at the end", good[:-1]),
        ("a byte more at the end", good + b"\n"),
        ("a bit of the signature", good[:-5] + bytes([good[-5] ^ 1]) + good[-4:]),
        ("a signature in capitals", good[:-132] + good[-132:-4].upper() + good[-4:]),
        ("no signature", good[: good.rindex(second.SIGNATURE_BEFORE)] + b"\n}\n"),
        ("nothing", b""),
        ("a stranger's signature", second.certificate_file(content(), SIGN_SEEDS["stranger"])),
    ):
        yield _case(name, data, CHANGED)
    body = good[: good.rindex(second.SIGNATURE_BEFORE)]
    for name, form in (
        ("a space more, signed anew", body.replace(b": ", b":  ", 1)),
        ("a member twice, signed anew", body.replace(b"{\n", b'{\n  "study": "other",\n', 1)),
    ):
        data = second.countersigned(form, SIGN_SEEDS["researcher"])
        yield _case(name, data, CHANGED)
    for name, (change, sentence) in CHANGES.items():
        broken = copy.deepcopy(content())
        change(broken)
        data = second.certificate_file(broken, SIGN_SEEDS["researcher"])
        yield _case(f"{name}, signed anew", data, sentence)


def _case(name: str, data: bytes, sentence: str) -> Case:
    """A broken file by its lines that differ from the good one's: first, end, what stands there."""
    good = second.certificate_file(content(), SIGN_SEEDS["researcher"])
    lines, broken = (one.decode().splitlines(keepends=True) for one in (good, data))
    steps = difflib.SequenceMatcher(None, lines, broken, autojunk=False).get_opcodes()
    edits = [[a, b, "".join(broken[c:d])] for kind, a, b, c, d in steps if kind != "equal"]
    return {"name": name, "edits": edits, "sentence": sentence}


def edited(file: str, edits: list[tuple[int, int, str]]) -> bytes:
    """The broken file of a case, made from the good one."""
    lines = file.splitlines(keepends=True)
    for first, end, text in reversed(edits):
        lines[first:end] = [text]
    return "".join(lines).encode()


def _statements(content: Case, position: int = 0) -> list[Case]:
    found: list[Case] = content["hospitals"][position]["statements"]
    return found


def _put(number: int, purpose: str, **changes: object) -> Callable[[Case], None]:
    """North's last statement replaced by another one that it signed."""
    signed = statement("north", number, purpose, **changes)
    return lambda content: _statements(content).__setitem__(2, signed)


CHANGES: dict[str, tuple[Callable[[Case], object], str]] = {
    "south's signature under north's words": (
        lambda c: _statements(c)[0].update(signature=_statements(c, 1)[0]["signature"]),
        SIGNATURE,
    ),
    "south's statement for north's": (
        lambda c: _statements(c).__setitem__(0, _statements(c, 1)[0]),
        SIGNATURE,
    ),
    "a signature in capitals": (
        lambda c: _statements(c)[0].update(signature=_statements(c)[0]["signature"].upper()),
        SIGNATURE,
    ),
    "a statement dropped": (
        lambda c: _statements(c).pop(),
        "each of its 3 contributions must have the statement that it signed, and there are 2",
    ),
    "a statement of another study": (
        _put(2, "evaluate", plan_hash=second.sha256(second.canonical(PLANS["2 of 3"]))),
        "was signed for another plan",
    ),
    "a statement of another round": (_put(1, "train"), "is one of round 1 (train)"),
    "a statement over other weights": (
        _put(2, "evaluate", weights_sha256="00" * 32),
        "names other weights",
    ),
    "an epsilon lowered": (
        lambda c: c["hospitals"][0].update(epsilon_stated_by_ledger=0.5),
        "by its own signature",
    ),
    "another delta": (lambda c: c["hospitals"][0].update(delta=1e-3), "by its own signature"),
    "another log": (lambda c: c["hospitals"][0].update(log_sha256="00" * 32), "hash of its log"),
    "another model between the rounds": (
        lambda c: c["rounds"][1].update(weights_sha256="00" * 32),
        "names other weights",
    ),
    "another model delivered": (
        lambda c: c["model"].update(weights_sha256="00" * 32),
        "evaluated after round 2",
    ),
}
