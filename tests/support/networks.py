"""Small networks."""

from __future__ import annotations

import torch
from torch import nn

from pti_hub.encoders import LightEncoder
from pti_hub.generators import Generator, StyleGAN2, StyleGAN3, w_statistics
from pti_hub.optim import GradientPreconditioner


def tiny_encoder(space: str = "w", resolution: int = 64, num_axes: int = 0) -> LightEncoder:
    """An encoder of `generator`'s latents, with a metric if it has axes."""
    torch.manual_seed(5)
    encoder = LightEncoder(16, 8, space, resolution, num_axes).eval()  # type: ignore[arg-type]
    if num_axes:
        encoder.preconditioner = GradientPreconditioner.of(torch.randn(50, 16) * torch.linspace(3, 0.1, 16), num_axes)
    return encoder


def check_style_layers(generator: Generator) -> None:
    """The style layers are all affine maps that synthesis calls, in the order of the calls, with the ws they take."""
    assert isinstance(generator, nn.Module)
    calls: list[tuple[str, int]] = []
    # Numbers that tell by which of the ws a map is called.
    ws = torch.arange(float(generator.num_ws))[None, :, None].expand(-1, -1, generator.w_dim)
    hooks = []
    for name, module in generator.named_modules():
        parameters = dict(module.named_parameters(recurse=False))
        is_affine = parameters.keys() == {"weight", "bias"} and parameters["weight"].ndim == 2
        if is_affine and not name.startswith("mapping_network"):
            hooks.append(
                module.register_forward_pre_hook(lambda _, args, name=name: calls.append((name, int(args[0][0, 0]))))
            )
    generator.synthesis(ws)
    for hook in hooks:
        hook.remove()
    layers = generator.style_layers()
    assert [(layer.name, layer.w) for layer in layers] == calls
    parameters = dict(generator.named_parameters())
    w, d = torch.randn(1, generator.w_dim), torch.randn(generator.w_dim)
    for layer in layers:
        a, bias = generator.get_submodule(layer.name), parameters[layer.bias].detach()
        moved = torch.func.functional_call(a, {"bias": bias + layer.weight @ d}, (w,))
        torch.testing.assert_close(moved, a(w + d))


def tame_stylegan2() -> StyleGAN2:
    """A generator of 64² px with 10 ws, whose pictures change smoothly with w and lie in [-1, 1] but for 2 %."""
    torch.manual_seed(0)
    network = StyleGAN2(64, z_dim=16, w_dim=16, channels=(16, 16, 16, 8, 8), mapping_layers=2)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if "to_image" in name and weight.ndim == 4:
                weight.mul_(0.2)
    network.w_avg, network.w_std = w_statistics(network, num_samples=500)
    return network.eval().requires_grad_(False)


def tame_stylegan3() -> StyleGAN3:
    """A generator of 64² px with 8 ws, each of which matters, and with margins."""
    torch.manual_seed(0)
    network = StyleGAN3(
        64, z_dim=16, w_dim=16, mapping_layers=2, channel_base=512, channel_max=16, num_layers=6, margin_size=4
    )
    with torch.no_grad():
        network.input.modulation.weight.normal_(std=0.3)  # published networks start from zero
    network.w_avg, network.w_std = w_statistics(network, num_samples=500)
    return network.eval().requires_grad_(False)
