"""Digests of weights."""

from __future__ import annotations

import torch

from pti_hub.generators import MobileStyleGAN
from pti_hub.storage import fingerprint


def test_a_copy_in_half_precision_has_the_same_fingerprint(generator: MobileStyleGAN) -> None:
    before = fingerprint(generator)
    assert fingerprint(generator.to(torch.bfloat16)) == before
