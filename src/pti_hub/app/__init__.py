"""The web page: a photograph becomes a face with sliders, on one's own machine."""

from pti_hub.app.serving import serve, served
from pti_hub.app.settings import Settings

__all__ = ["Settings", "serve", "served"]
