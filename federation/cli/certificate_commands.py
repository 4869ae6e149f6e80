"""`certificate verify`: anybody checks a model with its certificate, by the parties' public keys.

model ───────┐
certificate ─┼─▶ it holds, or what does not
public keys ─┘
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from federation.certificate import file_check, statements
from federation.certificate.file_check import BESIDE
from federation.certificate.verification import Certificate
from syft_code.privacy import epsilons
from syft_code.runtime.cli_output import Command


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateCheck:
    """What is wrong with a model and its certificate, if anything, and whose word the keys are.

    `content` is what a researcher signed, None if nobody did.
    """

    content: Certificate | None
    problems: tuple[str, ...]
    keys_given: bool

    def facts(self) -> dict[str, Any]:
        """The check as `certificate verify --json` writes it."""
        return {
            "holds": not self.problems,
            "study": self.content["study"] if self.content and not self.problems else None,
            "hospitals": self._hospitals() if not self.problems else [],
            "keys_from": "option" if self.keys_given else "certificate",
            "problems": list(self.problems),
        }

    def text(self) -> str:
        """The check as lines of text."""
        content = self.content
        if content is None or self.problems:
            lines = ["The certificate does NOT hold:", *(f"  - {one}" for one in self.problems)]
            return "\n".join(lines)
        signed = sum(own["signed_contributions"] for own in self._hospitals())
        return "\n".join(
            [
                f"The certificate holds: study {content['study']}, {len(content['rounds'])} rounds, "
                f"{signed} contributions, each signed by its hospital. The researcher signed the "
                "whole, and the model is the one that it names.",
                *map(_sentence, self._hospitals()),
                self._whose_word(content),
            ]
        )

    def _hospitals(self) -> list[dict[str, Any]]:
        content = self.content or {"hospitals": []}
        return [
            {
                "name": own["name"],
                "epsilon": own["epsilon"],
                "epsilon_alone": own["epsilon_alone"],
                "delta": own.get("delta"),
                "signed_contributions": len(statements.slots_of(content, own["name"])),
                "verify_key": own["verify_key"],
            }
            for own in content["hospitals"]
        ]

    def _whose_word(self, content: Certificate) -> str:
        if self.keys_given:
            return "The keys are those that you gave."
        named = {"the researcher": content["plan"]["researcher_key"]}
        named |= {own["name"]: own["verify_key"] for own in self._hospitals()}
        keys = "\n".join(f"  {name}: {key}" for name, key in named.items())
        return (
            "The keys were taken from the certificate itself: compare them with the parties' own, "
            "or give those (--keys), or this says no more than that somebody signed it.\n" + keys
        )


def app() -> typer.Typer:
    """The command, as a group of one."""
    found = typer.Typer(
        no_args_is_help=True,
        help="Whether a model is the one that hospitals and researcher signed for.",
    )

    @found.callback()
    def _group() -> None: ...

    found.command(cls=Command)(verify)
    return found


def verify(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="The model's .safetensors file.")],
    certificate: Annotated[
        Path | None, typer.Option(help=f"Its certificate, if it is not {BESIDE} beside it.")
    ] = None,
    keys: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help='JSON: {"researcher": key, "hospitals": {name: key, ...}}.'
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document and nothing else.")
    ] = False,
) -> None:
    """Check a model against its certificate and all signatures; exit code 1 if it does not hold.

    JSON: holds, study, hospitals: name, epsilon, epsilon_alone, delta, signed_contributions, verify_key;
    keys_from (option or certificate), problems.
    """
    found = check(model, certificate or model.parent / BESIDE, keys)
    typer.echo(json.dumps(found.facts(), indent=2) if as_json else found.text())
    if found.problems:
        raise typer.Exit(1)


def check(model: Path, certificate: Path, keys: Path | None) -> CertificateCheck:
    """Hold a model's file and its certificate against each other, and against keys.

    Raises:
        InvalidInput: if a file is missing, or the keys are none.
    """
    content, problems = file_check.check(model, certificate, keys)
    return CertificateCheck(content=content, problems=problems, keys_given=keys is not None)


def _worst(own: dict[str, Any]) -> str:
    if own["epsilon_alone"] == own["epsilon"]:
        return ", whoever colludes"
    return f", {epsilons.at_least(own['epsilon_alone'])} if all other hospitals collude"


def _sentence(own: dict[str, Any]) -> str:
    if own["epsilon"] is None:
        return f"  {own['name']}: took part in no round."
    return (
        f"  {own['name']}: {own['signed_contributions']} contributions, epsilon "
        f"{epsilons.at_least(own['epsilon'])} at delta {own['delta']:g}{_worst(own)}."
    )
