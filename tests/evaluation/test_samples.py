"""Random samples before and after."""

from __future__ import annotations

import pytest
import torch
from support.needs import needs_evaluation
from torch import Tensor

from pti_hub import InputError, PTIPipeline
from pti_hub.evaluation import SampleDistance

pytestmark = needs_evaluation


def test_random_samples_before_and_after(large_pipe: PTIPipeline) -> None:
    def means(pictures: Tensor) -> Tensor:
        return torch.nn.functional.adaptive_avg_pool2d(pictures / 255, 2).flatten(1)

    distance = SampleDistance(large_pipe, 40, means)
    weights = {name: p.detach() for name, p in large_pipe.generator.named_parameters()}
    same = distance(weights)
    assert same["fid_after"] == same["fid_before"]
    assert same["kid_after"] == same["kid_before"]
    # Every picture a little brighter.
    bias = next(name for name in weights if name.endswith("to_image.bias"))
    other = distance({**weights, bias: weights[bias] + 0.2})
    assert other["fid_after"] > 4 * same["fid_before"]
    assert other["kid_after"] > same["kid_before"]
    with pytest.raises(InputError, match="2 samples were asked for; distributions need at least 10"):
        SampleDistance(large_pipe, 2, means)
