"""What a data owner does: publish, review requests, decide, set policy and approvers.

Runs on the owner's machine beside the vault, in a notebook or under a command. Each decision is
an action that the owner's key signs, and the vault acts on nothing else; PySyft is informed after.
May import everything in `datasites` but `vault`, `desk`, `cli` and `demo`; `policies` and `syft_code`.
Start with `owner.py`, the one class that a notebook needs.
"""
