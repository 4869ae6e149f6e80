"""Noise shared among hospitals: each adds a part, and only the sum has all of it.

    sum of clipped gradients ─ x scale, round ─▶ whole numbers ─ + discrete Gaussian ─▶ what is shared

m = `min_hospitals` is the least number of hospitals in any sum that opens, c = `colluding` of them
may tell the researcher what they added. So the noise of m - c hospitals is in what anybody learns:
each adds a variance of (z Delta)^2 / (m - c), where z is the plan's noise multiplier and Delta what
one patient can change, rounding included. What this protects, and what not: docs/privacy.md.

Source: Kairouz, Liu & Steinke 2021, "The distributed discrete Gaussian mechanism for federated
learning with secure aggregation", arXiv 2102.06387.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from syft_code import canonical
from syft_code.errors import require
from syft_code.plans.plan_parts import DpSgd, Sgd, Sharing

LEAST_STD = 1 << 12
"""Of a hospital's noise, in steps of the fixed point: from here on it is as good as continuous."""
LARGEST_STD = 1 << 40
"""Wider noise can't be drawn (`privacy.discrete_gaussian`)."""
LARGEST_STEPS = 2.0**45
"""So many steps float64 multiplies to 2^-8 of one, and gives back unchanged."""
MOST_DEVIATIONS = 20
"""No noise that is drawn lies further out (`privacy.discrete_gaussian`)."""
_ROUNDING = 1.001
"""Room for what rounding adds to an update, of the million numbers that a plan may have."""
_LEAST_BOUND_BITS = -19
"""With 64 fraction bits, the most that a plan may have, a smaller bound is worth no more."""
MOST_FRACTION_BITS = 64
_LARGEST_BOUND = 2.0**64
_HUGE = Fraction(10) ** 300
"""What float64 still holds: more need not be told apart."""
PATIENTS_FACTOR = 2
"""A sum is cut to so many times what the declared patients can come to: more are never drawn
unless an owner declared too few."""


