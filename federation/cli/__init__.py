"""Commands that need no hospital: `audit verify`, `experiment`, `study tune`.

Each file is a typer application that `launch.py` adds; no command computes. Start with
`audit_commands`. May import `certificate`, `evaluation`, `experiments`, `transport`, `syft_code`.
"""
