"""The front desk: PySyft's server with an allowlist, rate limits and a guard before it.

It carries a researcher's requests and messages to owner and vault, and holds no patient.
`web` is HTTP, `storage` the files that it keeps, `syft_server.py` all of PySyft that is used.
May import `web`, `storage`, `protocol`, `datasites`' own files and `syft_code`; never `vault`, `data`
or `owner`. Start with `entrypoint.py`: what a researcher's code can call.
"""
