"""A researcher's process that trains one study, so that it can be killed and started again.

    python -m tests.faults.researcher FOLDER

FOLDER is that of the hospitals; `addresses.json` in it says where their front desks are. It
prints `round N` after each round, and in the end `model SHA256`, or `stopped` and a sentence.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from nacl.signing import SigningKey

from federation.researcher.outcome import model_sha256
from federation.researcher.study import Study
from federation.transport.aggregator_client import AggregatorClient
from syft_code.operation.parent_exit import end_with_parent
from syft_code.plans.plan import Plan
from tests.faults.hospitals import Client

ACCOUNT = SigningKey(b"account of the tests' researcher")
PATIENCE_S = 20.0


@contextmanager
def study(
    plan: Plan,
    addresses: Mapping[str, str],
    key: SigningKey,
    *,
    patience_s: float = PATIENCE_S,
) -> Iterator[Study]:
    """A study over real aggregators, and hospitals at these addresses."""
    hospitals = [
        Client(name, address, ACCOUNT, patience_s=patience_s) for name, address in addresses.items()
    ]
    aggregators = [AggregatorClient(a, patience_s=patience_s) for a in plan.aggregators]
    try:
        yield Study(
            plan,
            hospitals=hospitals,  # type: ignore[arg-type]
            aggregators=aggregators,
            key=key,
            patience_s=patience_s,
        )
    finally:
        for client in (*hospitals, *aggregators):
            client.close()


def main(arguments: Sequence[str]) -> None:
    """Train to the end."""
    end_with_parent()
    folder = Path(arguments[0])
    plan = Plan.decode((folder / "plan.json").read_bytes())
    addresses = json.loads((folder / "addresses.json").read_text())
    key = SigningKey((folder / "researcher.key").read_bytes())
    with study(plan, addresses, key) as running:
        outcome = running.train(on_round=lambda record, _: say(f"round {record.round}"))
    say(
        f"stopped {outcome.stopped}"
        if outcome.stopped
        else f"model {model_sha256(outcome.weights)}"
    )


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
