"""Shared mathematics: everything that hospitals, aggregators and researchers compute alike.

    recipes ◀─ models ◀─ metrics      plans ─▶ recipes      privacy, evidence ─▶ plans
    learning ─▶ models, plans, privacy      secret_sharing ─▶ plans, metrics      runtime
    local_training ─▶ all of these but evidence and runtime

Pure functions on public dataclasses; randomness, keys and patient data come in as arguments only.
May import no other part of the product. `errors`, `canonical`, `cohort` and `arrays` belong to every
room. Start with `plans/plan.py`, what a study is, then `local_training/local_round.py`, what a
hospital computes.
"""
