"""A researcher's code request, as the owner's side reads it from the front desk."""

from syft_code import canonical
from syft_code.plans import traveller


@canonical.message
class CodeRequest:
    """A researcher's code request as it stands at the front desk."""

    id: str
    researcher: str
    code: str
    status: str

    @property
    def plan_hash(self) -> str:
        """The plan that it is for; raise `NotApproved` if its code is not a traveller."""
        return traveller.plan_hash_of(self.code)


@canonical.message
class CodeRequests:
    """Every code request of a front desk, oldest first."""

    requests: tuple[CodeRequest, ...]
