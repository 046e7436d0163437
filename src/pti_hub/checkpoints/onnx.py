"""Networks as ONNX graphs, which other languages and browsers run."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from pti_hub.errors import MissingDependencyError

if TYPE_CHECKING:
    from onnx import ModelProto

_FEWEST = 16_384
"""Entries from which on a tensor is halved; smaller ones, such as biases and pivots, take next to no space."""


def require_onnx() -> None:
    """Make sure that graphs can be written.

    Raises:
        MissingDependencyError: The exporter is not installed.
    """
    try:
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            "an export to ONNX needs the package onnxscript; install it: pip install 'pti-hub[onnx]'"
        ) from error


@torch.no_grad()
def to_onnx(network: nn.Module, inputs: Mapping[str, Tensor], outputs: Sequence[str]) -> ModelProto:
    """Trace a network to a graph of fixed shapes.

    Args:
        network: The network, on the CPU in float32.
        inputs: An example of each argument of its `forward`, in order, by the name that it is to have.
        outputs: Names of what it returns.

    Raises:
        MissingDependencyError: The exporter is not installed.
    """
    require_onnx()
    with _quiet():
        program = torch.onnx.export(
            network.eval(),
            tuple(inputs.values()),
            input_names=list(inputs),
            output_names=list(outputs),
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    return program.model_proto


def halved(model: ModelProto) -> ModelProto:
    """The same graph with its large tensors stored in half precision: half the size, computed in float32 as before."""
    from onnx import ModelProto, TensorProto, helper, numpy_helper

    copy = ModelProto()
    copy.CopyFrom(model)
    casts = []
    for tensor in copy.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and np.prod(tensor.dims) >= _FEWEST:
            values = numpy_helper.to_array(tensor).astype(np.float16)
            name = tensor.name
            tensor.CopyFrom(numpy_helper.from_array(values, f"{name}.half"))
            casts.append(helper.make_node("Cast", [tensor.name], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *copy.graph.node]
    del copy.graph.node[:]
    copy.graph.node.extend(nodes)
    # What is said of the shapes of initialisers would now be of nodes.
    del copy.graph.value_info[:]
    return copy


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out what the exporter says of packages that no generator uses."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
