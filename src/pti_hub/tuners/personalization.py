"""What tuning learned, as a value: weight deltas and named pivots, saved alone and naming their base."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import ModelCard, ModelHubMixin
from safetensors.torch import save_file
from torch import Tensor

from pti_hub.checkpoints.hub import fetch_folder, read_json, read_tensors
from pti_hub.errors import InputError, WeightsError
from pti_hub.files import replaced_folder
from pti_hub.generators import Generator
from pti_hub.model_card import personalization_card

CONFIG_NAME = "personalization.json"
WEIGHTS_NAME = "personalization.safetensors"


class Personalization(ModelHubMixin, library_name="pti-hub", tags=["pivotal-tuning", "gan-inversion"]):
    """A personalised generator as its difference from the base: θ* = θ + Δ, and the pivots w_p of its identities.

    It holds no photograph and nothing computed from one but weights and latents.

    Args:
        deltas: Δ by parameter name.
        pivots: w_p by identity, `[w_dim]` or `[num_ws, w_dim]`, in the order they are listed.
        base: `"name"` and `"fingerprint"` of the generator that was tuned.
        metrics: `"lpips"` and `"mse"` of each identity's reconstruction.
        settings: Hyper-parameters and seed, for the record.

    Raises:
        InputError: There is no identity, or a tensor that is not finite.
    """

    def __init__(
        self,
        deltas: Mapping[str, Tensor],
        pivots: Mapping[str, Tensor],
        base: Mapping[str, str],
        metrics: Mapping[str, Mapping[str, float]] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self._hub_mixin_config = None  # `config.json` would repeat what CONFIG_NAME holds
        if not pivots:
            raise InputError("a personalisation without identities; give at least one pivot")
        for name, tensor in [*deltas.items(), *pivots.items()]:
            if not torch.isfinite(tensor).all():
                raise InputError(f"{name!r} holds NaN or infinite values; tune again with a smaller learning rate")
        self.deltas, self.pivots, self.base = dict(deltas), dict(pivots), dict(base)
        self.metrics = {name: dict(values) for name, values in (metrics or {}).items()}
        self.settings = dict(settings or {})

    def __repr__(self) -> str:
        return f"Personalization({', '.join(self.pivots)}; base {self.base.get('name')})"

    def check(self, base: Mapping[str, str]) -> None:
        """Make sure that the deltas belong to a generator.

        Args:
            base: The generator's `"name"` and `"fingerprint"`.

        Raises:
            InputError: It has other weights than the one that was tuned.
        """
        if base["fingerprint"] != self.base.get("fingerprint"):
            raise InputError(
                f"this personalisation was tuned on {self.base.get('name')!r} with weights "
                f"{self.base.get('fingerprint', '')[:12]}…, but {base['name']!r} here has "
                f"{base['fingerprint'][:12]}…; load that base"
            )

    def save_pretrained(self, save_directory: str | Path, **kwargs: Any) -> str | None:
        """Write a folder; what was there stays whole until the new one is complete.

        Args:
            save_directory: The folder.
            **kwargs: `push_to_hub=True` and its arguments, as in huggingface-hub's mixin.

        Raises:
            InputError: The folder holds something else.
        """
        with replaced_folder(save_directory, CONFIG_NAME) as folder:
            super().save_pretrained(folder)
        return self.push_to_hub(**kwargs) if kwargs.pop("push_to_hub", False) else None

    def push_to_hub(self, repo_id: str, *, private: bool | None = True, **kwargs: Any) -> str:
        """Upload to a Hub repository, private unless asked otherwise; arguments as in huggingface-hub's mixin."""
        return str(super().push_to_hub(repo_id, private=private, **kwargs))

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
        config = read_json(folder / CONFIG_NAME)
        tensors = read_tensors(folder / WEIGHTS_NAME)
        try:
            pivots = {name: tensors[f"pivots.{i}"] for i, name in enumerate(config["identities"])}
            deltas = {k.removeprefix("deltas."): v for k, v in tensors.items() if k.startswith("deltas.")}
            return cls(deltas, pivots, config["base"], config["metrics"], config["settings"])
        except (KeyError, TypeError, AttributeError, InputError) as error:
            raise WeightsError(f"{folder} holds no valid personalisation: {error}") from error

    def generate_model_card(self, *args: Any, **kwargs: Any) -> ModelCard:
        """The card of a saved folder: base, how to load it, metrics of each identity, licence."""
        return personalization_card(self.base.get("name", ""), list(self.pivots), self.metrics)

    def _save_pretrained(self, save_directory: Path) -> None:
        tensors = {f"deltas.{name}": d.contiguous() for name, d in self.deltas.items()}
        # Names are people's: they go into the JSON, tensors are numbered.
        tensors |= {f"pivots.{i}": p.contiguous() for i, p in enumerate(self.pivots.values())}
        save_file(tensors, save_directory / WEIGHTS_NAME, metadata={"format": "pt"})
        config = {
            "identities": list(self.pivots),
            "base": self.base,
            "metrics": self.metrics,
            "settings": self.settings,
        }
        (save_directory / CONFIG_NAME).write_text(json.dumps(config, indent=2), encoding="utf-8")


def fingerprint(generator: Generator) -> str:
    """SHA-256 of a generator's parameters and buffers, names included."""
    digest = hashlib.sha256()
    for name, tensor in sorted(generator.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().float().cpu().contiguous().numpy().data)
    return digest.hexdigest()
