"""What a hospital may compute on, and in what numbers, by name: these words load no library."""

from typing import Literal

Device = Literal["cpu", "cuda"]
Precision = Literal["float32", "bf16"]
