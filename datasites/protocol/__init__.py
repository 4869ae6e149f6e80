"""The messages between a hospital's processes, and how they travel over its Unix socket.

`owner_actions` are signed by a person; `vault_api` is what a vault answers; `framing` puts both on
a stream of bytes; `vault_client` signs and sends on the owner's side.
May import `policies` and `syft_code`; every other room of `datasites` may import it.
Start with `vault_api.py`.
"""
