"""Experiments: a grid of studies over a simulated federation, run, resumed, tabulated and drawn.

    spec ─▶ grid ─▶ cells ─▶ local processes, or Ray ─▶ a file for each cell ─▶ table ─▶ figures

For public data and stand-ins: figures here are exact, and hold no patient's privacy. Data
comes from a loader that is handed in. Start with `run`. May import `evaluation`, `reporting`,
`simulation`, `strategy`, `syft_code`.
"""
