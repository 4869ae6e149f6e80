"""Shared mathematics, and the code that travels to a hospital.

    plans ◀─ prediction ◀─ secret_sharing ◀─┐
      ▲ ◀─── privacy ◀──────────────────── learning        evidence ─▶ plans        processes

Pure functions on public dataclasses. Knows no other part of the product and does no I/O;
randomness, keys and patient data come in as arguments only. Errors, canonical JSON and cohorts
belong to every room.
"""
