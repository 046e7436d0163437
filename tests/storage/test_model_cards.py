"""The card of what is published."""

from __future__ import annotations

import pytest
import torch
from huggingface_hub import ModelCard
from PIL import Image
from support.hub_server import HubServer, files_of

from pti_hub import InputError, PTIPipeline


def test_the_card_says_what_it_is(hub: HubServer, pipe: PTIPipeline, photograph: torch.Tensor) -> None:
    pipe.push_to_hub("me/base")
    base = PTIPipeline.from_pretrained("me/base")
    odd = 'a|b "c" ![x](y) <script>'
    ada = base.personalize({"ada": photograph, odd: photograph})
    ada.push_to_hub("me/ada", preview=Image.new("RGB", (64, 64)))
    files = files_of(hub, "me/ada")
    assert "preview.jpg" in files
    card = ModelCard(files["README.md"].decode())
    assert card.data.base_model == "me/base"
    assert card.data.library_name == "pti-hub"
    assert card.data.pipeline_tag == "image-to-image"
    assert "pivotal-tuning" in (card.data.tags or [])
    for fact in ("preview.jpg", 'from_pretrained("me/ada")', "| ada |", base.base.revision, "tuner.num_steps | 6"):
        assert fact in card.text
    assert "| seed | 0 |" in card.text
    # Names are people's and may hold anything; the table holds.
    assert "<script>" not in card.text
    assert "![x]" not in card.text
    with pytest.raises(InputError, match="expected texts that can be printed"):
        base.personalize({"ada\x1b[2J": photograph})
    # The client asked the Hub whether the head is valid, for each push.
    assert hub.requests.count("POST /api/validate-yaml") >= 2
    ModelCard(files_of(hub, "me/base")["README.md"].decode())
