"""The vault: the one process of a hospital that holds its patients.

It checks each signed call against signatures, policy and ledger, then trains in contained
processes and lets sealed shares out. `db` is what it must not forget, `worker` those processes.
May import `data`, `protocol`, `sandbox`, `site`, `private_files`, `policies`, `syft_code`; never `desk`,
`owner`, `review` or `cli`. Start with `vault.py`, then `authorization.py` and `round_executor.py`.
"""
