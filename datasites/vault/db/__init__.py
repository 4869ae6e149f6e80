"""What the vault must not forget: one SQLite file, and one store for each kind of record.

`ledger` counts what was spent, `log` proves what was done, `actions` and `approvals` are who
allowed it, `assets` and `tickets` what it ran on and came to. One transaction may span them all.
May import `protocol`, `private_files`, `policies` and `syft_code`.
Start with `vault_database.py`, then `ledger.py`.
"""
