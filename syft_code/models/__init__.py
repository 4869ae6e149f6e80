"""From a recipe to a network that computes, and between a network and one vector.

Start at `networks.build`; nothing else makes a module. May import `recipes`.
"""
