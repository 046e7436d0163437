"""Hyper-parameters of pivotal tuning."""

from __future__ import annotations

from dataclasses import dataclass

from pti_hub.optim import check_hyper_parameters


@dataclass(frozen=True)
class PivotalTunerConfig:
    """Hyper-parameters of Eq. 2. The defaults are a quick schedule; `paper` has section 4.5's.

    Attributes:
        num_steps: Maximum number of Adam's steps per image.
        learning_rate: Adam's learning rate for the weights.
        beta1: Adam's β₁.
        beta2: Adam's β₂.
        uses_eigenbasis: Whether Adam works in the eigenbasis of what the convolutions see, which takes fewer steps;
            see `pti_hub.optim.EigenbasisAdam`.
        tunes_styles: Whether the matrices that map w to styles are tuned, too. At a fixed pivot they add nothing that
            other weights can't do, but they change how the generator answers to edits.
        rounds_activations: Whether the generator works, and gradients are rotated, in bfloat16 where the device
            computes it natively; weights and reported metrics stay in float32.
        weighs_faces: Whether the face counts more than the background, where it is known where the face is.
        rampdown: Share of the steps over which the learning rates fall to 0, along a cosine; not in the paper. The
            codes that locality draws make gradients noisy, and a large λ_R does harm unless that noise dies away.
        pivot_learning_rate: Adam's learning rate for the pivots, which move along with the weights where it is not 0:
            the paper's ablation (Fig. 16 D and F) and Pan et al. (2020), not the paper's method.
        lpips_weight: λ_LPIPS.
        l2_weight: λ_L2.
        lpips_threshold: A photograph is left alone once its LPIPS is below this (the face's, where the face counts
            more); tuning stops when all are.
        identity_threshold: The same for the distance of dlib's embeddings from the photograph's face, where the face
            counts more; 0 leaves it out.
        locality_weight: λ_R, weight of the locality regularisation (Eq. 7), for one photograph; 0 leaves it out.
        shared_locality_weight: λ_R where several photographs share a generator, and could spoil each other's pictures.
        locality_alpha: α, distance from the pivot at which the original picture is asked for (Eq. 4).
        locality_l2_weight: λ^R_L2.
        locality_samples: N_r, codes drawn per step.
        batch_size: Photographs whose mean loss a step is taken on; at least one per process that takes part.
        check_interval: Rounds between two checks of the losses. Only a check keeps weights and tests the threshold, so
            that an accelerator is not waited for in between.
    """

    num_steps: int = 120
    learning_rate: float = 5e-4
    beta1: float = 0.8
    beta2: float = 0.99
    uses_eigenbasis: bool = True
    tunes_styles: bool = False
    rounds_activations: bool = True
    weighs_faces: bool = True
    rampdown: float = 0.0
    pivot_learning_rate: float = 0.0
    lpips_weight: float = 1.0
    l2_weight: float = 20.0
    lpips_threshold: float = 0.06
    identity_threshold: float = 0.12
    locality_weight: float = 0.0
    shared_locality_weight: float = 0.1
    locality_alpha: float = 30.0
    locality_l2_weight: float = 1.0
    locality_samples: int = 1
    batch_size: int = 1
    check_interval: int = 5

    def __post_init__(self) -> None:
        counts = ("num_steps", "locality_samples", "batch_size", "check_interval")
        above_zero = (*counts, "learning_rate", "locality_alpha")
        check_hyper_parameters(self, above_zero, below_one=("beta1", "beta2"))

    @classmethod
    def paper(cls) -> PivotalTunerConfig:
        """Section 4.5: 350 of Adam's steps on all weights, all of them taken."""
        return cls(
            num_steps=350,
            learning_rate=3e-4,
            beta1=0.9,
            beta2=0.999,
            uses_eigenbasis=False,
            tunes_styles=True,
            rounds_activations=False,
            weighs_faces=False,
            l2_weight=1.0,
            lpips_threshold=0.0,
        )
