"""Several hospitals on one machine: their folders, their owners, and data shared out among them.

Each stays a hospital by itself, with its own vault and keys. Only what their owners would do one
after the other is done here at once, for a demo or a first try.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from datasites import site as sites
from datasites import site_processes
from datasites.data import cohort_remarks, contained_reading, readers, train_test_split
from datasites.data.cohort_file import SplitCohort
from datasites.data.folders.reading import Reading
from datasites.data.readers import Kind
from datasites.demo import partitioners, stand_ins
from datasites.demo.federated_dataset import SIZES_PX
from datasites.owner.owner import Owner
from datasites.owner.publishing import Declaration
from datasites.site import SiteSettings
from datasites.site_users import SiteUsers
from policies import site_policy
from policies.known_parties import Party
from policies.site_policy import SitePolicy
from syft_code.errors import InvalidInput
from syft_code.operation.process_spec import ProcessSpec
from syft_code.plans.roster import Aggregator
from syft_code.recipes.recipe import DataSpec

ASSETS: dict[Kind, str] = {
    "ham10000": "skin-lesions",
    "brats": "gliomas",
    "lgg": "lower-grade-gliomas",
    "heart": "heart-disease",
    "symptoms": "symptoms",
    "vitals": "vital-signs",
    "table": "table",
    "images": "pictures",
}
FEW_PATIENTS = 10
"""With fewer, a demo's hospital holds nobody out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HospitalSpec:
    """One of the hospitals; without `data` it publishes stand-ins of its kind.

    `declared` is what its owner says of the data; a demo speaks for an owner who said nothing.
    """

    home: Path
    settings: SiteSettings
    policy: SitePolicy
    kind: Kind
    data: str = ""
    declared: Declaration | None = None

    def parties(self, users: SiteUsers | None = None) -> list[ProcessSpec]:
        """Its vault and its front desk, in a folder that is made if it is not there."""
        site = sites.create(self.home, self.settings, policy=site_policy.text(self.policy))
        if users is not None:
            users.give_folders(site)
        return site_processes.parties(site, users)


def owners(neighbours: Sequence[HospitalSpec]) -> list[Owner]:
    """Everybody's owner, at work."""
    with ThreadPoolExecutor(len(neighbours)) as pool:
        return list(pool.map(lambda one: Owner(one.home), neighbours))


def exchange_keys(owners: Sequence[Owner], aggregators: Sequence[Aggregator]) -> None:
    """Put every policy into force, and let the owners vouch for each other and for aggregators.

    The keys come from the parties' own processes. Each plays an institution of its own.
    """
    parties = [play_institution(owner.name, owner.verify_key) for owner in owners]
    parties += [play_institution(one.name, one.verify_key, one.seal_key) for one in aggregators]
    for owner in owners:
        owner.adopt_policy()
        known = [one.party for one in owner.site_status().known]
        for party in parties:
            if party not in known:  # a start that was cut short
                owner.add_party(party, words=party.words)


def play_institution(name: str, verify_key: str, seal_key: str = "") -> Party:
    """A party that plays an institution which runs its own machines."""
    return Party(
        name=name, institution=name, operator=name, verify_key=verify_key, seal_key=seal_key
    )


def read(kind: Kind, data: str, stand_in_folder: Path, *, facts: bool = False) -> Reading:
    """The named folder's patients; without one, stand-ins made on the spot."""
    folder = Path(data) if data else stand_in_folder / kind
    if not data and not folder.exists():
        stand_ins.write(stand_ins.drawable(kind), folder, seed=0)
    size_px = SIZES_PX.get(kind, readers.SIZE_PX)
    return contained_reading.read(kind, folder, size_px=size_px, facts=facts)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Part:
    """One hospital's patients, and what its owner says of them."""

    split: SplitCohort
    declared: Declaration


