"""The parts of a plan that say how a round is trained, evaluated and shared."""

import math
from fractions import Fraction
from typing import Annotated, Literal

from syft_code import canonical
from syft_code.errors import ConsiliumError, RangeExceeded, require
from syft_code.plans.messages import Purpose
from syft_code.recipes.recipe import DataSpec

MOST_ROUNDS = 1000
MOST_VIEWS = 64
MOST_SLICES = 64
MOST_SHIFT_PX = 64
LEAST_NOISE, MOST_NOISE, LEAST_RATE = 1e-30, 1e30, 1e-9
"""Past these an accountant's numbers no longer fit; all that anybody plans lies far inside."""
SHORTEST_TICK_S, LONGEST_TICK_S = 0.05, 86_400.0
MOST_TICKS, USUAL_TICKS = 64, 8
_NO_PICTURE = frozenset({"table", "series"})

Engine = Literal["consilium", "opacus"]
"""Who computes the gradient of each patient: layers of our own, or Opacus' GradSampleModule."""
RobustRule = Literal["median", "trimmed_mean", "krum", "multi_krum", "geometric_median"]


def _check_noise(name: str, multiplier: float) -> None:
    require(
        LEAST_NOISE <= multiplier <= MOST_NOISE,
        f"{name} must lie between {LEAST_NOISE:g} and {MOST_NOISE:g}, got {multiplier}.",
    )


@canonical.message
class AdaptiveClip:
    """A clip norm that follows a quantile of the patients' gradient norms.

    Each step counts, with noise, the drawn patients whose gradient was short enough not to be
    clipped, and moves the clip norm towards the norm below which the share `quantile` lies.

    Units: `count_noise_multiplier` is the count's noise std, one patient changing the centred
    count by at most 1/2; `learning_rate` is of the logarithm of the clip norm.
    Source: Andrew et al. 2021, "Differentially private learning with adaptive clipping",
    arXiv 1905.03871, algorithm 1.
    """

    quantile: float
    learning_rate: float
    count_noise_multiplier: float

    def __post_init__(self) -> None:
        canonical.require_types(self)
        require(0 < self.quantile < 1, f"quantile must lie between 0 and 1, got {self.quantile}.")
        require(
            0 < self.learning_rate <= 1,
            f"The learning rate of a clip norm must be above 0 and at most 1, got "
            f"{self.learning_rate}.",
        )
        require(
            math.isfinite(self.count_noise_multiplier) and self.count_noise_multiplier > 0,
            f"count_noise_multiplier must be a finite number above 0, got "
            f"{self.count_noise_multiplier}.",
        )


@canonical.message
class DpSgd:
    """DP-SGD (Abadi et al. 2016, Algorithm 1) of one hospital in one round.

    Units: `noise_multiplier` is noise std ÷ `max_grad_norm`; `sample_rate` is the
    Poisson probability with which one patient is drawn in one step. With `adaptive` the clip norm
    starts at `max_grad_norm` and `noise_multiplier` is that of a whole step, the gradient's and
    the count's noise together. `engine` computes the gradient of each patient; sampling, clipping
    and noise are the same for each engine, and so is the price. A patient's gradient is the mean
    over `slices` of its slices, drawn with replacement; the mean is clipped once, so it costs what one
    slice costs.
    """

    noise_multiplier: float
    max_grad_norm: float
    sample_rate: float
    steps: int
    adaptive: AdaptiveClip | None = None
    engine: Engine = "consilium"
    slices: int = 1

    def __post_init__(self) -> None:
        canonical.require_types(self)
        _check_noise("noise_multiplier", self.noise_multiplier)
        require(
            1 <= self.slices <= MOST_SLICES,
            f"A patient's gradient must be the mean over 1 to {MOST_SLICES} slices, got {self.slices}.",
        )
        require(
            math.isfinite(self.max_grad_norm) and self.max_grad_norm > 0,
            f"max_grad_norm must be a finite number above 0, got {self.max_grad_norm}.",
        )
        noise_std = self.noise_multiplier * self.max_grad_norm
        require(
            1e-30 <= noise_std <= 1e30,
            f"noise_multiplier x max_grad_norm must lie in [1e-30, 1e30], where noise does not "
            f"round to nothing, got {noise_std:g}.",
        )
        require(
            LEAST_RATE <= self.sample_rate <= 1,
            f"sample_rate must lie between {LEAST_RATE:g} and 1, got {self.sample_rate}.",
        )
        require(
            1 <= self.steps <= 100_000,
            f"steps must be between 1 and 100000, got {self.steps}.",
        )
        count = math.inf if self.adaptive is None else self.adaptive.count_noise_multiplier
        require(
            2 * count > self.noise_multiplier,
            f"count_noise_multiplier must be more than half of the noise_multiplier of the whole "
            f"step, else nothing is left for the gradient; got {count:g} for "
            f"{self.noise_multiplier:g}.",
        )


