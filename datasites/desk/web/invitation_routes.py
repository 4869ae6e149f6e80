"""How a researcher comes to an account, by an invitation of the owner's, once; and how it is taken away.

    POST   /owner/invitations       the owner's account: an offer
    POST   /invitations             whoever has the code of one: a password of their own
    DELETE /owner/accounts/EMAIL    the owner's account: no invitation and no account any more

The owner's two are for the owner's account alone.
"""

from collections.abc import Callable

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from datasites.desk.storage.invitations import Invitations
from datasites.desk.web.middleware import INVITATIONS, sender
from syft_code import canonical
from syft_code.plans.invitations import InvitationAnswer, InvitationOffer


def routes(
    invitations: Invitations,
    *,
    require_owner: Callable[[str], None],
    enroll: Callable[[str, str], None],
    expel: Callable[[str], None],
) -> APIRouter:
    """The routes; `enroll` makes a researcher's account, or gives the one there is a new password, and
    `expel` takes it away with its key.
    """
    router = APIRouter()

    @router.post(f"/owner{INVITATIONS}")
    async def offer(request: Request) -> Response:
        await run_in_threadpool(require_owner, sender(request))
        offered: InvitationOffer = canonical.parse(
            InvitationOffer, await request.body(), what="invitation"
        )
        await run_in_threadpool(invitations.offer, offered)
        return JSONResponse({"offered": offered.email})

    @router.post(INVITATIONS)
    async def answer(request: Request) -> Response:
        answered: InvitationAnswer = canonical.parse(
            InvitationAnswer, await request.body(), what="answer to an invitation"
        )
        await run_in_threadpool(invitations.take, answered, enroll)
        return JSONResponse({"joined": answered.email})

    @router.delete("/owner/accounts/{email}")
    def take_away(email: str, request: Request) -> Response:
        require_owner(sender(request))
        invitations.void(email)
        expel(email)
        return JSONResponse({"taken_away": email})

    return router
