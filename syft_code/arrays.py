"""The two kinds of vectors that go through every room, by name."""

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
"""Updates, sums and what a hospital keeps: float64."""
Weights = NDArray[np.float32]
"""A network's parameters in a row, as they travel: float32."""
