"""Drawn pictures: skin lesions and brains that no patient ever had.

A class shows in colour, outline and texture, with some scatter, so that a model has something to learn. Pure functions of a random generator; stand-ins and mocks use them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

Colour = tuple[float, float, float]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How lesions of one class look on average.

    Units: colours 0 to 255; `radius` and `softness` in half picture widths; `jagged` and `ring`
    as shares; `mottle` and `speckle` in grey levels of coarse and fine texture.
    """

    colour: Colour
    radius: float
    jagged: float
    softness: float
    mottle: float
    speckle: float
    ring: float = 0.0


# fmt: off
LOOKS = {
    "akiec": Look(colour=(206, 120, 98), radius=0.44, jagged=0.13, softness=0.11, mottle=13, speckle=16),
    "bcc": Look(colour=(208, 150, 160), radius=0.39, jagged=0.11, softness=0.10, mottle=22, speckle=8),
    "bkl": Look(colour=(172, 126, 78), radius=0.46, jagged=0.11, softness=0.05, mottle=13, speckle=12),
    "df": Look(colour=(170, 118, 128), radius=0.37, jagged=0.06, softness=0.11, mottle=9, speckle=6, ring=0.18),
    "mel": Look(colour=(88, 62, 70), radius=0.47, jagged=0.15, softness=0.07, mottle=19, speckle=8),
    "nv": Look(colour=(128, 86, 62), radius=0.40, jagged=0.10, softness=0.07, mottle=13, speckle=6),
    "vasc": Look(colour=(168, 44, 72), radius=0.34, jagged=0.08, softness=0.07, mottle=15, speckle=5),
}
# fmt: on
_SKIN: Colour = (222, 176, 156)

MODALITIES = ("t1", "t1ce", "t2", "flair")
LGG = (0, 3, 1)
"""Which of them the lower-grade gliomas have: before contrast, FLAIR, after it."""
_TISSUES = np.array(
    # background, grey, white, fluid, core, edema, enhancing
    [
        [0, 0.55, 0.75, 0.25, 0.40, 0.50, 0.55],
        [0, 0.55, 0.75, 0.25, 0.35, 0.50, 1.10],
        [0, 0.60, 0.45, 1.00, 0.85, 0.80, 0.70],
        [0, 0.60, 0.50, 0.20, 0.65, 0.95, 0.80],
    ]
)
_BACKGROUND, _GREY, _WHITE, _FLUID, _CORE, _EDEMA, _ENHANCING = range(7)


def lesion(
    look: Look, *, body: Generator, view: Generator, shape: tuple[int, int], cast: Colour
) -> NDArray[np.uint8]:
    """A picture `[height, width, 3]` of one lesion under one camera.

    `body` makes the lesion and `view` one picture of it; `cast` is the camera's gain.
    """
    across, down = view.normal(0, 0.06, 2)
    y, x = np.meshgrid(*(np.linspace(-1, 1, size) for size in shape), indexing="ij")
    turn = body.uniform(0, np.pi) + view.normal(0, 0.4)
    x, y = x - across, y - down
    x, y = x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)
    distance, angle = np.hypot(x, y * body.uniform(1.0, 1.4)), np.arctan2(y, x)
    edge = look.radius * body.lognormal(0, 0.25) * np.ones_like(x)
    for waves in range(2, 7):
        swing = look.jagged * body.lognormal(0, 0.5) / waves**0.5
        edge *= 1 + swing * np.cos(waves * angle + body.uniform(0, 2 * np.pi))
    reach = np.clip((distance - edge) / (look.softness * body.lognormal(0, 0.3)), -30, 30)
    inside = 1 / (1 + np.exp(reach))
    texture = look.mottle * body.lognormal(0, 0.6) * clouds(body, (x, y), pitch=4.0)
    texture = texture + look.speckle * body.lognormal(0, 0.6) * clouds(body, (x, y), pitch=22.0)
    texture = texture + 255 * look.ring * np.clip(1 - distance / edge, 0, 1)
    shade = np.array(look.colour) + body.normal(0, 9) + body.normal(0, 5, 3)
    skin = np.array(_SKIN) + body.normal(0, 8) + body.normal(0, 4, 3)
    picture = skin + inside[..., None] * (shade + texture[..., None] - skin)
    picture = picture * np.array(cast) + view.normal(0, 6) + view.normal(0, 4, picture.shape)
    finished: NDArray[np.uint8] = np.clip(picture, 0, 255).astype(np.uint8)
    return finished


