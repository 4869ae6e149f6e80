"""Code requests side by side: which one is meant, and what a line of the list says of it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasites.review.evidence import Evidence
from syft_code.errors import NotApproved, Refused, require
from syft_code.privacy import epsilons
from syft_code.runtime import cli_output, durable_files
from syft_code.runtime.cli_output import SHORT

LATEST = "latest"


class SeenRequests:
    """Which requests were listed or shown on the owner's machine: a private file in their folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "seen_requests.json"

    def ids(self) -> frozenset[str]:
        """The ids that were seen; none if there is no file, or another than this class writes."""
        try:
            ids = json.loads(self._path.read_bytes())
        except (OSError, ValueError):
            return frozenset()
        return frozenset(map(str, ids)) if isinstance(ids, list) else frozenset()

    def note(self, *ids: str) -> None:
        """Note that these were seen."""
        known = self.ids()
        if not known.issuperset(ids):
            text = json.dumps(sorted(known.union(ids)))
            durable_files.write_durably(self._path, text.encode(), owned_as_folder=True)


def chosen(requests: Sequence[Evidence], wanted: str) -> Evidence:
    """The request that an id, a plan's hash, how one of them begins, or 'latest' names.

    Raises:
        Refused: if it names none, or more than one.
    """
    require(bool(requests), "There is no request here yet.", error=Refused)
    if wanted == LATEST:
        return requests[-1]
    exact = [request for request in requests if request.request_id == wanted]
    matches = exact or [request for request in requests if wanted and _begins(request, wanted)]
    require(
        bool(matches),
        f"No request's id or plan hash begins with {cli_output.quoted(wanted)}: see `requests list`.",
        error=Refused,
    )
    require(
        len(matches) == 1,
        f"{cli_output.quoted(wanted)} must name one request, and {len(matches)} begin so: "
        f"{', '.join(request.request_id for request in matches[:5])}. Write more of the id.",
        error=Refused,
    )
    return matches[0]


def to_decide(requests: Sequence[Evidence], wanted: str, seen: SeenRequests) -> Evidence:
    """The same for a decision: 'latest' names only a request that was listed or shown before.

    Raises:
        Refused: also if 'latest' is a request that came after the last look.
    """
    request = chosen(requests, wanted)
    if wanted == LATEST and request.request_id not in seen.ids():
        name = request.request_id
        raise Refused(
            f"'latest' must be a request that you have seen, and request {name[:SHORT]} of "
            f"{request.request.researcher} is new since you last listed them: see it with "
            f"`consilium requests show {name[:SHORT]} --hospital {request.hospital}` (and the --state that you gave), then decide on it."
        )
    return request


def facts(evidence: Evidence) -> dict[str, Any]:
    """A request as `requests list --json` writes it."""
    plan, state = evidence.plan, evidence.state
    asset = plan.hospital(evidence.hospital).asset if plan else None
    return {
        "id": evidence.request_id,
        "plan_hash": plan_hash(evidence) or None,
        "study": plan.study if plan else None,
        "researcher": evidence.request.researcher,
        "asset": asset,
        "front_desk": evidence.status,
        "vault": state.state if state else None,
        "sentence": state.sentence if state else None,
        "study_epsilon": state.study_epsilon if state else None,
        "after_epsilon": state.after_epsilon if state else None,
        "study_epsilon_alone": state.study_epsilon_alone if state else None,
        "after_epsilon_alone": state.after_epsilon_alone if state else None,
        "problem": evidence.problem or None,
    }


def row(evidence: Evidence) -> tuple[str, ...]:
    """A request as a line of the table for people; the state is the vault's word."""
    shown = facts(evidence)
    state = shown["vault"] or evidence.problem
    cost = f"ε {epsilons.at_least(shown['study_epsilon'])}" if evidence.state else ""
    return (
        evidence.request_id[:SHORT],
        shown["study"] or "no plan",
        f"{state}, desk: {evidence.status}" if evidence.disagreement else state,
        cost,
        rounds_run(evidence),
        evidence.request.researcher,
    )


def rounds_run(evidence: Evidence) -> str:
    """How many of a plan's training rounds were called here; empty if there is no plan."""
    if evidence.plan is None or evidence.state is None:
        return ""
    return f"{evidence.state.rounds_called} of {evidence.plan.rounds}"


def plan_hash(evidence: Evidence) -> str:
    """The plan that a request is for; empty if its code names none."""
    try:
        return evidence.plan.hash if evidence.plan else evidence.request.plan_hash
    except NotApproved:
        return ""


def _begins(evidence: Evidence, wanted: str) -> bool:
    return evidence.request_id.startswith(wanted) or plan_hash(evidence).startswith(wanted)
