"""NVIDIA's StyleGAN2-ADA and StyleGAN3 networks: from the pickles of NVIDIA's PyTorch code, and back."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from pti_hub.checkpoints.unpickling import Record
from pti_hub.checkpoints.weights import filled
from pti_hub.errors import WeightsError
from pti_hub.generators import StyleGAN2, StyleGAN3, w_statistics
from pti_hub.generators.stylegan2 import TAPS
from pti_hub.generators.stylegan3 import FilteredConv
from pti_hub.storage import blueprint

_Make = Callable[[], StyleGAN2 | StyleGAN3]


def generator_of(content: Any) -> Record | None:
    """Find a generator in the result of `read_torch_file`: a training snapshot's averaged one, or one saved alone."""
    if isinstance(content, dict):
        content = content.get("G_ema")
    if isinstance(content, Record) and {"synthesis", "mapping"} <= set(content.state.get("_modules") or {}):
        return content
    return None


def load_nvidia(record: Record) -> StyleGAN2 | StyleGAN3:
    """Build the generator that a record describes.

    Args:
        record: Result of `generator_of`.

    Returns:
        The generator, in evaluation mode.

    Raises:
        WeightsError: A tensor is missing or has another shape, or the network has an option that is not supported.
    """
    tensors = dict(_tensors(record))
    if record.state.get("img_channels") != 3:
        raise WeightsError(f"a generator of {record.state.get('img_channels')} channels; expected 3 (red, green, blue)")
    make = _stylegan3(record, tensors) if "synthesis.input.freqs" in tensors else _stylegan2(record, tensors)
    names = nvidia_names(blueprint(make))
    generator = filled(make, {ours: tensors.get(theirs) for ours, theirs in names.items()}, names)
    _check_filters(generator, tensors)
    _, generator.w_std = w_statistics(generator)
    return generator


def export_nvidia(generator: StyleGAN2 | StyleGAN3) -> dict[str, Tensor]:
    """Rename and reshape a generator's weights for `Generator.load_state_dict` of NVIDIA's code.

    Args:
        generator: The generator; `w_std` is left out, since NVIDIA's code lacks it.

    Returns:
        State dict of NVIDIA's `Generator`, including the resampling filters.
    """
    state = generator.state_dict()
    tensors = {theirs: state[ours] for ours, theirs in nvidia_names(generator).items()}
    for name, tensor in tensors.items():
        if name.endswith((".noise_const", ".const")):
            tensors[name] = tensor[0, 0] if name.endswith("noise_const") else tensor[0]
    if isinstance(generator, StyleGAN2):
        taps = torch.tensor(TAPS)
        for i, block in enumerate(generator.blocks):
            size = 4 * 2**i
            parts = ["", "conv0."] if i else [""]
            if block.skip is not None:
                parts.append("skip.")
            for part in [*parts, "conv1."]:
                tensors[f"synthesis.b{size}.{part}resample_filter"] = taps[:, None] * taps
    else:
        for name, buffer in generator.named_buffers():
            if name.endswith("_taps") and buffer.numel() > 1:
                place = _nvidia_layer(generator, name).removesuffix("_taps")
                tensors[f"{place}_filter"] = buffer
    return {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}


def nvidia_names(generator: StyleGAN2 | StyleGAN3) -> dict[str, str]:
    """NVIDIA's name for each of the generator's tensors, except `w_std`, which NVIDIA's code lacks."""
    return {name: _nvidia_name(generator, name) for name in generator.state_dict() if name != "w_std"}


def _nvidia_name(generator: StyleGAN2 | StyleGAN3, name: str) -> str:
    if name == "w_avg":
        return "mapping.w_avg"
    if name.startswith("mapping_network."):
        return re.sub(r"^mapping_network\.(layers\.)?", lambda m: "mapping.fc" if m[1] else "mapping.", name)
    if isinstance(generator, StyleGAN3):
        return _nvidia_layer(generator, name)
    _, i, rest = name.split(".", 2)
    rest = rest.replace("modulation", "affine").replace("to_image", "torgb")
    rest = {"input": "const", "skip": "skip.weight"}.get(rest, rest)
    return f"synthesis.b{4 * 2 ** int(i)}.{rest}"


def _nvidia_layer(generator: StyleGAN3, name: str) -> str:
    if name.startswith("layers."):
        _, i, rest = name.split(".", 2)
        layer = generator.layers[int(i)]
        assert isinstance(layer, FilteredConv)
        rest = rest.replace("modulation", "affine").replace("magnitude", "magnitude_ema")
        return f"synthesis.L{i}_{layer.out_size}_{layer.weight.shape[0]}.{rest}"
    return "synthesis." + name.replace("modulation", "affine").replace("frequencies", "freqs")


