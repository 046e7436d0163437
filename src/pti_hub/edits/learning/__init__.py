"""Learning edits: from labels of a generator's own pictures, from examples, and from words."""

from pti_hub.edits.learning.directions import FEWEST_EXAMPLES, direction_between, learn_direction
from pti_hub.edits.learning.mapper_training import MapperTrainingConfig, TrainedMapper, train_mapper
from pti_hub.edits.learning.optimization import LatentOptimizationConfig, optimize_direction
from pti_hub.edits.learning.regression import covariance_root, independent_steps, ridge
from pti_hub.edits.learning.samples import Samples
from pti_hub.edits.learning.text_loss import Embedder, TextLoss
from pti_hub.edits.learning.text_model import DEFAULT_TEXT_MODEL, TextModel
from pti_hub.edits.learning.words import PhraseDistance, Words

__all__ = [
    "DEFAULT_TEXT_MODEL",
    "FEWEST_EXAMPLES",
    "Embedder",
    "LatentOptimizationConfig",
    "MapperTrainingConfig",
    "PhraseDistance",
    "Samples",
    "TextLoss",
    "TextModel",
    "TrainedMapper",
    "Words",
    "covariance_root",
    "direction_between",
    "independent_steps",
    "learn_direction",
    "optimize_direction",
    "ridge",
    "train_mapper",
]
