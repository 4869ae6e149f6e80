"""How the owner's side speaks to the vault: every message an act, signed with the own key."""

from pathlib import Path
from typing import Any, TypeVar

from nacl.signing import SigningKey

from datasites import acts, wire
from syft_code.errors import Refused, require
from syft_code.plans import messages

T = TypeVar("T")


class VaultLine:
    """One person's line to one hospital's vault."""

    def __init__(self, vault: Path, key: SigningKey) -> None:
        self._vault = vault
        self._key = key

    @property
    def signing_key(self) -> str:
        """The public half (hex) of the key that signs here."""
        return self._key.verify_key.encode().hex()

    def verify_key(self) -> str:
        """The hospital's own key (hex), as its vault tells."""
        healthy, _ = wire.ask(self._vault, wire.AskHealth())
        return str(healthy.verify_key)

    def act(self, act: acts.Act, body: bytes = b"") -> wire.Accepted:
        """Have something done."""
        reply, _ = self.ask(act, body)
        require(
            isinstance(reply, wire.Accepted), "The vault did not accept the act.", error=Refused
        )
        accepted: wire.Accepted = reply
        return accepted

    def read(self, act: acts.Reading, kind: type[T]) -> T:
        """Have something told."""
        reply, _ = self.ask(act)
        if not isinstance(reply, kind):
            raise Refused("The vault gave no answer to this question.")
        return reply

    def ask(self, act: acts.Act, body: bytes = b"") -> tuple[Any, bytes]:
        """Send an act with its body, and take what comes back."""
        request = wire.OwnerAct(
            act=messages.sign(act, self._key), name=type(act).__name__, signer=self.signing_key
        )
        return wire.ask(self._vault, request, body)
