"""Edits in latent space: the kinds of edits, how users name them, and how directions are stored."""

from pti_hub.edits.catalogue import load_edits, save_edits, shipped_edits
from pti_hub.edits.direction import Direction, Edit, Step
from pti_hub.edits.dragging import MOST_HANDLES, Drag, DragConfig, drag, parse_moves
from pti_hub.edits.ganspace import GANSpace, ganspace
from pti_hub.edits.mapper import LatentMapper, MapperEdit
from pti_hub.edits.measured import MeasuredEdit
from pti_hub.edits.mixing import StyleMix
from pti_hub.edits.parser import AnyEdit, AppliedEdit, EditInput, EditParser
from pti_hub.edits.sefa import sefa
from pti_hub.edits.style_space import ChannelEffect, StyleEdit, rank_channels
from pti_hub.edits.yaw import YawEdit

__all__ = [
    "MOST_HANDLES",
    "AnyEdit",
    "AppliedEdit",
    "ChannelEffect",
    "Direction",
    "Drag",
    "DragConfig",
    "Edit",
    "EditInput",
    "EditParser",
    "GANSpace",
    "LatentMapper",
    "MapperEdit",
    "MeasuredEdit",
    "Step",
    "StyleEdit",
    "StyleMix",
    "YawEdit",
    "drag",
    "ganspace",
    "load_edits",
    "parse_moves",
    "rank_channels",
    "save_edits",
    "sefa",
    "shipped_edits",
]
