"""A folder of directions: vectors as safetensors, provenance and metrics as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from pti_hub.edits.direction import Direction, Step
from pti_hub.errors import InputError, WeightsError
from pti_hub.faces import MEASURES
from pti_hub.storage import read_json, read_tensors, replaced_folder, write_json, write_tensors

CONFIG_NAME = "edits.json"
WEIGHTS_NAME = "edits.safetensors"
SHIPPED = Path(str(files("pti_hub.edits"))) / "data" / "mobilestylegan-ffhq"


def save_edits(folder: str | Path, directions: Mapping[str, Direction]) -> None:
    """Write a catalogue of directions; an existing one stays intact until the new one is complete.

    Args:
        folder: Folder to write.
        directions: Directions by name, in the order in which to list them.

    Raises:
        InputError: A key differs from its direction's name, or the folder holds something else.
    """
    for name, direction in directions.items():
        if name != direction.name:
            raise InputError(f"direction {direction.name!r} is listed as {name!r}; list it under its own name")
    config = {d.name: _describe(d) for d in directions.values()}
    # Tensors are numbered, since safetensors reserves some names that a direction could have.
    tensors = {f"vectors.{i}": d.vector for i, d in enumerate(directions.values())}
    with replaced_folder(folder, CONFIG_NAME) as new:
        write_tensors(new / WEIGHTS_NAME, tensors)
        write_json(new / CONFIG_NAME, config)


def _describe(direction: Direction) -> dict[str, Any]:
    entry: dict[str, Any] = {"provenance": direction.provenance, "metrics": dict(direction.metrics)}
    step = direction.step
    # Any other measure, such as likeness to a phrase, is code or a network; the plain vector is saved alone.
    if step is not None and MEASURES.get(step.measure.name) is step.measure:
        entry["step"] = {"measure": step.measure.name, "change": step.change}
    return entry


def load_edits(folder: str | Path) -> dict[str, Direction]:
    """Read a catalogue of directions.

    Args:
        folder: A folder that `save_edits` wrote.

    Returns:
        Directions by name, on the CPU.

    Raises:
        WeightsError: A file is missing or damaged, or the two files don't belong together.
    """
    folder = Path(folder)
    config, tensors = read_json(folder / CONFIG_NAME), read_tensors(folder / WEIGHTS_NAME)
    if set(tensors) != {f"vectors.{i}" for i in range(len(config))}:
        raise WeightsError(f"{folder} lists {len(config)} edits but holds {sorted(tensors)}")
    try:
        return {
            name: Direction(
                name,
                tensors[f"vectors.{i}"],
                str(entry["provenance"]),
                dict(entry["metrics"]),
                Step(MEASURES[entry["step"]["measure"]], entry["step"]["change"]) if "step" in entry else None,
            )
            for i, (name, entry) in enumerate(config.items())
        }
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{folder} holds no valid edits ({error})") from error


def shipped_edits() -> dict[str, Direction]:
    """The directions learned for the default generator, `pti-hub/mobilestylegan-ffhq`.

    Returns:
        `smile`, `age` (positive: older), `pose` (positive: to the picture's right), `gender` (positive: more
        feminine), `eyes_open` and `mouth_open`, each with measurements in `metrics`.

    Raises:
        WeightsError: The package is damaged.
    """
    try:
        return load_edits(SHIPPED)
    except WeightsError as error:
        raise WeightsError(f"the edits in {SHIPPED} are missing or damaged; install pti-hub anew") from error
