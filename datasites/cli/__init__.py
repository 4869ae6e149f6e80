"""What an owner or an approver does at the command line: twins of the owner's notebook.

Each group is a typer application that `launch.py` adds. A command prints words for people,
or one JSON document with --json; a refusal is one sentence on standard error, and exit code 1.
May import whatever `datasites` may, and `datasites.owner.owner` above all: no command decides.
"""
