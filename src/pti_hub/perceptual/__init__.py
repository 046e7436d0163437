"""Perceptual distances between pictures, as model components."""

from __future__ import annotations

from pti_hub.perceptual.lpips import LPIPS, TargetFeatures, lpips_reference

__all__ = ["LPIPS", "TargetFeatures", "lpips_reference"]
