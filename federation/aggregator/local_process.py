"""One aggregator as whoever starts it on this machine sees it."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from federation.aggregator import identity
from federation.transport.aggregator_client import AggregatorClient
from syft_code.errors import ConsiliumError
from syft_code.operation import process_user
from syft_code.operation.process_spec import ProcessSpec
from syft_code.operation.process_user import ProcessUser
from syft_code.plans.roster import Aggregator
from syft_code.runtime.durable_files import write_durably

CONNECT_S = 0.5
GRACE_S = 5.0
"""Below what whoever starts several parties gives each of them to stop."""


def party(
    home: Path,
    *,
    name: str,
    port: int,
    researchers: Sequence[str],
    user: ProcessUser | None = None,
) -> ProcessSpec:
    """An aggregator with this folder, ready to be started; its operator's file lies beside it.

    `researchers` are the public keys of those who may open studies. With a `user` of its own, that
    one alone reads file and folder.
    """
    file = home.with_suffix(".toml")
    lines = (
        ("name", name), ("home", home.name), ("port", port), ("stop_grace_s", GRACE_S),
        ("researchers", list(researchers)),
    )  # fmt: skip
    text = "".join(f"{field} = {json.dumps(value)}\n" for field, value in lines)
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_durably(file, text.encode("ascii"))
    if user is not None:
        number = user.number
        with process_user.opened_folder(file.parent) as folder:
            process_user.give_file(file.name, inside=folder, user=number, group=number, mode=0o600)
        user.give_home()
    return ProcessSpec(
        name=name,
        module="federation.aggregator.operator.aggregator_process",
        arguments=("--config", str(file), "--end-with-starter"),
        healthy=lambda: is_healthy(home),
        log_path=home.with_suffix(".log"),
        port=port,
        user=user,
    )


def public_entry(home: Path) -> Aggregator:
    """What the aggregator in this folder says of itself, for a plan's roster."""
    return identity.published(home)


def is_healthy(home: Path, *, address: str = "") -> bool:
    """Whether the aggregator in this folder serves, at its own address or another way to it."""
    try:
        entry = public_entry(home)
        client = AggregatorClient(
            replace(entry, address=address or entry.address), patience_s=CONNECT_S
        )
        try:
            return client.health() == entry
        finally:
            client.close()
    except ConsiliumError:
        return False
