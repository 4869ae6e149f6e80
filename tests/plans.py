"""Small plans for tests: real keys, tiny networks."""

from dataclasses import dataclass, field

from nacl.public import PrivateKey
from nacl.signing import SigningKey

from policies.known_parties import Known, KnownParty, Party
from syft_code.plans.plan import Plan
from syft_code.plans.plan_parts import DpSgd, Evaluation, Sgd, Sharing
from syft_code.plans.roster import Aggregator, Hospital
from syft_code.plans.shared_noise import SharedNoise
from syft_code.plans.study_purpose import StudyPurpose
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
PURPOSE = StudyPurpose(
    aim="Tell melanoma early.",
    people=("Ada Lovelace",),
    institution="University of X",
    contact="privacy@x.example",
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


NEWCOMER = Party(
    name="newcomer",
    institution="New Hospital",
    operator="New Hospital",
    verify_key=SigningKey(bytes(32)).verify_key.encode().hex(),
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


def shared_noise_plan(keys: Keys | None = None, **changes: object) -> Plan:
    """The same with noise that is shared: one step a round, one hospital that may collude."""
    fields: dict[str, object] = {
        "dp_sgd": DpSgd(noise_multiplier=2.0, max_grad_norm=1.0, sample_rate=0.5, steps=1),
        "sharing": Sharing(ring_bits=64, fraction_bits=32, bound=64.0),
        "shared_noise": SharedNoise(colluding=1),
    }
    return plan(keys, **(fields | changes))


def parties(agreed: Plan, **operators: str) -> list[Party]:
    """Everybody on a plan's roster; `operators` are those who don't run their own (`_` for `-`)."""
    return [
        Party(
            name=one.name,
            institution=f"Institution of {one.name}",
            operator=operators.get(one.name.replace("-", "_"), one.name),
            verify_key=one.verify_key,
            seal_key=one.seal_key if isinstance(one, Aggregator) else "",
        )
        for one in (*agreed.hospitals, *agreed.aggregators)
    ]


def known(agreed: Plan, **operators: str) -> Known:
    """The same as an owner has vouched for them."""
    return tuple(
        KnownParty(party=party, added_by="owner", added_at_unix_s=1.8e9)
        for party in parties(agreed, **operators)
    )
