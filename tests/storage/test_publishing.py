"""Folders are pushed to the Hub whole or not at all, and to nobody's surprise."""

from __future__ import annotations

import pytest
from PIL import Image
from support.hub_server import READER, STRANGER, WRITER, Fault, HubServer, files_of

from pti_hub import InputError, Personalization, PTIPipeline, SaveError, WeightsError


def test_a_push_is_private_and_what_is_public_is_not_written_to(hub: HubServer, ada: Personalization) -> None:
    hub.add("me/public", {"x": b""})
    with pytest.raises(InputError, match="me/public is public already; pass private=False to publish there"):
        ada.push_to_hub("me/public")
    assert set(files_of(hub, "me/public")) == {"x"}
    ada.push_to_hub("me/public", private=False)
    ada.push_to_hub("me/open", private=False)
    assert not hub.repositories["me/open"].private
    # What other code passes on by default is no wish for publicity.
    ada.push_to_hub("me/default", private=None)
    assert hub.repositories["me/default"].private
    assert Personalization.from_pretrained("me/open", token=STRANGER).pivots.keys() == {"subject"}
    ada.push_to_hub("me/secret")
    with pytest.raises(WeightsError, match="none of this name that you may see; check the name, and if it is private"):
        Personalization.from_pretrained("me/secret", token=STRANGER)


def test_who_is_no_longer_in_it_is_no_longer_there(hub: HubServer, pipe: PTIPipeline, ada: Personalization) -> None:
    pipe.load_personalization(ada)
    pipe.push_to_hub("me/base", preview=Image.new("RGBA", (8, 8)))
    pipe.push_to_hub("me/base", variant="fp16")
    hub.add("me/base", {"notes.txt": b"of others"})
    pipe.personalization = None
    pipe.push_to_hub("me/base")
    files = files_of(hub, "me/base")
    assert not [path for path in files if "personalization" in path or "gallery" in path]
    assert {"notes.txt", "generator/model.safetensors", "generator/model.fp16.safetensors"} <= files.keys()
    assert not PTIPipeline.from_pretrained("me/base").identities
    with pytest.raises(InputError, match=r"me/base holds something else \(model_index\.json\)"):
        ada.push_to_hub("me/base")


def test_what_is_wrong_here_is_told_before_anything_is_made_there(hub: HubServer, ada: Personalization) -> None:
    with pytest.raises(InputError, match="delta='tiny'; expected one of exact, half, compact, small"):
        ada.push_to_hub("me/ada", delta="tiny")
    with pytest.raises(InputError, match="a pull request has a branch of its own"):
        ada.push_to_hub("me/ada", branch="b", create_pr=True)
    assert not hub.requests


def test_branches_pull_requests_messages_and_patterns(hub: HubServer, ada: Personalization) -> None:
    ada.push_to_hub("me/ada", branch="draft")
    assert set(files_of(hub, "me/ada")) == set()
    assert list(Personalization.from_pretrained("me/ada", revision="draft").pivots) == ["subject"]
    assert "/discussions/1" in ada.push_to_hub("me/ada", create_pr=True)
    assert set(files_of(hub, "me/ada")) == set()
    ada.push_to_hub("me/ada", allow_patterns=["*.json"])
    assert set(files_of(hub, "me/ada")) == {"personalization.json"}
    with pytest.raises(WeightsError, match="the Hub's has no such revision"):
        Personalization.from_pretrained("me/ada", revision="nowhere")


def test_an_upload_that_was_cut_off_goes_on(hub: HubServer, ada: Personalization) -> None:
    hub.faults.append(Fault("PUT /objects", cut=1000, times=100))
    with pytest.raises(SaveError, match="me/ada could not be pushed"):
        ada.push_to_hub("me/ada")
    # No half of it is there.
    assert set(files_of(hub, "me/ada")) == set()
    hub.faults.clear()
    hub.faults.append(Fault("POST .*/commit/", 500, times=100))
    with pytest.raises(SaveError, match="the Hub has a problem of its own; the same call resumes the upload later"):
        ada.push_to_hub("me/ada")
    hub.faults.clear()
    sent = len([line for line in hub.requests if line.startswith("PUT")])
    ada.push_to_hub("me/ada")
    # What had arrived is not sent again.
    assert len([line for line in hub.requests if line.startswith("PUT")]) == sent
    assert list(Personalization.from_pretrained("me/ada").pivots) == ["subject"]


def test_a_server_that_dies_half_way_through_an_upload(hub: HubServer, pipe: PTIPipeline) -> None:
    hub.faults.append(Fault("PUT /objects", cut=1000, kill=True))
    with pytest.raises(SaveError, match="me/base could not be pushed"):
        pipe.push_to_hub("me/base")
    hub.start()
    assert set(files_of(hub, "me/base")) == set()
    pipe.push_to_hub("me/base")
    assert PTIPipeline.from_pretrained("me/base").base.fingerprint == pipe.base.fingerprint


@pytest.mark.parametrize(
    ("fault", "token", "message"),
    [
        (None, "hf_wrong", "the Hub does not know your token; log in"),
        (None, READER, "your token may not do this; make one with write access"),
        (Fault("POST .*/commit/", 409, 100), WRITER, "somebody else pushed in the meantime; do it again"),
        (Fault("POST .*/commit/", 429, 100, {"Retry-After": "0"}), WRITER, "too many requests from you and still has"),
        (Fault("POST .*/preupload/", 500, 100), WRITER, "the Hub has a problem of its own"),
        (Fault("POST /api/repos/create", 413), WRITER, "the Hub says it is too large"),
        (Fault("POST .*/commit/", 418, 100), WRITER, "as asked"),
        (Fault("POST", cut=0, times=1000), WRITER, "the Hub can't be reached"),
    ],
)
def test_what_the_hub_refuses_is_one_line(
    hub: HubServer, ada: Personalization, fault: Fault | None, token: str, message: str
) -> None:
    if fault is not None:
        hub.faults.append(fault)
    with pytest.raises(SaveError, match="me/ada could not be pushed") as caught:
        ada.push_to_hub("me/ada", token=token)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_too_many_requests_are_waited_for(hub: HubServer, ada: Personalization) -> None:
    hub.faults.append(Fault("POST .*/preupload/", 429, 2, {"Retry-After": "1"}))
    ada.push_to_hub("me/ada")
    assert "personalization.json" in files_of(hub, "me/ada")
