"""What parties agree on and tell each other, as data: plans, rosters, messages, notes.

Start at `plan.Plan`. Nothing here computes on a patient or on a weight. May import `recipes`.
"""
