"""What a hospital says of an asset to the public: the card beside the mock."""

from dataclasses import dataclass

from syft_code import canonical
from syft_code.recipes import DataSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetCard:
    """One asset in a front desk's catalogue, with what the site's policy asks of a study.

    `patients` is the declared number of training patients; `held_out` says whether the owner
    keeps others for evaluation. The remaining numbers are those of the site's policy: total
    budget of the asset, least hospitals, noise and patients.
    """

    __pydantic_config__ = canonical.STRICT
    hospital: str
    verify_key: str
    asset: str
    version: int
    patients: int
    held_out: bool
    spec: DataSpec
    budget_epsilon: float
    delta: float
    min_hospitals: int
    min_noise_multiplier: float
    min_patients: int