def partition_patients(
    reading: Reading,
    owners: Sequence[Owner],
    declared: Mapping[str, Declaration | None] = MappingProxyType({}),
) -> dict[str, Part]:
    """One data set's patients for each owner, by true site where there are as many.

    Does not protect: the numbers of an owner who declared nothing: a demo rounds the true one.
    """
    parts = partitioners.for_hospitals(reading, [owner.name for owner in owners])
    return {
        owner.name: _part(owner, reading, chosen, declared.get(owner.name))
        for owner, chosen in zip(owners, parts, strict=True)
    }


def _part(
    owner: Owner, reading: Reading, chosen: NDArray[np.bool_], declared: Declaration | None
) -> Part:
    usual = train_test_split.HELD_OUT if chosen.sum() >= FEW_PATIENTS else 0.0
    held_out = usual if declared is None else declared.held_out
    split = owner.split(reading, chosen=chosen, held_out=held_out)
    training = rounded(int((~split.held_out).sum()))
    return Part(split=split, declared=declared or Declaration(patients=training, held_out=held_out))


def remarks(parts: Mapping[str, Part]) -> tuple[str, ...]:
    """What each owner should know of their patients before they are published."""
    return cohort_remarks.by_hospital({name: part.split.remarks for name, part in parts.items()})


def rounded(patients: int) -> int:
    """A number of patients as a demo declares it: two digits, rounded down.

    >>> rounded(7), rounded(176), rounded(2527)
    (7, 170, 2500)
    """
    unit: int = 10 ** max(len(str(patients)) - 2, 0)
    return patients // unit * unit


def publish(
    owners: Sequence[Owner], parts: Mapping[str, Part], spec: DataSpec, *, asset: str
) -> None:
    """Each owner hands their own patients to the vault, and shows card and mock."""
    for owner in owners:
        part = parts[owner.name]
        owner.publish(part.split, spec=spec, asset=asset, declared=part.declared)


def publish_all(
    neighbours: Sequence[HospitalSpec],
    owners: Sequence[Owner],
    stand_in_folder: Path,
    *,
    remark: Callable[[str], None],
) -> None:
    """Read each data folder once and publish it; those that name the same one share its patients.

    `remark` is told what is remarked on each hospital's patients, before they are published.
    """
    for kind, data in sorted({(one.kind, one.data) for one in neighbours}):
        reading = read(kind, data, stand_in_folder)
        sharing = [
            owner
            for owner, one in zip(owners, neighbours, strict=True)
            if (one.kind, one.data) == (kind, data)
        ]
        if mixture := partitioners.mixed(reading, len(sharing)):
            remark(f"{kind}: {mixture}")
        said = {owner.name: one.declared for owner, one in zip(owners, neighbours, strict=True)}
        parts = partition_patients(reading, sharing, said)
        for sentence in remarks(parts):
            remark(sentence)
        publish(sharing, parts, reading.spec, asset=ASSETS[kind])


def approve_all(owners: Sequence[Owner], folder: Path, console: Console) -> None:
    """Every owner approves the newest request; what the first one sees is shown and written.

    A plan that the budgets stop early is approved all the same: a demo shows where they do. A
    hospital that was away when the researcher asked has nothing to approve.
    """
    asked = [(owner, found[-1]) for owner in owners if (found := owner.requests())]
    for position, (owner, evidence) in enumerate(asked):
        if position == 0:
            pack = owner.examine(evidence)
            (folder / "evidence.html").write_text(pack.page(), encoding="utf-8")
            console.print(Panel(Text(pack.brief()), title=f"What the owner of {owner.name} sees"))
            console.print(f"  All of it: {folder / 'evidence.html'}", highlight=False)
        signed = owner.approve(evidence, anyway=True)
        if position == 0 and signed.draft.stops:
            console.print(f"  {signed.draft.stops}", highlight=False)


def data_kind(text: str) -> Kind:
    """The kind of data that somebody names; raise `InvalidInput` if there is none."""
    for known in ASSETS:
        if text == known:
            return known
    raise InvalidInput(f"The kind of data must be one of {', '.join(ASSETS)}, got {text!r}.")
