"""The application with all its commands."""

from __future__ import annotations

from pti_hub.cli import dragging, editing, learning, models, personalizing, serving, sharing, weights
from pti_hub.cli.app import app

__all__ = ["app", "dragging", "editing", "learning", "models", "personalizing", "serving", "sharing", "weights"]