@canonical.message
class Augmentation:
    """How many views of a drawn slice a patient's gradient is the mean over, and what varies.

    `flips` mirrors left and right, front and back, each half of the time; `rotations` turns by
    0 to 3 quarters, so that height and width must be equal; `shift_px` moves by so many pixels at
    most along each axis; `intensity` a changes each channel x of a standardised image to
    (1 + s) x + t, with s and t uniform in [-a, a], and of a uint8 image likewise about the middle
    grey, t in units of `augmentation.DEVIATION_GREY`.

    Source: De et al. 2022, arXiv 2204.13650, section 3.2 (augmentation multiplicity K = `views`).
    """

    views: int = 1
    flips: bool = False
    rotations: bool = False
    shift_px: int = 0
    intensity: float = 0.0

    def __post_init__(self) -> None:
        canonical.require_types(self)
        require(
            1 <= self.views <= MOST_VIEWS, f"views must be 1 to {MOST_VIEWS}, got {self.views}."
        )
        require(
            0 <= self.shift_px <= MOST_SHIFT_PX,
            f"shift_px must be 0 to {MOST_SHIFT_PX}, got {self.shift_px}.",
        )
        require(
            math.isfinite(self.intensity) and 0 <= self.intensity < 1,
            f"intensity must be at least 0 and below 1, got {self.intensity}.",
        )
        require(
            self.varies or self.views == 1,
            f"{self.views} views must differ: choose flips, rotations, shift_px or intensity, or "
            "set views to 1.",
        )

    @property
    def moves(self) -> bool:
        """Whether a pixel may come to lie elsewhere."""
        return self.flips or self.rotations or self.shift_px > 0

    @property
    def varies(self) -> bool:
        """Whether a view may differ from its slice at all."""
        return self.moves or self.intensity > 0

    def check(self, data: DataSpec) -> None:
        """Raise `InvalidPlan` unless slices of this shape can be changed so."""
        require(
            not self.varies or data.kind not in _NO_PICTURE,
            f"A study of kind {data.kind} has no picture to mirror, turn, shift or brighten: leave "
            "augmentation out of its plan.",
        )
        require(
            not self.rotations or data.height_px == data.width_px,
            f"Slices must be as high as wide to be turned by quarters, and are {data.height_px} x "
            f"{data.width_px}: set rotations to false.",
        )
        require(
            self.shift_px < min(data.height_px, data.width_px) or self.shift_px == 0,
            f"shift_px must be smaller than a slice of {data.height_px} x {data.width_px} pixels, "
            f"got {self.shift_px}.",
        )


@canonical.message
class Sgd:
    """The optimiser inside a hospital's round; it sees noised gradients only.

    Units: `learning_rate` per step on the mean clipped gradient; `momentum` in [0, 1).
    """

    learning_rate: float
    momentum: float = 0.0

    def __post_init__(self) -> None:
        canonical.require_types(self)
        require(
            math.isfinite(self.learning_rate) and self.learning_rate > 0,
            f"learning_rate must be a finite number above 0, got {self.learning_rate}.",
        )
        require(0 <= self.momentum < 1, f"momentum must be in [0, 1), got {self.momentum}.")


@canonical.message
class Evaluation:
    """Noised sums over each hospital's held-out patients, after the named rounds.

    Units: `noise_multiplier` is noise std ÷ the L2 sensitivity of the summed vector.
    """

    noise_multiplier: float
    after_rounds: Annotated[tuple[int, ...], canonical.at_most(MOST_ROUNDS)]

    def __post_init__(self) -> None:
        canonical.require_types(self)
        _check_noise("evaluation noise_multiplier", self.noise_multiplier)
        require(
            all(a < b for a, b in zip(self.after_rounds, self.after_rounds[1:], strict=False)),
            f"after_rounds must be increasing, got {str(list(self.after_rounds))[:80]}.",
        )


