"""Parties' processes: how they are started, watched and ended, and what their operator reads of them.

`process_spec` says how a process is started, `supervisor` runs several side by side; `json_logs` and
`metrics_http` are what an operator watches. Start with `supervisor`. May import `runtime`.
"""
