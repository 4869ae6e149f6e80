"""What an owner or an approver does at the command line: twins of the owner's notebook.

Each group of commands is a typer application that `launch.py` adds. A command prints words for
people, or one JSON document with --json; a refusal is one sentence on standard error, exit code 1.
May import `datasites`' own files, `desk.storage`, `owner`, `protocol`, `review`, `sandbox`,
`policies` and `syft_code`; no command decides by itself.
Start with `request_commands.py`.
"""
