"""Publishing and fetching, against a server that speaks the Hub's protocol."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hub_server import READER, STRANGER, WRITER, Fault, HubServer
from huggingface_hub import ModelCard
from PIL import Image
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from pti_hub import InputError, Personalization, PTIError, PTIPipeline, SaveError, WeightsError
from pti_hub.cli import app
from pti_hub.personalization.compression import compress, restore


@pytest.fixture(scope="module")
def server() -> Iterator[HubServer]:
    with HubServer() as server:
        yield server


@pytest.fixture
def hub(server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HubServer:
    """The Hub at HF_ENDPOINT, empty, and this process logged in as one who may write."""
    server.reset()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_TOKEN", WRITER)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("time.sleep", lambda _: None)
    return server


@pytest.fixture
def ada(pipe: PTIPipeline, photograph: torch.Tensor) -> Personalization:
    return pipe(photograph).personalization


def files_of(hub: HubServer, repo: str, revision: str = "main") -> dict[str, bytes]:
    commit = hub.repositories[repo].at(revision)
    assert commit is not None
    return {path: data for path, data in commit[1].items() if path != ".gitattributes"}


def same(a: list[Image.Image], b: list[Image.Image]) -> bool:
    return all(np.array_equal(np.asarray(x), np.asarray(y)) for x, y in zip(a, b, strict=True))


ROUND_TRIP = """
import sys
from pti_hub import PTIPipeline
pipe = PTIPipeline.from_pretrained(sys.argv[1])
for name in pipe.identities:
    pipe(name, edit="smile").images[0].save(f"{sys.argv[2]}/{name}.png")
