"""A pipeline's folder: `model_index.json`, and a sub-folder per component."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from huggingface_hub import ModelCard
from safetensors import safe_open

from pti_hub.edits import load_edits, save_edits
from pti_hub.encoders import LightEncoder, StyleEncoder
from pti_hub.errors import InputError, WeightsError
from pti_hub.generators import MobileStyleGAN, StyleGAN2, StyleGAN3
from pti_hub.perceptual import LPIPS
from pti_hub.personalization import Personalization
from pti_hub.pipelines.components import NETWORKS, Components
from pti_hub.projectors import EncoderProjector, MeanProjector, RandomProjector, WPlusProjector, WProjector
from pti_hub.storage import (
    VARIANTS,
    FolderKind,
    is_folder,
    load_network,
    pipeline_card,
    read_json,
    read_tensors,
    save_folder,
    write_json,
    write_tensors,
)
from pti_hub.tuners import PivotalTuner

INDEX_NAME = "model_index.json"
"""File that every folder of a pipeline has, with the class names of its parts."""

CLASS_NAME = "PTIPipeline"
"""What the index says that a folder is of."""

_ROUNDED_FROM = "rounded_from"

# A class named in a saved folder is looked up here and imported from nowhere.
_GENERATORS = (MobileStyleGAN, StyleGAN2, StyleGAN3)
_PROJECTORS = (WProjector, WPlusProjector, MeanProjector, RandomProjector, EncoderProjector)
_CLASSES: dict[str, dict[str, Any]] = {
    part: {cls.__name__: cls for cls in classes}
    for part, classes in {
        "generator": _GENERATORS,
        "perceptual": (LPIPS,),
        "projector_perceptual": (LPIPS,),
        "encoder": (LightEncoder, StyleEncoder),
        "projector": _PROJECTORS,
        "tuner": (PivotalTuner,),
    }.items()
}

PIPELINE_FOLDER = FolderKind(INDEX_NAME, frozenset({*_CLASSES, "edits", "personalization"}))
"""What the folder of a pipeline is known by."""

_Pipeline = TypeVar("_Pipeline", bound=Components)


def save_components(components: Components, folder: str | Path, variant: str | None = None) -> None:
    """Write a pipeline's folder, with a card; see `pti_hub.storage.save_folder`.

    Raises:
        InputError: There is no such variant, a part can't be saved, or the folder holds something else.
        SaveError: The disk is full, or the place is not writable.
    """
    write = functools.partial(write_components, components, variant=variant)
    save_folder(folder, PIPELINE_FOLDER, write, make_card(components))


def write_components(components: Components, folder: Path, variant: str | None = None) -> None:
    """Write a pipeline's parts into an empty folder.

    Args:
        components: The pipeline.
        folder: The folder.
        variant: `"fp16"` or `"bf16"` writes the weights in that precision.

    Raises:
        InputError: There is no such variant, or a part can't be saved.
    """
    if variant is not None and variant not in VARIANTS:
        raise InputError(f"variant={variant!r}; expected one of {', '.join(VARIANTS)}")
    parts = {part: getattr(components, part) for part in _CLASSES}
    parts = {part: component for part, component in parts.items() if component is not None}
    for part, component in parts.items():
        if (name := type(component).__name__) not in (classes := _CLASSES[part]):
            raise InputError(f"{part} {name} can't be saved, only {', '.join(classes)} can; set one of them first")
    if parts["projector_perceptual"] is parts["perceptual"]:
        del parts["projector_perceptual"]
    index: dict[str, Any] = {"_class_name": CLASS_NAME, "name": components.name}
    for part, component in parts.items():
        index[part] = ["pti_hub", type(component).__name__]
        if part in NETWORKS:
            _write_network(component, folder / part, variant, components)
        else:
            (folder / part).mkdir()
            write_json(folder / part / "config.json", dataclasses.asdict(component.config))
    if components.edits:
        save_edits(folder / "edits", components.edits)
    if components.personalization is not None:
        components.personalization.save_pretrained(folder / "personalization")
    index |= {"aligns_faces": components.aligns_faces, "origins": components.origins}
    write_json(folder / INDEX_NAME, index)


def read_components(cls: type[_Pipeline], folder: Path, variant: str | None = None) -> _Pipeline:
    """The pipeline of a folder; what is wrong with its content is raised as it is met, see `as_weights_error`.

    Args:
        cls: The pipeline's class.
        folder: The folder.
        variant: Precision of the weights, `None` for the exact ones.
    """
    index = read_json(folder / INDEX_NAME)
    foreign = [key for key, value in index.items() if isinstance(value, list) and key not in (*_CLASSES, "origins")]
    if foreign or index.get("_class_name") != CLASS_NAME:
        raise WeightsError(f"{folder / INDEX_NAME} is of a {index.get('_class_name')!r} with parts {foreign}")
    parts: dict[str, Any] = {}
    for part, classes in _CLASSES.items():
        if part not in index:
            continue
        entry = index[part]
        if entry not in [["pti_hub", name] for name in classes]:
            raise WeightsError(
                f"{folder / INDEX_NAME} names {entry!r} as {part}; only {', '.join(classes)} of pti_hub is loaded"
            )
        component = classes[entry[1]]
        if part in NETWORKS:
            parts[part] = load_network(component, folder / part, _weights(folder / part, variant))
            continue
        config = read_json(folder / part / "config.json")
        if component is EncoderProjector:
            parts[part] = component(parts["encoder"], component.config_class(**config))
        else:
            parts[part] = component(component.config_class(**config))
    if missing := {"generator", "perceptual"} - parts.keys():
        raise WeightsError(f"{folder / INDEX_NAME} names no {' and no '.join(sorted(missing))}")
    if is_folder(folder / "edits"):
        parts["edits"] = load_edits(folder / "edits")
    pipe = cls(
        **parts,
        aligns_faces=bool(index["aligns_faces"]),
        name=str(index["name"]),
        origins=[{key: str(origin[key]) for key in ("part", "origin", "licence")} for origin in index["origins"]],
    )
    with safe_open(_weights(folder / "generator", variant), "pt") as file:
        # Rounded weights are the same base in other words: what was tuned on the one goes with the other.
        if (rounded_from := (file.metadata() or {}).get(_ROUNDED_FROM)) is not None:
            pipe.base = dataclasses.replace(pipe.base, fingerprint=rounded_from)
            pipe.weights_are_rounded = True
    pipe.parse(list(pipe.edits.values()))
    if is_folder(folder / "personalization"):
        pipe.load_personalization(Personalization.from_folder(folder / "personalization"))
    return pipe


def make_card(components: Components, repo_id: str | None = None, captions: Sequence[str] = ()) -> ModelCard:
    """The card of a pipeline's folder: what it is, how to load it, whose weights it holds."""
    edits, identities = list(components.edits), list(components.identities)
    base = None if components.personalization is None else components.personalization.base.to_json()
    return pipeline_card(components.name, edits, identities, components.origins, base, repo_id, captions)


def _write_network(network: Any, folder: Path, variant: str | None, components: Components) -> None:
    network.save_pretrained(folder)
    # One card, the pipeline's, tells of all its weights.
    (folder / "README.md").unlink()
    if variant is None and not components.weights_are_rounded:
        return
    exact = folder / "model.safetensors"
    weights = read_tensors(exact)
    exact.unlink()
    if variant is not None:
        weights = {name: tensor.to(VARIANTS[variant]) for name, tensor in weights.items()}
    write_tensors(folder / _weights_name(variant), weights, {_ROUNDED_FROM: components.base.fingerprint})


def _weights(folder: Path, variant: str | None) -> Path:
    """The weight file of a part in a precision.

    Raises:
        WeightsError: The file is not there.
    """
    path = folder / _weights_name(variant)
    if not path.is_file():
        raise WeightsError(f"{folder} has no {path.name}; where weights are in another precision, pass variant=")
    return path


def _weights_name(variant: str | None) -> str:
    return "model.safetensors" if variant is None else f"model.{variant}.safetensors"
