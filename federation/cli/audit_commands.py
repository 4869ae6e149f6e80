"""`audit verify`: anybody checks a party's audit log, at the command line.

    export ─┐
    key ────┼─▶ sound, or what is wrong
    anchors ┘   the hashes of its entries that certificates and aggregators hold

Where the party's key comes from decides what a check is worth, and is said: from whoever
checks (--key), from a certificate's plan, or from the log itself.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from federation.certificate import certificate, verification
from federation.transport.aggregator_client import AggregatorClient
from syft_code import canonical
from syft_code.errors import InvalidInput, Refused, require
from syft_code.evidence import audit_chain
from syft_code.evidence.audit_chain import Anchor, Verdict
from syft_code.plans.plan import Plan
from syft_code.plans.roster import HEX_KEY, Aggregator
from syft_code.runtime.cli_input import quoted_path, read_file

MAX_LOG_BYTES = 2**30
MAX_CERTIFICATE_BYTES = 2**26
MAX_ENTRY_BYTES = 2**20
CONNECT_S = 3.0
KeySource = Literal["option", "certificate", "log"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """What one certificate says of the hospital whose log is checked."""

    hospital: str
    verify_key: str
    anchors: tuple[Anchor, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What is wrong with a log, the anchors held against it, and whose word the key is.

    `key` is the party's (hex), which the log was held against, by `key_from`'s word; `silent` are the
    certificates and aggregators that were asked and hold no anchor to it.
    """

    verdict: Verdict
    key: str
    problems: tuple[str, ...]
    key_from: KeySource
    anchors: tuple[Anchor, ...] = ()
    silent: tuple[str, ...] = ()

    def facts(self) -> dict[str, Any]:
        """The check as `audit verify --json` writes it."""
        head = self.verdict.head
        return {
            "sound": not self.problems,
            "party": self.verdict.party,
            "verify_key": self.key,
            "key_from": self.key_from,
            "entries": self.verdict.entries,
            "head": {"number": head.number, "sha256": head.sha256} if head else None,
            "anchors": [{"source": one.source, "sha256": one.sha256} for one in self.anchors],
            "anchored": self.verdict.anchored,
            "without_anchor": list(self.silent),
            "problems": list(self.problems),
        }

    def text(self) -> str:
        """The check as lines of text."""
        told = [*self._held_by(), self._whose_word()] if self.verdict.verify_key else []
        return "\n".join([*self._finding(), *told])

    def _finding(self) -> list[str]:
        verdict = self.verdict
        if self.problems:
            return ["The log is NOT sound:", *(f"  - {problem}" for problem in self.problems)]
        end = f", the last with SHA-256 {verdict.head.sha256}" if verdict.head else ""
        return [
            f"The log is sound: {verdict.entries} entries of {verdict.party}, each signed and "
            f"chained to the one before{end}."
        ]

    def _held_by(self) -> list[str]:
        sources = " and ".join(dict.fromkeys(anchor.source for anchor in self.anchors))
        met = self.verdict.anchored
        reach = f"up to entry {met}" if met else "and no entry meets an anchor"
        lines = [f"Held against {sources}, {reach}."] if sources else []
        lines += [f"No anchor to it is held by {source}." for source in self.silent]
        if not sources:
            lines.append(
                "Nobody else's anchor was held against it, so entries cut off at its end would not "
                "show: name certificates (--certificate) or aggregators (--aggregator)."
            )
        return lines

    def _whose_word(self) -> str:
        key = self.key
        match self.key_from:
            case "option":
                return f"The key is the one that you gave, {key}."
            case "certificate":
                return f"The key is the one that the certificate's plan names, {key}."
        return (
            f"The key was taken from the log itself, {key}: compare it with the party's own, or "
            "this says no more than that somebody signed it."
        )


def verify(
    log: Annotated[
        Path, typer.Argument(metavar="FILE", help="What `audit export` or `aggregator log` wrote.")
    ],
    key: Annotated[str, typer.Option(help="The party's public key, if you know it.")] = "",
    certificates: Annotated[
        list[Path] | None, typer.Option("--certificate", help="A model's certificate.json.")
    ] = None,
    aggregators: Annotated[
        list[Path] | None, typer.Option("--aggregator", help="An aggregator's public.json.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document and nothing else.")
    ] = False,
) -> None:
    """Check the log of a hospital or an aggregator; exit code 1 if it is not sound.

    JSON: sound, party, verify_key, key_from (option, certificate or log), entries, head
    (number, sha256), anchors: source, sha256; anchored (the last entry that an anchor names),
    without_anchor (who was asked and holds none), problems.
    """
    found = check(
        read_file(log, "log", MAX_LOG_BYTES),
        key=key.strip().lower(),
        certificates=certificates or (),
        aggregators=[_entry(path) for path in aggregators or ()],
    )
    typer.echo(json.dumps(found.facts(), indent=2) if as_json else found.text())
    if found.problems:
        raise typer.Exit(1)


