"""What an evaluation's sums mean: their length, their sensitivity, the figures in them.

Start at `scoring`; `evaluation_sums` works them out from a model and patients, `segmentation` and
`volumes` know Dice and HD95, `noise_errors` how far noise throws a figure. May import `models`, `recipes`.
"""
