"""Learning directions: from labels of a generator's own pictures, from examples, and from words."""

from pti_hub.edits.learning.directions import FEWEST_EXAMPLES, direction_between, learn_direction
from pti_hub.edits.learning.regression import covariance_root, independent_steps, ridge
from pti_hub.edits.learning.samples import Samples
from pti_hub.edits.learning.text_model import DEFAULT_TEXT_MODEL, TextModel
from pti_hub.edits.learning.words import Words

__all__ = [
    "DEFAULT_TEXT_MODEL",
    "FEWEST_EXAMPLES",
    "Samples",
    "TextModel",
    "Words",
    "covariance_root",
    "direction_between",
    "independent_steps",
    "learn_direction",
    "ridge",
]
