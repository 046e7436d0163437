"""What tuning learned, as a value: weight deltas and named pivots, saved alone and naming their base."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import ModelCard
from safetensors.torch import save_file
from torch import Tensor, nn

from pti_hub.checkpoints.hub import HubFolder, fetch_folder, read_json, read_tensors, reading
from pti_hub.errors import InputError
from pti_hub.generators import Generator, broadcast_ws
from pti_hub.model_card import personalization_card

CONFIG_NAME = "personalization.json"
WEIGHTS_NAME = "personalization.safetensors"


class Personalization(HubFolder, library_name="pti-hub", tags=["pivotal-tuning", "gan-inversion"]):
    """A personalised generator as its difference from the base: θ* = θ + Δ, and the pivots w_p of its identities.

    It holds no photograph and nothing computed from one but weights and latents.

    Args:
        deltas: Δ by parameter name.
        pivots: w_p by identity, `[w_dim]` or `[num_ws, w_dim]`, in the order they are listed; of an identity that has
            several photographs one each, `"ada/1"`, `"ada/2"`.
        base: `"name"` and `"fingerprint"` of the generator that was tuned.
        metrics: `"lpips"` and `"mse"` of each identity's reconstruction, and what `latent_statistics` says.
        settings: Hyper-parameters and seed, for the record.
        origins: Where the base's weights come from and under which licence.

    Raises:
        InputError: There is no identity, or a tensor that is not finite.
    """

    _marker = CONFIG_NAME
    _owned = frozenset({WEIGHTS_NAME})

    def __init__(
        self,
        deltas: Mapping[str, Tensor],
        pivots: Mapping[str, Tensor],
        base: Mapping[str, str],
        metrics: Mapping[str, Mapping[str, float]] | None = None,
        settings: Mapping[str, Any] | None = None,
        origins: Sequence[Mapping[str, str]] = (),
    ) -> None:
        self._hub_mixin_config = None  # `config.json` would repeat what CONFIG_NAME holds
        if not pivots:
            raise InputError("a personalisation without identities; give at least one pivot")
        for name, tensor in [*deltas.items(), *pivots.items()]:
            if not torch.isfinite(tensor).all():
                raise InputError(f"{name!r} holds NaN or infinite values; tune again with a smaller learning rate")
        self.deltas, self.pivots = dict(deltas), dict(pivots)
        self.base = {key: str(base[key]) for key in ("name", "fingerprint")}
        self.metrics = {name: {k: float(v) for k, v in values.items()} for name, values in (metrics or {}).items()}
        self.settings = dict(settings or {})
        self.origins = [dict(origin) for origin in origins]

    def __repr__(self) -> str:
        return f"Personalization({', '.join(self.pivots)}; base {self.base['name']})"

    def photographs(self, identity: str) -> list[str]:
        """The pivots of an identity, by the names they are listed under; none where there is no such identity."""
        return [
            name for name in self.pivots if name == identity or re.fullmatch(rf"{re.escape(identity)}/[1-9]\d*", name)
        ]

    def check(self, generator: Generator, base: Mapping[str, str]) -> None:
        """Make sure that deltas and pivots belong to a generator.

        Args:
            generator: The generator.
            base: Its `"name"` and `"fingerprint"`.

        Raises:
            InputError: It has other weights than the one that was tuned, or other shapes.
        """
        if base["fingerprint"] != self.base["fingerprint"]:
            raise InputError(
                f"this personalisation was tuned on {self.base['name']!r} with weights "
                f"{self.base['fingerprint'][:12]}…, but {base['name']!r} here has "
                f"{base['fingerprint'][:12]}…; load that base"
            )
        shapes = {name: p.shape for name, p in generator.named_parameters()}
        for name, delta in self.deltas.items():
            if shapes.get(name) != delta.shape:
                raise InputError(f"delta {name!r} {list(delta.shape)} fits no weight of the generator; tune again")
        for pivot in self.pivots.values():
            broadcast_ws(generator, pivot[None])

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **download: Any) -> Personalization:
        """Read a folder or a Hub repository.

        Args:
            pretrained_model_name_or_path: Folder or repository id.
            **download: `revision`, `token`, `cache_dir`, `local_files_only`, `force_download`.

        Raises:
            WeightsError: It can't be had, or is damaged.
        """
        folder = fetch_folder(pretrained_model_name_or_path, **download)
        with reading(folder, "save or fetch it again"):
            return cls._load(folder)

    @classmethod
    def _load(cls, folder: Path) -> Personalization:
        config = read_json(folder / CONFIG_NAME)
        tensors = read_tensors(folder / WEIGHTS_NAME)
        if not isinstance(config["identities"], list):
            raise TypeError(f"identities are {config['identities']!r}, no list")
        pivots = {str(name): tensors[f"pivots.{i}"] for i, name in enumerate(config["identities"])}
        deltas = {k.removeprefix("deltas."): v for k, v in tensors.items() if k.startswith("deltas.")}
        keys = ("base", "metrics", "settings", "origins")
        return cls(deltas, pivots, **{key: config[key] for key in keys})

    def _save_pretrained(self, save_directory: Path) -> None:
        tensors = {f"deltas.{name}": d.contiguous() for name, d in self.deltas.items()}
        # Names are people's: they go into the JSON, tensors are numbered.
        tensors |= {f"pivots.{i}": p.clone() for i, p in enumerate(self.pivots.values())}
        save_file(tensors, save_directory / WEIGHTS_NAME, metadata={"format": "pt"})
        config = {
            "identities": list(self.pivots),
            "base": self.base,
            "metrics": self.metrics,
            "settings": self.settings,
            "origins": self.origins,
        }
        (save_directory / CONFIG_NAME).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")

    def generate_model_card(self, *args: Any, **kwargs: Any) -> ModelCard:
        """The card of a saved folder: base, how to load it, metrics of each identity, licences."""
        return personalization_card(self.base["name"], list(self.pivots), self.metrics, self.origins)


def fingerprint(network: Generator | nn.Module) -> str:
    """SHA-256 of a network's parameters and buffers with their names, rounded to bfloat16.

    Rounding gives a generator and its copy in half precision the same fingerprint.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().to("cpu", torch.bfloat16).contiguous().view(torch.int16).numpy().data)
    return digest.hexdigest()
