"""Commands that need no hospital: `audit verify`, `experiment`, `study tune`.

Each file is a typer application that `launch.py` adds; no command computes. May import the other
rooms of `federation`, `syft_code`.
"""