print(*pipe.identities)
"""


def test_a_cast_is_published_and_edited_by_name_in_a_new_process(
    hub: HubServer, pipe: PTIPipeline, photograph: torch.Tensor, tmp_path: Path
) -> None:
    pipe.push_to_hub("me/base")
    base = PTIPipeline.from_pretrained("me/base")
    base.set_progress_bar_config(disable=True)
    people = {"ada": photograph, "bob": photograph.flip(-1)}
    cast = base.personalize(people)
    cast.push_to_hub("me/cast", delta="exact")
    assert hub.repositories["me/cast"].private
    # Neither a photograph nor anything else than what was learned.
    assert set(files_of(hub, "me/cast")) == {"README.md", "personalization.json", "personalization.safetensors"}
    base.load_personalization(cast)
    environment = {**os.environ, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "0"}
    run = subprocess.run(
        [sys.executable, "-c", ROUND_TRIP, "me/cast", str(tmp_path)],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == ["ada", "bob"]
    for name in people:
        with Image.open(tmp_path / f"{name}.png") as picture:
            assert same(base.edit(name, "smile"), [picture])


def test_a_personalisation_finds_its_base_at_its_revision(
    hub: HubServer, pipe: PTIPipeline, photograph: torch.Tensor
) -> None:
    pipe.push_to_hub("me/base")
    base = PTIPipeline.from_pretrained("me/base")
    assert base.base.repo == "me/base"
    ada = base(photograph).personalization
    ada.push_to_hub("me/ada", delta="exact")
    # The base goes on, and is another one then.
    with torch.no_grad():
        pipe.generator.to_image.weight.add_(0.1)
    pipe.generator = pipe.generator
    pipe.push_to_hub("me/base")
    again = PTIPipeline.from_pretrained("me/ada")
    assert same(again("subject").images, base.edit(ada))
    with pytest.raises(InputError, match=r"was tuned on 'tiny' with weights .* load that base"):
        PTIPipeline.from_pretrained("me/ada", base="me/base")
    with pytest.raises(InputError, match="me/base is a pipeline of its own; base= is for a personalisation"):
        PTIPipeline.from_pretrained("me/base", base="me/base")


def test_a_base_that_nobody_else_has_is_named(hub: HubServer, pipe: PTIPipeline, ada: Personalization) -> None:
    ada.push_to_hub("me/ada")
    with pytest.raises(WeightsError, match="it was tuned on 'tiny', which is neither known nor a Hub id; pass base="):
        PTIPipeline.from_pretrained("me/ada")
    assert list(PTIPipeline.from_pretrained("me/ada", base=pipe).identities) == ["subject"]


@pytest.mark.parametrize("delta", ["exact", "half", "compact", "small"])
def test_what_is_pushed_is_what_is_pulled(
    hub: HubServer, pipe: PTIPipeline, ada: Personalization, delta: str, tmp_path: Path
) -> None:
    ada.push_to_hub("me/ada", delta=delta)
    ada.save_pretrained(tmp_path / "ada", delta=delta)
    pulled = Personalization.from_pretrained("me/ada")
    assert same(pipe.edit(pulled, "smile"), pipe.edit(Personalization.from_pretrained(tmp_path / "ada"), "smile"))
    if delta == "exact":
        assert all(torch.equal(pulled.deltas[name], ada.deltas[name]) for name in ada.deltas)


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


def test_who_is_no_longer_in_it_is_no_longer_there(hub: HubServer, pipe: PTIPipeline, ada: Personalization) -> None:
    pipe.load_personalization(ada)
    pipe.push_to_hub("me/base", preview=Image.new("RGBA", (8, 8)))
    pipe.push_to_hub("me/base", variant="fp16")
    hub.add("me/base", {"notes.txt": b"of others"})
    pipe.personalization = None
    pipe.push_to_hub("me/base")
    files = files_of(hub, "me/base")
    assert not [path for path in files if "personalization" in path or "preview" in path]
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


def test_an_interrupted_download_goes_on_where_it_was(
    hub: HubServer, ada: Personalization, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It goes on from the last whole one of these, usually 10 MB.
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)
    ada.push_to_hub("me/ada", delta="exact")
    hub.faults.append(Fault("GET .*/resolve/.*safetensors", cut=5000))
    assert torch.equal(Personalization.from_pretrained("me/ada").pivots["subject"], ada.pivots["subject"])
    assert any(re.search(r"safetensors bytes=[1-9]\d*-", line) for line in hub.requests), hub.requests


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


def test_a_variant_is_half_as_large_and_the_same_base(
    hub: HubServer, pipe: PTIPipeline, ada: Personalization, tmp_path: Path
) -> None:
    pipe.push_to_hub("me/base")
    pipe.push_to_hub("me/base", variant="fp16")
    files = files_of(hub, "me/base")
    exact, half = (len(files[f"generator/model{v}.safetensors"]) for v in ("", ".fp16"))
    assert half < 0.6 * exact
    hub.requests.clear()
    smaller = PTIPipeline.from_pretrained("me/base", variant="fp16")
    assert not any("/model.safetensors" in line for line in hub.requests if "/resolve/" in line)
    assert smaller.generator.to_image.weight.dtype == torch.float32
    smaller.load_personalization(ada)
    difference = np.asarray(smaller.edit("subject")[0], float) - np.asarray(pipe.edit(ada)[0], float)
    assert 0 < np.abs(difference).mean() < 1
    hub.requests.clear()
    PTIPipeline.from_pretrained("me/base")
    assert not any("fp16" in line for line in hub.requests if "/resolve/" in line)
    # What was rounded stays the same base, however it is saved; what was changed does not.
    smaller.save_pretrained(tmp_path / "rounded")
    PTIPipeline.from_pretrained(tmp_path / "rounded").load_personalization(ada)
    with torch.no_grad():
        pipe.generator.to_image.weight.add_(0.1)
    pipe.generator = pipe.generator
    pipe.push_to_hub("me/base")
    older = PTIPipeline.from_pretrained("me/base", variant="fp16")
    older.load_personalization(ada)
    with pytest.raises(InputError, match="load that base"):
        PTIPipeline.from_pretrained("me/base").load_personalization(ada)
    pipe.push_to_hub("me/half", variant="bf16")
    with pytest.raises(WeightsError, match=r"has no model\.safetensors"):
        PTIPipeline.from_pretrained("me/half")
    with pytest.raises(InputError, match="variant='int8'; expected one of fp16, bf16"):
        PTIPipeline.from_pretrained("me/base", variant="int8")


def test_the_command_line(hub: HubServer, pipe: PTIPipeline, photograph: torch.Tensor, tmp_path: Path) -> None:
    def run(*arguments: str) -> Any:
        return CliRunner().invoke(app, list(arguments))

    pipe.save_pretrained(tmp_path / "base")
    pushed = run("push", str(tmp_path / "base"), "me/base")
    assert "published, private" in pushed.output
    base = PTIPipeline.from_pretrained("me/base")
    base(photograph).personalization.save_pretrained(tmp_path / "ada")
    assert "published: " in run("push", str(tmp_path / "ada"), "me/ada", "--no-private").output
    listed = run("list", "me/ada").output
    for fact in ("me/base", "deltas     compact", "subject", "lpips", "edits      the base's"):
        assert fact in listed
    assert "edits      smile, age" in run("list", "me/base").output
    hub.requests.clear()
    assert run("list", "me/ada").exit_code == 0
    assert not any("safetensors" in line for line in hub.requests)
    assert f"saved in {tmp_path}/pulled/" in run("pull", "me/ada", str(tmp_path / "pulled")).output
    assert Personalization.from_pretrained(tmp_path / "pulled").base.repo == "me/base"
    hub.add("me/other", {"config.json": b"{}"})
    for verb in (["list"], ["pull"]):
        failed = run(*verb, "me/other")
        assert isinstance(failed.exception, WeightsError)
        assert "me/other is neither a pipeline nor a personalisation" in str(failed.exception)


def hostile(folder: Path, kind: str) -> None:
    weights = folder / "personalization.safetensors"
    config = json.loads((folder / "personalization.json").read_text())
    tensors = load_file(weights)
    if kind == "truncated":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif kind == "huge header":
        header = json.dumps({"deltas.x": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]}}).encode()
        weights.write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 64)
    elif kind == "huge claim":
        config["stored"]["coded"][next(iter(config["stored"]["coded"]))] = [10**6, 10**6]
    elif kind == "bomb":
        name, shape = next(iter(config["stored"]["coded"].items()))
        config["stored"]["coded"][name] = [shape[0], shape[1] - 1]
    elif kind == "huge factors":
        config["stored"]["coded"] = {"x": [16, 16]}
        tensors |= {"deltas.x.left": torch.ones(10**6, 1), "deltas.x.right": torch.ones(1, 10**6)}
        save_file(tensors, weights)
    elif kind == "negative":
        config["stored"]["coded"][next(iter(config["stored"]["coded"]))] = [-1, -5]
    elif kind == "no numbers":
        tensors = {name: torch.full_like(t, torch.nan) if t.is_floating_point() else t for name, t in tensors.items()}
        save_file(tensors, weights)
    elif kind == "packed noise":
        tensors["deltas.codes"] = torch.randint(0, 255, (500,), dtype=torch.uint8)
        save_file(tensors, weights)
    elif kind == "another way":
        config["stored"]["delta"] = "exec"
    elif kind == "another base":
        config["base"]["fingerprint"] = "0" * 64
    elif kind == "broadcast scales":
        name = next(name for name in config["stored"]["coded"] if f"deltas.{name}.scale" in tensors)
        tensors[f"deltas.{name}.scale"] = torch.ones(2**17, 1)
        config["stored"]["coded"][name] = [2**17]
        save_file(tensors, weights)
    elif kind == "broadcast factors":
        config["stored"]["coded"] = {"x": [16, 16]}
        tensors |= {"deltas.x.left": torch.ones(16, 1, 99, 1), "deltas.x.right": torch.ones(1, 16, 1, 99)}
        save_file(tensors, weights)
    elif kind == "endless shape":
        config["stored"]["coded"] = {"x": [2**61] * 10**5}
    elif kind == "double":
        tensors = {name: t.double() if name.startswith("pivots") else t for name, t in tensors.items()}
        save_file(tensors, weights)
    elif kind == "a name that steers":
        config["identities"] = ["\x1b[2J"]
    elif kind == "a relative folder as base":
        config["base"]["repo"] = "b" * 300 + "/a"
    elif kind == "a revision that is a path":
        config["base"]["revision"] = "../../../etc/passwd"
    elif kind == "a folder as base":
        del config["base"]["repo"]
        config["base"]["name"] = str(folder.parent / "base")
    (folder / "personalization.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    "kind",
    [
        "truncated", "huge header", "huge claim", "bomb", "huge factors", "negative", "no numbers", "packed noise",
        "another way", "another base", "a folder as base", "broadcast scales", "broadcast factors", "endless shape",
        "double", "a name that steers", "a relative folder as base", "a revision that is a path",
    ],
)  # fmt: skip
def test_a_hostile_personalisation_is_refused(
    hub: HubServer, pipe: PTIPipeline, ada: Personalization, kind: str, tmp_path: Path
) -> None:
    pipe.save_pretrained(tmp_path / "base")
    pipe.push_to_hub("me/base")
    ada.base = dataclasses.replace(ada.base, repo="me/base")
    ada.save_pretrained(tmp_path / "evil", delta="compact")
    hostile(tmp_path / "evil", kind)
    hub.add("you/evil", {path.name: path.read_bytes() for path in (tmp_path / "evil").iterdir()})
    with pytest.raises(PTIError) as caught:
        PTIPipeline.from_pretrained("you/evil")
    assert isinstance(caught.value, (WeightsError, InputError))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("generator", {"z_dim": 10**12}),
        ("generator", {"channels": [10**6] * 4}),
        ("generator", {"channels": [60000] * 4}),
        ("generator", {"mapping_layers": 10**9}),
        ("generator", {"channels": [8] * 10**4}),
        ("generator", {"w_dim": -1}),
        ("generator", {"z_dim": 1e300}),
        ("generator", {"evil": 1}),
        ("perceptual", {"net": "evil"}),
    ],
)
def test_a_hostile_configuration_takes_no_memory(
    pipe: PTIPipeline, part: str, change: dict[str, Any], tmp_path: Path
) -> None:
    pipe.save_pretrained(tmp_path / "evil")
    path = tmp_path / "evil" / part / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    limited = (
        "import resource, sys; from pti_hub import PTIError, PTIPipeline\n"
        "used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try:\n    PTIPipeline.from_pretrained(sys.argv[1])\n"
        "except PTIError as error:\n"
        "    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - used < 300_000, 'memory'\n"
        "    sys.exit(str(error))"
    )
    run = subprocess.run(
        [sys.executable, "-c", limited, str(tmp_path / "evil")], capture_output=True, text=True, check=False, timeout=60
    )
    assert run.returncode == 1
    assert run.stderr.count("\n") == 1, run.stderr
    assert "save or fetch it again" in run.stderr


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


@pytest.mark.parametrize("shape", [(), (0, 5), (5000,), (4096, 1), (64, 64), (128, 1, 5, 5), (1, 3000)])
@pytest.mark.parametrize("kind", ["noise", "constant", "nearly constant", "zero", "rank one"])
def test_what_is_compressed_is_near(shape: tuple[int, ...], kind: str) -> None:
    random = torch.Generator().manual_seed(0)
    delta = 1e-3 * torch.randn(shape, generator=random)
    if kind == "constant":
        delta = torch.full(shape, 1e-3)
    elif kind == "nearly constant":
        delta = 1e-3 + 1e-3 * delta
    elif kind == "zero":
        delta = torch.zeros(shape)
    elif kind == "rank one" and len(shape) > 1:
        delta = delta[:, :1] * torch.ones(shape)
    stored, record = compress({"x": delta}, "compact")
    found = restore(stored, json.loads(json.dumps(record)))["x"]
    assert found.shape == delta.shape
    assert found.dtype == torch.float32
    if delta.numel():
        # Half a step at most, of 0.75 standard deviations of a row.
        deviation = (delta.flatten(1) if delta.ndim > 1 else delta.reshape(1, -1)).std(1, correction=0).max()
        assert (found - delta).abs().max() <= max(0.38 * deviation, 0.01 * delta.abs().max(), 1e-29)
    again, _ = compress({"x": delta}, "compact")
    assert all(torch.equal(stored[name], again[name]) for name in stored)
