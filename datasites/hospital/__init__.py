"""One hospital alone on its machine: its file, its start and stop, its copies.

Nothing here loads PySyft. Start with `hospital_file`, then `running`. May import `owner`, `data`,
`data.readers`, `vault.db`, `policies` and `syft_code`; `supervisor` runs the parties of a federation, too.
"""
