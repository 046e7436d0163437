"""Loading a pipeline, and everything that can be wrong with a folder or a repository."""

from __future__ import annotations

import dataclasses
import json
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.hub_server import HubServer
from support.pictures import same_pictures

from pti_hub import Direction, InputError, Personalization, PTIError, PTIPipeline, WeightsError


@pytest.mark.parametrize(
    "entry",
    [
        ["os", "system"],
        ["pti_hub", "Evil"],
        ["diffusers", "MobileStyleGAN"],
        "MobileStyleGAN",
        ["pti_hub", []],
        None,
    ],
)
def test_a_foreign_class_is_refused_and_not_imported(pipe: PTIPipeline, tmp_path: Path, entry: object) -> None:
    pipe.save_pretrained(tmp_path / "saved")
    path = tmp_path / "saved" / "model_index.json"
    index = json.loads(path.read_text())
    index["generator"] = entry
    path.write_text(json.dumps(index))
    modules = set(sys.modules)
    with pytest.raises(WeightsError, match="only MobileStyleGAN, StyleGAN2, StyleGAN3 of pti_hub is loaded"):
        PTIPipeline.from_pretrained(tmp_path / "saved")
    assert not any(name.split(".")[0] in ("diffusers", "Evil") for name in set(sys.modules) - modules)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("model_index.json", b"{"),
        ("model_index.json", b"[]"),
        ("model_index.json", b"{}"),
        ("generator/config.json", b'{"channels": [6, 6]}'),
        ("generator/config.json", b'{"layers": 3}'),
        ("generator/config.json", b'{"w_dim": 32}'),
        ("generator/config.json", b'{"w_dim": 0}'),
        ("generator/config.json", json.dumps({"channels": [4] * 62}).encode()),
        ("generator/config.json", b'{"channels": ' + b"[" * 100_000),
        ("generator/model.safetensors", b""),
        ("generator/model.safetensors", None),
        ("perceptual/model.safetensors", b"\x80\x04N."),
        ("projector/config.json", b'{"num_steps": 0}'),
        ("projector/config.json", b'{"resolution": "256"}'),
        ("tuner/config.json", b'{"steps": 3}'),
        ("edits/edits.safetensors", b"1234"),
    ],
)
def test_a_damaged_folder_is_one_line(pipe: PTIPipeline, tmp_path: Path, file: str, content: bytes | None) -> None:
    pipe.save_pretrained(tmp_path / "saved")
    path = tmp_path / "saved" / file
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    with pytest.raises(WeightsError) as caught:
        PTIPipeline.from_pretrained(tmp_path / "saved")
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "saved") in str(caught.value)


@pytest.mark.parametrize(
    "entry",
    [
        {"_class_name": "EvilPipeline"},
        {"encoder": ["os", "system"]},
        {"origins": 5},
        {"origins": [{}]},
        {"origins": [1]},
        {"name": None, "origins": None},
    ],
)
def test_a_hostile_index_is_refused(pipe: PTIPipeline, tmp_path: Path, entry: dict[str, Any]) -> None:
    pipe.save_pretrained(tmp_path / "saved")
    path = tmp_path / "saved" / "model_index.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **entry}))
    with pytest.raises(WeightsError) as caught:
        PTIPipeline.from_pretrained(tmp_path / "saved")
    assert "\n" not in str(caught.value)


def test_edits_of_another_generator_are_refused(pipe: PTIPipeline, tmp_path: Path) -> None:
    pipe.edits["wide"] = Direction("wide", torch.zeros(32))
    pipe.save_pretrained(tmp_path / "saved")
    with pytest.raises(WeightsError, match="'wide'"):
        PTIPipeline.from_pretrained(tmp_path / "saved")


@pytest.mark.parametrize("name", ["nobody/nothing", "not a name!"])
def test_a_name_that_is_nowhere(name: str) -> None:
    with pytest.raises(WeightsError) as caught:
        PTIPipeline.from_pretrained(name)
    assert "\n" not in str(caught.value)


def test_misspelt_arguments_are_not_swallowed(pipe: PTIPipeline, tmp_path: Path) -> None:
    pipe.save_pretrained(tmp_path / "saved")
    with pytest.raises(TypeError, match="presett"):
        PTIPipeline.from_pretrained(tmp_path / "saved", presett="paper")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="revison"):
        Personalization.from_pretrained("me/ada", revison="main")  # type: ignore[call-arg]
    with pytest.raises(InputError, match="device_map='auto': a pipeline lies on one device; pass device="):
        PTIPipeline.from_pretrained(tmp_path / "saved", device_map="auto")  # type: ignore[call-arg]


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
    assert same_pictures(again("subject").images, base.edit(ada))
    with pytest.raises(InputError, match=r"was tuned on 'tiny' with weights .* load that base"):
        PTIPipeline.from_pretrained("me/ada", base="me/base")
    with pytest.raises(InputError, match="me/base is a pipeline of its own; base= is for a personalisation"):
        PTIPipeline.from_pretrained("me/base", base="me/base")


def test_a_base_that_nobody_else_has_is_named(hub: HubServer, pipe: PTIPipeline, ada: Personalization) -> None:
    ada.push_to_hub("me/ada")
    with pytest.raises(WeightsError, match="it was tuned on 'tiny', which is neither known nor a Hub id; pass base="):
        PTIPipeline.from_pretrained("me/ada")
    assert list(PTIPipeline.from_pretrained("me/ada", base=pipe).identities) == ["subject"]


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
