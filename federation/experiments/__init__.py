"""Experiments: a grid of studies over a simulated federation, run, resumed, tabulated and drawn.

    spec ─▶ grid ─▶ cells ─▶ local processes, or Ray ─▶ a file for each cell ─▶ table ─▶ figures

For public data and stand-ins: figures here are exact, and hold no patient's privacy. May import
`federation.simulation`, what `federation` shares and `syft_code`; data comes from a loader that is
handed in.
"""
