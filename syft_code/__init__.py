"""Shared mathematics, and the code that travels to a hospital.

    recipes ◀ plans ◀ privacy, evidence        recipes ◀ models ◀ metrics, and plans ◀ secret_sharing
    plans, models, privacy ◀ learning          learning, secret_sharing ◀ local_training

Apart from `runtime`, pure functions on public dataclasses: randomness, keys and patient data come in
as arguments only. `runtime` is what any process needs, files too, and no mathematics.
May import no other part of the product. `errors`, `canonical`, `cohort` and `arrays` belong to every
room. Start with `plans/plan.py`, what a study is, then `local_training/local_round.py`, what a
hospital computes.
"""
