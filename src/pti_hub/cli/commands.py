"""The application with all its commands."""

from __future__ import annotations

from importlib import import_module

from pti_hub.cli.app import app

__all__ = ["app"]

# A file adds its commands to the application as it is imported, in the order in which --help lists them.
for _name in ("dragging", "editing", "learning", "models", "personalizing", "serving", "sharing", "weights"):
    import_module(f"pti_hub.cli.{_name}")
