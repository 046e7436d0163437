"""What a run of `train_encoder.py` learns from what."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """What is learned from what; a run folder keeps it.

    Attributes:
        samples: Number of pictures rendered, beside the held-out ones.
        truncation: ψ of the samples is spread evenly between these.
        size: Height and width at which pictures are kept, in pixels.
        picture_size: Height and width at which pictures are compared, in pixels.
        resolution: Height and width of the pictures that the encoder takes, in pixels.
        space: `"w"` or `"w+"`.
        steps: Steps in which latents are compared.
        picture_steps: Steps after these in which pictures are compared as well.
        batch_size: Pictures per step, over all processes.
        picture_share: Share of a batch for which G(ŵ) is rendered and compared.
        learning_rate: Adam's peak learning rate for the head, in the steps that compare latents alone.
        picture_rate: The peak learning rate in the steps that compare pictures as well.
        body_rate: Learning rate of the body, as a share of the head's.
        lpips_weight: λ of LPIPS.
        l2_weight: λ of the squared difference of pixels.
        identity_weight: λ of 1 − cosine of ArcFace's embeddings.
        offset_weight: λ of the offsets' squared length, in W+.
        preconditioner_samples: Samples from which the gradient preconditioner is estimated; 0 for none.
        seed: Seed of everything random.
    """

    samples: int
    truncation: tuple[float, float]
    size: int
    picture_size: int
    resolution: int
    space: str
    steps: int
    picture_steps: int
    batch_size: int
    picture_share: float
    learning_rate: float
    picture_rate: float
    body_rate: float
    lpips_weight: float
    l2_weight: float
    identity_weight: float
    offset_weight: float
    preconditioner_samples: int
    seed: int
