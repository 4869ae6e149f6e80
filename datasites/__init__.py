"""The hospital's side: everything that touches a patient, the disk or the ledger.

Readers take the owner's files, the vault keeps the cohort, the ledger and the keys,
the front desk carries messages. May import `policies` and `syft_code`; only `server.py`
imports PySyft.
"""
