"""An e-mail and a password for an account: one answer and one duration for every wrong pair.

Guarantee: an unknown e-mail costs the same password hash as a known one and gets the same
    sentence, within the same limits (`rate_limit`). No password is kept or logged.
Does not protect: a difference of a database look-up (below a millisecond) against a hash of
    some two hundred.
"""

import math
from collections.abc import Callable
from typing import Generic, TypeVar

from datasites.desk.storage.security_log import SecurityLog
from datasites.desk.web.rate_limit import LoginRateLimit
from syft_code.errors import InvalidMessage, Refused
from syft_code.plans.invitations import MAX_EMAIL, MAX_PASSWORD

__all__ = ["MAX_EMAIL", "MAX_PASSWORD", "Logins", "TooManyTries"]

PATH = "/login"
WRONG = (
    "This e-mail and this password belong to no account here: check both, or ask the data owner "
    "to invite you."
)
User = TypeVar("User")


class TooManyTries(Refused):
    """This e-mail, or all of them, must wait; `wait_s` says how long."""

    def __init__(self, wait_s: float) -> None:
        self.wait_s = math.ceil(wait_s)
        super().__init__(
            f"Too many logins with wrong passwords: try again in {self.wait_s} seconds."
        )


class Logins(Generic[User]):
    """The logins of one front desk.

    `user_of` finds an e-mail's user, or None; `hash_of` is the user's password hash, and
    `matches` whether a password has it. `nobodys_hash` is that of a password nobody knows.
    """

    def __init__(
        self,
        *,
        user_of: Callable[[str], User | None],
        hash_of: Callable[[User], str],
        matches: Callable[[str, str], bool],
        nobodys_hash: str,
        throttle: LoginRateLimit,
        log: SecurityLog,
    ) -> None:
        self._user_of = user_of
        self._hash_of = hash_of
        self._matches = matches
        self._nobodys_hash = nobodys_hash
        self._throttle = throttle
        self._log = log

    def user(self, email: str, password: str) -> User:
        """The user of an e-mail and a password.

        Raises:
            InvalidMessage: if they don't belong together, or the e-mail to nobody.
            TooManyTries: if there were too many wrong ones.
        """
        try:
            return self._user(email, password)
        except (InvalidMessage, Refused) as problem:
            self._log.write("login", who=email, path=PATH, sentence=str(problem))
            raise

    def _user(self, email: str, password: str) -> User:
        wait_s = self._throttle.admit(email)
        if wait_s > 0:
            raise TooManyTries(wait_s)
        user = self._user_of(email)
        hashed = self._nobodys_hash if user is None else self._hash_of(user)
        right = self._matches(password, hashed)
        if user is None or not right:
            raise InvalidMessage(WRONG)
        self._throttle.succeeded(email)
        return user
