"""Identities opened for editing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from support.pictures import same

from pti_hub import Personalization, PTIPipeline
from pti_hub.images import read_photograph
from pti_hub.pipelines import Portrait, put_back


@pytest.fixture
def portrait(pipe: PTIPipeline, ada: Personalization) -> Portrait:
    return Portrait(pipe, ada, "subject")


def test_a_portrait_gives_what_a_call_gives(pipe: PTIPipeline, ada: Personalization, portrait: Portrait) -> None:
    out = pipe(ada, edit=["smile=2", "age=-1"])
    edited, applied = portrait.edited(pipe.parse(["smile=2", "age=-1"]))
    assert same(edited, out.images[0])
    assert [edit.strength for edit in applied] == [2.0, -1.0]  # type: ignore[union-attr]
    assert same(portrait.reconstruction, out.reconstruction[0])


def test_without_edits_the_picture_is_the_reconstruction_itself(portrait: Portrait) -> None:
    edited, applied = portrait.edited([])
    assert edited is portrait.reconstruction
    assert applied == []


def test_a_draft_is_small_and_near(pipe: PTIPipeline, portrait: Portrait) -> None:
    edits = pipe.parse("smile=1")
    draft, whole = portrait.draft(edits, 32), portrait.edited(edits)[0]
    assert draft.size == (32, 32)
    shrunk = np.asarray(whole.resize((32, 32), Image.Resampling.BOX)).astype(int)
    plain = np.asarray(portrait.reconstruction.resize((32, 32), Image.Resampling.BOX)).astype(int)
    assert np.abs(np.asarray(draft) - shrunk).mean() < np.abs(plain - shrunk).mean() / 2


def test_what_is_shared_is_computed_once(
    pipe: PTIPipeline, photograph: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = pipe(photograph).personalization
    portrait, opened = Portrait(pipe, person, "subject"), read_photograph(photograph)
    looked: list[Image.Image] = []
    pipe.aligns_faces = True
    monkeypatch.setattr("pti_hub.pipelines.portraits.find_occluders", lambda _, r, p: looked.append(r))
    for strength in (1, 2, 3):
        edited, _ = portrait.edited(pipe.parse(("smile", strength)))
        assert not same(put_back(opened, [(portrait, edited)]), opened.native)
    assert len(looked) == 1
    assert same(put_back(opened, [(portrait, portrait.reconstruction)]), opened.native)
