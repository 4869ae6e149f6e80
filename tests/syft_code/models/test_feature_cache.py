"""What fixed layers say is computed once where that is switched on, and is what they say."""

import torch
from torch import nn

from syft_code.models import feature_cache
from syft_code.models.scattering import ScatteringTransform


class _Counted(nn.Module):
    """Counts the pictures that it is asked about."""

    def __init__(self) -> None:
        super().__init__()
        self._asked: list[int] = []

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        self._asked.append(len(pixels))
        return pixels.flatten(1) * 2.0

    @property
    def asked(self) -> int:
        return sum(self._asked)


def _pictures(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed))


def test_each_picture_is_asked_about_once_in_any_order() -> None:
    counted, pictures = _Counted(), _pictures(10, seed=1)
    with feature_cache.switched_on():
        feature_cache.features(nn.Sequential(counted), pictures[:6])
        again = feature_cache.features(nn.Sequential(counted), pictures.flip(0))
    assert counted.asked == 10
    assert torch.equal(again, pictures.flip(0).flatten(1) * 2.0)


def test_nothing_is_kept_unless_it_is_switched_on() -> None:
    counted, pictures = _Counted(), _pictures(4, seed=2)
    for _ in range(2):
        feature_cache.features(nn.Sequential(counted), pictures)
    assert counted.asked == 8


def test_layers_of_other_settings_do_not_share_rows() -> None:
    pictures = _pictures(3, seed=3)
    with feature_cache.switched_on():
        for angles in (2, 4):
            layer = ScatteringTransform(height=8, width=8, scales=1, angles=angles, groups=0)
            said = feature_cache.features(nn.Sequential(layer), pictures)
            assert torch.equal(said, layer(pictures))


def test_layers_with_parameters_are_asked_each_time() -> None:
    last = nn.Linear(192, 2)
    linear = nn.Sequential(nn.Flatten(), last)
    pictures = _pictures(2, seed=4)
    with feature_cache.switched_on(), torch.no_grad():
        before = feature_cache.features(linear, pictures)
        last.weight += 1.0
        assert not torch.equal(feature_cache.features(linear, pictures), before)


def test_past_the_bound_rows_are_forgotten_and_asked_about_anew() -> None:
    counted, pictures = _Counted(), _pictures(4, seed=5)
    with feature_cache.switched_on(most_numbers=1):
        feature_cache.features(nn.Sequential(counted), pictures)
        again = feature_cache.features(nn.Sequential(counted), pictures)
    assert counted.asked == 8
    assert torch.equal(again, pictures.flatten(1) * 2.0)


def test_users_who_leave_in_any_order_switch_it_off() -> None:
    first, second = feature_cache.switched_on(), feature_cache.switched_on()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    second.__exit__(None, None, None)
    counted, pictures = _Counted(), _pictures(2, seed=9)
    for _ in range(2):
        feature_cache.features(nn.Sequential(counted), pictures)
    assert counted.asked == 4
