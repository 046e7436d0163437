"""Makes mobilestylegan.safetensors: what OpenVINO itself computes from the files of `random-face`.

pip install openvino==2026.4.1 && python tests/golden/make_mobilestylegan.py
"""

from pathlib import Path

import numpy as np
import openvino
import torch
from safetensors.torch import save_file

from pti_hub.storage import find_file

FOLDER = find_file("random_face", "data/SynthesisNetwork.xml").parent
FP32 = {"INFERENCE_PRECISION_HINT": "f32"}

core = openvino.Core()
mapping = core.compile_model(FOLDER / "MappingNetwork.xml", "CPU", FP32)
synthesis = core.compile_model(FOLDER / "SynthesisNetwork.xml", "CPU", FP32)

z = torch.randn(64, 512, generator=torch.Generator().manual_seed(0)).numpy()
w = np.concatenate([mapping(row[None])[0] for row in z])
# Nearer to the mean: sharp corners of far latents amplify any rounding, OpenVINO's own included.
near = (w.mean(0) + 0.5 * (w[:3] - w.mean(0))).astype(np.float32)
pictures = np.concatenate([synthesis(row[None])[0] for row in near])
golden = {"z": z[:3], "w": w[:3], "w_near": near, "pixels": pictures[:, :, 5::32, 5::32]}
save_file(
    {k: torch.from_numpy(v.copy()) for k, v in golden.items()}, Path(__file__).with_name("mobilestylegan.safetensors")
)
