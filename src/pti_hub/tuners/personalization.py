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
from pti_hub.tuners.compression import compress, restore

CONFIG_NAME = "personalization.json"
WEIGHTS_NAME = "personalization.safetensors"


class Personalization(HubFolder, library_name="pti-hub", tags=["pivotal-tuning", "gan-inversion"]):
    """A personalised generator as its difference from the base: θ* = θ + Δ, and the pivots w_p of its identities.

    It holds no photograph and nothing computed from one but weights and latents.

    Args:
        deltas: Δ by parameter name.
        pivots: w_p by identity, `[w_dim]` or `[num_ws, w_dim]`, in the order they are listed; of an identity that has
            several photographs one each, `"ada/1"`, `"ada/2"`.
        base: `"name"` and `"fingerprint"` of the generator that was tuned; `"repo"` and `"revision"` where it came from
            the Hub.
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
        if odd := [name for name in pivots if not name.isprintable()]:
            raise InputError(f"an identity is called {odd[0]!r}; expected a name that can be printed")
        for name, tensor in [*deltas.items(), *pivots.items()]:
            if not tensor.is_floating_point() or tensor.itemsize > 4:
                raise InputError(f"{name!r} is of {tensor.dtype}; expected float32 or smaller")
            if not torch.isfinite(tensor).all():
                raise InputError(f"{name!r} holds NaN or infinite values; tune again with a smaller learning rate")
        self.deltas, self.pivots = dict(deltas), dict(pivots)
        self.base = {"name": str(base["name"]), "fingerprint": str(base["fingerprint"])}
        self.base |= {key: str(base[key]) for key in ("repo", "revision") if key in base}
        self.metrics = {name: {k: float(v) for k, v in values.items()} for name, values in (metrics or {}).items()}
        self.settings = dict(settings or {})
        self.origins = [{key: str(value) for key, value in origin.items()} for origin in origins]

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
        stored = {k.removeprefix("deltas."): v for k, v in tensors.items() if k.startswith("deltas.")}
        deltas = restore(stored, config.get("stored", {"delta": "exact"}))
        keys = ("base", "metrics", "settings", "origins")
        return cls(deltas, pivots, **{key: config[key] for key in keys})

    def save_pretrained(self, save_directory: str | Path, *, delta: str = "exact", **push: Any) -> str | None:
        """Write a folder; see `HubFolder.save_pretrained`.

        Args:
            save_directory: The folder.
            delta: How weights are stored, of `pti_hub.tuners.DELTAS`: `"exact"` keeps every bit, `"half"` half of them;
                `"compact"` takes a twentieth of the space and 0.003 of LPIPS, `"small"` yet less and more.
            **push: `push_to_hub`, `repo_id`, and further arguments of `push_to_hub`.

        Raises:
            InputError: There is no such way of storing, or the folder holds something else.
            SaveError: The disk is full, or the place not writable.
        """
        return super().save_pretrained(save_directory, **{"saving": {"delta": delta}, **push})

    def push_to_hub(self, repo_id: str, *, delta: str = "compact", **push: Any) -> str:
        """Publish what was learned: weight deltas and pivots, for whoever has the base; see `HubFolder.push_to_hub`.

        Args:
            repo_id: Repository.
            delta: As in `save_pretrained`.
            **push: `private`, `token`, `branch`, `create_pr`, `commit_message`, `preview`, …

        Raises:
            InputError: There is no such way of storing, or the repository is public and was to be private.
            SaveError: The Hub refuses or can't be reached.
        """
        return super().push_to_hub(repo_id, **{"saving": {"delta": delta}, **push})

    def _save_pretrained(self, save_directory: Path, *, delta: str = "exact", **saving: Any) -> None:
        stored, record = compress(self.deltas, delta, len(self.pivots))
        tensors = {f"deltas.{name}": tensor for name, tensor in stored.items()}
        # Names are people's: they go into the JSON, tensors are numbered.
        tensors |= {f"pivots.{i}": p.detach().cpu().contiguous().clone() for i, p in enumerate(self.pivots.values())}
        save_file(tensors, save_directory / WEIGHTS_NAME, metadata={"format": "pt"})
        config = {
            "identities": list(self.pivots),
            "base": self.base,
            "stored": record,
            "metrics": self.metrics,
            "settings": self.settings,
            "origins": self.origins,
        }
        (save_directory / CONFIG_NAME).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")

    def generate_model_card(self, repo_id: str | None = None, preview: bool = False) -> ModelCard:
        """The card of a saved folder: base, how to load it, metrics of each identity, settings, licences."""
        return personalization_card(
            self.base, list(self.pivots), self.metrics, self.settings, self.origins, repo_id, preview
        )


def fingerprint(network: Generator | nn.Module) -> str:
    """SHA-256 of a network's parameters and buffers with their names, rounded to bfloat16.

    Rounding gives a generator and its copy in half precision the same fingerprint.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().to("cpu", torch.bfloat16).contiguous().view(torch.int16).numpy().data)
    return digest.hexdigest()
