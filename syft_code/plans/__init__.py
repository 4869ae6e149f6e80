"""What parties agree on and tell each other, as data: plans, recipes, rosters, messages, notes.

Nothing here computes on a patient or on a weight.
"""
