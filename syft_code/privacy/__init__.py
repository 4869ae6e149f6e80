"""What a training costs a patient, and where noise comes from.

`accounting` prices events, `loss_distributions` composes them, `noise` is the cryptographic source
of Gaussian noise. May import `plans`. Start with `accounting.py`.
"""
