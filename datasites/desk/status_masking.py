"""A request that the data owner's signature does not cover looks to its researcher as a pending one.

Approved is what the vault holds in force. PySyft's own "approved" can be set without the owner, and
outlives an approval that has expired; alone it counts as waiting for the data owner's signature.

An owner's no stays with the owner unless the owner says more, in a note (`notes`). PySyft's own
objects are copied for the answer, never changed.

Guarantee: status, history, times and sentences of a denied, a revoked and an untouched request
    are the same, and of one that the front desk alone has approved; an approved one does not show that it was denied before.
Does not protect: who saw an approval knows that it is gone. How long a no takes is for the
    researcher to guess, as a yes that is late.
"""

from collections.abc import Callable
from typing import Any


def without_denial(request: Any, *, in_force: Callable[[], bool]) -> Any:
    """A request as a researcher sees it: one that is not approved, or no longer, is pending.

    `in_force` asks the vault whether the owner's signatures let the plan run.
    """
    last = {status.change_id: status for status in request.history}
    approved = 0 < len(last) == len(request.changes) and all(one.applied for one in last.values())
    if approved and in_force():
        return request.model_copy(update={"history": list(last.values())})
    return request.model_copy(update={"history": [], "updated_at": None})


def as_pending(status: Any, pending: object) -> Any:
    """A code's status as a researcher sees it, with `pending` as the decision on it."""
    decisions = dict.fromkeys(status.status_dict, pending)
    return status.model_copy(update={"status_dict": decisions})
