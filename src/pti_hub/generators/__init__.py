"""Generator networks G(ws), one file per architecture."""

from pti_hub.generators.mobile_stylegan import MobileStyleGAN
from pti_hub.generators.protocol import (
    Generator,
    NoiseMode,
    StyleLayer,
    broadcast_ws,
    tuned_features,
    tuned_synthesis,
    w_statistics,
)
from pti_hub.generators.statistics import latent_statistics
from pti_hub.generators.stylegan2 import StyleGAN2
from pti_hub.generators.stylegan3 import StyleGAN3

__all__ = [
    "Generator",
    "MobileStyleGAN",
    "NoiseMode",
    "StyleGAN2",
    "StyleGAN3",
    "StyleLayer",
    "broadcast_ws",
    "latent_statistics",
    "tuned_features",
    "tuned_synthesis",
    "w_statistics",
]
