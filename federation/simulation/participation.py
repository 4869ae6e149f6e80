"""Which simulated hospitals take part in a round: all, a sample of them, and those that don't drop out.

Sampling costs no less epsilon here: who is asked is known to the researcher, so a plan's cost is
that of a hospital that takes part in every round.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from federation.simulation.randomness import Randomness
from syft_code.errors import InvalidInput, require


@dataclass(frozen=True, slots=True, kw_only=True)
class Participation:
    """How hospitals come and go.

    `sampled` is how many are asked in each round, drawn without replacement (0: all). `drop_out` is
    the probability that one of those gives nothing; with `for_rounds` above 1 it stays away for so
    many rounds, as a line that is down does.
    """

    sampled: int = 0
    drop_out: float = 0.0
    for_rounds: int = 1

    def __post_init__(self) -> None:
        require(
            self.sampled >= 0 and 0.0 <= self.drop_out < 1.0 and self.for_rounds >= 1,
            "A participation must have sampled of 0 or more, a drop_out from 0 to below 1 and "
            f"for_rounds of 1 or more, got {self.sampled}, {self.drop_out} and {self.for_rounds}.",
            error=InvalidInput,
        )

    def of_round(
        self, names: Sequence[str], number: int, randomness: Randomness
    ) -> tuple[str, ...]:
        """Those that give something in a round, in the order of the names."""
        asked = names
        if self.sampled and self.sampled < len(names):
            drawn = randomness.generator("asked", number).choice(
                len(names), self.sampled, replace=False
            )
            asked = [names[place] for place in sorted(drawn)]
        return tuple(name for name in asked if not self._is_away(name, number, randomness))

    def _is_away(self, name: str, number: int, randomness: Randomness) -> bool:
        if not self.drop_out:
            return False
        spell = (number - 1) // self.for_rounds
        return bool(randomness.generator("away", name, spell).random() < self.drop_out)


EVERYBODY = Participation()
