"""What parties agree on and tell each other, as data: plans, rosters, messages, notes.

`plan_parts` and `algorithms` are a plan's choices, `catalogue` what a hospital says in public,
`traveller` the code that PySyft carries. Nothing here computes on a patient or on a weight. May
import `recipes`. Start with `plan.py`.
"""
