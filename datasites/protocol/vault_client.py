"""The client of a vault's socket: it signs each action with one person's key and sends it."""

from pathlib import Path
from typing import Any, TypeVar

from nacl.signing import SigningKey

from datasites.protocol import owner_actions, vault_api
from syft_code.errors import Refused, require
from syft_code.plans import messages

T = TypeVar("T")


class VaultClient:
    """One person's client of one hospital's vault."""

    def __init__(self, vault: Path, key: SigningKey) -> None:
        self._vault = vault
        self._key = key

    @property
    def signing_key(self) -> str:
        """The public half (hex) of the key that signs here."""
        return self._key.verify_key.encode().hex()

    def verify_key(self) -> str:
        """The hospital's own key (hex), as its vault gives it."""
        healthy, _ = vault_api.ask(self._vault, vault_api.GetHealth())
        return str(healthy.verify_key)

    def action(self, action: owner_actions.OwnerAction, body: bytes = b"") -> vault_api.Accepted:
        """Send an action that changes something; raise `Refused` if the vault does not accept it."""
        reply, _ = self.ask(action, body)
        require(
            isinstance(reply, vault_api.Accepted),
            "The vault did not accept the action.",
            error=Refused,
        )
        accepted: vault_api.Accepted = reply
        return accepted

    def read(self, action: owner_actions.ReadRequest, kind: type[T]) -> T:
        """Send an action that reads; return the reply, which must be of this kind."""
        reply, _ = self.ask(action)
        if not isinstance(reply, kind):
            raise Refused("The vault gave no answer to this question.")
        return reply

    def ask(self, action: owner_actions.OwnerAction, body: bytes = b"") -> tuple[Any, bytes]:
        """Send an action with its body, and take what comes back."""
        request = vault_api.OwnerActionRequest(
            action=messages.sign(action, self._key),
            name=type(action).__name__,
            signer=self.signing_key,
        )
        return vault_api.ask(self._vault, request, body)
