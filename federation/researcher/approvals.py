"""How many data owners have approved a plan: numbers, never names."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Approvals:
    """How many hospitals of a roster have approved; not which.

    Approved is what a front desk says after asking its vault. A dishonest desk can claim it, and the
    first round then fails there. The others wait for the owner's signature, have refused or do not
    answer: that looks the same.

    >>> print(Approvals(approved=3, hospitals=4))
    3 of 4 hospitals have approved; 1 waits for the data owner's signature, has refused or does not \
answer.
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
            return (
                f"{text}; 1 waits for the data owner's signature, has refused or does not answer."
            )
        return (
            f"{text}; {self.undecided_or_refused} wait for the data owner's signature, have refused "
            "or do not answer."
        )

    def _repr_html_(self) -> str:
        """How a notebook shows it."""
        return f"<p>{self}</p>"
