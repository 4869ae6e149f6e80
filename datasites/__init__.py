"""The hospital's side: everything that touches a patient, the disk or the ledger.

`vault` holds the patients and trains; `desk` carries a researcher's messages; `owner` decides, and
`cli` offers the same at the command line. `data` reads files, `review` shows evidence, `protocol`
is what the processes say to each other; `demo` is for a first try and no hospital needs it.
May import `policies` and `syft_code`; PySyft only in `desk/syft_server.py` and
`owner/syft_session.py`. Start with `site.py`, a hospital's folder, then `vault/vault.py`.
"""
