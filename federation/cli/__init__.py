"""Commands that need no hospital: `audit verify`, `audit privacy`, `experiment`, `study tune`.

Each file is a typer application that `launch.py` adds; no command computes. Start with
`audit_commands`. May import `certificate`, `evaluation`, `experiments`,
`privacy_audit`, `transport`, `syft_code`.
"""