@canonical.message
class ReleaseSchedule:
    """When a round's result leaves its hospital: at a tick, however long the work took.

    A tick is `train_s` (`evaluate_s`) seconds long, counted from the moment when a hospital takes the
    round up. A result leaves at the first tick after its work is over; one that is not there at
    the last of `ticks` has failed, and that is said at the next one. Choose a tick that the work fits
    into, from a run on the mock (`syft_code.local_training.round_time`).

    Guarantee: of the time that the work takes nothing shows but the number of the tick.

    Does not protect: work that ends now before a tick and now after it, as patients have it, tells
        that much. Fewer ticks tell less, and lose more rounds on a busy machine. How busy the machine
        is meanwhile shows to whoever shares it.

    >>> ReleaseSchedule(train_s=0.5, evaluate_s=1.0, ticks=4).last_s("train")
    2.0
    """

    train_s: float
    evaluate_s: float
    ticks: int = USUAL_TICKS

    def __post_init__(self) -> None:
        canonical.require_types(self)
        for name in ("train_s", "evaluate_s"):
            length = getattr(self, name)
            require(
                SHORTEST_TICK_S <= length <= LONGEST_TICK_S,
                f"{name} of the release schedule must lie between {SHORTEST_TICK_S:g} and {LONGEST_TICK_S:g} "
                f"seconds, got {length}.",
            )
        require(
            1 <= self.ticks <= MOST_TICKS,
            f"ticks of the release schedule must lie between 1 and {MOST_TICKS}, got {self.ticks}.",
        )

    def tick_s(self, purpose: Purpose) -> float:
        """How long a tick is."""
        return self.train_s if purpose == "train" else self.evaluate_s

    def last_s(self, purpose: Purpose) -> float:
        """When a round that is not over has failed, in seconds from its beginning."""
        return self.ticks * self.tick_s(purpose)


@canonical.message
class Sharing:
    """The ring and the fixed point in which vectors are shared, and who can open a sum.

    A coordinate x with |x| ≤ `bound` becomes round(x · 2^fraction_bits) mod 2^ring_bits.
    `needed` of the plan's aggregators suffice to open a sum, and any fewer learn nothing; without
    it, all are needed.
    """

    ring_bits: Literal[8, 16, 32, 64] = 32
    fraction_bits: int = 18
    bound: float = 64.0
    needed: int | None = None

    def __post_init__(self) -> None:
        canonical.require_types(self)
        require(
            -64 <= self.fraction_bits <= 64,
            f"fraction_bits must be between -64 and 64, got {self.fraction_bits}.",
        )
        require(
            2.0**-64 <= self.bound <= 2.0**64,
            f"the sharing bound must lie between 2^-64 and 2^64, got {self.bound}.",
        )

    def check_span(self, hospitals: int, *, error: type[ConsiliumError] = RangeExceeded) -> None:
        """Raise `error` if a sum over so many hospitals could wrap.

        hospitals x bound x 2^fraction_bits < 2^(ring_bits - 1), in exact arithmetic, rounded up.
        """
        scale = Fraction(2) ** self.fraction_bits
        largest = math.ceil(Fraction(self.bound) * scale)
        require(
            hospitals * largest < 2 ** (self.ring_bits - 1),
            f"hospitals x bound x 2^fraction_bits must stay below 2^{self.ring_bits - 1}, and with "
            f"{hospitals} hospitals it does not: use fewer fraction bits, a smaller bound or a "
            "ring of more bits.",
            error=error,
        )


@canonical.message
class Compression:
    """Fewer coordinates of a training round, and what happens to the others.

    Each round `kept` (a share of 1) of the trained coordinates travel: the same ones for all
    hospitals, drawn from the plan's hash and the round. With `error_feedback` a hospital adds what
    did not travel, rounding and what went past the sharing bound among it, to its next update.

    Source: Stich et al. 2018, "Sparsified SGD with memory", algorithm 1, with random coordinates.
    """

    kept: float = 1.0
    error_feedback: bool = True

    def __post_init__(self) -> None:
        canonical.require_types(self)
        require(0 < self.kept <= 1, f"compression must keep a share in (0, 1], got {self.kept}.")


@canonical.message
class Robust:
    """A rule that withstands some bad sums, over the sums of groups of hospitals.

    The hospitals of a training round are divided into `groups` of at least `min_hospitals`, drawn
    anew each round; `tolerated` is the number of groups with a bad hospital that the rule must
    withstand.
    """

    rule: RobustRule
    groups: int
    tolerated: int = 1

    def __post_init__(self) -> None:
        canonical.require_types(self)
        require(self.tolerated >= 1, f"tolerated must be at least 1, got {self.tolerated}.")
        require(
            self.groups >= self.least_groups,
            f"{self.rule} needs at least {self.least_groups} groups to withstand {self.tolerated} "
            f"bad ones, got {self.groups}.",
        )

    @property
    def least_groups(self) -> int:
        """How many groups the rule needs: 2f + 3 for Krum (Blanchard et al. 2017), else 2f + 1."""
        return 2 * self.tolerated + (3 if self.rule in ("krum", "multi_krum") else 1)
