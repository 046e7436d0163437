"""Latent directions: what they are, how a user names them, where they are kept."""

from pti_hub.edits.catalogue import load_edits, save_edits, shipped_edits
from pti_hub.edits.direction import Direction, Edit, parse_edit_text, parse_edits
from pti_hub.edits.ganspace import GANSpace, ganspace
from pti_hub.edits.sefa import sefa

__all__ = [
    "Direction",
    "Edit",
    "GANSpace",
    "ganspace",
    "load_edits",
    "parse_edit_text",
    "parse_edits",
    "save_edits",
    "sefa",
    "shipped_edits",
]
