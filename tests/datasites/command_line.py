"""An owner's commands as a person types them, at hospitals with a researcher who asks for studies."""

import json
import secrets
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from click.testing import Result
from typer.testing import CliRunner

import launch
from datasites import site
from datasites.owner.owner import Owner
from datasites.owner.publishing import Declaration
from datasites.site import SiteSettings
from federation.researcher.syft_client import HospitalClient
from policies import site_policy
from syft_code.plans.plan import Plan
from syft_code.plans.roster import Hospital
from syft_code.runtime import durable_files
from tests.conftest import free_ports
from tests.datasites.hospitals import cohort, policy
from tests.plans import SKIN

RUNNER = CliRunner(mix_stderr=False)


@dataclass(frozen=True, kw_only=True)
class Ours:
    """north, whose vault and front desk run; south, whose vault runs; east, where nothing does."""

    state: Path
    alice: HospitalClient
    template: Plan

    @property
    def north(self) -> Owner:
        return Owner(self.state / "hospitals" / "north")

    def asked(self) -> Plan:
        """Let alice ask for one more study."""
        wanted = replace(self.template, study=f"study-{secrets.token_hex(4)}")
        self.alice.submit(wanted)
        return wanted

    def run(self, *words: object, at: str = "north", answer: str = "") -> Result:
        """A command as a person types it."""
        return run(*words, "--state", self.state, "--hospital", at, answer=answer)

    def told(self, *words: object, at: str = "north") -> str:
        """What a command that must work says to people."""
        return worked(self.run(*words, at=at))

    def json(self, *words: object, at: str = "north") -> Any:
        """What a command that must work says to programs: one document, nothing else."""
        return json.loads(worked(self.run(*words, "--json", at=at)))

    def refusal(self, *words: object, at: str = "north") -> str:
        """The one sentence of a command that must be refused."""
        return refusal(self.run(*words, at=at))


def run(*words: object, answer: str = "") -> Result:
    found: Result = RUNNER.invoke(launch.app, [str(word) for word in words], input=answer)
    return found


def worked(result: Result) -> str:
    assert (result.exit_code, result.stderr) == (0, ""), (result.stderr, result.exception)
    return result.stdout


def refusal(result: Result) -> str:
    """One sentence on standard error, exit code 1 or 2, nothing on standard output."""
    assert isinstance(result.exception, SystemExit), repr(result.exception)
    assert result.exit_code in (1, 2) and result.stdout == ""
    said = result.stderr
    assert said.endswith((".\n", "`.\n", "]\n")) and said.count("\n") == 1, said
    assert 20 < len(said) < 700, said
    assert "Traceback" not in said and "\x1b" not in said
    return said


def place(state: Path, name: str) -> site.Site:
    text = site_policy.text(policy(min_patients=5))
    made = site.create(
        state / "hospitals" / name, SiteSettings(name=name, port=free_ports(1)), policy=text
    )
    durable_files.write_durably(made.owner / "salt", bytes(32))  # of the tokens in `cohort`
    return made


def entry_of(owner: Owner) -> Hospital:
    card = owner.publish(
        cohort(), spec=SKIN, asset="skin-lesions", declared=Declaration(patients=30)
    )
    return Hospital(
        name=owner.name,
        verify_key=card.verify_key,
        asset=card.asset,
        asset_version=card.version,
        patients=card.patients,
    )
