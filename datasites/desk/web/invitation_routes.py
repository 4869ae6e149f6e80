"""How a researcher comes to an account, by an invitation of the owner's, once; and how it is taken away.

    POST   /owner/invitations       the owner's account: an offer
    POST   /invitations             whoever has the code of one: a password of their own
    DELETE /owner/accounts/EMAIL    the owner's account: no invitation and no account any more

The owner's two are for the owner's account alone.
"""

from typing import Protocol

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from datasites.desk.storage.invitations import Invitations
from datasites.desk.web.middleware import sender
from syft_code import canonical
from syft_code.errors import Refused, require
from syft_code.plans.invitations import PATH, InvitationAnswer, InvitationOffer


class Accounts(Protocol):
    """What the routes need of a front desk."""

    def require_owner(self, account: str) -> None:
        """Raise `Refused` unless an account key (hex) is the owner's."""

    def require_new(self, email: str) -> None:
        """Raise `Refused` if an e-mail has an account, or can have none."""

    def add_account(self, email: str, password: str) -> None:
        """Make a researcher's account; raise `Refused` if there is one."""

    def remove_account(self, email: str) -> bool:
        """Take a researcher's account away, with its key; whether there was one."""


def routes(invitations: Invitations, desk: Accounts) -> APIRouter:
    """The routes of one front desk."""
    router = APIRouter()

    @router.post(f"/owner{PATH}")
    async def offer(request: Request) -> Response:
        await run_in_threadpool(desk.require_owner, sender(request))
        offered: InvitationOffer = canonical.parse(
            InvitationOffer, await request.body(), what="invitation"
        )
        await run_in_threadpool(desk.require_new, offered.email)
        await run_in_threadpool(invitations.offer, offered)
        return JSONResponse({"offered": offered.email})

    @router.post(PATH)
    async def answer(request: Request) -> Response:
        answered: InvitationAnswer = canonical.parse(
            InvitationAnswer, await request.body(), what="answer to an invitation"
        )
        await run_in_threadpool(invitations.take, answered, desk.add_account)
        return JSONResponse({"joined": answered.email})

    @router.delete("/owner/accounts/{email}")
    def remove(email: str, request: Request) -> Response:
        desk.require_owner(sender(request))
        removed = desk.remove_account(email)
        require(
            invitations.void(email) or removed,
            "There must be an account or an invitation of this e-mail here, and there is none: see how it was "
            "spelt.",
            error=Refused,
        )
        return JSONResponse({"removed": email})

    return router
