"""How the shipped directions are learned."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.directions import vector


@pytest.fixture
def learn() -> Any:
    """The script that learns the shipped directions."""
    return importlib.import_module("learn_directions")


def test_figures_of_a_perfect_edit(learn: Any) -> None:
    labels = np.zeros((len(learn.STRENGTHS), 3, len(learn.LABELS)))
    own, other = learn.LABELS.index("age"), learn.LABELS.index("smile")
    labels[..., own] = 1.5 * np.array(learn.STRENGTHS)[:, None]
    labels[..., other] = 0.2 * np.array(learn.STRENGTHS)[:, None] * [-1, 1, 1]
    figures = learn.figures("age", labels, np.zeros((len(learn.STRENGTHS), 3, 128)))
    assert (figures["hit_rate"], figures["monotone_rate"], figures["shift"]) == (1, 1, 1.5)
    assert (figures["hit_rates"], figures["nearly_monotone_rate"]) == ([1, 1], 1)
    assert figures["other_shifts"]["smile"] == 0.2
    assert figures["other_shifts"]["pose"] == 0
    assert (figures["identity_distance"], figures["identity_below_half"]) == (0, 1)


def test_figures_of_a_broken_edit(learn: Any) -> None:
    labels = np.zeros((len(learn.STRENGTHS), 4, len(learn.LABELS)))
    own = learn.LABELS.index("age")
    labels[..., own] = np.array(learn.STRENGTHS)[:, None]
    labels[:, 0, own] *= -1  # the wrong way
    labels[-1, 1, own] = 0.5  # falls back at strength 2
    labels[-1, 2] = np.nan  # no face at strength 2
    labels[0, 3, own] = -1 + 0.5 * learn.NEARLY  # hardly falls
    figures = learn.figures("age", labels, np.ones((len(learn.STRENGTHS), 4, 128)))
    assert (figures["hit_rate"], figures["monotone_rate"], figures["nearly_monotone_rate"]) == (0.75, 0, 0.25)
    assert figures["shift"] == 0.5
    assert figures["faces_lost"] == 0.05


def test_samples_without_a_face_are_left_out(learn: Any, tmp_path: Path) -> None:
    (tmp_path / "samples").mkdir()
    labels = np.random.default_rng(0).normal(5, 3, (50, len(learn.LABELS)))
    labels[7] = np.nan
    embeddings = np.zeros((50, 128)) + labels[:, :1]
    np.savez(tmp_path / "samples" / "00000.npz", w=vector(50, 4).numpy(), labels=labels, embeddings=embeddings)
    samples = learn.load_samples(tmp_path)
    assert samples.w.shape == (49, 4)
    np.testing.assert_allclose(samples.labels.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(samples.labels.std(axis=0), 1)
    np.testing.assert_allclose(samples.w.mean(axis=0), 0, atol=1e-6)


def test_gender_is_half_the_networks_and_half_the_embeddings(learn: Any) -> None:
    random = np.random.default_rng(0)
    embeddings, weights = random.normal(size=(2000, 128)), random.normal(size=128)
    readout = learn.fit_readout(embeddings, embeddings @ weights + 3)
    np.testing.assert_allclose(readout, [*weights, 3], atol=0.1)
    labels = random.normal(size=(2000, len(learn.LABELS)))
    both = learn.with_readout(labels, embeddings, np.append(weights, 3.0))
    np.testing.assert_allclose(2 * both[:, learn.GENDER] - labels[:, learn.GENDER], embeddings @ weights + 3)
    others = np.arange(len(learn.LABELS)) != learn.GENDER
    np.testing.assert_array_equal(both[:, others], labels[:, others])
