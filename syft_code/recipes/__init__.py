"""Recipes: a model, its loss and the shape of the data, as data and without torch.

`recipe` is what a plan holds, `architectures` and `layers` its parts, `local_norms` which
parameters a hospital may keep. May import no other room. Start with `recipe.py`.
"""
