"""From a federation's file to running parties with published data and an invited researcher."""

import contextlib
import secrets
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from nacl.signing import SigningKey

from datasites import private_files
from datasites.demo import demo_hospitals, stand_ins
from datasites.demo.demo_hospitals import HospitalSpec
from datasites.owner.owner import Owner
from federation.local import aggregator_processes
from federation.local.federation_file import FederationConfig
from federation.local.party_users import PartyUsers
from federation.local.state_folder import CREDENTIALS, HOSPITALS, RESEARCHER_KEY, STAND_INS
from federation.researcher.storage import joining
from federation.researcher.storage.credentials import Credentials
from federation.transport.retry import retry_while_progressing
from syft_code.errors import InvalidInput, Unavailable, require
from syft_code.operation import supervisor
from syft_code.operation.supervisor import START_TIMEOUT_S, Say
from syft_code.runtime.cli_input import require_folder

T = TypeVar("T")
RESTART_S = 180.0
"""In which a party that ended is ready again, on a busy machine too."""


@contextlib.contextmanager
def running_federation(
    config: FederationConfig,
    state: Path,
    *,
    users: PartyUsers | None = None,
    start_timeout_s: float = START_TIMEOUT_S,
    say: Say = lambda sentence: None,
) -> Iterator[None]:
    """Every party of a federation, ready, until the block ends; as users of their own if told."""
    specs = [
        spec
        for one in hospitals(config, state)
        for spec in one.parties(users.hospital(one.settings.name) if users else None)
    ]
    key = researcher_key(state).verify_key.encode().hex()
    specs += aggregator_processes.parties(config, state, researcher=key, users=users)
    specs.sort(key=lambda spec: "desk" not in spec.module)  # what takes longest begins first
    with supervisor.running(specs, start_timeout_s=start_timeout_s, say=say):
        yield


def require_free_ports(config: FederationConfig) -> None:
    """Raise `Unavailable` if somebody listens on a port that a party needs."""
    for hospital in config.hospital:
        supervisor.require_free_port(f"{hospital.name}'s front desk", hospital.port)
    for aggregator in config.aggregator:
        supervisor.require_free_port(aggregator.name, aggregator.port)


def require_data(config: FederationConfig) -> None:
    """Raise `InvalidInput` unless every hospital's data folder is there, or can be drawn."""
    for hospital in config.hospital:
        if hospital.data:
            require_folder(Path(hospital.data), f"data of hospital {hospital.name}")
        else:
            stand_ins.drawable(hospital.kind)


def require_declared(config: FederationConfig) -> None:
    """Raise `InvalidInput` unless every owner says how many patients their data have."""
    for hospital in config.hospital:
        require(
            not hospital.data or hospital.patients > 0,
            f"The owner of hospital {hospital.name} must declare its training patients, since what "
            "is public is never computed from data: write patients = 250, or as many as you want "
            "the public to read.",
            error=InvalidInput,
        )


def provision(config: FederationConfig, state: Path, *, say: Say) -> None:
    """Publish every hospital's data and invite a researcher, unless that was done before."""
    path = state / CREDENTIALS
    if path.exists():
        return
    parties = hospitals(config, state)
    owners = demo_hospitals.owners(parties)
    patiently(lambda: exchange_keys(config, state, owners))
    patiently(lambda: demo_hospitals.publish_all(parties, owners, state / STAND_INS, remark=say))
    patiently(lambda: invite(config, state, owners)).save(path)


def patiently(step: Callable[[], T]) -> T:
    """Take a step of the owners or the researcher, and again if a party was away: it restarts.

    A step that is taken again publishes the next version, signs anew and invites another account.
    """
    return retry_while_progressing(
        step, is_lost=lambda problem: isinstance(problem, Unavailable), patience_s=RESTART_S
    )


def hospitals(config: FederationConfig, state: Path) -> list[HospitalSpec]:
    """Every hospital of the file, with its folder and its first policy."""
    return [
        HospitalSpec(
            home=(state / HOSPITALS / entry.name).resolve(),
            settings=entry.site_settings(),
            policy=entry.policy(min_hospitals=config.min_hospitals),
            kind=entry.kind,
            data=entry.data,
            declared=entry.declaration(),
        )
        for entry in config.hospital
    ]


def exchange_keys(config: FederationConfig, state: Path, owners: Sequence[Owner]) -> None:
    """Every owner vouches for the other parties, whose keys come from the parties."""
    demo_hospitals.exchange_keys(owners, aggregator_processes.entries(config, state))


def researcher_key(state: Path) -> SigningKey:
    """The researcher's signing key; made before the credentials, since aggregators must list it."""
    credentials = state / CREDENTIALS
    if credentials.exists():
        return SigningKey(bytes.fromhex(Credentials.load(credentials).signing_key))
    return private_files.signing_key(state / RESEARCHER_KEY)


def invite(config: FederationConfig, state: Path, owners: Sequence[Owner]) -> Credentials:
    """An account at every hospital and a signing key, for one researcher."""
    email = f"researcher-{secrets.token_hex(3)}@example.org"
    key = researcher_key(state)
    accounts = tuple(joining.accept(owner.invite(email), key) for owner in owners)
    return Credentials(
        accounts=accounts,
        aggregators=aggregator_processes.entries(config, state),
        signing_key=key.encode().hex(),
    )
