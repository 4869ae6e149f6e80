"""`demo`: every party's part in order, in a run's folder where nobody's data stays behind."""

import contextlib
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from nacl.signing import SigningKey
from rich.console import Console

from datasites.data import mock_cohort
from datasites.data.folders.reading import Reading
from datasites.data.readers import Kind
from datasites.demo import demo_hospitals, partitioners
from datasites.demo.demo_hospitals import Part
from federation.evaluation import exact_metrics
from federation.evaluation.encoded_pictures import EncodedPictures
from federation.evaluation.exact_metrics import HospitalCohorts
from federation.local import provisioning
from federation.local.federation_file import FederationConfig
from federation.local.party_users import PartyUsers
from federation.local.provisioning import patiently
from federation.local.state_folder import STAND_INS
from federation.local_demo.demo_study import DemoStudy
from federation.researcher.outcome import Outcome
from federation.researcher.session import Researcher
from syft_code.arrays import Weights
from syft_code.cohort import Cohort
from syft_code.errors import InvalidInput, Refused, Unavailable
from syft_code.operation.supervisor import Say, signals_ignored
from syft_code.runtime.encoder_files import FOLDER as ENCODERS
from syft_code.runtime.encoder_files import EncoderFiles

STATE = "federation"
FEATURES = "features"


@contextlib.contextmanager
def run_folder(out: Path, *, keep: bool) -> Iterator[Path]:
    """A folder named by the time; whatever happens, the parties' copies of data leave it.

    Raises:
        InvalidInput: if the folder can't be made.
        Unavailable: if the copies can't be deleted; the sentence says where they lie.
    """
    folder = out / time.strftime("%Y-%m-%d_%H-%M-%S")
    state = folder / STATE
    try:
        state.mkdir(parents=True)
    except OSError as problem:
        raise InvalidInput(
            f"The run's folder {folder} can't be made: {problem.strerror}."
        ) from None
    try:
        yield folder
    finally:
        with signals_ignored():
            if not keep:
                _delete(state)
                _delete_empty(folder)


def play(
    reading: Reading,
    kind: Kind,
    config: FederationConfig,
    folder: Path,
    *,
    users: PartyUsers | None = None,
    console: Console,
    say: Say,
    start_timeout_s: float,
) -> None:
    """Publish, request, approve, train, evaluate, report.

    Raises:
        Refused: if the study stopped before its last round; what it has is written.
    """
    study = DemoStudy(console, folder, say, stand_in=reading.spec.stand_in)
    say(f"Starting {len(config.hospital)} hospitals and {len(config.aggregator)} aggregators")
    with provisioning.running_federation(
        config, folder / STATE, users=users, start_timeout_s=start_timeout_s, say=say
    ):
        outcome, weights, parts, key = _train(study, reading, kind, config, folder, console)
    hospitals = [
        HospitalCohorts(name=name, training=part.split.training(), held_out=part.split.evaluation())
        for name, part in parts.items()
    ]
    study.conclude(
        outcome,
        weights,
        hospitals,
        samples=_samples(reading, hospitals),
        budgets={entry.name: entry.epsilon for entry in config.hospital},
        key=key,
        pictures=EncodedPictures(folder / STATE / FEATURES, EncoderFiles(Path(ENCODERS))),
    )
    if outcome.stopped:
        raise Refused(" ".join((outcome.stopped, *outcome.reasons)))
    say("Done")


def _samples(reading: Reading, hospitals: Sequence[HospitalCohorts]) -> Cohort:
    """Pictures that anybody may see: held-out stand-ins, or a drawn mock, whose facts say nothing."""
    if reading.spec.stand_in:
        return exact_metrics.together([one.held_out for one in hospitals])
    return mock_cohort.draw(reading.spec, seed=1, slices=12)


def read(kind: Kind, data: str, folder: Path) -> Reading:
    """The data set that the hospitals share; stand-ins are drawn into the run's folder."""
    return demo_hospitals.read(kind, data, folder / STATE / STAND_INS)


def fitted(config: FederationConfig, reading: Reading, *, say: Say) -> FederationConfig:
    """A hospital for each true site, by its name; else those of `config`, as far as patients go.

    Raises:
        Unavailable: if somebody listens on a port that a further hospital needs.
    """
    names = partitioners.site_names(reading)
    if not names:
        fewer = replace(config, hospital=config.hospital[: len(reading.patient_ids)])
        if mixture := partitioners.mixed(reading, len(fewer.hospital)):
            say(mixture)
        return fewer
    first = config.hospital[0]
    entries = (replace(first, name=name, port=first.port + i) for i, name in enumerate(names))
    by_site = replace(config, hospital=tuple(entries))
    if len(by_site.hospital) > len(config.hospital):
        provisioning.require_free_ports(by_site)
    return by_site


def _train(
    study: DemoStudy,
    reading: Reading,
    kind: Kind,
    config: FederationConfig,
    folder: Path,
    console: Console,
) -> tuple[Outcome, list[Weights], dict[str, Part], SigningKey]:
    """Everything that needs the parties."""
    state, asset = folder / STATE, demo_hospitals.ASSETS[kind]
    owners = demo_hospitals.owners(provisioning.hospitals(config, state))
    study.say("Each owner publishes a cohort to the vault and a mock to the front desk")
    patiently(lambda: provisioning.exchange_keys(config, state, owners))
    parts = demo_hospitals.partition_patients(reading, owners)
    for sentence in demo_hospitals.remarks(parts):
        study.say(sentence)
    patiently(lambda: demo_hospitals.publish(owners, parts, reading.spec, asset=asset))
    researcher = patiently(lambda: Researcher(provisioning.invite(config, state, owners)))
    submitted = patiently(lambda: study.study(researcher, name=f"{kind}-demo", asset=asset))
    patiently(lambda: demo_hospitals.approve_all(owners, folder, console))
    outcome, weights = study.train(submitted)
    researcher.close()
    return outcome, weights, parts, researcher.key


def _delete(state: Path) -> None:
    try:
        shutil.rmtree(state)
    except OSError as problem:
        raise Unavailable(
            f"The demo's copies of patients in {state} must be deleted, and {problem.filename} "
            f"can't be ({problem.strerror}): delete that folder yourself."
        ) from None


def _delete_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):
        folder.rmdir()
