"""A denied request looks to its researcher as a pending one does.

An owner's no stays with the owner unless the owner says more, in a note (`notes`). PySyft's own
objects are copied for the answer, never changed.

Guarantee: status, history, times and sentences of a denied, a revoked and an untouched request
    are the same; an approved one does not show that it was denied before.
Does not protect: who saw an approval knows that it is gone. How long a no takes is for the
    researcher to guess, as a yes that is late.
"""

from typing import Any


def without_denial(request: Any) -> Any:
    """A request as a researcher sees it: one that is not approved, or no longer, is pending."""
    last = {status.change_id: status for status in request.history}
    if len(last) == len(request.changes) and all(status.applied for status in last.values()):
        return request.model_copy(update={"history": list(last.values())})
    return request.model_copy(update={"history": [], "updated_at": None})


def as_pending(status: Any, pending: object) -> Any:
    """A code's status as a researcher sees it, with `pending` as the decision on it."""
    decisions = dict.fromkeys(status.status_dict, pending)
    return status.model_copy(update={"status_dict": decisions})
