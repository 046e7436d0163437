"""Fetching from the Hub: what is there, what may be seen, and nothing but what belongs."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from support.hub_server import STRANGER, Fault, HubServer

from pti_hub import InputError, Personalization, PTIError, PTIPipeline, SaveError, WeightsError


def test_an_interrupted_download_goes_on_where_it_was(
    hub: HubServer, ada: Personalization, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It goes on from the last whole one of these, usually 10 MB.
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)
    ada.push_to_hub("me/ada", delta="exact")
    hub.faults.append(Fault("GET .*/resolve/.*safetensors", cut=5000))
    assert torch.equal(Personalization.from_pretrained("me/ada").pivots["subject"], ada.pivots["subject"])
    assert any(re.search(r"safetensors bytes=[1-9]\d*-", line) for line in hub.requests), hub.requests


def test_gated_missing_and_offline(
    hub: HubServer, ada: Personalization, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada.push_to_hub("me/ada", private=False)
    hub.repositories["me/ada"].gated = True
    with pytest.raises(WeightsError, match="it is gated: ask for access on its page, and log in"):
        Personalization.from_pretrained("me/ada", token=STRANGER)
    with pytest.raises(WeightsError, match="the Hub has none of this name that you may see"):
        PTIPipeline.from_pretrained("me/nobody")
    with pytest.raises(InputError, match=r"'no/such/name' is no name of a repository"):
        ada.push_to_hub("no/such/name")
    with pytest.raises(WeightsError, match="is neither a folder nor a Hub id"):
        Personalization.from_pretrained("no/such/name")
    with pytest.raises(WeightsError, match="could not be had from the Hub"):
        Personalization.from_pretrained("me/ada", local_files_only=True, cache_dir=tmp_path / "other")
    Personalization.from_pretrained("me/ada")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    before = len(hub.requests)
    assert list(Personalization.from_pretrained("me/ada").pivots) == ["subject"]
    with pytest.raises(SaveError, match="me/ada could not be pushed"):
        ada.push_to_hub("me/ada")
    assert len(hub.requests) == before


def test_what_else_is_in_a_repository_is_left_there(
    hub: HubServer, pipe: PTIPipeline, ada: Personalization, tmp_path: Path
) -> None:
    ada.save_pretrained(tmp_path / "ada")
    files = {path.name: path.read_bytes() for path in (tmp_path / "ada").iterdir()}
    evil = {"pytorch_model.bin": b"cos\nsystem\n(S'touch /tmp/pwned'\ntR.", "pti_hub.py": b"raise SystemExit"}
    outside = {"../../../../escaped.json": b"{}", "/absolute.json": b"{}", "a/../../../../up.json": b"{}"}
    hub.add("you/ada", {**files, **evil})
    assert list(Personalization.from_pretrained("you/ada").pivots) == ["subject"]
    assert not any(name in line for name in evil for line in hub.requests)
    hub.add("you/outside", {**files, **outside})
    # The client refuses, or fetches into its own folder: nothing is written elsewhere.
    with pytest.raises(PTIError) as caught:
        Personalization.from_pretrained("you/outside")
    assert "\n" not in str(caught.value)
    written = {path for path in tmp_path.rglob("*") if path.is_file() and path.suffix == ".json"}
    assert all(tmp_path / "cache" in path.parents or tmp_path / "ada" in path.parents for path in written)
    assert not Path("/absolute.json").exists()
    foreign = {
        **files,
        "model_index.json": json.dumps({"_class_name": "os.system", "generator": ["os", "system"]}).encode(),
    }
    hub.add("you/foreign", foreign)
    with pytest.raises(WeightsError, match=r"model_index\.json is of a 'os\.system'|names"):
        PTIPipeline.from_pretrained("you/foreign")
    shutil.rmtree(tmp_path / "cache")
