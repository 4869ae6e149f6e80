"""Gradients taken apart: what is not checked is refused, and what is looked at stays as it is."""

import pytest
import torch
from torch import nn

from syft_code.errors import TrainingFailed
from syft_code.learning import gradient_factors
from syft_code.learning.gradient_factors import Dense, RankOne, SideBySide
from syft_code.learning.per_sample_gradients import WatchedGradients


def per_slice(losses: torch.Tensor) -> torch.Tensor:
    return losses.flatten(1).square().sum(1)


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.one(self.one(x))


class Unused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(3, 3), nn.Linear(3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.one(x)


REFUSED = {
    "BatchNorm2d": nn.BatchNorm2d(3),
    "zero padding": nn.Conv2d(3, 3, 3, padding=1, padding_mode="circular"),
    "no groups": nn.Conv2d(4, 4, 3, groups=2),
    "a bias": nn.Conv2d(3, 3, 3, bias=False),
    "without dilation": nn.Conv2d(3, 3, 3, dilation=2),
    "in pixels": nn.Conv2d(3, 3, 3, padding="same"),
    "kernel = stride": nn.ConvTranspose2d(3, 3, 3, stride=2),
    "Linear with a bias": nn.Linear(3, 3, bias=False),
    "LSTM": nn.LSTM(3, 3),
    "Embedding": nn.Embedding(3, 3),
}


@pytest.mark.parametrize("sentence", REFUSED)
def test_a_layer_that_is_not_checked_is_refused(sentence) -> None:
    with pytest.raises(TrainingFailed, match=sentence):
        WatchedGradients(nn.Sequential(REFUSED[sentence], nn.Linear(3, 2)))


@pytest.mark.parametrize("network", [Twice(), Unused()])
def test_a_layer_used_twice_or_never_is_refused(network) -> None:
    with pytest.raises(TrainingFailed, match="used once in a forward pass"):
        WatchedGradients(network).clipped_sum([((torch.ones(2, 3),), per_slice)], max_grad_norm=1.0)


def test_a_linear_layer_over_more_than_a_row_is_refused() -> None:
    gradients = WatchedGradients(nn.Sequential(nn.Linear(3, 3)))
    with pytest.raises(TrainingFailed, match="slices, numbers"):
        gradients.clipped_sum([((torch.ones(2, 4, 3),), per_slice)], max_grad_norm=1.0)


def test_a_frozen_layer_may_be_of_any_kind() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.Flatten(), nn.Linear(4, 2))
    gradients = WatchedGradients(network, frozen=3 * 4 * 9)
    total, _ = gradients.clipped_sum([((torch.ones(2, 3, 3, 3),), per_slice)], max_grad_norm=1.0)
    assert total.shape == (10,)


@pytest.mark.parametrize("shape", [(), (1,), (1, 1), (4,)])
def test_a_loss_of_any_shape_is_clipped_by_patient(shape) -> None:
    """[B], [B, 1], [B, 1, 1], and a loss for each of four outputs: Opacus' ghost clipping fails here."""
    outputs = shape[-1] if shape else 1
    network = nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, outputs)).double()
    x = 100.0 * torch.randn(5, 3, dtype=torch.float64)

    def loss(y: torch.Tensor) -> torch.Tensor:
        return (y - 50.0).square().view(len(y), *shape)

    gradients = WatchedGradients(network)
    whole, unclipped = gradients.clipped_sum([((x,), loss)], max_grad_norm=0.1)
    apart = torch.zeros_like(whole)
    for i in range(5):
        alone, _ = gradients.clipped_sum([((x[i : i + 1],), loss)], max_grad_norm=0.1)
        assert float(alone.norm()) == pytest.approx(0.1, rel=1e-9)
        apart += alone
    torch.testing.assert_close(whole, apart)
    assert unclipped == 0