def _tensors(record: Record, prefix: str = "", seen: set[int] | None = None) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers of a module and all modules in it, with their full names."""
    seen = set() if seen is None else seen
    if id(record) in seen:
        raise WeightsError(
            f"the module {prefix.rstrip('.')} appears twice, which happens in no StyleGAN; fetch the file again"
        )
    seen.add(id(record))
    for kind in ("_parameters", "_buffers"):
        for name, tensor in (record.state.get(kind) or {}).items():
            if isinstance(tensor, Tensor):
                yield f"{prefix}{name}", tensor
    for name, module in (record.state.get("_modules") or {}).items():
        if isinstance(module, Record):
            yield from _tensors(module, f"{prefix}{name}.", seen)


def _module(record: Record, path: str) -> dict[str, Any]:
    """Attributes of a nested module; an empty dictionary if the module is missing."""
    for name in path.split("."):
        inner = (record.state.get("_modules") or {}).get(name)
        if not isinstance(inner, Record):
            return {}
        record = inner
    return record.state


def _mapping(record: Record, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    depth = sum(1 for name in tensors if re.fullmatch(r"mapping\.fc\d+\.weight", name))
    if not depth:
        raise WeightsError("the tensor mapping.fc0.weight is missing; the file is not whole, or of another network")
    first = _module(record, "mapping.fc0")
    _check("mapping.fc0", first, activation="lrelu")
    state = record.state
    options: dict[str, Any] = {key: state.get(key) for key in ("z_dim", "w_dim", "c_dim")}
    options |= {"mapping_layers": depth, "mapping_lr_multiplier": float(first.get("bias_gain", 0.01))}
    return options


def _check(place: str, module: Mapping[str, Any], **expected: Any) -> None:
    for key, value in expected.items():
        if module.get(key, value) != value:
            raise WeightsError(f"{place} has {key}={module[key]!r}; only {value!r} is supported")


def _resolution(record: Record) -> int:
    resolution: Any = record.state.get("img_resolution")
    if resolution not in [2**i for i in range(3, 13)]:
        raise WeightsError(f"a generator of resolution {resolution!r}; expected a power of two from 8 to 4096")
    return int(resolution)


def _stylegan2(record: Record, tensors: Mapping[str, Tensor]) -> _Make:
    resolution = _resolution(record)
    sizes = [2**i for i in range(2, resolution.bit_length())]
    blocks = [_module(record, f"synthesis.b{size}") for size in sizes]
    taps = torch.tensor(TAPS)
    for name, tensor in tensors.items():
        if name.endswith("resample_filter") and (tensor.shape != (4, 4) or not tensor.allclose(taps[:, None] * taps)):
            raise WeightsError(f"{name} is another filter than [1, 3, 3, 1]; only that filter is supported")
    channels = []
    for size in sizes:
        place = f"synthesis.b{size}.conv1"
        _check(place, _module(record, place), activation="lrelu", use_noise=True)
        if (weight := tensors.get(f"{place}.weight")) is None:
            raise WeightsError(f"the tensor {place}.weight is missing; the file is not whole, or of another network")
        channels.append(len(weight))
    hidden, embed = tensors.get("mapping.fc0.weight"), tensors.get("mapping.embed.weight")
    return partial(
        StyleGAN2,
        resolution=resolution,
        channels=channels,
        mapping_hidden_dim=None if hidden is None or "mapping.fc1.weight" not in tensors else len(hidden),
        mapping_embed_dim=None if embed is None else len(embed),
        architecture=blocks[-1].get("architecture", "skip"),
        conv_clamp=_module(record, f"synthesis.b{resolution}.conv1").get("conv_clamp"),
        num_fp16_res=sum(bool(block.get("use_fp16")) for block in blocks),
        **_mapping(record, tensors),
    )


def _stylegan3(record: Record, tensors: Mapping[str, Tensor]) -> _Make:
    synthesis = _module(record, "synthesis")
    init_kwargs = synthesis.get("_init_kwargs") or {}
    keys = (
        "channel_base",
        "channel_max",
        "num_layers",
        "num_critical",
        "first_cutoff",
        "first_stopband",
        "last_stopband_rel",
        "margin_size",
        "output_scale",
        "conv_kernel",
        "filter_size",
        "lrelu_upsampling",
        "use_radial_filters",
        "conv_clamp",
        "num_fp16_res",
    )
    options = {key: init_kwargs[key] for key in keys if key in init_kwargs}
    return partial(StyleGAN3, resolution=_resolution(record), **_mapping(record, tensors), **options)


def _check_filters(generator: StyleGAN2 | StyleGAN3, tensors: Mapping[str, Tensor]) -> None:
    """Compare the resampling filters in a file with those that the network computes."""
    if not isinstance(generator, StyleGAN3):
        return
    for name, buffer in generator.named_buffers():
        if not name.endswith("_taps"):
            continue
        theirs = _nvidia_layer(generator, name).removesuffix("_taps") + "_filter"
        stored = tensors.get(theirs)
        if stored is not None and (stored.shape != buffer.shape or not stored.allclose(buffer, atol=1e-5)):
            raise WeightsError(f"{theirs} is another filter than the layer's cut-off frequencies require")
