"""Exact figures, baselines and start weights, for data that one may look at.

Never for a hospital's patients: a study's own figures are noised sums (`syft_code.metrics`).
Start at `exact_metrics` and `baselines`; `model_file` reads and writes a trained model. May import
`strategy`, `syft_code`.
"""
