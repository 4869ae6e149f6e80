"""The console script `consilium`: it assembles the rooms' commands, and holds none itself."""

import signal
import sys
from types import FrameType

from datasites.cli import ledger_commands, policy_commands, request_commands
from datasites.demo.federated_dataset import load
from federation.aggregator.operator import commands as aggregator_commands
from federation.cli import audit_commands, experiment_commands, study_commands
from federation.local import commands, dataset_commands
from syft_code.errors import ConsiliumError
from syft_code.runtime.cli_output import Command, Commands, application, plain

ledger_commands.audit.command(cls=Command)(audit_commands.verify)
COMMANDS: Commands = {
    "up": commands.up,
    "demo": commands.demo,
    "lab": commands.lab,
    "stand-ins": dataset_commands.write_stand_ins,
    "split": dataset_commands.draw_split,
    "requests": request_commands.app,
    "ledger": ledger_commands.ledger,
    "policy": policy_commands.policy,
    "approvers": policy_commands.approvers,
    "patients": policy_commands.patients,
    "log": ledger_commands.log,
    "audit": ledger_commands.audit,
    "study": study_commands.app(load),
    "experiment": experiment_commands.app(load),
    "aggregator": aggregator_commands.app(Command),
}
app = application(
    COMMANDS, text="Consilium: hospitals train one model without showing anyone a patient."
)


def main() -> None:
    """Run a command; an error that was raised on purpose is one sentence and exit code 1."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        app()
    except ConsiliumError as problem:
        sys.exit(plain(str(problem)))


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
