"""Pipelines and casts on the Hub."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support.hub_server import HubServer, files_of
from support.pictures import same_pictures

from pti_hub import InputError, Personalization, PTIPipeline, WeightsError
from pti_hub.edits import LatentMapper

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
            assert same_pictures(base.edit(name, "smile"), [picture])


def test_mappers_come_with_every_variant_and_go_when_they_are_gone(hub: HubServer, pipe: PTIPipeline) -> None:
    pipe.edits["curly"] = LatentMapper(["coarse"], 16, 1)
    pipe.push_to_hub("me/base", variant="fp16")
    assert list(PTIPipeline.from_pretrained("me/base", variant="fp16").edits) == ["smile", "age", "curly"]
    del pipe.edits["curly"]
    pipe.push_to_hub("me/base")
    files = files_of(hub, "me/base")
    assert not [path for path in files if "curly" in path]
    assert {"generator/model.safetensors", "generator/model.fp16.safetensors"} <= files.keys()


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
