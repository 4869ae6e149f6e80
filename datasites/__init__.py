"""The hospital's side: everything that touches a patient, the disk or the ledger.

`data` reads the owner's files; `vault` keeps cohorts, ledger, log and keys, and trains;
`desk` carries messages; `review` shows what an owner decides on, `commands` asks at the
command line. What they share lies beside them, and `owner.py` above all. May import
`policies` and `syft_code`; only `server.py` imports PySyft.
"""
