"""A front desk's HTTP side as a process of its own: real routes and limits, and no PySyft behind them.

    python -m tests.hostile.desk_without_pysyft [--hurried] FOLDER PORT MEMBER

`--hurried` gives a head, and a short body, half a second, for tests that wait for its end.
"""

import sys
from collections.abc import Set
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI

from datasites.desk.storage.security_log import SecurityLog
from datasites.desk.storage.ticket_owners import TicketOwners
from datasites.desk.web import connections, http_app
from datasites.desk.web.login import Logins
from datasites.desk.web.rate_limit import LoginRateLimit
from datasites.protocol.code_request import CodeRequests
from datasites.site import Site


class OneMember:
    """What the routes need of a desk that has one member; a call is answered with its length."""

    def __init__(self, site: Site, member: str) -> None:
        self.site = site
        self.refusals = SecurityLog(site.desk)
        self.tickets = TicketOwners(site.desk / "tickets")
        self._member = member

    def answer(self, data: bytes, signer: str | None) -> bytes:
        return str(len(data)).encode()

    def most_call_bytes(self, account: str) -> int:
        return 2**18 if account == self._member else 0

    def has_submitted(self, account: str, plan_hash: str) -> bool:
        return True

    def require_owner(self, account: str) -> None:
        return None

    def require_new(self, email: str) -> None:
        return None

    def add_account(self, email: str, password: str) -> None:
        return None

    def remove_account(self, email: str) -> bool:
        return False

    def requests_for(self, account: str) -> CodeRequests:
        return CodeRequests(requests=())

    def pack_login(self, user: Any) -> bytes:
        return b"welcome"

    def pack_error(self, sentence: str) -> bytes:
        return sentence.encode()

    def pack_no(self, sentence: str) -> bytes:
        return sentence.encode()

    def protocols(self) -> Set[str]:
        return {"1"}


def main(folder: Path, port: int, member: str) -> None:
    site = Site(folder)
    site.desk.mkdir(mode=0o700, parents=True)
    desk = OneMember(site, member)
    logins: Logins[str] = Logins(
        user_of=lambda email: None,
        hash_of=lambda user: "",
        matches=lambda password, hashed: False,
        nobodys_hash="",
        throttle=LoginRateLimit(),
        log=desk.refusals,
    )
    app = http_app.build(FastAPI(), desk, pysyft=APIRouter(), logins=logins)
    connections.server(app, port=port).run()


if __name__ == "__main__":
    if "--hurried" in sys.argv:
        connections.HEAD_S = connections.BODY_S = 0.5
    main(Path(sys.argv[-3]), int(sys.argv[-2]), sys.argv[-1])
