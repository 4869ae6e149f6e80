"""SCAFFOLD's control variates at one hospital: where it drifts to, against where all drift to.

    vault     correction     c, c_i ─▶ c - c_i, for the training process
    trainer   (dp_sgd)       y ─▶ y - lr (noised clipped mean gradient + c - c_i), K times
    vault     change         y - x, c ─▶ c_i' - c_i, which is shared beside y - x

All of the trained parameters, in float64. x are the round's weights, y the hospital's after K
steps, c the control variate of all (the researcher sends it), c_i the hospital's own: zero at
first, kept in its vault.

Guarantee: privacy is that of the noised gradients. A step's correction is made of public numbers
(c, lr, K) and of what earlier noised steps gave (y - x), and c_i' of the same: post-processing,
and the next step is one more adaptively chosen Gaussian mechanism. Nothing of it enters the
gradient before the noise.

Does not protect: the algorithm, if a released change was never summed because the hospital's
share came too late. c is then off by that change ÷ the number of hospitals until the study ends.

Source: Karimireddy et al. 2020, "SCAFFOLD", arXiv 1910.06378v4, algorithm 1, lines 10 to 13,
option II.
"""

from syft_code.arrays import Vector


def correction(common: Vector, own: Vector) -> Vector:
    """Line 10: what is added to each gradient, c - c_i.

    >>> import numpy as np
    >>> correction(np.array([3.0]), np.array([1.0]))
    array([2.])
    """
    return common - own


def change(update: Vector, common: Vector, *, steps: int, learning_rate: float) -> Vector:
    """Lines 12 and 13: c_i' - c_i = (x - y) / (K lr) - c, where `update` is y - x.

    >>> import numpy as np
    >>> change(np.array([-2.0]), np.array([1.0]), steps=4, learning_rate=0.25)
    array([1.])
    """
    return -update / (steps * learning_rate) - common
