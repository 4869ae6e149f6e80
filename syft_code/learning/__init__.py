"""Everything that a hospital computes in a round: DP-SGD, its levers, and what is contributed.

    local_round ─▶ dp_sgd ─▶ batches, per_sample ─▶ watched, kept
    contribution ─▶ what is shared, what is kept

May import all other rooms but `evidence` and `processes`.
"""
