"""A picture, read back from the gradient that it left: what an undefended update gives away.

    picture ─ gradient ─▶ what a server sees ─ reconstruct ─▶ picture

For lessons on drawn pictures. Source: Zhu, Liu & Han 2019, "Deep Leakage from Gradients" (matching
gradients by L-BFGS on a network with smooth activations).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from federation.tutorial.pictures import CLASSES, SIDE_PX
from syft_code.models.threads import one_thread

Gradient = tuple[Tensor, ...]
CHANNELS = 12


def network(*, seed: int) -> nn.Module:
    """A small network of three convolutions with sigmoids, its weights drawn."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for before, stride in ((3, 2), (CHANNELS, 2), (CHANNELS, 1)):
        layers += [nn.Conv2d(before, CHANNELS, 5, stride, padding=2), nn.Sigmoid()]
    made = nn.Sequential(
        *layers, nn.Flatten(), nn.Linear(CHANNELS * (SIDE_PX // 4) ** 2, len(CLASSES))
    )
    for parameter in made.parameters():
        nn.init.uniform_(parameter, -0.5, 0.5)
    return made


def gradient(model: nn.Module, picture: Tensor, label: int, *, graph: bool = False) -> Gradient:
    """The gradient of the loss on one picture `[1, 3, 24, 24]`, one tensor a parameter."""
    loss = functional.cross_entropy(model(picture), torch.tensor([label]))
    return torch.autograd.grad(loss, list(model.parameters()), create_graph=graph)


def mean_gradient(model: nn.Module, pictures: Sequence[tuple[Tensor, int]]) -> Gradient:
    """The mean of several pictures' gradients: what a hospital with so many patients would send."""
    each = [gradient(model, picture, label) for picture, label in pictures]
    return tuple(torch.stack(parts).mean(0) for parts in zip(*each, strict=True))


def defend(observed: Gradient, *, clip: float, sigma: float, seed: int) -> Gradient:
    """The same cut down to length `clip`, with Gaussian noise of standard deviation `sigma * clip`."""
    length = float(torch.cat([part.flatten() for part in observed]).norm())
    random = torch.Generator().manual_seed(seed)
    factor = min(1.0, clip / length)
    return tuple(
        factor * part + sigma * clip * torch.randn(part.shape, generator=random)
        for part in observed
    )


def reconstruct(
    model: nn.Module, observed: Gradient, label: int, *, seed: int, steps: int = 200
) -> Tensor:
    """The picture `[1, 3, 24, 24]` whose gradient points where the observed one points.

    Lengths are not compared, since clipping changes them.
    """
    random = torch.Generator().manual_seed(seed)
    guess = (0.5 + 0.3 * torch.randn((1, 3, SIDE_PX, SIDE_PX), generator=random)).requires_grad_()
    wanted = _unit(observed)
    optimizer = torch.optim.LBFGS(
        [guess], max_iter=20, history_size=100, line_search_fn="strong_wolfe"
    )

    def distance() -> Tensor:
        optimizer.zero_grad()
        found = _unit(gradient(model, guess, label, graph=True))
        apart = 1e4 * (found - wanted).square().sum()
        apart.backward()  # type: ignore[no-untyped-call]
        return apart

    with one_thread():
        for _ in range(steps // 20):
            optimizer.step(distance)  # type: ignore[no-untyped-call]
    return guess.detach().nan_to_num(0.5).clamp(0, 1)


def psnr(true: Tensor, found: Tensor) -> float:
    """Peak signal to noise ratio in dB, of pictures in 0..1."""
    return float(-10 * torch.log10((true - found).square().mean().clamp(min=1e-12)))


def _unit(parts: Gradient) -> Tensor:
    whole = torch.cat([part.flatten() for part in parts])
    unit: Tensor = whole / whole.norm().clamp(min=1e-12)
    return unit
