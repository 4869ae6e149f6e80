"""Max pooling in the quicker layout gives what torch's layer gives, bit for bit."""

import pytest
import torch
from torch import nn

from syft_code.learning.per_sample_gradients import WatchedGradients
from syft_code.learning.pooling import MaxPool

LAYERS = {
    "squares of 2": nn.MaxPool2d(2),
    "squares of 3": nn.MaxPool2d(3),
    "overlapping, padded, rounded up": nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True),
    "spread out": nn.MaxPool2d((2, 3), dilation=2),
}


def there_and_back(layer: nn.Module, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    entering = pixels.clone().requires_grad_()
    pooled = layer(entering)
    (pooled * torch.arange(1.0, pooled.numel() + 1).view_as(pooled)).sum().backward()
    return pooled.detach(), entering.grad


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("seed", [0, 1])
def test_pooling_and_its_way_back_are_those_of_torch_even_with_ties(name, seed) -> None:
    draw = torch.Generator().manual_seed(seed)
    pixels = torch.randint(-2, 3, (3, 5, 13, 11), generator=draw).float()  # many squares tie
    pixels[1, 2, 3, 4] = torch.nan
    for one, other in zip(
        there_and_back(MaxPool(LAYERS[name]), pixels),
        there_and_back(LAYERS[name], pixels),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=0.0, atol=0.0, equal_nan=True)


def test_what_is_pooled_keeps_the_usual_layout() -> None:
    pixels = torch.randn(2, 4, 8, 8).contiguous(memory_format=torch.channels_last)
    assert MaxPool(nn.MaxPool2d(2))(pixels).is_contiguous()


def test_only_the_watched_copy_pools_this_way() -> None:
    network = nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(4, 2))
    gradients = WatchedGradients(network)
    assert any(isinstance(m, MaxPool) for m in gradients._network.modules())
    assert type(network[0]) is nn.MaxPool2d