def test_the_network_itself_is_neither_changed_nor_given_gradients() -> None:
    network = nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 2))
    before = [type(m) for m in network.modules()]
    values = [p.detach().clone() for p in network.parameters()]
    gradients = WatchedGradients(network)
    gradients.clipped_sum([((torch.ones(2, 3),), per_slice)], max_grad_norm=1.0)
    assert [type(m) for m in network.modules()] == before
    for parameter, value in zip(network.parameters(), values, strict=True):
        assert parameter.grad is None
        assert parameter.requires_grad
        assert torch.equal(parameter, value)


def test_new_weights_written_into_the_network_count() -> None:
    network = nn.Sequential(nn.Linear(3, 2))
    gradients = WatchedGradients(network)
    x = torch.ones(1, 3)
    before, _ = gradients.clipped_sum([((x,), per_slice)], max_grad_norm=1e6)
    with torch.no_grad():
        network[0].weight *= 3.0
        network[0].bias *= 3.0
    after, _ = gradients.clipped_sum([((x,), per_slice)], max_grad_norm=1e6)
    torch.testing.assert_close(after, 3.0 * before, rtol=1e-5, atol=0.0)


def test_the_length_of_five_million_numbers_is_right_to_seven_digits() -> None:
    rows = torch.rand(2, 5_000_001) + 0.5
    exact = rows.double().square().sum(1)
    torch.testing.assert_close(Dense(rows).squared_norms(), exact, rtol=2e-7, atol=0.0)


def test_an_outer_product_has_the_length_and_the_sum_of_its_rows() -> None:
    g, a = torch.randn(6, 4).double(), torch.randn(6, 3).double()
    rows = Dense(g.unsqueeze(2) * a.unsqueeze(1), g)
    outer, factors = RankOne(g, a), torch.rand(6).double()
    torch.testing.assert_close(outer.squared_norms(), rows.squared_norms())
    totals = [torch.ones(4 * 3 + 4).double() for _ in range(2)]
    outer.add_to(totals[0], factors)
    rows.add_to(totals[1], factors)
    torch.testing.assert_close(*totals)
    assert not bool((totals[0] == 1.0).any())


def test_columns_have_the_length_and_the_sum_of_their_matrices() -> None:
    joint, factors = torch.randn(5, 4, 6).double(), torch.rand(5).double()
    matrices = joint.mT.split([1, 2, 1], dim=2)
    rows, columns = Dense(*matrices), SideBySide(joint, [1, 2, 1])
    first = torch.arange(5) == 0
    for one, other in ((rows, columns), (rows.without(first), columns.without(first))):
        torch.testing.assert_close(one.squared_norms(), other.squared_norms())
        totals = [torch.ones(24).double() for _ in range(2)]
        one.add_to(totals[0], factors)
        other.add_to(totals[1], factors)
        torch.testing.assert_close(*totals)


def test_chunks_add_up() -> None:
    network = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    x = torch.randn(7, 3).double()
    gradients = WatchedGradients(network)
    whole = gradients.clipped_sum([((x,), per_slice)], max_grad_norm=0.5)
    parts = gradients.clipped_sum((((p,), per_slice) for p in x.split(3)), max_grad_norm=0.5)
    torch.testing.assert_close(whole.total, parts.total)
    assert whole.unclipped == parts.unclipped
    assert not bool(gradients.clipped_sum([], max_grad_norm=0.5).total.any())


def test_every_patients_own_contribution_stays_within_the_bound_in_float32() -> None:
    network = nn.Sequential(nn.Conv2d(2, 16, 3), nn.Flatten(), nn.Linear(16 * 36, 3))
    gradients = WatchedGradients(network)
    for seed in range(50):
        x = torch.randn(1, 2, 8, 8, generator=torch.Generator().manual_seed(seed)) * 10
        total, unclipped = gradients.clipped_sum([((x,), per_slice)], max_grad_norm=1.0)
        assert unclipped == 0
        assert 1.0 - 2 * gradient_factors.ROUNDING[torch.float32] < float(total.norm()) <= 1.0