@canonical.message
class SharedNoise:
    """The noise of a sum is shared among the hospitals in it.

    The plan's `noise_multiplier` is then that of the sum as anybody outside sees it, even with
    `colluding` of its hospitals on their side; what a hospital's own noise alone comes to is
    smaller by the root of `min_hospitals` - `colluding`.
    """

    colluding: int

    def __post_init__(self) -> None:
        canonical.require_types(self)
        require(
            self.colluding >= 1,
            f"colluding must be at least 1, since each hospital knows its own noise; got "
            f"{self.colluding}.",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseGrid:
    """What shared noise comes to in steps of the fixed point, in exact arithmetic.

    Units: `scale` is steps ÷ sum of clipped gradients; `sensitivity` (Delta) is how many steps, in
    L2, one patient can change the rounded sum; `variance` (steps²) is of one hospital's noise.
    `honest` is m - c. `reach` is the largest update of a hospital before it is weighed, in the units
    of the model.
    """

    scale: Fraction
    sensitivity: Fraction
    variance: int
    honest: int
    fraction_bits: int
    most_patients: int

    @classmethod
    def of(
        cls,
        dp: DpSgd,
        optimizer: Sgd,
        sharing: Sharing,
        *,
        numbers: int,
        most_patients: int,
        honest: int,
    ) -> "NoiseGrid":
        """The grid of a plan that shares so many `numbers` in each round.

        A weighted update is - learning_rate / (sample_rate x most_patients) times the sum of
        clipped gradients, the same factor at each hospital. Rounding moves each of two neighbouring
        sums by at most 1/2 in each place, and float64's by 2^-8, so that Delta has as many steps
        more as the root of 17/16 x numbers.

        >>> dp = DpSgd(noise_multiplier=2.0, max_grad_norm=1.0, sample_rate=1.0, steps=1)
        >>> grid = NoiseGrid.of(
        ...     dp, Sgd(learning_rate=1.0), Sharing(fraction_bits=16), numbers=100, most_patients=1,
        ...     honest=4,
        ... )
        >>> int(grid.sensitivity), grid.variance == (2**16 + 11) ** 2
        (65547, True)
        """
        rate = Fraction(optimizer.learning_rate) / Fraction(dp.sample_rate)
        scale = rate * Fraction(2) ** sharing.fraction_bits / most_patients
        sensitivity = scale * Fraction(dp.max_grad_norm) + _root_above(numbers + -(-numbers // 16))
        return cls(
            scale=scale,
            sensitivity=sensitivity,
            variance=math.ceil((Fraction(dp.noise_multiplier) * sensitivity) ** 2 / honest),
            honest=honest,
            fraction_bits=sharing.fraction_bits,
            most_patients=most_patients,
        )

    def steps_of_one(self, patients: int) -> float:
        """Steps ÷ a number of a hospital's update: what its weight and the fixed point multiply by."""
        return patients / self.most_patients * 2.0**self.fraction_bits

    def check(self, dp: DpSgd, sharing: Sharing, *, least_patients: int) -> None:
        """Raise `InvalidPlan` unless the noise fits the grid, and each sum fits the ring.

        Guarantee: no number of any hospital is ever refused for its size. Its sum before noise is cut
        to what twice its declared patients can come to, its noise has an end, and both together
        lie within the bound: so that nothing shows by a refusal which a hospital's own noise
        alone would protect.
        """
        bits = math.ceil(math.log2(LEAST_STD) - math.log2(self.variance) / 2)
        require(
            self.variance >= LEAST_STD**2,
            f"A hospital's share of the noise must be at least {LEAST_STD} steps of the fixed point, "
            f"got {math.isqrt(self.variance)}: use {sharing.fraction_bits + bits} fraction bits "
            "or more.",
        )
        noise = MOST_DEVIATIONS * (math.isqrt(self.variance) + 1) + 1
        whole = PATIENTS_FACTOR * Fraction(dp.max_grad_norm) * self.scale * self.most_patients
        whole += Fraction(noise * self.most_patients, least_patients)
        bound = Fraction(sharing.bound) * Fraction(2) ** sharing.fraction_bits
        needed = float(min(whole / Fraction(2) ** sharing.fraction_bits, _HUGE))
        require(
            whole <= bound,
            f"With shared noise each update must fit the sharing bound whatever the patients are, and "
            f"one may reach {needed:.3g}: use a bound above it, now {sharing.bound:g}, or a smaller "
            "learning rate.",
        )
        require(
            bound <= LARGEST_STEPS,
            f"With shared noise, bound x 2^fraction_bits may be at most 2^45, got {float(bound):.3g}: "
            "use fewer fraction bits or a smaller bound.",
        )
        too_many = math.ceil(math.log2(self.variance) / 2) - LARGEST_STD.bit_length() + 1
        require(
            self.variance <= LARGEST_STD**2,
            f"A hospital's share of the noise may be at most 2^40 steps of the fixed point, got "
            f"{float(math.isqrt(self.variance)):.3g}: use {sharing.fraction_bits - too_many} fraction bits or "
            "fewer.",
        )


def fitting_sharing(dp: DpSgd, optimizer: Sgd, *, patients: Sequence[int], honest: int) -> Sharing:
    """The ring and the fixed point that suit a plan with shared noise: the finest that fit its updates.

    `patients` are the declared numbers of all hospitals. The bound is the power of two above what any
    update may reach, and a step of the fixed point is as small as float64 still counts exactly, and the
    noise can be drawn in.

    >>> dp = DpSgd(noise_multiplier=4.6, max_grad_norm=20.0, sample_rate=0.5, steps=1)
    >>> found = fitting_sharing(dp, Sgd(learning_rate=0.5), patients=[176, 2500], honest=3)
    >>> found.ring_bits, found.fraction_bits, found.bound
    (64, 39, 64.0)
    """
    rate = optimizer.learning_rate / dp.sample_rate * dp.max_grad_norm
    noise = MOST_DEVIATIONS * dp.noise_multiplier / math.sqrt(max(honest, 1)) / min(patients)
    reach = min(_ROUNDING * rate * (PATIENTS_FACTOR + noise), _LARGEST_BOUND)
    bits = max(math.ceil(math.log2(reach)), _LEAST_BOUND_BITS)
    largest = round(math.log2(LARGEST_STEPS))
    std = rate * dp.noise_multiplier / math.sqrt(max(honest, 1)) / max(patients)
    std = min(std, _LARGEST_BOUND)
    widest = math.floor(math.log2(LARGEST_STD) - math.log2(std)) - 1  # a bit for what rounding adds
    return Sharing(
        ring_bits=64,
        fraction_bits=min(largest - bits, MOST_FRACTION_BITS, widest),
        bound=2.0**bits,
    )


def _root_above(number: int) -> int:
    """The least whole number whose square is no less."""
    root = math.isqrt(number)
    return root if root * root == number else root + 1
