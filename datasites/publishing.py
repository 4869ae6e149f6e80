"""An asset on its way out of an owner's hands: patients to the vault, card and mock to the desk."""

from datasites import acts
from datasites.data import cohort_file, holding_out, stand_ins
from datasites.data.cohort_file import SplitCohort
from datasites.data.readers import brats
from datasites.server import OwnerSession
from datasites.vault_line import VaultLine
from syft_code import canonical
from syft_code.plans.catalogue import AssetCard
from syft_code.plans.recipes import DataSpec

MOCK_SLICES = 32


def publish(
    split: SplitCohort,
    *,
    spec: DataSpec,
    asset: str,
    hospital: str,
    vault: VaultLine,
    desk: OwnerSession,
) -> AssetCard:
    """Hand a cohort to the vault, which gives it its version, then show its card and a mock."""
    body = cohort_file.pack(split)
    publication = acts.Publication(
        asset=asset,
        spec=spec,
        patients=holding_out.declared(int((~split.held_out).sum())),
        cohort_sha256=canonical.sha256(body),
        split_rule=split.split_rule,
    )
    version = vault.act(publication, body).version
    card = AssetCard(
        hospital=hospital,
        verify_key=vault.verify_key(),
        asset=asset,
        version=version,
        patients=publication.patients,
        held_out=bool(split.held_out.any()),
        spec=spec,
        lacks=brats.lacking(split.cohort, spec),
    )
    mock = stand_ins.mock(spec, seed=version, slices=MOCK_SLICES)
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
