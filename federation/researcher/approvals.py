"""How many owners have approved a plan: numbers, never names."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Approvals:
    """How many hospitals of a roster have approved; not which.

    The others have not decided, have refused or do not answer: that looks the same.

    >>> print(Approvals(approved=3, hospitals=4))
    3 of 4 hospitals have approved; the other has not decided, has refused or does not answer.
    """

    approved: int
    hospitals: int

    @property
    def undecided_or_refused(self) -> int:
        """How many have not approved, whatever the reason."""
        return self.hospitals - self.approved

    def __str__(self) -> str:
        has = "has" if self.approved == 1 else "have"
        text = f"{self.approved} of {self.hospitals} hospitals {has} approved"
        if not self.undecided_or_refused:
            return f"{text}."
        if self.undecided_or_refused == 1:
            return f"{text}; the other has not decided, has refused or does not answer."
        return f"{text}; the others have not decided, have refused or do not answer."

    def _repr_html_(self) -> str:
        """How a notebook shows it."""
        return f"<p>{self}</p>"
