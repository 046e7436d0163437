"""Labels of the samples that attributes and edits are learned from."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from support.needs import needs_mobile_stylegan


@pytest.fixture
def samples() -> Any:
    """The script that labels samples."""
    return importlib.import_module("label_samples")


def save(folder: Path, number: int, first: float) -> None:
    """A chunk of labels that count up."""
    labels = np.arange(first, first + 100).reshape(50, 2)
    (folder / "labels").mkdir(exist_ok=True)
    np.savez(folder / "labels" / f"{number:05d}.npz", labels=labels, landmarks=np.zeros((50, 68, 2)), embeddings=labels)


@needs_mobile_stylegan
def test_labels_belong_to_their_latents(samples: Any, tmp_path: Path) -> None:
    for number in range(2):
        save(tmp_path, number, 100.0 * number)
    found, labelled = samples.read_samples(tmp_path)
    assert found.latents.shape == (100, 512)
    np.testing.assert_array_equal(labelled.labels[:, 0], np.arange(0, 200, 2))


def test_a_gap_in_the_labels(samples: Any, tmp_path: Path) -> None:
    save(tmp_path, 1, 0.0)
    with pytest.raises(typer.BadParameter, match="no complete labels"):
        samples.read_samples(tmp_path)


def test_labels_in_standard_deviations(samples: Any) -> None:
    labels = np.random.default_rng(0).normal(5, 3, (1000, 2))
    labels[7, 1], labels[3, 0] = np.nan, 1e6
    scaled, mean, std = samples.standardised(labels)
    np.testing.assert_allclose(np.nanmean(scaled, 0), 0, atol=1e-12)
    np.testing.assert_allclose(np.nanstd(scaled, 0), 1)
    assert np.isnan(scaled[7, 1]) and scaled[3, 0] < 4
    np.testing.assert_allclose(scaled[0] * std + mean, labels[0])
