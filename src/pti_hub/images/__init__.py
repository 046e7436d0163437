"""Picture files, pictures and tensors, and the conversions between them."""

from pti_hub.images.photographs import Photograph
from pti_hub.images.reading import (
    MAX_PIXELS,
    PICTURE_SUFFIXES,
    ImageInput,
    find_pictures,
    load_image,
    read_photograph,
)
from pti_hub.images.tensors import to_pil, to_tensor
from pti_hub.images.writing import (
    ANIMATED,
    STILL,
    check_suffix,
    encode_image,
    import_av,
    save_animation,
    save_image,
    side_by_side,
)

__all__ = [
    "ANIMATED",
    "MAX_PIXELS",
    "PICTURE_SUFFIXES",
    "STILL",
    "ImageInput",
    "Photograph",
    "check_suffix",
    "encode_image",
    "find_pictures",
    "import_av",
    "load_image",
    "read_photograph",
    "save_animation",
    "save_image",
    "side_by_side",
    "to_pil",
    "to_tensor",
]
