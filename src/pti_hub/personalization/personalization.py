"""What tuning learned, as a value: weight deltas and named pivots, saved alone and naming their base."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import ModelCard, ModelHubMixin
from torch import Tensor
from typing_extensions import Unpack

from pti_hub.errors import InputError
from pti_hub.faces import Placement
from pti_hub.generators import Generator, broadcast_ws
from pti_hub.personalization.base import Base
from pti_hub.personalization.compression import compress, restore
from pti_hub.storage import (
    DownloadOptions,
    FolderKind,
    PushOptions,
    as_weights_error,
    fetch_folder,
    personalization_card,
    push_folder,
    read_json,
    read_tensors,
    read_whole,
    save_folder,
    write_json,
    write_tensors,
)

CONFIG_NAME = "personalization.json"
"""File that every folder of a personalisation has: names, metrics and the base."""

WEIGHTS_NAME = "personalization.safetensors"
"""File of the weight deltas and pivots."""

PERSONALIZATION_FOLDER = FolderKind(CONFIG_NAME, frozenset({WEIGHTS_NAME}))
"""What the folder of a personalisation is known by."""


class Personalization(ModelHubMixin, library_name="pti-hub", tags=["pivotal-tuning", "gan-inversion"]):
    """A personalised generator as its difference from the base: θ* = θ + Δ, and the pivots w_p of its identities.

    It holds no photograph, only what was learned from it, weights and latents, and what the photograph is recognised
    by: its size, a digest of its pixels, and the corners of the face's square.

    Args:
        deltas: Δ by parameter name.
        pivots: w_p by identity, `[w_dim]` or `[num_ws, w_dim]`, in the order they are listed; the pivots of an
            identity with several photographs are called `"ada/1"`, `"ada/2"`.
        base: The generator that was tuned.
        metrics: `"lpips"` and `"mse"` of each identity's reconstruction, and its pivot's `latent_statistics`.
        settings: Hyper-parameters and seed, for the record.
        origins: Where the base's weights come from and under which licence.
        placements: Where in which photograph each identity's face lies.

    Raises:
        InputError: There is no identity, or a tensor that is not finite.
    """

    def __init__(
        self,
        deltas: Mapping[str, Tensor],
        pivots: Mapping[str, Tensor],
        base: Base,
        metrics: Mapping[str, Mapping[str, float]] | None = None,
        settings: Mapping[str, Any] | None = None,
        origins: Sequence[Mapping[str, str]] = (),
        placements: Mapping[str, Placement] | None = None,
    ) -> None:
        if not pivots:
            raise InputError("a personalisation without identities; give at least one pivot")
        if odd := [name for name in pivots if not name.isprintable()]:
            raise InputError(f"an identity is called {odd[0]!r}; expected a name that can be printed")
        for name, tensor in [*deltas.items(), *pivots.items()]:
            if not tensor.is_floating_point() or tensor.itemsize > 4:
                raise InputError(f"{name!r} is of {tensor.dtype}; expected float32 or smaller")
            if not torch.isfinite(tensor).all():
                raise InputError(f"{name!r} holds NaN or infinite values; tune again with a smaller learning rate")
        self.deltas, self.pivots, self.base = dict(deltas), dict(pivots), base
        self.metrics = {name: {k: float(v) for k, v in values.items()} for name, values in (metrics or {}).items()}
        self.settings = dict(settings or {})
        self.origins = [{key: str(value) for key, value in origin.items()} for origin in origins]
        self.placements = dict(placements or {})

    def __repr__(self) -> str:
        return f"Personalization({', '.join(self.pivots)}; base {self.base.name})"

    def photographs(self, identity: str) -> list[str]:
        """The names of an identity's pivots; an empty list where there is no such identity.

        Args:
            identity: Name of the identity, as it was given to `PTIPipeline.personalize`.
        """
        return [
            name for name in self.pivots if name == identity or re.fullmatch(rf"{re.escape(identity)}/[1-9]\d*", name)
        ]

    def check(self, generator: Generator, base: Base) -> None:
        """Make sure that deltas and pivots belong to a generator.

        Args:
            generator: The generator.
            base: What a personalisation of that generator calls its base.

        Raises:
            InputError: The generator has other weights than the one that was tuned, or other shapes.
        """
        if base.fingerprint != self.base.fingerprint:
            raise InputError(
                f"this personalisation was tuned on {self.base.name!r} with weights {self.base.fingerprint[:12]}…, "
                f"but {base.name!r} here has {base.fingerprint[:12]}…; load that base"
            )
        shapes = {name: p.shape for name, p in generator.named_parameters()}
        for name, delta in self.deltas.items():
            if shapes.get(name) != delta.shape:
                raise InputError(f"delta {name!r} {list(delta.shape)} fits no weight of the generator; tune again")
        for pivot in self.pivots.values():
            broadcast_ws(generator, pivot[None])

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls, pretrained_model_name_or_path: str | Path, **download: Unpack[DownloadOptions]
    ) -> Personalization:
        """Read a folder or a Hub repository.

        Args:
            pretrained_model_name_or_path: Folder or repository id.
            **download: See `pti_hub.storage.DownloadOptions`.

        Raises:
            WeightsError: It can't be had, or is damaged.
        """
        folder = fetch_folder(pretrained_model_name_or_path, **download)
        with as_weights_error(folder, "save or fetch it again"):
            return read_whole(folder, cls.from_folder)

    @classmethod
    def from_folder(cls, folder: Path) -> Personalization:
        """Read a folder; what is wrong with its content is raised as it is met, see `as_weights_error`.

        Args:
            folder: The folder that `save_pretrained` wrote.
        """
        config = read_json(folder / CONFIG_NAME)
        tensors = read_tensors(folder / WEIGHTS_NAME)
        if not isinstance(config["identities"], list):
            raise TypeError(f"identities are {config['identities']!r}, no list")
        pivots = {str(name): tensors[f"pivots.{i}"] for i, name in enumerate(config["identities"])}
        stored = {k.removeprefix("deltas."): v for k, v in tensors.items() if k.startswith("deltas.")}
        deltas = restore(stored, config.get("stored", {"delta": "exact"}))
        placements = {str(name): Placement.from_json(p) for name, p in config.get("placements", {}).items()}
        keys = ("metrics", "settings", "origins")
        parts = {key: config[key] for key in keys}
        return cls(deltas, pivots, Base.from_json(config["base"]), placements=placements, **parts)

    def save_pretrained(  # type: ignore[override]
        self,
        save_directory: str | Path,
        *,
        delta: str = "exact",
        push_to_hub: bool = False,
        repo_id: str | None = None,
        **push: Unpack[PushOptions],
    ) -> str | None:
        """Write a folder; what was there stays whole until the new one is complete.

        Args:
            save_directory: The folder.
            delta: How weights are stored, of `pti_hub.personalization.DELTAS`: `"exact"` keeps every bit, `"half"`
                half of them; `"compact"` takes a twentieth of the space and costs 0.003 of LPIPS, `"small"` takes
                less space and costs more.
            push_to_hub: Whether to upload the folder as well.
            repo_id: Repository to upload to; named like the folder by default.
            **push: Further keywords of `push_to_hub`.

        Returns:
            Address of the commit, where there is one.

        Raises:
            InputError: There is no such way of storing, or the folder holds something else.
            SaveError: The disk is full, or the place is not writable.
        """
        write = functools.partial(self._save_pretrained, delta=delta)
        save_folder(save_directory, PERSONALIZATION_FOLDER, write, self.generate_model_card())
        if not push_to_hub:
            return None
        return self.push_to_hub(repo_id or Path(save_directory).name, delta=delta, **push)

    def push_to_hub(  # type: ignore[override]
        self, repo_id: str, *, delta: str = "compact", **push: Unpack[PushOptions]
    ) -> str:
        """Publish weight deltas and pivots, for whoever has the base; private unless `private=False` is passed.

        Args:
            repo_id: Repository.
            delta: How weights are stored, see `save_pretrained`.
            **push: See `pti_hub.storage.PushOptions`.

        Returns:
            Address of the commit.

        Raises:
            InputError: There is no such way of storing, or the repository is public and was to be private.
            SaveError: The Hub refuses or can't be reached.
        """
        write = functools.partial(self._save_pretrained, delta=delta)
        return push_folder(repo_id, PERSONALIZATION_FOLDER, write, self.generate_model_card, **push)

    def _save_pretrained(self, save_directory: Path, *, delta: str = "exact") -> None:
        stored, record = compress(self.deltas, delta, len(self.pivots))
        tensors = {f"deltas.{name}": tensor for name, tensor in stored.items()}
        # Names are people's: they go into the JSON, tensors are numbered.
        tensors |= {f"pivots.{i}": pivot.clone() for i, pivot in enumerate(self.pivots.values())}
        write_tensors(save_directory / WEIGHTS_NAME, tensors)
        write_json(
            save_directory / CONFIG_NAME,
            {
                "identities": list(self.pivots),
                "base": self.base.to_json(),
                "stored": record,
                "metrics": self.metrics,
                "settings": self.settings,
                "origins": self.origins,
                "placements": {name: placement.to_json() for name, placement in self.placements.items()},
            },
        )

    def generate_model_card(self, repo_id: str | None = None, captions: Sequence[str] = ()) -> ModelCard:
        """The card of a saved folder: base, how to load it, metrics of each identity, settings, licences.

        Args:
            repo_id: Repository that the card's example loads; a placeholder by default.
            captions: A caption per picture of the gallery beside the card; no gallery by default.
        """
        return personalization_card(
            self.base.to_json(), list(self.pivots), self.metrics, self.settings, self.origins, repo_id, captions
        )
