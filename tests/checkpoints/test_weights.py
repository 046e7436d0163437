"""A file's tensors go into a network one by one, or are named."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pti_hub.checkpoints.weights import filled
from pti_hub.errors import WeightsError


def small_network(seed: int = 0) -> nn.Sequential:
    """A layer, and a normalisation that counts its batches."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))


def other_weights() -> dict[str, Any]:
    """What the same network has after another start."""
    return {name: tensor + 1 for name, tensor in small_network(1).state_dict().items()}


def test_a_filled_network_is_frozen_and_evaluates() -> None:
    tensors = other_weights()
    network = filled(small_network, tensors)
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in network.state_dict().items())
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_counters_may_be_missing() -> None:
    tensors = other_weights()
    del tensors["1.num_batches_tracked"]
    network = filled(small_network, tensors)
    assert network.state_dict()["1.num_batches_tracked"] == 0
    assert torch.equal(network.state_dict()["1.running_mean"], tensors["1.running_mean"])


def test_axes_of_length_one_and_types_may_differ() -> None:
    tensors = other_weights()
    network = filled(
        small_network,
        tensors | {"0.weight": tensors["0.weight"][None, :, :, None].double(), "0.bias": tensors["0.bias"][None]},
    )
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in network.state_dict().items())
    assert network[0].weight.dtype == torch.float32


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("0.weight", None, "is missing; the file is not whole, or of another network"),
        ("0.weight", "text", "is missing"),
        ("0.weight", torch.zeros(3, 2), r"has shape \[3, 2\]; expected \[2, 3\]"),
        ("0.weight", torch.zeros(6), r"has shape \[6\]; expected \[2, 3\]"),
        ("0.weight", torch.zeros(2, 3, 0), r"has shape \[2, 3, 0\]; expected \[2, 3\]"),
        ("0.bias", torch.tensor([1.0, torch.nan]), "holds values that are not finite; fetch the file again"),
        ("0.bias", torch.tensor([1.0, -torch.inf]), "holds values that are not finite"),
        # Finite in the file, but not in the network.
        ("0.bias", torch.full((2,), 1e300, dtype=torch.float64), "holds values that are not finite"),
        ("0.weight", torch.ones(2, 3, dtype=torch.long), ""),
        ("1.num_batches_tracked", torch.tensor(3.0), ""),
        ("1.running_var", None, "is missing"),
    ],
)
def test_what_does_not_belong_is_named(name: str, value: Tensor | str | None, message: str) -> None:
    with pytest.raises(WeightsError, match=rf"^the tensor {name} .*{message}"):
        filled(small_network, other_weights() | {name: value})


def test_messages_say_what_the_file_calls_a_tensor() -> None:
    tensors, names = other_weights(), {"0.weight": "g.fc.w", "0.bias": "g.fc.b"}
    network = filled(small_network, tensors, names)
    assert torch.equal(network[0].weight, tensors["0.weight"])
    # Nothing but what is named is filled.
    assert torch.equal(network[1].weight, torch.ones(2))
    with pytest.raises(WeightsError, match=r"the tensor g\.fc\.b is missing"):
        filled(small_network, {"0.weight": tensors["0.weight"]}, names)


def test_a_file_that_is_too_small_takes_no_memory() -> None:
    huge = functools.partial(nn.Linear, 1 << 20, 1 << 20)  # 4 TB
    with pytest.raises(WeightsError, match=r"the tensor weight has shape \[1048576, 0\]; expected"):
        filled(huge, {"weight": torch.zeros(1 << 20, 0), "bias": torch.zeros(1)})
