"""Does the code lose as little as the accountant says? Measured, on people who were made up.

    settings ─▶ canaries: with and without one patient ─ local training, many times ─▶ scores
    scores ─▶ lower_bounds: what nobody could guess under the claim ─▶ audit: within, or above it

Start with `audit`. May import `evaluation`, `simulation`,
`syft_code`.
"""
