"""A researcher's code request, as the owner's side reads it from the front desk."""

from syft_code import canonical
from syft_code.errors import NotApproved
from syft_code.plans import traveller
from syft_code.plans.notes import Note


@canonical.message
class CodeRequest:
    """A researcher's code request as it stands at the front desk, with the notes on it."""

    id: str
    researcher: str
    code: str
    status: str
    notes: tuple[Note, ...] = ()

    @property
    def plan_hash(self) -> str:
        """The plan that it is for; raise `NotApproved` if its code is not a traveller."""
        return traveller.plan_hash_of(self.code)

    @property
    def subject(self) -> str:
        """What a decision is on: the plan that the code names, or the code if it names none."""
        try:
            return self.plan_hash
        except NotApproved:
            return self.code_sha256

    @property
    def code_sha256(self) -> str:
        """The hash of the submitted text."""
        return canonical.sha256(self.code.encode("utf-8", "replace"))


@canonical.message
class CodeRequests:
    """Every code request of a front desk, oldest first."""

    requests: tuple[CodeRequest, ...]
