"""What tests of edits share."""

from __future__ import annotations

import pytest
import torch
from support.directions import SMILE

from pti_hub.edits import EditParser
from pti_hub.generators import MobileStyleGAN


@pytest.fixture
def words(generator: MobileStyleGAN) -> EditParser:
    """Knows one direction, and two identities, of which one is in W+."""
    return EditParser({"smile": SMILE}, generator, {"bob": torch.ones(16), "eve": torch.randn(8, 16)})
