"""PTI Hub: personalise a StyleGAN to a photograph with Pivotal Tuning, edit it, share it."""

from pti_hub import logging
from pti_hub.edits import Direction, Edit
from pti_hub.errors import (
    FaceError,
    ImageError,
    InputError,
    MissingDependencyError,
    PTIError,
    SaveError,
    WeightsError,
)
from pti_hub.personalization import Personalization
from pti_hub.pipelines import PRESETS, PTIOutput, PTIPipeline
from pti_hub.projectors import Projection, WProjector, WProjectorConfig
from pti_hub.tuners import PivotalTuner, PivotalTunerConfig
from pti_hub.version import __version__

__all__ = [
    "PRESETS",
    "Direction",
    "Edit",
    "FaceError",
    "ImageError",
    "InputError",
    "MissingDependencyError",
    "PTIError",
    "PTIOutput",
    "PTIPipeline",
    "Personalization",
    "PivotalTuner",
    "PivotalTunerConfig",
    "Projection",
    "SaveError",
    "WProjector",
    "WProjectorConfig",
    "WeightsError",
    "__version__",
    "logging",
]
