"""Shared mathematics, and the code that travels to a hospital: pure functions on public dataclasses.

    recipes ◀ plans ◀ privacy, evidence        recipes ◀ models ◀ metrics ◀ secret_sharing
    all of these ◀ learning ◀ local_training   runtime: what any process needs, no mathematics

Randomness, keys and patient data come in as arguments only. `errors`, `canonical`, `cohort` and `arrays` belong
to every room. May import no other part of the product.
"""
