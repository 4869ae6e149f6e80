"""What a process of either side needs, and no mathematics: start, end, quiet imports, durable files.

The one room here that does I/O; nothing in it travels. `process_spec` says how a process is
started, `cli_output` and `cli_input` what commands print and accept. Start with `process_spec`. May import
`errors` only.
"""
