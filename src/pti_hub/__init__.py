"""PTI Hub: personalise a StyleGAN to a photograph with Pivotal Tuning, edit it, share it."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pti_hub import logging
from pti_hub.errors import (
    FaceError,
    ImageError,
    InputError,
    MissingDependencyError,
    PTIError,
    SaveError,
    WeightsError,
)
from pti_hub.version import __version__

if TYPE_CHECKING:
    from pti_hub.edits import Direction, Edit
    from pti_hub.personalization import Personalization
    from pti_hub.pipelines import PRESETS, PTIOutput, PTIPipeline
    from pti_hub.projectors import Projection, WProjector, WProjectorConfig
    from pti_hub.tuners import PivotalTuner, PivotalTunerConfig

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

# What needs PyTorch, which takes seconds to import, is imported when it is first used.
_ROOMS = {
    **dict.fromkeys(("Direction", "Edit"), "edits"),
    "Personalization": "personalization",
    **dict.fromkeys(("PRESETS", "PTIOutput", "PTIPipeline"), "pipelines"),
    **dict.fromkeys(("Projection", "WProjector", "WProjectorConfig"), "projectors"),
    **dict.fromkeys(("PivotalTuner", "PivotalTunerConfig"), "tuners"),
}


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_ROOMS[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
