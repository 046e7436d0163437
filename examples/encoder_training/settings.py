"""The settings of a run of `train_encoder.py`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """Settings of a run, which the run folder saves.

    Attributes:
        samples: Number of pictures to render, in addition to the held-out ones.
        truncation: Interval from which the samples' ψ is drawn uniformly.
        size: Height and width at which pictures are saved, in pixels.
        picture_size: Height and width at which pictures are compared, in pixels.
        resolution: Height and width of the encoder's input pictures, in pixels.
        space: `"w"` or `"w+"`.
        steps: Number of steps that compare only latents.
        picture_steps: Number of steps after these, which also compare pictures.
        batch_size: Pictures per step, over all processes.
        picture_share: Share of a batch for which G(ŵ) is rendered and compared.
        learning_rate: Adam's peak learning rate for the head, in the steps that compare only latents.
        picture_rate: Adam's peak learning rate for the head, in the steps that also compare pictures.
        body_rate: Learning rate of the body, as a share of the head's learning rate.
        lpips_weight: λ of LPIPS.
        l2_weight: λ of the squared difference between pixels.
        identity_weight: λ of 1 − the cosine similarity of ArcFace's embeddings.
        offset_weight: λ of the offsets' squared norm, in W+.
        preconditioner_samples: Number of samples to estimate the gradient preconditioner from; 0 for no preconditioner.
        seed: Seed of all random numbers.
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
