"""What `consilium audit privacy` audits unless it is given a plan: 25 small plans, of every lever of noise.

Most of them promise little privacy on purpose: what an audit of so many runs can tell apart is a loss
of about 1 to 20, and a mechanism that is wrong is wrong with any noise.
"""

from dataclasses import dataclass, replace

from federation.simulation import simulated_roster
from syft_code.plans.plan import Plan
from syft_code.plans.plan_parts import AdaptiveClip, DpSgd, Sgd, Sharing
from syft_code.plans.roster import Hospital
from syft_code.plans.shared_noise import SharedNoise
from syft_code.privacy import accounting
from syft_code.privacy.accounting import DpSgdEvent, GaussianEvent
from syft_code.recipes.architectures import LayerStack
from syft_code.recipes.layers import Activation, Conv, GlobalAverage, Layer, Linear, Lstm
from syft_code.recipes.recipe import CrossEntropy, DataSpec, Recipe

SIDE = 32
USUAL_CLIP = 0.1
SERIES = DataSpec(
    kind="series",
    task="classification",
    channels=("vitals",),
    height_px=SIDE,
    width_px=SIDE,
    classes=("lives", "dies"),
    patient_unit="patient",
    stand_in=True,
)
HOURS = replace(SERIES, height_px=6, width_px=4)
TABLE = DataSpec(
    kind="table",
    task="classification",
    channels=(),
    height_px=0,
    width_px=0,
    classes=("well", "ill"),
    patient_unit="patient",
    stand_in=True,
    facts=tuple("abcdefgh"),
)
SKIN = DataSpec(
    kind="ham10000",
    task="classification",
    channels=("red", "green", "blue"),
    height_px=8,
    width_px=8,
    classes=("bkl", "mel", "nv"),
    patient_unit="lesion",
    stand_in=True,
)
MODELS: dict[str, tuple[DataSpec, tuple[Layer, ...]]] = {
    "linear": (SERIES, ()),
    "mlp": (TABLE, (Linear(features=8), Activation())),
    "cnn": (SKIN, (Conv(channels=4), Activation(), GlobalAverage())),
    "lstm": (HOURS, (Lstm(units=4),)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A plan that is audited, and what to call it; `alone` by a hospital's part of a shared noise."""

    name: str
    plan: Plan
    alone: bool = False

    @classmethod
    def one_round(cls, plan: Plan) -> list["Setting"]:
        """Of somebody's plan, without what follows on an update: that is post-processing.

        Where noise is shared, twice: as a sum shows it, and by a hospital's own noise.
        """
        name, short = f"{plan.study}, one round", replace(plan, rounds=1, evaluation=None)
        seen = cls(name=name, plan=short)
        if plan.shared_noise is None:
            return [seen]
        return [seen, cls(name=f"{name}, by its own noise", plan=short, alone=True)]

    @property
    def events(self) -> list[DpSgdEvent | GaussianEvent]:
        """What its rounds cost by the accountant, as a sum shows them or by a hospital's own noise."""
        events = [accounting.event(self.plan, "train")] * self.plan.rounds
        return accounting.alone(events) if self.alone else list(events)

    @property
    def linear(self) -> bool:
        """Whether one run can tell many patients apart: each has a number of the model to itself."""
        return self.plan.data == SERIES and self.plan.recipe.model == LayerStack(layers=())


def _setting(
    model: str,
    sigma: float,
    *,
    rate: float = 1.0,
    steps: int = 1,
    rounds: int = 1,
    clip: float = USUAL_CLIP,
    momentum: float = 0.0,
    adaptive: AdaptiveClip | None = None,
    colluding: int = 0,
    alone: bool = False,
) -> Setting:
    data, layers = MODELS[model]
    dp = DpSgd(
        noise_multiplier=sigma, max_grad_norm=clip, sample_rate=rate, steps=steps, adaptive=adaptive
    )
    levers = (
        (f"q {rate:g}", rate < 1),
        (f"C {clip:g}", clip != USUAL_CLIP),
        (f"{steps} steps", steps > 1),
        (f"{rounds} rounds", rounds > 1),
        ("momentum", momentum > 0),
        ("adaptive clip", adaptive is not None),
        (f"shared, {colluding} colluding", colluding > 0 and not alone),
        ("shared, by its own noise", alone),
    )
    return Setting(
        name=", ".join([model, f"sigma {sigma:g}", *(text for text, given in levers if given)]),
        plan=Plan(
            study="privacy-audit",
            researcher_key="00" * 32,
            data=data,
            recipe=Recipe(model=LayerStack(layers=layers), loss=CrossEntropy()),
            dp_sgd=dp,
            optimizer=Sgd(learning_rate=1.0, momentum=momentum),
            rounds=rounds,
            hospitals=tuple(
                Hospital(
                    name=name, verify_key=key * 32, asset="made-up", asset_version=1, patients=4
                )
                for name, key in (("audited", "01"), ("second", "02"), ("third", "03"))
            ),
            aggregators=simulated_roster.aggregators(),
            min_hospitals=3,
            sharing=FINE if colluding else Sharing(),
            shared_noise=SharedNoise(colluding=colluding) if colluding else None,
        ),
        alone=alone,
    )


FINE = Sharing(ring_bits=64, fraction_bits=36)
FOLLOWED = AdaptiveClip(quantile=0.5, learning_rate=0.2, count_noise_multiplier=2.0)
SETTINGS = (
    _setting("linear", 1.0),
    _setting("linear", 0.5),
    _setting("linear", 0.25),
    _setting("linear", 2.0, steps=4),
    _setting("linear", 1.0, rounds=4),
    _setting("linear", 0.3, rate=0.25, rounds=2),
    _setting("linear", 0.3, rate=0.5, rounds=2),
    _setting("linear", 0.5, rate=0.1, rounds=2),
    _setting("linear", 1.0, rate=0.5, steps=8),
    _setting("linear", 1.2, rate=0.05, steps=20),
    _setting("linear", 0.5, clip=1e-3),
    _setting("linear", 0.5, clip=10.0),
    _setting("linear", 1.0, steps=4, momentum=0.9),
    _setting("linear", 0.5, adaptive=FOLLOWED),
    _setting("mlp", 0.5),
    _setting("mlp", 0.4, rate=0.5, rounds=2),
    _setting("cnn", 0.5, rounds=2),
    _setting("cnn", 0.4, rate=0.5, steps=2, momentum=0.5),
    _setting("lstm", 0.5, clip=0.01),
    _setting("lstm", 0.4, rate=0.5, rounds=2, clip=0.01),
    _setting("linear", 0.5, colluding=1),
    _setting("linear", 0.5, colluding=1, alone=True),
    _setting("linear", 0.4, rate=0.5, rounds=2, colluding=2),
    _setting("mlp", 0.5, colluding=1),
    _setting("cnn", 0.5, rounds=2, colluding=1, alone=True),
)
