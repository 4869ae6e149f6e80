"""Networks from recipes: the only place where a recipe becomes a torch module.

`modules` and `scattering` are layers, `feature_cache` what a fixed front says of a picture. No
layer mixes patients. May import `recipes`. Start with `networks.py`.
"""
