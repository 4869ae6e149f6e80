"""Shared mathematics, and the code that travels to a hospital: pure functions on public dataclasses.

    recipes ◀ plans ◀ privacy, evidence        recipes ◀ models ◀ metrics ◀ secret_sharing
    all of these ◀ learning ◀ local_training   runtime: what any process needs, no mathematics

Pure functions on public dataclasses; randomness, keys and patient data come in as arguments only.
May import no other part of the product. `errors`, `canonical`, `cohort` and `arrays` belong to every
room. Start with `plans/plan.py`, what a study is, then `local_training/local_round.py`, what a
hospital computes.
"""
