"""How the attribute network is taught."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest
import torch
from support.directions import vector

from pti_hub.faces import shipped_attributes


@pytest.fixture
def learn() -> Any:
    """The script that teaches the attribute network."""
    return importlib.import_module("learn_attributes")


def test_labels_by_eye() -> None:
    names: Any = importlib.import_module("attribute_names")
    found = names.labels_by_eye(2000)
    assert set(found) == set(names.ATTRIBUTES) - set(names.LABELS)
    known = np.isfinite(found["glasses"])
    assert known.sum() == 1679 and not known[1680:].any()
    assert set(found["beard"][known]) == {0, 1, 2, 3}
    # Sunglasses are glasses. Hair that a hat hides has no colour.
    assert (found["glasses"] >= found["sunglasses"])[known].all()
    assert np.isnan(found["hair_light"]).sum() > np.isnan(found["glasses"]).sum()
    # Face 11 has a full beard, face 39 wears glasses.
    assert (found["beard"][11], found["glasses"][11], found["glasses"][39]) == (3, 0, 1)


def test_a_linear_attribute_is_learned(learn: Any) -> None:
    features, truth = vector(400, 2, 60), vector(60, 2, seed=1)
    labels = features @ truth + 3
    weight, bias, explained = learn.learn(features, labels)
    assert explained.min() > 0.9
    torch.testing.assert_close(features[0] @ weight + bias, labels[0], atol=4.0, rtol=0.3)
    noise = learn.learn(features, vector(400, 2, 2, seed=2))[2]
    assert noise.max() < 0.1


def test_what_ships_is_what_the_script_writes(learn: Any) -> None:
    assert list(shipped_attributes()) == list(learn.ATTRIBUTES)
    for name, entry in shipped_attributes().items():
        known = {key: value for key, value in learn.ATTRIBUTES[name]._asdict().items() if value is not None}
        assert known.items() <= entry.items()
        assert entry["explained"] > 0.4 and entry["tolerance"] < entry["std"]
