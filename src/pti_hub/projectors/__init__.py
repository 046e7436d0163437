"""Image → pivot, one file a method."""

from pti_hub.projectors.w import Projection, WProjector, WProjectorConfig

__all__ = ["Projection", "WProjector", "WProjectorConfig"]
