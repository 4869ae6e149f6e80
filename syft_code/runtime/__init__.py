"""What a process of either side needs, and no mathematics: quiet imports, durable files, what is printed.

Nothing in it travels. `cli_output` and `cli_input` say what commands print and accept. Start with
`durable_files`. May import `errors` only.
"""
