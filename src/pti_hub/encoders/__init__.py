"""Encoder networks: from pictures to latents, and from faces to identity embeddings."""

from pti_hub.encoders.arcface import ArcFace
from pti_hub.encoders.light import LightEncoder, shipped_encoder
from pti_hub.encoders.protocol import Encoder, encode
from pti_hub.encoders.style import StyleEncoder

__all__ = ["ArcFace", "Encoder", "LightEncoder", "StyleEncoder", "encode", "shipped_encoder"]
