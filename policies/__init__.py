"""Says yes or no. Pure functions on public facts: no I/O, no torch, no PySyft.

A rule gets a plan and what the hospital's own records say, and returns a decision.
A refusal's sentence says what would pass. May import `syft_code`. Start with `rules.py`.
"""
