"""A folder of edits: vectors as safetensors, provenance and metrics as JSON, and a folder inside for each mapper."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from torch import Tensor

from pti_hub.edits.direction import Direction, Step
from pti_hub.edits.mapper import LatentMapper
from pti_hub.errors import InputError, WeightsError, one_line
from pti_hub.faces import MEASURES
from pti_hub.storage import (
    DAMAGE,
    load_network,
    read_json,
    read_tensors,
    read_whole,
    recover_folder,
    replaced_folder,
    write_json,
    write_tensors,
)

CONFIG_NAME = "edits.json"
WEIGHTS_NAME = "edits.safetensors"
_FOLDER_NAME = re.compile(r"\w[\w .+-]{0,63}")
SHIPPED = Path(str(files("pti_hub.edits"))) / "data" / "mobilestylegan-ffhq"

GROUPS = {
    "Expression": ("smile", "mouth_open", "eyes_open", "surprised", "angry", "sad"),
    "Age and features": ("age", "gender", "beard", "brows", "glasses", "lipstick"),
    "Hair": ("hair_light", "grey_hair", "long_hair", "curly", "bangs"),
    "Head": ("pose", "pitch"),
}
"""Shipped edits that belong together, by title."""


def save_edits(folder: str | Path, edits: Mapping[str, Direction | LatentMapper]) -> None:
    """Write a catalogue of edits; an existing one stays intact until the new one is complete.

    Args:
        folder: Folder to write.
        edits: Directions and mappers by name, in the order in which to list them. A mapper gets a folder inside that is
            named like it, from which `LatentMapper.from_pretrained` loads.

    Raises:
        InputError: A key differs from its direction's name, a mapper's name can't be a folder's, or the folder holds
            something else.
    """
    for name, edit in edits.items():
        if isinstance(edit, LatentMapper):
            check_mapper_name(name)
        elif name != edit.name:
            raise InputError(f"direction {edit.name!r} is listed as {name!r}; list it under its own name")
    directions = [edit for edit in edits.values() if isinstance(edit, Direction)]
    config = {name: {"mapper": True} if isinstance(e, LatentMapper) else _describe(e) for name, e in edits.items()}
    # Tensors are numbered, since safetensors reserves some names that a direction could have.
    tensors = {f"vectors.{i}": d.vector for i, d in enumerate(directions)}
    with replaced_folder(folder, CONFIG_NAME, owned=_mappers_in(Path(folder))) as new:
        write_tensors(new / WEIGHTS_NAME, tensors)
        write_json(new / CONFIG_NAME, config)
        for name, edit in edits.items():
            if isinstance(edit, LatentMapper):
                edit.save_pretrained(new / name)
                (new / name / "README.md").unlink(missing_ok=True)


def check_mapper_name(name: str) -> None:
    """Make sure that a folder can be named like a mapper.

    Raises:
        InputError: None can.
    """
    if not _FOLDER_NAME.fullmatch(name) or name in (CONFIG_NAME, WEIGHTS_NAME):
        raise InputError(f"mapper named {name!r}; expected a name that a folder can have, such as curly-hair")


def _mappers_in(folder: Path) -> list[str]:
    """Names of the mappers of an existing catalogue, whose folders a new one replaces."""
    try:
        return [name for name, entry in read_json(folder / CONFIG_NAME).items() if "mapper" in entry]
    except (WeightsError, TypeError):
        return []


def _describe(direction: Direction) -> dict[str, Any]:
    entry: dict[str, Any] = {"provenance": direction.provenance, "metrics": dict(direction.metrics)}
    step = direction.step
    # Any other measure, such as likeness to a phrase, is code or a network; the plain vector is saved alone.
    if step is not None and MEASURES.get(step.measure.name) is step.measure:
        entry["step"] = {"measure": step.measure.name, "change": step.change}
    return entry


def load_edits(folder: str | Path) -> dict[str, Direction | LatentMapper]:
    """Read a catalogue of edits.

    Args:
        folder: A folder that `save_edits` wrote.

    Returns:
        Directions and mappers by name, on the CPU.

    Raises:
        WeightsError: A file is missing or damaged, or the files don't belong together.
    """
    recover_folder(Path(folder))
    return read_whole(Path(folder), _read_edits)


def _read_edits(folder: Path) -> dict[str, Direction | LatentMapper]:
    config, tensors = read_json(folder / CONFIG_NAME), read_tensors(folder / WEIGHTS_NAME)
    try:
        mappers = [name for name, entry in config.items() if "mapper" in entry]
        if set(tensors) != {f"vectors.{i}" for i in range(len(config) - len(mappers))}:
            raise WeightsError(f"{folder} lists {len(config) - len(mappers)} directions but holds {sorted(tensors)}")
        vectors = (tensors[f"vectors.{i}"] for i in range(len(tensors)))
        return {
            name: _load_mapper(folder, name) if name in mappers else _load_direction(name, next(vectors), entry)
            for name, entry in config.items()
        }
    except DAMAGE as error:
        raise WeightsError(f"{folder} holds no valid edits ({one_line(error)})") from error


def _load_direction(name: str, vector: Tensor, entry: Mapping[str, Any]) -> Direction:
    step = Step(MEASURES[entry["step"]["measure"]], entry["step"]["change"]) if "step" in entry else None
    return Direction(name, vector, str(entry["provenance"]), dict(entry["metrics"]), step)


def _load_mapper(folder: Path, name: str) -> LatentMapper:
    check_mapper_name(name)
    return load_network(LatentMapper, folder / name)


def shipped_edits() -> dict[str, Direction]:
    """The directions learned for the default generator, `pti-hub/mobilestylegan-ffhq`.

    Returns:
        Directions by name, such as `smile`, `age` (positive: older) and `glasses`, each with measurements in `metrics`;
        docs/edits.md lists them.

    Raises:
        WeightsError: The package is damaged.
    """
    try:
        return {name: edit for name, edit in load_edits(SHIPPED).items() if isinstance(edit, Direction)}
    except WeightsError as error:
        raise WeightsError(f"the edits in {SHIPPED} are missing or damaged; install pti-hub anew") from error
