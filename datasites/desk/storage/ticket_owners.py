"""Which account called a round: only it may read the round's state and fetch its sealed shares.

A ticket is a hash of plan, purpose and round, so who knows the plan can compute it. The front
desk writes down to whom it gave one, with the weights that the round began with, and answers nobody
else. Whose approved code ran here once may call the plan's further rounds beside PySyft, until an
owner's "no" through PySyft; the vault's own word holds in any case.
"""

import re
from pathlib import Path

from datasites import private_files
from syft_code.errors import NotApproved, Refused, require
from syft_code.plans.messages import RoundCall

_NAME = re.compile(r"[0-9a-f]{1,64}")
_PLAN = "plan-"


class TicketOwners:
    """The tickets that one front desk gave, by account key (hex)."""

    def __init__(self, folder: Path) -> None:
        self._folder = private_files.private_folder(folder)

    def give(self, ticket: str, account: str, call: RoundCall) -> None:
        """Write down that an account got a ticket for a call."""
        private_files.private_folder(self._folder / account)
        (self._folder / account / ticket).write_text(call.weights_sha256, encoding="ascii")

    def check(self, ticket: str, account: str) -> None:
        """Raise `Refused` unless the account got this ticket here."""
        require(
            _NAME.fullmatch(ticket) is not None and (self._folder / account / ticket).exists(),
            "There is no such ticket here for this account: start the round again, which changes "
            "nothing if it runs.",
            error=Refused,
        )

    def weights_sha256(self, ticket: str, account: str) -> str:
        """The name of the weights that a round of this account was called with."""
        return (self._folder / account / ticket).read_text(encoding="ascii")

    def open_plan(self, plan_hash: str, account: str) -> None:
        """Write down that a plan's approved code ran for an account."""
        private_files.private_folder(self._folder / account)
        (self._folder / account / f"{_PLAN}{plan_hash}").touch(mode=0o600)

    def check_plan(self, plan_hash: str, account: str) -> None:
        """Raise `NotApproved` unless the plan's approved code ran here for the account."""
        require(
            _NAME.fullmatch(plan_hash) is not None
            and (self._folder / account / f"{_PLAN}{plan_hash}").exists(),
            "A plan's rounds may be called here once its approved code request has run, and it has "
            "not: call the first one through it.",
            error=NotApproved,
        )

    def close_plan(self, plan_hash: str) -> None:
        """After an owner's "no": the plan's code must be approved and run anew."""
        for path in self._folder.glob(f"*/{_PLAN}{plan_hash}"):
            path.unlink(missing_ok=True)
