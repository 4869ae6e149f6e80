"""An asset on its way out of an owner's hands: patients to the vault, card and mock to the desk."""

from dataclasses import dataclass
from typing import Any, Protocol

from datasites.data import cohort_file, mock_cohort, train_test_split
from datasites.data.cohort_file import SplitCohort
from datasites.data.readers.volumes import brats
from datasites.protocol import owner_actions
from datasites.protocol.vault_client import VaultClient
from syft_code import canonical
from syft_code.errors import InvalidInput, require
from syft_code.plans.catalogue import AssetCard
from syft_code.recipes.recipe import DataSpec

MOCK_SLICES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """What an owner says of an asset to everybody; nothing of it is computed from patients.

    `patients` is the number of training patients, as roughly as the owner likes; `held_out` the part
    of all patients that is kept for evaluation, by which the cohort is split: the public reads
    whether there is any. `lacks` names modalities that none of the cases has.
    """

    patients: int
    held_out: float = train_test_split.HELD_OUT
    lacks: tuple[str, ...] = ()


class PySyftSession(Protocol):
    """The owner, logged in at the own front desk through PySyft (`syft_session`)."""

    def publish(self, card: AssetCard, mock: dict[str, Any]) -> None:
        """Show an asset in the catalogue."""

    def approve(self, request_id: str) -> None:
        """Let PySyft run a request's code."""

    def deny(self, request_id: str, reason: str) -> None:
        """Refuse a request, or take its approval back."""


def publish(
    split: SplitCohort,
    *,
    spec: DataSpec,
    asset: str,
    hospital: str,
    vault: VaultClient,
    desk: PySyftSession,
    declared: Declaration,
    other_people: int,
) -> AssetCard:
    """Hand a cohort to the vault, which gives it its version, then show its card and a mock."""
    body = cohort_file.pack(split)
    publication = statement(
        split, body, spec=spec, asset=asset, declared=declared, other_people=other_people
    )
    version = vault.perform(publication, body).version
    card = AssetCard(
        hospital=hospital,
        verify_key=vault.verify_key(),
        asset=asset,
        version=version,
        patients=publication.patients,
        held_out=publication.held_out,
        spec=spec,
        lacks=publication.lacks,
    )
    mock = mock_cohort.draw(spec, seed=version, slices=MOCK_SLICES)
    desk.publish(
        card,
        {
            "images": mock.images,
            "labels": mock.labels,
            "patient": mock.patient,
            "facts": mock.facts,
        },
    )
    return card


def statement(
    split: SplitCohort,
    body: bytes,
    *,
    spec: DataSpec,
    asset: str,
    declared: Declaration,
    other_people: int = 0,
) -> owner_actions.PublishAsset:
    """What the owner signs for a cohort, packed in `body`. Its public part follows from the declaration and the spec alone.

    Raises:
        InvalidInput: if a modality that the asset is said to lack is there.
    """
    there = set(declared.lacks) - set(brats.lacking(split.cohort, spec))
    require(
        not there,
        f"An asset can lack only modalities that none of its cases has, and {spec.kind} data here "
        f"do not lack {', '.join(sorted(there))}: declare others, or none.",
        error=InvalidInput,
    )
    return owner_actions.PublishAsset(
        asset=asset,
        spec=spec,
        patients=declared.patients,
        held_out=declared.held_out > 0,
        lacks=declared.lacks,
        other_people=other_people,
        cohort_sha256=canonical.sha256(body),
        split_rule=split.split_rule,
    )
