"""Small plans for tests: real keys, tiny networks."""

from dataclasses import dataclass, field

from nacl.public import PrivateKey
from nacl.signing import SigningKey

from syft_code.plans.plan import Plan
from syft_code.plans.plan_parts import DpSgd, Evaluation, Sgd
from syft_code.plans.roster import Aggregator, Hospital
from syft_code.recipes.architectures import LayerStack
from syft_code.recipes.layers import Activation, Conv, GlobalAverage
from syft_code.recipes.recipe import CrossEntropy, DataSpec, Recipe

SKIN = DataSpec(
    kind="ham10000",
    task="classification",
    channels=("red", "green", "blue"),
    height_px=16,
    width_px=16,
    classes=("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"),
    patient_unit="lesion (lesion_id)",
    stand_in=True,
    positive="mel",
)
TINY = Recipe(
    model=LayerStack(layers=(Conv(channels=4, stride=2), Activation(), GlobalAverage())),
    loss=CrossEntropy(),
)


@dataclass(frozen=True, kw_only=True)
class Keys:
    """Every party's private half, for a test that plays all of them."""

    researcher: SigningKey = field(default_factory=SigningKey.generate)
    hospitals: tuple[SigningKey, ...] = field(
        default_factory=lambda: tuple(SigningKey.generate() for _ in range(3))
    )
    aggregators: tuple[SigningKey, ...] = field(
        default_factory=lambda: tuple(SigningKey.generate() for _ in range(3))
    )
    seals: tuple[PrivateKey, ...] = field(
        default_factory=lambda: tuple(PrivateKey.generate() for _ in range(3))
    )


def public(key: SigningKey) -> str:
    """A signing key's public half, as plans write it."""
    return key.verify_key.encode().hex()


def plan(keys: Keys | None = None, **changes: object) -> Plan:
    """A plan over three hospitals and three aggregators; `changes` replace its fields."""
    keys = keys or Keys()
    fields: dict[str, object] = {
        "study": "test-study",
        "researcher_key": public(keys.researcher),
        "data": SKIN,
        "recipe": TINY,
        "dp_sgd": DpSgd(noise_multiplier=1.0, max_grad_norm=1.0, sample_rate=0.2, steps=3),
        "optimizer": Sgd(learning_rate=0.5),
        "rounds": 3,
        "evaluation": Evaluation(noise_multiplier=2.0, after_rounds=(3,)),
        "hospitals": tuple(
            Hospital(
                name=f"hospital-{i}",
                verify_key=public(key),
                asset="skin-lesions",
                asset_version=1,
                patients=40 + i,
            )
            for i, key in enumerate(keys.hospitals, start=1)
        ),
        "aggregators": tuple(
            Aggregator(
                name=f"aggregator-{i}",
                address=f"127.0.0.1:{8200 + i}",
                verify_key=public(key),
                seal_key=bytes(seal.public_key).hex(),
                certificate="-",
            )
            for i, (key, seal) in enumerate(zip(keys.aggregators, keys.seals, strict=True), 1)
        ),
        "min_hospitals": 3,
    }
    return Plan(**(fields | changes))  # type: ignore[arg-type]
