"""What tuning learned, as a value, and how small it gets."""

from pti_hub.personalization.base import Base
from pti_hub.personalization.compression import DELTAS
from pti_hub.personalization.deltas import add_deltas
from pti_hub.personalization.personalization import CONFIG_NAME, PERSONALIZATION_FOLDER, WEIGHTS_NAME, Personalization

__all__ = [
    "CONFIG_NAME",
    "DELTAS",
    "PERSONALIZATION_FOLDER",
    "WEIGHTS_NAME",
    "Base",
    "Personalization",
    "add_deltas",
]
