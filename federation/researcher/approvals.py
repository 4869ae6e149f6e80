"""How many data owners have approved a plan: numbers, never names."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Approvals:
    """How many hospitals of a roster have approved; not which.

    Approved is what a front desk says after asking its vault. A dishonest desk can claim it, and the
    first round then fails there. The others wait for the owner's signature, have refused or do not
    answer: that looks the same.

    `enough` is how many a sum needs at least.

    >>> print(Approvals(approved=3, hospitals=4, enough=3))
    3 of 4 hospitals have approved; 1 waits for the data owner's signature, has refused or does not \
answer. That is enough to train: stop waiting (Ctrl-C) and call train(), or wait for the others.
    """

    approved: int
    hospitals: int
    enough: int

    @property
    def undecided_or_refused(self) -> int:
        """How many have not approved, whatever the reason."""
        return self.hospitals - self.approved

    def __str__(self) -> str:
        has = "has" if self.approved == 1 else "have"
        text = f"{self.approved} of {self.hospitals} hospitals {has} approved"
        if not self.undecided_or_refused:
            return f"{text}."
        verbs = (
            ("waits", "has", "does") if self.undecided_or_refused == 1 else ("wait", "have", "do")
        )
        wait, have, do = verbs
        last = (
            "That is enough to train: stop waiting (Ctrl-C) and call train(), or wait for the others."
            if self.approved >= self.enough
            else f"{self.enough} are needed to train."
        )
        return (
            f"{text}; {self.undecided_or_refused} {wait} for the data owner's signature, {have} "
            f"refused or {do} not answer. {last}"
        )

    def _repr_html_(self) -> str:
        """How a notebook shows it."""
        return f"<p>{self}</p>"
