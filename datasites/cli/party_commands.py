"""`parties`: for which hospitals and aggregators an owner vouches, by their keys and their words."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from datasites.cli import options
from datasites.cli.options import STATE, Keys, Name, State
from datasites.owner.owner import Owner
from policies.known_parties import Party
from syft_code import canonical
from syft_code.errors import InvalidInput, InvalidMessage, require
from syft_code.plans import key_fingerprint
from syft_code.plans.roster import Aggregator
from syft_code.runtime import cli_output
from syft_code.runtime.cli_input import read_file
from syft_code.runtime.cli_output import AsJson, Command, quoted

parties = typer.Typer(
    no_args_is_help=True,
    help="Which hospitals and aggregators are known to a hospital. Needs the vault.",
)
PartyName = Annotated[str, typer.Argument(metavar="NAME", help="Their name in rosters.")]
MAX_FILE_BYTES = 2**16


@parties.command("list", cls=Command)
def list_parties(state: State = STATE, name: Name = "", as_json: AsJson = False) -> None:
    """List who is known here, and this hospital's own key in words, for the others.

    JSON: hospital, verify_key, words, parties: party (name, institution, operator, verify_key,
    seal_key), words, added_by, added_at_unix_s.
    """
    owner = options.owner(state, name)
    card = owner.parties_card()
    if not as_json:
        cli_output.lines(card.text())
        return
    known = [{**asdict(one), "words": one.party.words} for one in card.known]
    own = {"verify_key": card.verify_key, "words": key_fingerprint.words(card.verify_key)}
    cli_output.document({"hospital": owner.name, **own, "parties": known})


@parties.command(cls=Command)
def add(
    words: Annotated[
        str, typer.Option(help="The words that somebody there reads to you on the telephone.")
    ],
    party: Annotated[
        str, typer.Argument(metavar="[NAME]", help="Their name in rosters, without a file.")
    ] = "",
    file: Annotated[
        Path | None,
        typer.Option(
            help="What `hospital show --out` wrote there, or an aggregator's public.json."
        ),
    ] = None,
    institution: Annotated[str, typer.Option(help="Whose it is, in full.")] = "",
    key: Annotated[str, typer.Option(help="The key that it signs with, from itself.")] = "",
    operator: Annotated[
        str, typer.Option(help="Who runs its machines, if not the institution itself.")
    ] = "",
    seal_key: Annotated[
        str, typer.Option(help="Of an aggregator: the key that shares are sealed to.")
    ] = "",
    state: State = STATE,
    name: Name = "",
    keys: Keys = None,
    as_json: AsJson = False,
) -> None:
    """Vouch for a hospital, your own too, or for an aggregator: key and words, never from a plan.

    JSON: hospital, party (as in list), missing_signatures, in_force.
    """
    owner = options.owner(state, name, keys=keys)
    new = _new_party(party, file, institution, operator, key=key, seal_key=seal_key)
    signed = owner.add_party(new, words=words)
    _signed(owner, signed.sentence, signed.missing, as_json, party=asdict(new))


@parties.command(cls=Command)
def remove(
    party: PartyName,
    state: State = STATE,
    name: Name = "",
    keys: Keys = None,
    as_json: AsJson = False,
) -> None:
    """Take a party off the list; no plan with it runs from now on.

    JSON: hospital, name, missing_signatures, in_force.
    """
    owner = options.owner(state, name, keys=keys)
    signed = owner.remove_party(party)
    _signed(owner, signed.sentence, signed.missing, as_json, name=party)


def _new_party(
    name: str, file: Path | None, institution: str, operator: str, *, key: str, seal_key: str
) -> Party:
    """The party of a file that it wrote, or of what was typed."""
    if file is not None:
        require(
            not (name or key or seal_key),
            "A party's file names it and its keys: leave out NAME, --key and --seal-key, or --file.",
            error=InvalidInput,
        )
        found = _read(file)
        name, key, seal_key = found.name, found.verify_key, found.seal_key
        if isinstance(found, Party):
            institution, operator = institution or found.institution, operator or found.operator
    require(
        bool(name and key and institution),
        "A party must be given by NAME, --key and --institution, or by --file; an aggregator's file does not "
        "say whose it is, so --institution must.",
        error=InvalidInput,
    )
    return Party(
        name=name,
        institution=" ".join(institution.split()),
        operator=" ".join((operator or institution).split()),
        verify_key="".join(key.split()),  # as `show` prints it, in groups
        seal_key="".join(seal_key.split()),
    )


def _read(file: Path) -> Party | Aggregator:
    """What a hospital or an aggregator wrote of itself."""
    data = read_file(file, "file", MAX_FILE_BYTES)
    kind = Aggregator if b'"certificate"' in data else Party
    try:
        found: Party | Aggregator = canonical.parse(kind, data, what="party")
    except InvalidMessage as problem:
        raise InvalidInput(
            f"{quoted(str(file))} must be what `consilium hospital show --out` wrote, or an aggregator's "
            f"public.json; {problem}"
        ) from None
    return found


def _signed(owner: Owner, sentence: str, missing: int, as_json: bool, **facts: Any) -> None:
    if not as_json:
        cli_output.sentence(sentence)
        return
    signed = {"missing_signatures": missing, "in_force": not missing}
    cli_output.document({"hospital": owner.name, **facts, **signed})
