"""Adam in the eigenbasis of what a convolution sees: its inputs, and the gradients that come back to it.

Adam gives every entry of a weight its own rate. But channels of a generator vary together, so no single entry is steep
or flat; combinations of them are. In the eigenbasis of the Kronecker-factored curvature (Grosse and Martens 2016) each
entry is nearly such a combination, and one rate per entry does what it is meant to do (George et al. 2018, Vyas et al.
2024). The basis is computed once, from the pictures that are to be tuned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from pti_hub.optim.precision import mixed_precision

# A convolution with more input channels than this for each place of its input gets no basis.
_CHANNELS_PER_PLACE = 8


@dataclass(frozen=True, eq=False)
class Eigenbasis:
    """Two orthonormal bases of a convolution's weights.

    Attributes:
        outputs: Columns `[out, out]`.
        inputs: Columns `[in, in]`.
    """

    outputs: Tensor
    inputs: Tensor

    def to_basis(self, weight: Tensor) -> Tensor:
        """Coordinates `[h·w, out, in]` of a weight `[out, in, h, w]`.

        Args:
            weight: A convolution's weight, or its gradient.
        """
        return self.outputs.T @ weight.flatten(2).permute(2, 0, 1) @ self.inputs

    def from_basis(self, coordinates: Tensor, shape: Sequence[int]) -> Tensor:
        """The inverse of `to_basis`.

        Args:
            coordinates: What `to_basis` gave.
            shape: Shape of the weight.
        """
        return (self.outputs @ coordinates @ self.inputs.T).permute(1, 2, 0).reshape(shape)


class ConvolutionMoments(TorchFunctionMode):
    """Records what the convolutions see while it is active: E[x xᵀ] of their inputs, E[g gᵀ] of their gradients.

    Expectations run over places of the pictures. A convolution belongs to a weight if its kernel was computed from that
    weight, as by modulation; the scales of that computation are part of the input and of the gradient.

    Args:
        weights: Leaf tensors by name; only those of four dimensions can be found.

    Examples:
        >>> with ConvolutionMoments(theta) as moments:
        ...     loss(tuned_synthesis(generator, theta, w)).backward()
        >>> bases = moments.eigenbases()
    """

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        self._names = {id(weight): name for name, weight in weights.items() if weight.ndim == 4}
        self._inputs: dict[str, Tensor] = {}
        self._outputs: dict[str, Tensor] = {}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if func in (torch.conv2d, torch.conv_transpose2d) and len(args) > 1 and out.requires_grad:
            kernel = args[1] if func is torch.conv2d else args[1].transpose(0, 1)
            with torch._C.DisableTorchFunctionSubclass():
                self._record(args[0], kernel, out)
        return out

    def _record(self, x: Tensor, kernel: Tensor, out: Tensor) -> None:
        leaf = next((leaf for leaf in _leaves(kernel) if id(leaf) in self._names and leaf.shape == kernel.shape), None)
        # In a grouped convolution an output does not see all inputs.
        if leaf is None or kernel.shape[1] != x.shape[1]:
            return
        # So few places span next to nothing of the channels' space.
        if x.shape[2:].numel() * _CHANNELS_PER_PLACE < x.shape[1]:
            return
        name = self._names[id(leaf)]
        with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
            # The kernel is the weight times a scale per input and one per output: [out, in].
            scales = (leaf * kernel.float()).flatten(2).sum(2) / leaf.square().flatten(2).sum(2).clamp_min(1e-20)
            by_input, by_output = scales.mean(0), scales.mean(1)
            self._inputs[name] = self._inputs.get(name, 0) + _second_moment(x.detach(), by_input)

        def keep(gradient: Tensor) -> None:
            moment = _second_moment(gradient, by_output)
            self._outputs[name] = self._outputs.get(name, 0) + moment

        out.register_hook(keep)

    def eigenbases(self) -> dict[str, Eigenbasis]:
        """By name, the bases of the weights whose convolutions have run forward and backward, with finite values."""
        pairs = {name: (self._outputs[name], x) for name, x in self._inputs.items() if name in self._outputs}
        return {
            name: Eigenbasis(_eigenvectors(outputs), _eigenvectors(inputs))
            for name, (outputs, inputs) in pairs.items()
            if outputs.isfinite().all() and inputs.isfinite().all()
        }


def _leaves(tensor: Tensor) -> Iterator[Tensor]:
    """The leaves that a tensor was computed from."""
    if tensor.grad_fn is None:
        yield tensor
        return
    waiting, seen = [tensor.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        if (leaf := getattr(node, "variable", None)) is not None:
            yield leaf
        waiting += [following for following, _ in node.next_functions if following is not None]


def _second_moment(x: Tensor, scale: Tensor) -> Tensor:
    """E[s·x (s·x)ᵀ] `[C, C]` over pictures and places of x `[B, C, H, W]`, with s `[C]`."""
    # Sums over 10⁵ places need float32 wherever x itself is rounded.
    with torch.autocast(x.device.type, enabled=False):
        rows = x.permute(0, 2, 3, 1).reshape(-1, x.shape[1]).float()
        return rows.T @ rows / len(rows) * torch.outer(scale, scale)


def _eigenvectors(moment: Tensor) -> Tensor:
    # Dead channels and gradients of 1e-6 would otherwise be below what the solver can tell apart.
    mean = moment.diagonal().mean().clamp_min(1e-30)
    return torch.linalg.eigh(moment / mean + 1e-5 * torch.eye(len(moment), device=moment.device))[1]


class EigenbasisAdam(torch.optim.Adam):
    """Adam whose moments are kept in a basis of its own for each of some weights.

    Args:
        groups: As for Adam; each a dict with `"params"`.
        bases: Weights of the first group, each with its basis.
        rounds: Whether gradients and steps are rotated in bfloat16 where the device computes it natively.
        **settings: Adam's.
    """

    def __init__(
        self,
        groups: Sequence[dict[str, Any]],
        bases: Sequence[tuple[Tensor, Eigenbasis]],
        rounds: bool = False,
        **settings: Any,
    ) -> None:
        self._rounds = rounds
        rotated = {id(weight) for weight, _ in bases}
        # Adam steps from 0 in the basis, and what it did there is added to the weight.
        self._steps = [(weight, basis, torch.zeros_like(basis.to_basis(weight.detach()))) for weight, basis in bases]
        first, *rest = groups
        others = [p for p in first["params"] if id(p) not in rotated]
        params = [*(step for _, _, step in self._steps), *others]
        super().__init__([{**first, "params": params}, *rest], **settings)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Take one step; a closure is not called.

        Args:
            closure: Of no effect; `torch.optim.Optimizer` has it.
        """
        moving = [entry for entry in self._steps if entry[0].grad is not None]
        for weight, basis, step in moving:
            assert weight.grad is not None
            step.zero_()
            with mixed_precision(weight.device, self._rounds):
                step.grad = basis.to_basis(weight.grad).to(step.dtype)
        super().step()
        for weight, basis, step in moving:
            with mixed_precision(weight.device, self._rounds):
                weight += basis.from_basis(step, weight.shape)
            step.grad = None

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients, those of the weights with a basis, too.

        Args:
            set_to_none: As in `torch.optim.Optimizer`.
        """
        super().zero_grad(set_to_none)
        for weight, _, _ in self._steps:
            weight.grad = None
