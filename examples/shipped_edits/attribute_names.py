"""The attributes that are learned, and those of them that were labelled by eye."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np
from face_labels import LABELS

FILE = Path(__file__).parent / "labels_by_eye.csv"
HAIR = {"k": 0.0, "d": 1.0, "l": 2.0, "b": 3.0}


class Attribute(NamedTuple):
    """What an attribute is called in a message, where it begins and ends, and whether there is nothing between."""

    title: str
    unit: str = ""
    lowest: float | None = None
    highest: float | None = None
    jumps: bool | None = None


ATTRIBUTES = {
    "smile": Attribute("smile"),
    "angry": Attribute("anger"),
    "surprised": Attribute("surprise"),
    "sad": Attribute("sadness"),
    "age": Attribute("age", " years", 0.0),
    "gender": Attribute("femininity"),
    "pose": Attribute("turn", "°"),
    "pitch": Attribute("nod", "°"),
    "eyes_open": Attribute("eyes' height", " of the eyes' width", 0.0),
    "mouth_open": Attribute("gap between the lips", " of the mouth's width", 0.0),
    "mouth_width": Attribute("mouth's width", " of the distance between the eyes"),
    "skin": Attribute("lightness of the skin"),
    "tint": Attribute("redness of the skin"),
    "glasses": Attribute("presence of glasses", "", 0, 1, True),
    "sunglasses": Attribute("presence of sunglasses", "", 0, 1, True),
    "beard": Attribute("beard", "", 0, 3),
    "bangs": Attribute("fringe", "", 0, 2),
    "hair_light": Attribute("lightness of the hair", "", 0, 3),
    "grey_hair": Attribute("greyness of the hair", "", 0, 1),
    "long_hair": Attribute("length of the hair", "", 0, 3),
    "curly": Attribute("curliness of the hair", "", 0, 2),
    "lipstick": Attribute("colour of the lips", "", 0, 2),
    "hat": Attribute("presence of a hat", "", 0, 1, True),
    "brows": Attribute("strength of the eyebrows", "", 0, 2),
}
BY_EYE = tuple(name for name in ATTRIBUTES if name not in LABELS)


def labels_by_eye(count: int) -> dict[str, np.ndarray]:
    """Labels `[count]` by name; NaN for pictures that were not labelled, or where the attribute can't be seen."""
    with FILE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    found = {name: np.full(count, np.nan) for name in BY_EYE}
    for row in rows:
        number, hair = int(row["sample"]), row["hair"]
        if number >= count:
            continue
        values = {name: float(row[name]) for name in ("beard", "bangs", "curly", "lipstick", "hat", "brows")}
        values |= {"glasses": float(row["glasses"] != "0"), "sunglasses": float(row["glasses"] == "2")}
        values["long_hair"] = float(row["length"])
        if hair in HAIR:
            values["hair_light"] = HAIR[hair]
        if hair != "x":
            values["grey_hair"] = float(hair == "g")
        for name, value in values.items():
            found[name][number] = value
    return found