def check(
    data: bytes,
    *,
    key: str = "",
    certificates: Sequence[Path] = (),
    aggregators: Sequence[Aggregator] = (),
) -> Checked:
    """Hold a log against a key, certificates and aggregators, as far as they are there.

    Raises:
        InvalidInput: if the key or a certificate is none, or two name different keys.
        Unavailable: if an aggregator does not answer.
    """
    require(
        not key or HEX_KEY.fullmatch(key) is not None,
        "--key must be 64 hexadecimal digits: take it from whose log it is.",
        error=InvalidInput,
    )
    header = _header(data)
    if not header.verify_key:
        return Checked(verdict=header, key="", problems=header.problems, key_from="log")
    told = {_source(path): _named(path, header, key) for path in certificates}
    named = [one for one in told.values() if one]
    right = _one_key([key, *(one.verify_key for one in named)]) or header.verify_key
    held = {source: one.anchors if one else () for source, one in told.items()}
    held |= {f"aggregator {one.name}": _held(one, right) for one in aggregators}
    anchors = tuple(anchor for some in held.values() for anchor in some)
    verdict = audit_chain.verify(data, verify_key=right, anchors=anchors)
    return Checked(
        verdict=verdict,
        key=right,
        problems=(*verdict.problems, *_other_names(header, named)),
        key_from="option" if key else "certificate" if named else "log",
        anchors=anchors,
        silent=tuple(source for source, some in held.items() if not some),
    )


def require_whole(
    data: bytes,
    key: str,
    *,
    certificates: Sequence[Path],
    aggregators: Sequence[Path],
    unseen: bool,
) -> int:
    """The last entry of a hospital's log that these certificates and aggregators have seen; all of it is there.

    With `unseen` nobody needs to have seen any.

    Raises:
        InvalidInput: if nobody is named.
        Refused: if something of it is missing, or none of them has seen any of it.
        Unavailable: if an aggregator does not answer.
    """
    require(
        bool(certificates or aggregators),
        "Somebody else must say how far the ledger had come: name aggregators (--aggregator) or certificates "
        "(--certificate) of the hospital's studies.",
        error=InvalidInput,
    )
    found = check(
        data, key=key, certificates=certificates, aggregators=[_entry(path) for path in aggregators]
    )
    require(
        not found.problems,
        f"The copy's ledger must hold all that others have seen of it, and does not: "
        f"{' '.join(found.problems)} It has forgotten what was spent since, so nothing was put back: look "
        "for a newer copy.",
        error=Refused,
    )
    seen = found.verdict.anchored or 0
    require(
        unseen or seen > 0,
        "Somebody must have seen how far the ledger had come, and none of those who were named has: name the "
        "aggregators and certificates of its last studies. If it never took part in any, say --unseen: an "
        "older ledger would then come back unnoticed.",
        error=Refused,
    )
    return seen


def _named(path: Path, header: Verdict, key: str) -> Named | None:
    """What a certificate says of the log's hospital; None if it does not know it.

    A key that was given says which hospital it is, else the name, else the log's own key.
    """
    plan, hashes = _certificate(path)
    by_name = [] if key else [h for h in plan.hospitals if h.name == header.party]
    by_key = [h for h in plan.hospitals if h.verify_key == (key or header.verify_key)]
    for entry in (*by_name, *by_key):
        sha256 = hashes.get(entry.name)
        anchors = (Anchor(sha256=sha256, source=_source(path)),) if sha256 else ()
        return Named(hospital=entry.name, verify_key=entry.verify_key, anchors=anchors)
    return None


def _other_names(header: Verdict, named: Sequence[Named]) -> list[str]:
    """A name in a header is the log's own word: a certificate may have another for its key."""
    return [
        f"The log says that it is {header.party}'s, and a certificate calls the hospital with "
        f"this key {one.hospital}: ask which of the two is right."
        for one in named
        if one.hospital != header.party
    ]


def _one_key(keys: Sequence[str]) -> str:
    """The key that all of those that are there agree on; empty if there is none."""
    found = sorted({key for key in keys if key})
    require(
        len(found) <= 1,
        "All certificates must name the same key for this hospital, and they name "
        f"{' and '.join(found)}: find out from the hospital which is right, and give it as --key.",
        error=InvalidInput,
    )
    return found[0] if found else ""


def _held(aggregator: Aggregator, key: str) -> tuple[Anchor, ...]:
    """The anchors to a hospital's log that an aggregator holds."""
    client = AggregatorClient(aggregator, patience_s=CONNECT_S)
    try:
        hashes = client.anchors(key)
    finally:
        client.close()
    return tuple(Anchor(sha256=one, source=f"aggregator {aggregator.name}") for one in hashes)


def _header(data: bytes) -> Verdict:
    """Whose log it says it is: its first line, checked alone; without a header, no key."""
    line = data[: audit_chain.MAX_LINE_BYTES + 1].partition(b"\n")[0]
    return audit_chain.verify(line + b"\n")


def _certificate(path: Path) -> tuple[Plan, dict[str, str]]:
    """The plan in a certificate, and the log's last hash of each hospital that contributed."""
    read_file(path, "certificate", MAX_CERTIFICATE_BYTES)
    try:
        content = certificate.read(path)
        hashes = dict(verification.anchors_of(content))
        return Plan.decode(canonical.encode(content["plan"])), hashes
    except RecursionError:
        raise InvalidInput(f"The {_source(path)} is too deeply nested to be one.") from None


def _entry(path: Path) -> Aggregator:
    """An aggregator's own public.json."""
    data = read_file(path, "aggregator's public.json", MAX_ENTRY_BYTES)
    entry: Aggregator = canonical.parse(
        Aggregator, data, what=f"public.json ({quoted_path(path)})", error=InvalidInput
    )
    require(
        entry.certificate.isascii(),
        f"The public.json {quoted_path(path)} must hold a TLS certificate, and holds none.",
        error=InvalidInput,
    )
    return entry


def _source(path: Path) -> str:
    return f"certificate {quoted_path(path)}"
