"""Directions found without labels: GANSpace and SeFa."""

from __future__ import annotations

import pytest
import torch

from pti_hub import Direction, InputError
from pti_hub.edits import ganspace, sefa
from pti_hub.generators import MobileStyleGAN, broadcast_ws


def test_components_are_those_of_the_covariance(generator: MobileStyleGAN) -> None:
    space = ganspace(generator, num_samples=25_000, seed=1)
    z = torch.randn(25_000, 16, generator=torch.Generator().manual_seed(1))
    # The draw comes in batches of 10 000, which one draw of all repeats but for rounding.
    w = generator.mapping(z).double()
    covariance = torch.cov(w.T)
    torch.testing.assert_close(space.components @ space.components.T, torch.eye(16), rtol=0, atol=1e-5)
    projected = space.components.double() @ covariance @ space.components.double().T
    torch.testing.assert_close(projected.diagonal().sqrt().float(), space.deviations, rtol=0.05, atol=0.01)
    assert (space.deviations.diff() <= 0).all()


def test_a_step_is_one_deviation_in_the_layers_asked_for(generator: MobileStyleGAN) -> None:
    space = ganspace(generator, num_samples=1000)
    whole = space.direction(2)
    part = whole.layers(1, 3, generator.num_ws)
    assert (whole.name, whole.space, part.space) == ("pc2", "W", "W+")
    torch.testing.assert_close(whole.vector.norm(), space.deviations[2])
    assert part.vector.any(1).nonzero().flatten().tolist() == [1, 2, 3]
    assert torch.equal(part.vector[1], whole.vector)


def test_signs_do_not_depend_on_the_run(generator: MobileStyleGAN) -> None:
    one, other = (ganspace(generator, num_samples=20_000, seed=seed) for seed in (0, 1))
    assert (one.components[0] @ other.components[0]).item() > 0.9


def test_sefa_finds_what_moves_the_styles_most(generator: MobileStyleGAN) -> None:
    first, second = sefa(generator, count=2, first=1, last=4)
    rows = torch.cat([layer.weight for layer in generator.style_layers() if 1 <= layer.w <= 4])
    a = torch.nn.functional.normalize(rows, dim=1)

    def gain(vector: torch.Tensor) -> float:
        return (a @ torch.nn.functional.normalize(vector, dim=0)).square().sum().item()

    assert first.vector.any(1).nonzero().flatten().tolist() == [1, 2, 3, 4]
    random = torch.randn(200, 16, generator=torch.Generator().manual_seed(0))
    assert gain(first.vector[1]) >= gain(second.vector[1]) > 0
    assert gain(first.vector[1]) > max(gain(vector) for vector in random)
    assert abs((first.vector[1] @ second.vector[1]).item()) < 1e-5


@pytest.mark.parametrize(
    "call",
    [
        lambda g: ganspace(g, num_samples=3),
        lambda g: ganspace(g, num_samples=100).direction(16),
        lambda g: ganspace(g, num_samples=100).direction(0).layers(3, 1, 8),
        lambda g: sefa(g, count=0),
        lambda g: sefa(g, first=2, last=8),
    ],
)
def test_bad_arguments(generator: MobileStyleGAN, call: object) -> None:
    with pytest.raises(InputError, match=r"expected|give all"):
        call(generator)  # type: ignore[operator]


def test_they_are_edits_like_any_other(generator: MobileStyleGAN) -> None:
    ws = broadcast_ws(generator, generator.w_avg[None])
    for direction in (ganspace(generator, num_samples=100).direction(0), *sefa(generator, count=1)):
        assert isinstance(direction, Direction)
        assert direction.apply(ws, 2.0).shape == ws.shape
