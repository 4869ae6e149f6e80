"""How a study trains, apart from who runs it: server optimizers, and suggested plans.

A new server optimizer goes to `server_optimizer`, a new default to `presets`; real studies,
simulations and baselines all use them. Start with `server_optimizer`. May import `syft_code`
only.
"""
