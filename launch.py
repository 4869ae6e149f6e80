"""The console script `consilium`: it names the rooms' commands, and imports the one that is used."""

import sys
from importlib import import_module
from typing import Any

from syft_code.errors import ConsiliumError
from syft_code.operation import interrupts
from syft_code.runtime.cli_output import Command, LazyCommand, application, exit_code, plain


def _datasets() -> Any:
    return import_module("datasites.demo.federated_dataset").load


def _require_whole(*arguments: Any, **options: Any) -> None:
    """What audits say of a log, imported when a hospital's copy is put back."""
    import_module("federation.cli.audit_commands").require_whole(*arguments, **options)


COMMANDS = {
    "up": LazyCommand(
        load=lambda: import_module("federation.local.commands").up,
        text="Start hospitals and aggregators side by side, and stop them on Ctrl-C.",
    ),
    "demo": LazyCommand(
        load=lambda: import_module("federation.local_demo.demo_command").demo,
        text="Play every party once: publish, request, approve, train, evaluate, report.",
    ),
    "lab": LazyCommand(
        load=lambda: import_module("federation.local.commands").lab,
        text="Start the federation and JupyterLab on the two notebooks.",
    ),
    "dpia": LazyCommand(
        load=lambda: import_module("federation.local.dpia_command").dpia,
        text="Write a hospital's data protection impact assessment, filled in as far as a file says.",
    ),
    "stand-ins": LazyCommand(
        load=lambda: import_module("federation.local.dataset_commands").write_stand_ins,
        text="Write synthetic data in the layout of a published data set.",
    ),
    "split": LazyCommand(
        load=lambda: import_module("federation.local.dataset_commands").draw_split,
        text="Draw who would have how many of each class. Never draw it of a hospital's own "
        "patients.",
    ),
    "hospital": LazyCommand(
        load=lambda: import_module("datasites.cli.hospital_commands").app(_require_whole),
        text="One hospital alone on its machine: start it, publish, invite. See docs/deploy.md.",
    ),
    "researcher": LazyCommand(
        load=lambda: import_module("federation.cli.researcher_commands").researcher,
        text="A researcher's credentials: invitations of hospitals, aggregators, a signing key.",
    ),
    "data": LazyCommand(
        load=lambda: import_module("datasites.cli.data_command").app,
        text="A data folder, before anything is published: what it holds, a first mapping.",
    ),
    "requests": LazyCommand(
        load=lambda: import_module("datasites.cli.request_commands").app,
        text="Look at code requests, and decide on them.",
    ),
    "owner": LazyCommand(
        load=lambda: import_module("datasites.cli.pages_command").owner,
        text="The pages of a hospital's owner in a browser: look, and decide.",
    ),
    "ledger": LazyCommand(
        load=lambda: import_module("datasites.cli.ledger_commands").ledger,
        text="Show what each asset's patients have lost, and what is left. Needs the vault.",
    ),
    "policy": LazyCommand(
        load=lambda: import_module("datasites.cli.policy_commands").policy,
        text="The rules of a hospital. Needs the vault.",
    ),
    "approvers": LazyCommand(
        load=lambda: import_module("datasites.cli.policy_commands").approvers,
        text="Who decides at a hospital.",
    ),
    "parties": LazyCommand(
        load=lambda: import_module("datasites.cli.party_commands").parties,
        text="Which hospitals and aggregators are known to a hospital. Needs the vault.",
    ),
    "patients": LazyCommand(
        load=lambda: import_module("datasites.cli.policy_commands").patients,
        text="Patients who leave. Needs the vault.",
    ),
    "doctor": LazyCommand(
        load=lambda: import_module("datasites.cli.doctor_command").doctor,
        text="What this machine offers to contain a training, and what is missing.",
    ),
    "log": LazyCommand(
        load=lambda: import_module("datasites.cli.ledger_commands").log,
        text="The front desk's own log.",
    ),
    "audit": LazyCommand(
        load=lambda: import_module("datasites.cli.ledger_commands").audit(
            import_module("federation.cli.audit_commands").verify,
            import_module("federation.cli.privacy_commands").privacy,
        ),
        text="The signed log of what a hospital did; an audit of its epsilons.",
    ),
    "certificate": LazyCommand(
        load=lambda: import_module("federation.cli.certificate_commands").app(),
        text="Whether a model is the one that hospitals and researcher signed for.",
    ),
    "predict": LazyCommand(
        load=lambda: import_module("federation.prediction.commands").predict,
        text="Ask a trained model about pictures, a CSV or cases that it has never seen.",
    ),
    "model": LazyCommand(
        load=lambda: import_module("federation.prediction.commands").model_app(),
        text="A trained model in another form: ONNX.",
    ),
    "study": LazyCommand(
        load=lambda: import_module("federation.cli.study_commands").app(_datasets()),
        text="Prepare a study.",
    ),
    "experiment": LazyCommand(
        load=lambda: import_module("federation.cli.experiment_commands").app(_datasets()),
        text="A grid of simulated studies, by one command. Its data are public, or drawn.",
    ),
    "encoder": LazyCommand(
        load=lambda: import_module("federation.cli.encoder_commands").app(),
        text="Files of public encoders: what is here, and how a state dict becomes one.",
    ),
    "relay": LazyCommand(
        load=lambda: import_module("federation.relay.commands").app(),
        text="A host between researchers and hospitals that allow no inbound connection.",
    ),
    "aggregator": LazyCommand(
        load=lambda: import_module("federation.aggregator.operator.commands").app(Command),
        text="Run one aggregator, alone: start it, look after it, wipe a study. See "
        "docs/aggregators.md.",
    ),
}
app = application(
    COMMANDS, text="Consilium: hospitals train one model without showing anyone a patient."
)


def main() -> None:
    """Run a command; an error that was raised on purpose is one sentence and exit code 1 or 2."""
    interrupts.hear()
    try:
        app()
    except ConsiliumError as problem:
        print(plain(str(problem)), file=sys.stderr)  # noqa: T201
        sys.exit(exit_code(problem))


if __name__ == "__main__":
    main()
