"""Image → pivot, one file per method."""

from pti_hub.projectors.encoder import REFINED, EncoderProjector, EncoderProjectorConfig
from pti_hub.projectors.fixed import FixedPivotConfig, MeanProjector, RandomProjector
from pti_hub.projectors.protocol import Projection, Projector
from pti_hub.projectors.w import WProjector, WProjectorConfig
from pti_hub.projectors.w_plus import WPlusProjector

__all__ = [
    "REFINED",
    "EncoderProjector",
    "EncoderProjectorConfig",
    "FixedPivotConfig",
    "MeanProjector",
    "Projection",
    "Projector",
    "RandomProjector",
    "WPlusProjector",
    "WProjector",
    "WProjectorConfig",
]
