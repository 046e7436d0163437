"""Quick looks at a picture."""

from __future__ import annotations

import torch

from pti_hub.checkpoints.draft import Draft
from pti_hub.generators import MobileStyleGAN


def test_a_draft_is_near_the_picture_it_was_fitted_to(generator: MobileStyleGAN) -> None:
    # With 64 places and 73 unknowns the picture can be met.
    ws = generator.w_avg.expand(1, 8, -1)
    draft = Draft(generator, [ws])
    picture = generator.synthesis(ws, resolution=draft.resolution)
    shown = draft(*generator.features(ws, [draft.inner]))
    assert shown.shape == picture.shape == (1, 3, 16, 16)
    assert (shown - picture).abs().mean() < 0.1 * picture.std()


def test_the_picture_is_finished_from_any_layer(generator: MobileStyleGAN) -> None:
    ws = generator.w_avg + torch.randn(1, 8, 16, generator=torch.Generator().manual_seed(6))
    expected = generator.synthesis(ws)
    for size in (4, 8, 16, 32):
        (x,) = generator.features(ws, [size])
        assert torch.equal(generator.finish(x, ws), expected)
