"""One round at one hospital, as the researcher calls it and waits for it.

    researcher ─ signed call ─▶ hospital      hospital ─ ticket ─▶ researcher, as often as asked

What is lost on the way costs time: a call is made again, a poll as well, and a hospital that was
stopped in the middle of a round runs it again, on the price that it has paid.
"""

import contextlib
import time
from collections.abc import Callable

from nacl.signing import SigningKey

from federation.researcher.syft_client import HospitalClient
from federation.transport.retry import retry_while_progressing
from syft_code.errors import (
    ConsiliumError,
    InvalidMessage,
    Refused,
    TrainingFailed,
    Unavailable,
    require,
)
from syft_code.plans import messages
from syft_code.plans.messages import RoundCall, Ticket
from syft_code.plans.plan import Plan

POLL_S = 0.05
"""A front desk itself waits for a round's end before it answers; this is on top of it."""
SILENCE_S = 900.0
"""A front desk that says nothing for so long is not waited for any more."""
MOST_STARTS = 5


class HospitalRound:
    """One round call at one hospital: made once, and again if it is lost on either side."""

    def __init__(
        self,
        hospital: HospitalClient,
        plan: Plan,
        call: RoundCall,
        *,
        key: SigningKey,
        patience_s: float,
    ) -> None:
        self._hospital = hospital
        self._plan = plan
        self._wanted = (call.purpose, call.round)
        self._call = messages.sign(call, key)
        self._patience_s = patience_s
        self._starts = 0
        self._name = ""
        self._weights_sha256 = call.weights_sha256

    def run(self, *, timeout_s: float, on_ticket: Callable[[Ticket], None]) -> Ticket:
        """Start it and wait until its shares are there; the weights go from there if it fails.

        Raises:
            TrainingFailed: with the hospital's sentence.
            Unavailable: if it takes longer, or if the front desk falls silent for `SILENCE_S`.
            ConsiliumError: what the hospital says, if it takes no part.
        """
        try:
            return self._wait(timeout_s, on_ticket)
        except Unavailable:
            raise  # it may come back, and then it needs the weights
        except ConsiliumError:
            with contextlib.suppress(Unavailable):
                self._hospital.bulk.delete(self._weights_sha256)
            raise

    def _wait(self, timeout_s: float, on_ticket: Callable[[Ticket], None]) -> Ticket:
        ticket, heard_s = self.ticket(), time.monotonic()
        deadline_s = heard_s + timeout_s
        while True:
            self._check(ticket)
            on_ticket(ticket)
            if ticket.state == "done":
                return ticket
            now = time.monotonic()
            require(
                now < deadline_s and now < heard_s + SILENCE_S,
                f"A round must end within {timeout_s:.0f} s, and did not.",
                error=Unavailable,
            )
            time.sleep(POLL_S)
            with contextlib.suppress(Unavailable):  # asked again until the time is up
                ticket, heard_s = self.ticket(), time.monotonic()

    def ticket(self) -> Ticket:
        """Where the round stands now.

        A call whose answer was lost is made again, and so is one that a hospital has forgotten
        because it was stopped: it answers with the same ticket, and takes no price twice.
        """
        if not self._name:
            return self._started()
        try:
            return self._hospital.bulk.ticket(self._name)
        except Refused:
            if self._starts == MOST_STARTS:
                raise
            return self._started()

    def _started(self) -> Ticket:
        self._starts += 1
        ticket = retry_while_progressing(
            lambda: self._hospital.start_round(self._plan, self._call),
            is_lost=lambda problem: isinstance(problem, Unavailable),
            patience_s=self._patience_s,
        )
        self._name = ticket.ticket
        return ticket

    def _check(self, ticket: Ticket) -> None:
        require(
            (ticket.purpose, ticket.round) == self._wanted,
            "A ticket must be for the round that was asked for; this one is for another.",
            error=InvalidMessage,
        )
        if ticket.state == "failed":
            raise TrainingFailed(ticket.sentence)
