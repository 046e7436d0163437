"""The card of what is published."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard
from PIL import Image
from support.hub_server import HubServer, files_of
from support.pictures import smooth_picture

from pti_hub import InputError, Personalization, PTIPipeline


def test_the_card_says_what_it_is(hub: HubServer, pipe: PTIPipeline, photograph: torch.Tensor) -> None:
    pipe.push_to_hub("me/base")
    base = PTIPipeline.from_pretrained("me/base")
    odd = 'a|b "c" ![x](y) <script>'
    ada = base.personalize({"ada": photograph, odd: photograph})
    ada.push_to_hub("me/ada")
    files = files_of(hub, "me/ada")
    assert not [path for path in files if path.endswith(".jpg")]
    card = ModelCard(files["README.md"].decode())
    assert card.data.base_model == "me/base"
    assert card.data.base_model_relation == "adapter"
    assert card.data.library_name == "pti-hub"
    assert card.data.pipeline_tag == "image-to-image"
    assert "pivotal-tuning" in (card.data.tags or [])
    assert "[Pivotal Tuning](https://arxiv.org/abs/2106.05744)" in card.text
    for fact in ('from_pretrained("me/ada")', "| ada |", base.base.revision, "tuner.num_steps | 6"):
        assert fact in card.text
    assert "| seed | 0 |" in card.text
    # Names are people's and may hold anything; the table holds.
    assert "<script>" not in card.text
    assert "![x]" not in card.text
    with pytest.raises(InputError, match="expected texts that can be printed"):
        base.personalize({"ada\x1b[2J": photograph})
    # The client asked the Hub whether the head is valid, for each push.
    assert hub.requests.count("POST /api/validate-yaml") >= 2
    assert ModelCard(files_of(hub, "me/base")["README.md"].decode()).data.base_model is None
    base.load_personalization(ada)
    base.push_to_hub("me/friends")
    friends = ModelCard(files_of(hub, "me/friends")["README.md"].decode()).data
    assert (friends.base_model, friends.base_model_relation) == ("me/base", "finetune")
    base.push_to_hub("me/base")
    assert ModelCard(files_of(hub, "me/base")["README.md"].decode()).data.base_model is None


def test_pictures_are_shown_where_they_were_asked_for(hub: HubServer, ada: Personalization) -> None:
    ada.push_to_hub("me/ada", preview=Image.new("RGB", (8, 8)))
    assert "\n![what it does](gallery/0.jpg)\n" in files_of(hub, "me/ada")["README.md"].decode()
    pictures = {"smile=1": smooth_picture(8, 8), "<b>](x) | odd": smooth_picture(8, 8)}
    ada.push_to_hub("me/ada", preview={**pictures, **{str(i): smooth_picture(8, 8) for i in range(4)}})
    card = files_of(hub, "me/ada")["README.md"].decode()
    # Four to a row, and an odd caption breaks none.
    assert '| smile=1 | b (x) odd | 0 | 1 |\n|:---:|:---:|:---:|:---:|\n| <img src="gallery/0.jpg" alt=' in card
    assert 'alt="b (x) odd"' in card
    assert '|\n| **2** | **3** |\n| <img src="gallery/4.jpg" alt=' in card
    assert "gallery/5.jpg" in files_of(hub, "me/ada")
    # People who are no longer shown are no longer there; what others put beside them is.
    hub.add("me/ada", {"gallery/of_others.jpg": b""})
    ada.push_to_hub("me/ada")
    assert [path for path in files_of(hub, "me/ada") if path.startswith("gallery")] == ["gallery/of_others.jpg"]
    hub.requests.clear()
    with pytest.raises(InputError, match=r"preview\['a'\] is a str; expected a PIL image"):
        ada.push_to_hub("me/ada", preview={"a": "a.jpg"})  # type: ignore[dict-item]
    with pytest.raises(InputError, match="preview is a str; expected a PIL image, which"):
        ada.push_to_hub("me/ada", preview="a.jpg")  # type: ignore[arg-type]
    assert not hub.requests


def test_pictures_carry_nothing_but_pixels(hub: HubServer, ada: Personalization, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x013B] = 6, "ada's camera"
    smooth_picture(16, 12).save(tmp_path / "a.jpg", exif=exif, comment=b"ada's home", xmp=b"ada's street", dpi=(72, 72))
    with Image.open(tmp_path / "a.jpg") as picture:
        ada.push_to_hub("me/ada", preview={"ada": picture})
    stored = files_of(hub, "me/ada")["gallery/0.jpg"]
    assert b"ada's" not in stored
    assert Image.open(io.BytesIO(stored)).size == (12, 16)  # the camera's orientation is applied
