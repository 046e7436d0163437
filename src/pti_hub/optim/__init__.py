"""What the optimisation loops share."""

from pti_hub.optim.callbacks import StepCallback
from pti_hub.optim.checks import check_hyper_parameters, check_target
from pti_hub.optim.eigenbasis import ConvolutionMoments, Eigenbasis, EigenbasisAdam
from pti_hub.optim.loop_checkpoint import LoopCheckpoint
from pti_hub.optim.loop_state import LoopState, adam_state, restore_adam
from pti_hub.optim.memory import reused_memory
from pti_hub.optim.natural_gradient import GradientPreconditioner, NaturalGradientDescent
from pti_hub.optim.precision import mixed_precision
from pti_hub.optim.processes import process_state
from pti_hub.optim.schedules import learning_rate_factor
from pti_hub.optim.threads import helpers_end

__all__ = [
    "ConvolutionMoments",
    "Eigenbasis",
    "EigenbasisAdam",
    "GradientPreconditioner",
    "LoopCheckpoint",
    "LoopState",
    "NaturalGradientDescent",
    "StepCallback",
    "adam_state",
    "check_hyper_parameters",
    "check_target",
    "helpers_end",
    "learning_rate_factor",
    "mixed_precision",
    "process_state",
    "restore_adam",
    "reused_memory",
]