def clouds(rng: Generator, axes: tuple[Floats, ...], *, pitch: float) -> Floats:
    """Smooth texture of deviation about 1: eight waves in random directions."""
    total = np.zeros(np.broadcast(*axes).shape)
    for _ in range(8):
        slopes = rng.normal(0, pitch / len(axes) ** 0.5, len(axes))
        slope_sum = sum((s * axis for s, axis in zip(slopes, axes, strict=True)), start=np.zeros(1))
        total += np.cos(slope_sum + rng.uniform(0, 2 * np.pi))
    return total / 2


def brain(
    rng: Generator, shape: tuple[int, int, int], *, height: float = 1.0
) -> tuple[Floats, NDArray[np.uint8]]:
    """A brain with a tumour: `[4, x, y, z]` in the order of `MODALITIES`, and its classes.

    The slices lie in the middle `height` of the volume, as a share of it.

    The classes are 0 background, 1 core, 2 edema, 3 enhancing; outside the head all is 0.
    """
    across, deep, up = (_axis(size) for size in shape)
    x, y, z = np.meshgrid(across, deep, height * up, indexing="ij")
    semi = rng.uniform((0.7, 0.8, 0.85), (0.85, 0.95, 1.0))
    head = _radius((x, y, z), (0, 0, 0), semi) < 1
    tissue = np.where(clouds(rng, (x, y, z), pitch=7.0) > 0, _WHITE, _GREY)
    tissue[_radius((x, y, z), (0, 0, 0), semi) > 0.88] = _GREY
    tissue[_radius((np.abs(x), y, z), (0.13, 0, 0.1), (0.08, 0.3, 0.4)) < 1] = _FLUID
    centre = rng.uniform(-0.45, 0.45, 3) * semi
    size = rng.uniform(0.22, 0.42)
    wobble = 1 + 0.12 * clouds(rng, (x, y, z), pitch=5.0)
    depth = _radius((x, y, z), centre, np.full(3, size) * rng.uniform(0.8, 1.2, 3)) * wobble
    tissue[depth < 1] = _EDEMA
    tissue[depth < rng.uniform(0.6, 0.75)] = _ENHANCING
    tissue[depth < rng.uniform(0.35, 0.55)] = _CORE
    tissue[~head] = _BACKGROUND
    field = 1 + 0.06 * clouds(rng, (x, y, z), pitch=1.5)
    images = _TISSUES[:, tissue] * field + rng.normal(0, 0.06, (len(MODALITIES), *shape))
    classes = np.array([0, 0, 0, 0, 1, 2, 3], dtype=np.uint8)[tissue]
    return np.where(head, np.maximum(images, 0.02), 0.0), classes


def _axis(size: int) -> Floats:
    return (np.arange(size) + 0.5) / size * 2 - 1


def _radius(axes: tuple[Floats, ...], centre: ArrayLike, semi: ArrayLike) -> Floats:
    """The distance from an ellipsoid's centre, 1 on its surface."""
    middle, half = np.broadcast_to(centre, 3), np.broadcast_to(semi, 3)
    squares = (((a - m) / s) ** 2 for a, m, s in zip(axes, middle, half, strict=True))
    distance: Floats = np.sqrt(sum(squares, start=np.zeros(1)))
    return distance
